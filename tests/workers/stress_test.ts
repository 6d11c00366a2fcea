import { assert, assertEquals } from "@std/assert";
import { BumpAlloc } from "../../mod.ts";
import { loadThreads } from "../support/c_library.ts";
import { fillPattern, patternHolds, randomOf } from "../support/pattern.ts";
import type { StressAnswer, StressRequest } from "./stress_worker.ts";
import { times } from "../support/times.ts";
import { until } from "../support/until.ts";

const WORKERS = 8;
const BLOCKS = times(60_000); // each, half a million in all: 8 isolates on two cores

const THREADS = 4;
const NATIVE_BLOCKS = times(400_000); // each, 1.6 million in all

const symbols = {
  stress_start: { parameters: ["pointer", "pointer", "u32", "u32", "u32"], result: "i32" },
  stress_join: { parameters: [], result: "void", nonblocking: true },
  stress_count: { parameters: [], result: "f64" },
  stress_list: { parameters: ["f64", "buffer"], result: "f64" },
} as const;

/** Native threads that allocate beside the Workers; the reason why not, if there is no C compiler. */
const native = loadThreads(new URL("../../native/tests/stress.c", import.meta.url), symbols);

/** Runs the Workers and threads. With `alignBits` 1 there is no padding, so that sums are exact. */
async function stress(alignBits: number, blocks: number, nativeBlocks: number): Promise<void> {
  using owner = BumpAlloc.withSize(2 ** 31);
  const handle = owner.share();
  const workers: Worker[] = [];
  const answering = Array.from({ length: WORKERS }, (_, i) => {
    const worker = new Worker(new URL("./stress_worker.ts", import.meta.url), { type: "module" });
    workers.push(worker);
    return new Promise<StressAnswer>((resolve, reject) => {
      worker.onmessage = (event) => resolve(event.data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage({ handle, seed: 1000 * (i + 1), count: blocks, alignBits } satisfies StressRequest);
    });
  });
  if (typeof native !== "string") {
    const { alloc, bump } = owner.hooks.native;
    assertEquals(native.symbols.stress_start(alloc, bump, THREADS, nativeBlocks, alignBits), 0);
    await native.symbols.stress_join();
  }
  const answers = await Promise.all(answering);
  const all = answers.map((answer) => answer.blocks);
  if (typeof native !== "string") {
    const count = native.symbols.stress_count();
    assertEquals(count, THREADS * nativeBlocks);
    const list = new Float64Array(2 * count);
    const bytes = new Uint8Array(list.buffer);
    assertEquals(native.symbols.stress_list(Number(owner.address), bytes), 0);
    all.push(list);
  }
  let unused = 0;
  for (const answer of answers) {
    assertEquals(answer.wrong, 0);
    unused += answer.unused;
  }
  // Sorted by offset, no block may begin before the one before it ends. Sizes are below 2^13 and offsets below 2^31, so
  // one number holds both.
  const places = new Float64Array(all.reduce((sum, list) => sum + list.length / 2, 0));
  let taken = 0;
  let at = 0;
  for (const list of all) {
    for (let i = 0; i < list.length; i += 2) {
      places[at++] = list[i] * 2 ** 13 + list[i + 1];
      taken += list[i + 1];
    }
  }
  places.sort();
  let end = 0;
  for (const place of places) {
    const start = Math.floor(place / 2 ** 13);
    if (start < end) throw new Error(`blocks overlap at ${start}`);
    end = start + place % 2 ** 13;
  }
  // `used` must be the sum of blocks, rests of open chunks, unused ends of earlier chunks, and padding.
  const { used } = owner.stats();
  const rest = used - taken - unused;
  const padding = places.length * (2 ** (alignBits - 1) - 1);
  const ends = (used / 65536) * 2 ** 13;
  assert(rest >= 0 && rest <= padding + ends, `${rest} bytes of padding and ends`);
  for (const worker of workers) worker.terminate();
  await until(() => owner.stats().attached === 1);
  assertEquals(owner.stats().attached, 1);
  owner.reset();
  assertEquals(owner.used, 0);
}

const who = typeof native === "string"
  ? `eight Workers (no native threads: ${native})`
  : "eight Workers and four native threads";

Deno.test(`${who} allocate at once: no two blocks overlap, every byte is right`, () =>
  stress(8, BLOCKS, NATIVE_BLOCKS));

Deno.test(`${who}, without padding: the sum of all blocks agrees with the region's count`, () =>
  stress(1, times(50_000), times(100_000)));

Deno.test("Workers terminated at random leave no hold and change no byte of others", async () => {
  const owner = BumpAlloc.withSize(2 ** 36);
  const handle = owner.share();
  const random = randomOf(7);
  const mine = owner.alloc(10_000);
  fillPattern(mine, 77);
  for (let round = 0; round < 25; round++) {
    const workers = Array.from({ length: 4 }, (_, i) => {
      const worker = new Worker(new URL("./stress_worker.ts", import.meta.url), { type: "module" });
      worker.onerror = (event) => event.preventDefault();
      worker.postMessage({ handle, seed: round * 10 + i, count: 20_000, alignBits: 8 } satisfies StressRequest);
      return worker;
    });
    await new Promise((resolve) => setTimeout(resolve, random(60)));
    for (const worker of workers) worker.terminate();
    assert(patternHolds(mine, 77));
  }
  // A terminated Worker runs on for a moment, and may attach in that time.
  await until(() => owner.stats().attached === 1);
  assertEquals(owner.stats().attached, 1);
  assert(patternHolds(mine, 77));
  owner.close();
});
