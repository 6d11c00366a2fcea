import { assertEquals } from "@std/assert";
import { BumpAlloc } from "../../mod.ts";
import { heapMemory, readText, scratchMemory } from "../../examples/word_count.ts";
import { WordTable } from "../../examples/word_table.ts";
import { testSince, testUnless } from "../skip.ts";

testUnless(
  Deno.build.os === "windows" ? "the pipeline is the system's own: Windows has none" : null,
  "the demo counts what sort | uniq -c counts",
  () => {
    const path = Deno.makeTempFileSync();
    const { stdout } = new Deno.Command(Deno.execPath(), { args: ["types"], env: { NO_COLOR: "1" } }).outputSync();
    Deno.writeFileSync(path, stdout);
    try {
      const pipeline = `tr -cs 'A-Za-z0-9_' '\\n' < "$1" | grep . | sort | uniq -c | sort -k1,1nr -k2,2`;
      const expected = new TextDecoder().decode(
        new Deno.Command("sh", { args: ["-c", pipeline, "sh", path], env: { LC_ALL: "C" } }).outputSync().stdout,
      ).trim().split("\n").map((line) => line.trim().replace(/\s+/, " "));
      using scratch = new BumpAlloc();
      for (const memory of [scratchMemory(scratch), heapMemory]) {
        const table = new WordTable(readText(path, memory), memory);
        const counted = table.top(Infinity).map(({ word, count }) => `${count} ${word}`);
        assertEquals(table.distinct, expected.length);
        assertEquals(counted, expected);
      }
    } finally {
      Deno.removeSync(path);
    }
  },
);

const name = "`deno task demo` fetches nothing: what only tests and benches import is not asked for";
testSince("2.1.0", "`deno task` does not understand this deno.json", name, async () => {
  const cache = await Deno.makeTempDir();
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "demo", "--rounds", "1"],
    cwd: new URL("../../", import.meta.url),
    env: { DENO_DIR: cache, HTTP_PROXY: "http://127.0.0.1:9", HTTPS_PROXY: "http://127.0.0.1:9", NO_PROXY: "" },
  }).output();
  // Windows keeps a file of a program that runs.
  await Deno.remove(cache, { recursive: true }).catch(() => {});
  assertEquals(success, true, new TextDecoder().decode(stderr));
});
