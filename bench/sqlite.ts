/**
 * `deno task bench:sqlite`: 100,000 rows inserted into SQLite and read back: with call frames, with SQLite's own memory from an
 * arena as well, and the usual way. Each run is a process of its own, because SQLite's allocator is the
 * process's; they are measured in turn, several rounds, medians.
 *
 * @module
 */
const quick = Deno.args.includes("--quick");
const ROUNDS = quick ? 1 : 9;
const ROWS = quick ? 1000 : 100_000;

function measure(flags: string[]): number {
  const script = new URL("../examples/sqlite/main.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--allow-ffi", script, "--rows", String(ROWS), ...flags],
  }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout)).milliseconds;
}

const ways = { "call frames": [], "call frames and hooks": ["--hooks"], "the usual way": ["--usual"] };
const times = Object.values(ways).map((): number[] => []);
for (let round = 0; round < ROUNDS; round++) {
  Object.values(ways).forEach((flags, i) => times[i].push(measure(flags)));
}
const medians = times.map((list) => list.toSorted((a, b) => a - b)[list.length >> 1]);
console.log(`${ROWS} rows, ${ROUNDS} rounds\n`);
console.log("| way | ms | the usual way takes |");
console.log("|---|---|---|");
Object.keys(ways).forEach((way, i) => {
  console.log(`| ${way} | ${medians[i]} | ${(medians[2] / medians[i]).toFixed(2)} × |`);
});
