/**
 * `deno task bench:figures`: the figures that the README quotes, as ratios of pairs measured in turn in one run.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { MemPool } from "@thi.ng/malloc";
import { BumpAlloc } from "../mod.ts";

const quick = Deno.args.includes("--quick");
const ROUNDS = quick ? 3 : 15;
const MIB = 2 ** 20;

/** Runs its body `count` times. */
type Loop = (count: number) => unknown;

function nanoseconds(loop: Loop, count: number): number {
  const start = performance.now();
  loop(count);
  return (performance.now() - start) * 1e6 / count;
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** Prints how many times as long `other` takes as `own`; both in turn, several rounds, medians. */
function compare(what: string, asked: string, own: Loop, other: Loop, count: number, otherCount = count): void {
  if (quick) [count, otherCount] = [Math.max(1, count >> 5), Math.max(1, otherCount >> 5)];
  const times: [number[], number[]] = [[], []];
  const ratios: number[] = [];
  for (let round = 0; round < ROUNDS + 2; round++) {
    const pair = [nanoseconds(own, count), nanoseconds(other, otherCount)] as const;
    if (round < 2) continue; // they compile the loops
    pair.forEach((time, i) => times[i].push(time));
    ratios.push(pair[1] / pair[0]);
  }
  const [a, b] = times.map(median);
  console.log(
    `| ${what} | ${asked} | ${median(ratios).toPrecision(3)} | ${a.toPrecision(3)} | ${b.toPrecision(3)} |`,
  );
}

/** The C loop, where a C compiler is at hand. */
function compileAtomicBump(): ((count: number, size: number, capacity: number) => unknown) | null {
  const folder = Deno.makeTempDirSync();
  try {
    const source = new URL("./atomic_bump.c", import.meta.url).pathname;
    const args = ["-std=c11", "-O2", "-fPIC", "-shared", source, "-o", `${folder}/atomic_bump.so`];
    const { success } = new Deno.Command("cc", { args }).outputSync();
    if (!success) throw new Error("cc failed");
    return Deno.dlopen(`${folder}/atomic_bump.so`, {
      atomic_bump_loop: { parameters: ["u32", "u32", "f64"], result: "u64" },
    }).symbols.atomic_bump_loop;
  } catch (error) {
    console.error(`offset is not measured against a C loop: ${(error as Error).message}`);
    return null;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

console.log("| what | asked | ratio | own ns | other ns |\n|---|---|---|---|---|");

const scratch = new BumpAlloc({ window: 64 * MIB });
const start = scratch.mark();
const buffer = new ArrayBuffer(64 * MIB);
for (
  const [size, times, count] of [[16, 0, 1e6], [64, 20, 1e6], [1024, 30, 5e5], [65536, 140, 2e4], [MIB, 0, 2e4], [
    16 * MIB,
    40_000,
    2e4,
  ]]
) {
  const fits = Math.min(10_000, Math.floor(64 * MIB / size));
  const own: Loop = (count) => {
    let view;
    for (let done = 0; done < count; done += fits) {
      scratch.rewind(start);
      for (let i = 0; i < fits; i++) view = scratch.alloc(size);
    }
    return view;
  };
  const bare: Loop = (count) => {
    let view;
    for (let done = 0; done < count; done += fits) {
      for (let i = 0; i < fits; i++) view = new Uint8Array(buffer, i * size, size);
    }
    return view;
  };
  compare(`the bare view, ${size} B`, ">= 0.95", own, bare, count * 2);
  const heap: Loop = (count) => {
    let view;
    for (let i = 0; i < count; i++) view = new Uint8Array(size);
    return view;
  };
  compare(`new Uint8Array, ${size} B`, times > 0 ? `>= ${times}` : "", own, heap, count, Math.max(10, count / 200));
  if (size > 1024) continue;
  const node: Loop = (count) => {
    let view;
    for (let i = 0; i < count; i++) view = Buffer.allocUnsafe(size);
    return view;
  };
  compare(`Buffer.allocUnsafe, ${size} B`, size === 64 ? ">= 1.7" : size === 1024 ? ">= 9" : "", own, node, count);
  if (size !== 64) continue;
  const pool = new MemPool({ size: 2 * MIB });
  compare("@thi.ng/malloc with freeing everything, 64 B", ">= 1.4", own, (count) => {
    let view;
    for (let done = 0; done < count; done += fits) {
      pool.freeAll();
      for (let i = 0; i < fits; i++) view = new Uint8Array(pool.buf, pool.malloc(64), 64);
    }
    return view;
  }, count);
}
scratch.reset();
const again = scratch.mark();
compare(
  "mark, alloc, rewind against the bare view (own / bare <= 1.3)",
  ">= 0.77",
  (count) => {
    let view;
    for (let i = 0; i < count; i++) {
      const mark = scratch.mark();
      view = scratch.alloc(64);
      scratch.rewind(mark);
    }
    return view;
  },
  (count) => {
    let view;
    for (let i = 0; i < count; i++) view = new Uint8Array(buffer, (i & 1023) * 64, 64);
    return view;
  },
  1e6,
);
compare(
  "a scope with ten 64 B allocations against ten new Uint8Array(64)",
  ">= 2.5",
  (count) => {
    for (let i = 0; i < count; i++) {
      const scope = scratch.scope();
      for (let j = 0; j < 10; j++) scope.alloc(64);
      scope.end();
    }
  },
  (count) => {
    let view;
    for (let i = 0; i < count; i++) for (let j = 0; j < 10; j++) view = new Uint8Array(64);
    return view;
  },
  1e5,
);
const offsets: Loop = (count) => {
  let sum = 0;
  for (let done = 0; done < count; done += 100_000) {
    scratch.rewind(again);
    for (let i = 0; i < 100_000; i++) sum ^= scratch.offset(64);
  }
  return sum;
};
const atomicBump = compileAtomicBump();
if (atomicBump !== null) {
  const loop: Loop = (count) => {
    for (let done = 0; done < count; done += 100_000) atomicBump(100_000, 64, 2 ** 30);
  };
  compare("offset against an atomic bump in a C loop", ">= 1", offsets, loop, 2e6);
}
compare(
  "a scope with one allocation (own < 800 ns) against offset (other)",
  "",
  (count) => {
    for (let i = 0; i < count; i++) {
      const scope = scratch.scope();
      scope.alloc(64);
      scope.end();
    }
  },
  offsets,
  1e5,
  2e6,
);
compare(
  "alloc and reset",
  "",
  (count) => {
    for (let i = 0; i < count; i++) {
      scratch.alloc(64);
      scratch.reset();
    }
  },
  (count) => {
    let view;
    for (let i = 0; i < count; i++) view = new Uint8Array(64);
    return view;
  },
  1e5,
);
compare(
  "allocArray(Float64Array, 100) against new Float64Array(100)",
  "",
  (count) => {
    let array;
    for (let done = 0; done < count; done += 1000) {
      scratch.reset();
      for (let i = 0; i < 1000; i++) array = scratch.allocArray(Float64Array, 100);
    }
    return array;
  },
  (count) => {
    let array;
    for (let i = 0; i < count; i++) array = new Float64Array(100);
    return array;
  },
  2e5,
);
compare(
  "growing a buffer from 64 B to 64 KiB by realloc, in place, against copying it",
  "",
  (count) => {
    for (let i = 0; i < count; i++) {
      scratch.reset();
      let bytes = scratch.alloc(64);
      for (let size = 128; size <= 65536; size *= 2) bytes = scratch.realloc(bytes, size);
    }
  },
  (count) => {
    for (let i = 0; i < count; i++) {
      let bytes = new Uint8Array(64);
      for (let size = 128; size <= 65536; size *= 2) {
        const grown = new Uint8Array(size);
        grown.set(bytes);
        bytes = grown;
      }
    }
  },
  1e4,
  2000,
);
scratch.reset();
const view = scratch.alloc(64);
compare(
  "addressOf against UnsafePointer.of",
  ">= 20",
  (count) => {
    let address;
    for (let i = 0; i < count; i++) address = scratch.addressOf(view);
    return address;
  },
  (count) => {
    let pointer;
    for (let i = 0; i < count; i++) pointer = Deno.UnsafePointer.of(view);
    return pointer;
  },
  1e6,
  1e5,
);
compare(
  "pointerOf against UnsafePointer.of",
  ">= 4",
  (count) => {
    let pointer;
    for (let i = 0; i < count; i++) pointer = scratch.pointerOf(view);
    return pointer;
  },
  (count) => {
    let pointer;
    for (let i = 0; i < count; i++) pointer = Deno.UnsafePointer.of(view);
    return pointer;
  },
  1e6,
  1e5,
);
