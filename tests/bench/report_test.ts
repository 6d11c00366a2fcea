import { assert, assertEquals } from "@std/assert";
import type { Results } from "../../bench/lib/measure.ts";
import { isReached, spreadOf, UNTOUCHED } from "../../bench/lib/measure.ts";
import { PAGES_WITH_FIGURES, withFigures } from "../../bench/lib/readme.ts";
import { renderReport } from "../../bench/lib/table.ts";

const spread = (median: number) => ({ median, lower: median * 0.9, upper: median * 1.1 });
const results: Results = {
  bench: "sample",
  quick: false,
  machine: { cpu: "a processor", cores: 2, memoryGiB: 24, system: "linux", deno: "2.9.6", v8: "15.0" },
  figures: [{
    what: "allocate 64 B",
    unit: "ns",
    rounds: 3,
    name: "alloc",
    about: "Blocks that are not filled.",
    note: UNTOUCHED,
    spread: spread(16),
    peers: [
      { name: "new Uint8Array", spread: spread(160), ratio: spread(10), atLeast: 20 },
      { name: "view of a buffer", spread: spread(12), ratio: spread(1.33), atMost: 1.05 },
    ],
  }, { what: "reset", unit: "ns", rounds: 3, spread: spread(900), atMost: 1000, about: "The end of memory." }],
};

Deno.test("The report says which limits were missed, where a peer wins, and what each group is about", () => {
  const page = renderReport([results]);
  for (const about of ["Blocks that are not filled.", "The end of memory."]) {
    assert(page.includes(`\n\n${about}\n\n| what |`), about);
  }
  const lines = page.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| what"));
  assertEquals(lines.length, 3);
  assert(lines[0].includes(">= 20 | 10 × (9 to 11), missed | 16 / 160 ns | untouched memory |"), lines[0]);
  assert(lines[1].includes("missed") && lines[1].includes("the other wins; untouched memory"), lines[1]);
  assert(lines[2].includes("<= 1000 | 900 ns (810 to 990) |"), lines[2]);
});

Deno.test("Quartiles, and what counts as reached", () => {
  assertEquals(spreadOf([5, 1, 3, 2, 4]), { lower: 2, median: 3, upper: 4 });
  assertEquals(isReached({ atLeast: 4 }, 3.9), false);
  assertEquals(isReached({ atMost: 1.05 }, 1.05), true);
  assertEquals(isReached({}, 7), true);
});

Deno.test("The figures in the README and the guides are those of the last report", () => {
  const read = (path: string) => Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));
  const all = [...Deno.readDirSync(new URL("../../bench/results/", import.meta.url))]
    .filter(({ name }) => name.endsWith(".json")).map(({ name }) => JSON.parse(read(`bench/results/${name}`)));
  for (const page of PAGES_WITH_FIGURES) assertEquals(withFigures(page, read(page), all), read(page));
});
