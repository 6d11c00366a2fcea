/**
 * `deno task inspect [--out=FILE.svg] PROGRAM.ts [ARGUMENTS]`: runs a program and draws its allocators as they were at
 * their peak.
 *
 * @module
 */

const args = [...Deno.args];
let out = "bump.svg";
if (args[0]?.startsWith("--out=")) out = args.shift()!.slice("--out=".length);
if (args.length === 0 || args[0].startsWith("-")) {
  console.error("usage: deno task inspect [--out=FILE.svg] PROGRAM.ts [ARGUMENTS]");
  Deno.exit(2);
}
const preload = new URL("preload.ts", import.meta.url).href;
const { code } = await new Deno.Command(Deno.execPath(), {
  args: ["run", "-A", `--preload=${preload}`, ...args],
  env: { BUMP_INSPECT_OUT: out },
}).spawn().status;
Deno.exit(code);
