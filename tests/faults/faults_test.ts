/**
 * System calls that are refused: each operation throws the right error and changes nothing, or does its work all the
 * same.
 */
import { assertEquals, assertMatch } from "@std/assert";
import { missing, testUnless } from "../support/skip.ts";

const compiler = Deno.env.get("CC") ?? "cc";

const noShim = Deno.build.os === "linux" ? missing(compiler) : "it needs Linux's LD_PRELOAD";

async function run(command: string, args: string[], env: Record<string, string> = {}): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args, env: { NO_COLOR: "1", ...env } }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  assertEquals(code, 0, text(stderr));
  return text(stdout);
}

testUnless(noShim, "every operation with each of its system calls refused in turn", async () => {
  const path = (name: string) => decodeURIComponent(new URL(name, import.meta.url).pathname);
  const folder = await Deno.makeTempDir();
  try {
    const shim = `${folder}/refuse.so`;
    await run(compiler, ["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", shim, path("refuse.c"), "-ldl"]);
    const map = `--import-map=${path("../offline/import_map.json")}`;
    const output = await run(Deno.execPath(), ["run", "-A", "--no-check", map, path("child.ts"), shim], {
      LD_PRELOAD: shim,
    });
    // If the shim did not see the library's calls, nothing would be refused.
    assertMatch(output, /^\d\d operations, \d{2,} refusals, \d{2,} errors$/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
