/** The prebuilt library under musl, the C library of Alpine, in C programs built with musl-gcc. */
import { assertEquals, assertMatch } from "@std/assert";
import { fileURLToPath } from "node:url";
import { platform, prebuilt } from "../../src/native/prebuilt.ts";
import { missing, testUnless } from "../support/skip.ts";

const noMusl = platform === "linux_x86_64" ? missing("musl-gcc") : "it is for Linux x64";

/** Compiles a C file, runs it with the library as its argument, and returns its output. */
async function outputOf(source: string): Promise<string> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeFile(`${folder}/bump.so`, prebuilt()!);
    const run = async (command: string, ...args: string[]) => {
      const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
      const text = new TextDecoder();
      assertEquals({ success, error: text.decode(stderr) }, { success: true, error: "" });
      return text.decode(stdout);
    };
    const flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O1", "-pthread", "-Wall", "-Werror"];
    await run("musl-gcc", ...flags, "-o", `${folder}/test`, fileURLToPath(new URL(source, import.meta.url)));
    return await run(`${folder}/test`, `${folder}/bump.so`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

testUnless(noMusl, "the prebuilt library loads and allocates under musl", async () => {
  assertEquals(await outputOf("test_musl.c"), "all passed\n");
});

testUnless(noMusl, "under musl, which unloads no library, the end of a thread drops its holds", async () => {
  assertMatch(await outputOf("../../native/tests/test_thread_end.c"), /^thread_end +\d+ checks, 0 failed\n$/);
});
