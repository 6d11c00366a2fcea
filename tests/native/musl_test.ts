/** The prebuilt library under musl, which Alpine has: loaded and used by a C program of musl's own compiler. */
import { assertEquals } from "@std/assert";
import { platform, prebuilt } from "../../src/native/prebuilt.ts";

const missing = platform !== "linux_x86_64" ? "it is for Linux x64" : compiler() ? null : "musl-gcc is not installed";

function compiler(): boolean {
  try {
    return new Deno.Command("musl-gcc", { args: ["--version"] }).outputSync().success;
  } catch {
    return false;
  }
}

Deno.test({
  name: `the prebuilt library loads and allocates under musl${missing === null ? "" : ` (skipped: ${missing})`}`,
  ignore: missing !== null,
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeFile(`${folder}/bump.so`, prebuilt!.bytes());
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
  },
});
