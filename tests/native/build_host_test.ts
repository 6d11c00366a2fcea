import { assertEquals } from "@std/assert";
import { buildHost } from "../../native/build_host.ts";
import { missing, testUnless } from "../support/skip.ts";

const compiler = Deno.env.get("CC") ?? "cc";

testUnless(missing(compiler), "a library built by this machine's own compiler is loaded", async () => {
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
});
