/** The prebuilt library under musl, which Alpine has: loaded and used by a C program of musl's own compiler. */
import { assertEquals } from "@std/assert";
import { platform, prebuilt } from "../../src/native/prebuilt.ts";
import { missing, testUnless } from "../skip.ts";

const noMusl = platform === "linux_x86_64" ? missing("musl-gcc") : "it is for Linux x64";

testUnless(noMusl, "the prebuilt library loads and allocates under musl", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeFile(`${folder}/bump.so`, prebuilt()!);
    const source = new URL("test_musl.c", import.meta.url);
    const run = async (command: string, args: string[]) => {
      const { success, stdout, stderr } = await new Deno.Command(command, { args }).output();
      const text = new TextDecoder();
      return { success, out: text.decode(stdout), error: text.decode(stderr) };
    };
    const program = `${folder}/test`;
    assertEquals(await run("musl-gcc", ["-Wall", "-Werror", "-o", program, decodeURIComponent(source.pathname)]), {
      success: true,
      out: "",
      error: "",
    });
    assertEquals(await run(program, [`${folder}/bump.so`]), { success: true, out: "all passed\n", error: "" });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
