import { assert, assertEquals } from "@std/assert";
import { BumpAlloc } from "../mod.ts";
import { fillPattern, patternHolds, randomOf } from "./pattern.ts";
import type { StressAnswer, StressRequest } from "./workers/stress_worker.ts";

const WORKERS = 8;
const BLOCKS = 150_000; // each, 1.2 million in all

Deno.test("eight Workers and the owner allocate at once: no two blocks overlap, every byte is right", async () => {
  using owner = BumpAlloc.withSize(2 ** 30);
  const handle = owner.share();
  const workers: Worker[] = [];
  const answers = await Promise.all(Array.from({ length: WORKERS }, (_, i) => {
    const worker = new Worker(new URL("./workers/stress_worker.ts", import.meta.url), { type: "module" });
    workers.push(worker);
    return new Promise<StressAnswer>((resolve, reject) => {
      worker.onmessage = (event) => resolve(event.data);
      worker.onerror = (event) => reject(new Error(event.message));
      worker.postMessage({ handle, seed: 1000 * (i + 1), count: BLOCKS } satisfies StressRequest);
    });
  }));

  let count = 0;
  let unused = 0;
  for (const answer of answers) {
    assertEquals(answer.wrong, 0);
    count += answer.blocks.length / 2;
    unused += answer.unused;
  }
  // In order of their offsets no block begins before the last one has ended.
  const starts = new Float64Array(count);
  const lengths = new Map<number, number>();
  let taken = 0;
  let at = 0;
  for (const { blocks } of answers) {
    for (let i = 0; i < blocks.length; i += 2) {
      starts[at++] = blocks[i];
      assert(!lengths.has(blocks[i]), "two blocks at one offset");
      lengths.set(blocks[i], blocks[i + 1]);
      taken += blocks[i + 1];
    }
  }
  starts.sort();
  let end = 0;
  for (const start of starts) {
    assert(start >= end, "blocks overlap");
    end = start + lengths.get(start)!;
  }
  // What all took is what the region says, but for padding (below the largest alignment, each) and open leases.
  const { used } = owner;
  assert(used >= taken + unused, `${used} used, ${taken} taken, ${unused} unused`);
  assert(used <= taken + unused + count * 128 + WORKERS * 2 ** 22);
  for (const worker of workers) worker.terminate();
  for (let i = 0; i < 1000 && owner.stats().attached > 1; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assertEquals(owner.stats().attached, 1);
  owner.reset();
  assertEquals(owner.used, 0);
});

Deno.test("Workers terminated at random leave no reference and disturb nobody", async () => {
  using owner = BumpAlloc.withSize(2 ** 36);
  const handle = owner.share();
  const random = randomOf(7);
  const mine = owner.alloc(10_000);
  fillPattern(mine, 77);
  for (let round = 0; round < 25; round++) {
    const workers = Array.from({ length: 4 }, (_, i) => {
      const worker = new Worker(new URL("./workers/stress_worker.ts", import.meta.url), { type: "module" });
      worker.onerror = (event) => event.preventDefault();
      worker.postMessage({ handle, seed: round * 10 + i, count: 20_000 } satisfies StressRequest);
      return worker;
    });
    await new Promise((resolve) => setTimeout(resolve, random(60)));
    for (const worker of workers) worker.terminate();
    assert(patternHolds(mine, 77));
  }
  for (let i = 0; i < 1000 && owner.stats().attached > 1; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assertEquals(owner.stats().attached, 1);
  assert(patternHolds(mine, 77));
  owner.reset();
});
