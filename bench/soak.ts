/**
 * `deno task soak`: a million requests to the service of examples/server.ts, and to the same service on plain typed
 * arrays. Prints the resident memory of both over time, and how far that of the pool has moved since it was warm.
 *
 * `--quick` for four thousand requests.
 *
 * @module
 */
import { logOf, Server } from "./lib/load.ts";
import { Bench, spreadOf } from "./lib/measure.ts";

const bench = new Bench("soak");
const STEPS = bench.quick ? 4 : 20; // each lasts at least a second
const REQUESTS = (bench.quick ? 4_000 : 1_000_000) / STEPS;
const LIMIT = 64 * 1024;

/** Resident memory after each step, in bytes. */
async function soak(plain: boolean): Promise<number[]> {
  await using server = await Server.start("server.ts", "--limit", String(LIMIT), ...(plain ? ["--plain"] : []));
  const memory: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    await server.load({ amount: REQUESTS }, logOf(4096));
    memory.push(server.memory("now"));
  }
  return memory;
}

bench.about(
  "Resident memory of a server over many requests: it must stay flat once it is warm.",
);
const pooled = await soak(false);
const plain = await soak(true);
const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
console.log("| requests | BumpPool, MiB | new Uint8Array, MiB |");
console.log("|---|---|---|");
for (let i = 0; i < STEPS; i++) console.log(`| ${(i + 1) * REQUESTS} | ${mib(pooled[i])} | ${mib(plain[i])} |`);
// The engine's heap grows and shrinks between collections, so compare medians of a quarter each.
const quarter = STEPS / 4;
const early = spreadOf(pooled.slice(quarter, 2 * quarter)).median;
console.log();
bench.value(
  "resident memory, last quarter against the second",
  "×",
  pooled.slice(-quarter).map((memory) => memory / early),
  { atMost: 1.02 },
);
bench.finish();
