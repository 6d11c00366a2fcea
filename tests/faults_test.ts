/** What the system refuses: each operation throws the right error and changes nothing, or does its work all the same. */
import { assertEquals, assertMatch } from "@std/assert";

const compiler = Deno.env.get("CC") ?? "cc";

function missing(): string | null {
  if (Deno.build.os !== "linux") return "it needs Linux's LD_PRELOAD";
  try {
    new Deno.Command(compiler, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync();
    return null;
  } catch {
    return `no ${compiler}`;
  }
}

const skipped = missing();

async function run(command: string, args: string[], env: Record<string, string> = {}): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args, env: { NO_COLOR: "1", ...env } }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  assertEquals(code, 0, text(stderr));
  return text(stdout);
}

Deno.test({
  name: `every operation with each of its calls to the system refused in turn${
    skipped === null ? "" : ` (skipped: ${skipped})`
  }`,
  ignore: skipped !== null,
  async fn() {
    const path = (name: string) => decodeURIComponent(new URL(name, import.meta.url).pathname);
    const folder = await Deno.makeTempDir();
    try {
      const shim = `${folder}/refuse.so`;
      await run(compiler, ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", shim, path("faults/refuse.c"), "-ldl"]);
      const map = `--import-map=${path("offline/import_map.json")}`;
      const output = await run(Deno.execPath(), ["run", "-A", "--no-check", map, path("faults/child.ts"), shim], {
        LD_PRELOAD: shim,
      });
      // Where the shim does not see the library's calls nothing is refused.
      assertMatch(output, /^\d\d operations, \d{2,} refusals, \d{2,} errors$/);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
