import { assertEquals } from "@std/assert";
import { BumpAlloc } from "../../mod.ts";
import { heapMemory, readText, scratchMemory } from "../../examples/word_count.ts";
import { WordTable } from "../../examples/word_table.ts";
import { testUnless } from "../support/skip.ts";

testUnless(
  Deno.build.os === "windows" ? "the pipeline is the system's own: Windows has none" : null,
  "the words are counted as sort | uniq -c counts them",
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
