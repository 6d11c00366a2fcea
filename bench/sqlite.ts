/**
 * `deno task bench sqlite`: 100,000 rows inserted into SQLite and read back: with call frames, with SQLite's own memory from an
 * arena as well, and the usual way. Each run is a process of its own, because SQLite's allocator is the
 * process's; they are measured in turn, several rounds, medians.
 *
 * @module
 */
import { Bench } from "./lib/measure.ts";

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
for (const { name, samples } of [frames, hooks]) {
  bench.compared("ms", {
    what: `${ROWS} rows inserted and read`,
    own: [name, samples],
    peers: [[usual.name, usual.samples]],
  });
}
bench.finish();
