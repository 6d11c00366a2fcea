/**
 * `deno task bench:workers`: the figures for one region and many Workers, as ratios in one run.
 *
 * @module
 */
import { BumpAlloc } from "../mod.ts";
import { ParallelIndex, textOf } from "../examples/parallel_index.ts";
import type { BurstRequest, ResultRequest } from "./workers_worker.ts";

const quick = Deno.args.includes("--quick");
const ROUNDS = quick ? 2 : 11;
const COUNT = 10_000;
const BURSTS = quick ? 20 : 400;

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];

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

/** Medians of several measurements, taken in turn. */
async function inTurn(ways: Record<string, () => Promise<number> | number>): Promise<Record<string, number>> {
  const times: Record<string, number[]> = {};
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, measure] of Object.entries(ways)) {
      const time = await measure();
      if (round > 0) (times[name] ??= []).push(time); // the first round warms up
    }
  }
  return Object.fromEntries(Object.entries(times).map(([name, all]) => [name, median(all)]));
}

function report(what: string, asked: string, ratio: number, detail: string): void {
  console.log(`${what.padEnd(62)} asked ${asked.padEnd(8)} measured ${ratio.toFixed(2).padStart(9)}   ${detail}`);
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

{
  const unshared = new BumpAlloc();
  const owner = new BumpAlloc();
  const attached = BumpAlloc.attach(owner.share());
  const ns = await inTurn({ unshared: () => burst(unshared), attached: () => burst(attached) });
  report(
    "alloc(64), attached against unshared",
    "<= 1.05",
    ns.attached / ns.unshared,
    `${ns.attached.toFixed(1)} / ${ns.unshared.toFixed(1)} ns`,
  );
}
{
  const owner = new BumpAlloc();
  const handle = owner.share();
  const workers = [newWorker(), newWorker()];
  const request: BurstRequest = { kind: "burst", handle, count: COUNT, rounds: BURSTS };
  const ns = await inTurn({
    one: () => ask<number>(workers[0], request),
    two: async () => {
      const both = await Promise.all(workers.map((worker) => ask<number>(worker, request)));
      return 1 / (1 / both[0] + 1 / both[1]);
    },
  });
  report(
    "two Workers allocating at once against one, throughput",
    ">= 1.8",
    ns.one / ns.two,
    `${ns.one.toFixed(1)} / ${ns.two.toFixed(1)} ns for each alloc`,
  );
  for (const worker of workers) worker.terminate();
}
{
  const owner = new BumpAlloc();
  const handle = owner.share();
  const byteLength = 64 * 2 ** 20;
  const [region, copy] = [newWorker(), newWorker()];
  // Both have made their result before the clock starts, and the time of an empty message is taken off.
  const spanOf = () =>
    ask<{ offset: number; byteLength: number }>(region, { kind: "result", handle, byteLength, copy: false });
  const { offset } = await spanOf();
  const us = await inTurn({
    view: () => {
      const start = performance.now();
      for (let i = 0; i < 1000; i++) owner.view(offset, byteLength);
      return performance.now() - start;
    },
    message: async () => {
      const start = performance.now();
      for (let i = 0; i < 100; i++) await spanOf();
      return (performance.now() - start) * 10;
    },
    copy: async () => {
      const start = performance.now();
      await ask(copy, { kind: "result", handle, byteLength, copy: true });
      return (performance.now() - start) * 1000;
    },
  });
  const taken = us.view + us.message;
  report(
    "a 64 MiB result handed over against postMessage with a copy",
    ">= 1000",
    us.copy / taken,
    `${us.copy.toFixed(0)} / ${taken.toFixed(1)} us, of which the message ${us.message.toFixed(1)}`,
  );
  region.terminate();
  copy.terminate();
}
{
  const text = textOf(undefined, (quick ? 4 : 64) * 2 ** 20);
  using index = new ParallelIndex(text);
  const time = async (way: "region" | "copy" | "shared buffer") => {
    const start = performance.now();
    await index.index(way);
    return performance.now() - start;
  };
  const ms = await inTurn({
    region: () => time("region"),
    copy: () => time("copy"),
    "shared buffer": () => time("shared buffer"),
  });
  report(
    "the pipeline on two Workers against copies",
    ">= 1.5",
    ms.copy / ms.region,
    `${ms.copy.toFixed(1)} / ${ms.region.toFixed(1)} ms; SharedArrayBuffer ${ms["shared buffer"].toFixed(1)} ms`,
  );
}
Deno.exit();
