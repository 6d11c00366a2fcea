/**
 * `deno task bench workers`: one region and many Workers, as ratios in one run.
 *
 * @module
 */
import { BumpAlloc } from "../mod.ts";
import { ParallelIndex, textOf } from "../examples/parallel_index.ts";
import { Bench } from "./lib/measure.ts";
import type { BurstRequest, ResultRequest } from "./workers_worker.ts";

const bench = new Bench("workers", { rounds: 11, quickRounds: 1 });
const COUNT = 10_000;
const BURSTS = bench.quick ? 20 : 400;

function ask<T>(worker: Worker, request: BurstRequest | ResultRequest): Promise<T> {
  return new Promise((resolve, reject) => {
    worker.onmessage = (event) => resolve(event.data);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(request);
  });
}

function newWorker(): Worker {
  return new Worker(new URL("./workers_worker.ts", import.meta.url), { type: "module" });
}

/** Nanoseconds for each `alloc(64)`. */
function burst(allocator: BumpAlloc): number {
  const mark = allocator.mark();
  const start = performance.now();
  for (let round = 0; round < BURSTS; round++) {
    for (let i = 0; i < COUNT; i++) allocator.alloc(64);
    allocator.rewind(mark);
  }
  return (performance.now() - start) * 1e6 / (COUNT * BURSTS);
}

bench.about(
  "Allocating from a shared region, against one that is not shared, and with one or two Workers at " +
    "once: sharing must not slow the fast path, and Workers must not wait for each other.",
);
{
  const unshared = new BumpAlloc();
  const owner = new BumpAlloc();
  const attached = BumpAlloc.attach(owner.share());
  // V8 compiles one loop for both, so both must have crossed the end of a window before.
  for (const allocator of [attached, unshared]) {
    const mark = allocator.mark();
    for (let i = 0; i < 2 ** 16; i++) allocator.alloc(64);
    allocator.rewind(mark);
  }
  const [own, other] = await bench.inTurn([["attached", () => burst(attached)], ["unshared", () => burst(unshared)]]);
  bench.compared("ns", {
    what: "alloc(64)",
    own: [own.name, own.samples],
    peers: [[other.name, other.samples, { atMost: 1.05 }]],
  });
}
{
  const owner = new BumpAlloc();
  const handle = owner.share();
  const workers = [newWorker(), newWorker()];
  const request: BurstRequest = { kind: "burst", handle, count: COUNT, rounds: BURSTS };
  const [two, one] = await bench.inTurn([
    ["two Workers at once", async () => {
      const both = await Promise.all(workers.map((worker) => ask<number>(worker, request)));
      return 1 / (1 / both[0] + 1 / both[1]);
    }],
    ["one", () => ask<number>(workers[0], request)],
  ]);
  bench.compared("ns", {
    what: "alloc(64) in one region, time for each",
    own: [two.name, two.samples],
    peers: [[one.name, one.samples, { atLeast: 1.8 }]],
  });
  for (const worker of workers) worker.terminate();
}
bench.about(
  "Passing large results between Workers: a message with an offset against one that copies, and a whole " +
    "pipeline also against SharedArrayBuffers, which need no copy either.",
);
{
  const owner = new BumpAlloc();
  const handle = owner.share();
  const byteLength = 64 * 2 ** 20;
  const [region, copy] = [newWorker(), newWorker()];
  // Both results are made before the clock starts.
  const spanOf = () =>
    ask<{ offset: number; byteLength: number }>(region, { kind: "result", handle, byteLength, copy: false });
  const { offset } = await spanOf();
  const [view, message, copied] = await bench.inTurn([
    ["view", () => {
      const start = performance.now();
      for (let i = 0; i < 1000; i++) owner.view(offset, byteLength);
      return performance.now() - start;
    }],
    ["message", async () => {
      const start = performance.now();
      for (let i = 0; i < 100; i++) await spanOf();
      return (performance.now() - start) * 10;
    }],
    ["copy", async () => {
      const start = performance.now();
      await ask(copy, { kind: "result", handle, byteLength, copy: true });
      return (performance.now() - start) * 1000;
    }],
  ]);
  bench.compared("µs", {
    what: "a result of 64 MiB handed over",
    own: ["a message and a view", view.samples.map((time, round) => time + message.samples[round])],
    peers: [["postMessage with a copy", copied.samples, { atLeast: 1000 }]],
  });
  region.terminate();
  copy.terminate();
}
{
  const text = textOf(undefined, (bench.quick ? 4 : 64) * 2 ** 20);
  using index = new ParallelIndex(text);
  const time = async (way: "region" | "copy" | "shared buffer") => {
    const start = performance.now();
    await index.index(way);
    return performance.now() - start;
  };
  const [region, copy, buffer] = await bench.inTurn([
    ["region", () => time("region")],
    ["copies", () => time("copy")],
    ["SharedArrayBuffer", () => time("shared buffer")],
  ]);
  bench.compared("ms", {
    what: "the pipeline on two Workers",
    own: [region.name, region.samples],
    peers: [[copy.name, copy.samples, { atLeast: 1.5 }], [buffer.name, buffer.samples]],
  });
}
bench.finish();
Deno.exit();
