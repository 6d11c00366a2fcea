import { assertEquals } from "@std/assert";
import { buildHost } from "../../native/build_host.ts";

const compiler = Deno.env.get("CC") ?? "cc";
const present = runs(compiler);

function runs(command: string): boolean {
  try {
    return new Deno.Command(command, { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

Deno.test({
  name: `a library built by this machine's own compiler is loaded${present ? "" : ` (skipped: no ${compiler})`}`,
  ignore: !present,
  async fn() {
    const library = await buildHost();
    const mod = new URL("../../mod.ts", import.meta.url).href;
    const code = `import { BumpAlloc } from ${JSON.stringify(mod)};
      using scratch = new BumpAlloc();
      console.log(scratch.alloc(100).fill(1).length);`;
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--quiet", code],
      env: { BUMP_ALLOC_LIB: library, NO_COLOR: "1" },
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    assertEquals([text(stdout), text(stderr)], ["100", ""]);
  },
});
