/**
 * `deno task bench sqlite`: 100,000 rows inserted into SQLite and read back: with call frames, with SQLite's own memory from an
 * arena as well, and the usual way. Then SQLite at work for long, on an arena and on `malloc`: statements prepared again and
 * again, and a mixed load. Each run has its own process, because SQLite has one allocator for the whole process.
 *
 * @module
 */
import { Bench } from "./lib/measure.ts";
import { measureProcess, type Report } from "./lib/process_work.ts";

const bench = new Bench("sqlite", { rounds: 9, quickRounds: 1 });
const ROWS = bench.quick ? 1000 : 100_000;

/** Milliseconds. */
function measure(flags: string[]): number {
  const script = new URL("../examples/sqlite/main.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--allow-ffi", script, "--rows", String(ROWS), ...flags],
  }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout)).milliseconds;
}

const [frames, hooks, usual] = await bench.inTurn([
  ["call frames", () => measure([])],
  ["call frames and hooks", () => measure(["--hooks"])],
  ["the usual way", () => measure(["--usual"])],
], { warmUp: 0 });
bench.about(
  "A hundred thousand rows inserted and read back through the FFI: a binding with call frames, the same " +
    "with SQLite's memory from an arena, and the usual binding.",
);
for (const { name, samples } of [frames, hooks]) {
  bench.compared("ms", {
    what: `${ROWS} rows inserted and read`,
    own: [name, samples],
    peers: [[usual.name, usual.samples, name === hooks.name ? { atLeast: 1.7 } : {}]],
  });
}

/** Compares time and peak memory of work on an arena and on `malloc`. */
async function long(what: string, work: string, amount: number, rounds: number): Promise<void> {
  if (!bench.wants(what)) return;
  const reports: [Report[], Report[]] = [[], []];
  const measured = (i: 0 | 1) => () => {
    const report = measureProcess(work, amount, i === 0);
    reports[i].push(report);
    return report.microseconds;
  };
  const ways = await bench.inTurn([["arena", measured(0)], ["malloc", measured(1)]], { warmUp: 0, rounds });
  const peaks = reports.map((list) => list.map(({ peak }) => peak / 2 ** 20));
  bench.compared("µs", {
    what,
    own: [ways[0].name, ways[0].samples],
    peers: [[ways[1].name, ways[1].samples, { atLeast: 1 }]],
  });
  bench.compared("MiB", {
    what: `${what}: peak memory of the process`,
    own: [ways[0].name, peaks[0]],
    peers: [[ways[1].name, peaks[1], { atMost: 1.2 }]],
  });
  for (const [i, { name }] of ways.entries()) {
    bench.series({ what: `${what}: memory over time`, unit: "bytes", name, points: reports[i][0].points });
  }
}

bench.about(
  "SQLite at work for long, its memory from an arena or from malloc: time, and whether the arena's " +
    "memory stays near that of malloc although SQLite frees and allocates all the time.",
);
await long("statements prepared and run", "statements", bench.quick ? 500 : 15_000, bench.quick ? 1 : 9);
await long("a mixed load of SQLite", "mixed", bench.quick ? 0.2 : 15, bench.quick ? 1 : 4);
bench.finish();
