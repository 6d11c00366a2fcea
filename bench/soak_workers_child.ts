// One kind of Workers in its own process, for bench/soak_workers.ts. Prints a line of JSON for each step.
import { BumpAlloc } from "../mod.ts";
import { memoryOf } from "./lib/measure.ts";
import { fillPattern, patternHolds, randomOf } from "../tests/support/pattern.ts";
import type { BystanderRequest } from "./soak_workers_bystander.ts";

/** The state after a step; memory in bytes. */
export interface SoakStep {
  /** Workers terminated so far. */
  terminated: number;
  /** Workers terminated before their first message. */
  loading: number;
  size: number;
  resident: number;
  /** Open descriptors, less the number at the beginning. */
  descriptors: number;
  /** Allocators that hold the region after all Workers have ended. */
  attached: number;
  /** Checked blocks of the main thread and of the Worker that stays. */
  blocks: number;
}

const [kind, workers, steps] = [Deno.args[0], Number(Deno.args[1]), Number(Deno.args[2])];
/** Workers alive at once. */
const AT_ONCE = 4;
/**
 * Most milliseconds before a Worker is terminated: half of them count from the start, the others from the end of
 * loading.
 */
const LONGEST = 100;
const OWN_BLOCKS = 200;

const random = randomOf(steps);
const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function descriptors(): number {
  return Deno.build.os === "linux" ? [...Deno.readDirSync("/proc/self/fd")].length : 0;
}

let terminated = 0;
let loading = 0;
let blocks = 0;

/** Starts Workers and terminates each at a random moment. */
async function terminateSome(file: string, count: number, first: unknown): Promise<void> {
  let left = count;
  const one = async () => {
    while (left-- > 0) {
      const worker = new Worker(new URL(file, import.meta.url), { type: "module" });
      let loaded = false;
      const loads = new Promise<void>((resolve) => {
        worker.onmessage = () => {
          loaded = true;
          worker.postMessage(first);
          resolve();
        };
      });
      worker.onerror = (event) => {
        console.error(event.message);
        Deno.exit(1);
      };
      if (random(2) === 0) await loads;
      await wait(random(LONGEST));
      worker.terminate();
      terminated++;
      if (!loaded) loading++;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

const before = descriptors();

function report(attached: number): void {
  const [size, resident] = [memoryOf("self", "VmSize"), memoryOf("self", "VmRSS")];
  const step: SoakStep = {
    terminated,
    loading,
    size,
    resident,
    descriptors: descriptors() - before,
    attached,
    blocks,
  };
  console.log(JSON.stringify(step));
}

/** Waits until no other allocator holds the region. The end of a Worker takes a moment. */
async function untilAlone(owner: BumpAlloc): Promise<void> {
  for (let i = 0; i < 1000 && owner.stats().attached > 1; i++) await wait(10);
  const { attached } = owner.stats();
  if (attached !== 1) throw new Error(`${attached - 1} terminated Workers still hold the region`);
}

async function soakRegion(): Promise<void> {
  const owner = BumpAlloc.withSize(2 ** 34);
  const handle = owner.share();
  const bystander = new Worker(new URL("./soak_workers_bystander.ts", import.meta.url), { type: "module" });
  const ask = (request: BystanderRequest) =>
    new Promise<number>((resolve, reject) => {
      bystander.onmessage = (event) => resolve(event.data);
      bystander.onerror = (event) => reject(new Error(event.message));
      bystander.postMessage(request);
    });
  for (let step = 0; step < steps; step++) {
    await ask({ kind: "begin", handle });
    const own = Array.from({ length: OWN_BLOCKS }, (_, i) => {
      const view = owner.alloc(1 + random(5000));
      fillPattern(view, i);
      return view;
    });
    await terminateSome("./soak_workers_worker.ts", workers / steps, handle);
    const wrong = own.filter((view, i) => !patternHolds(view, i)).length;
    if (wrong > 0) throw new Error(`${wrong} blocks of the owner are wrong`);
    blocks += OWN_BLOCKS + await ask({ kind: "end" });
    await untilAlone(owner);
    owner.reset({ retain: 0 });
    (globalThis as { gc?: () => void }).gc?.();
    await wait(200);
    report(owner.stats().attached);
  }
  owner.close();
  bystander.terminate();
}

async function soakPlain(): Promise<void> {
  for (let step = 0; step < steps; step++) {
    await terminateSome("./soak_workers_plain.ts", workers / steps, null);
    (globalThis as { gc?: () => void }).gc?.();
    await wait(200);
    report(0);
  }
}

await (kind === "region" ? soakRegion() : soakPlain());
Deno.exit();
