/**
 * `deno task bench allocation`: allocation by size, against what a program would use instead; `offset` against the same in C.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { MemPool } from "@thi.ng/malloc";
import { BumpAlloc } from "../mod.ts";
import { compileAtomicBump } from "./lib/atomic_bump.ts";
import { type Asked, Bench, type Loop, type LoopOptions, STEADY, UNTOUCHED } from "./lib/measure.ts";

const bench = new Bench("allocation", { rounds: 11, quickRounds: 1 });
const KIB = 1024;
const MIB = 1024 * KIB;
/** Room of each bump allocator before it starts over. */
const ROOM = 64 * MIB;

/** A bump allocator over WebAssembly's memory, as a program would write it in ten lines. */
class WasmBump {
  readonly #bytes = new WebAssembly.Memory({ initial: ROOM / 65536 }).buffer;
  #cursor = 0;

  alloc(byteLength: number): Uint8Array {
    const start = (this.#cursor + 7) & -8;
    this.#cursor = start + byteLength;
    return new Uint8Array(this.#bytes, start, byteLength);
  }

  reset(): void {
    this.#cursor = 0;
  }
}

const scratch = new BumpAlloc({ window: ROOM });
const start = scratch.mark();
const buffer = new ArrayBuffer(ROOM);
const wasm = new WasmBump();
const pointer = Deno.UnsafePointer.of(new Uint8Array(buffer))!;

/** Loops that allocate `size` bytes; bump allocators start over after `fits` blocks. */
function ways(size: number, fits: number): Record<string, Loop> {
  const pool = new MemPool({ size: ROOM + MIB });
  return {
    "alloc": (count) => {
      let view;
      for (let done = 0; done < count; done += fits) {
        scratch.rewind(start);
        for (let i = 0; i < fits; i++) view = scratch.alloc(size);
      }
      return view;
    },
    "view of a buffer": (count) => {
      let view;
      for (let done = 0; done < count; done += fits) {
        for (let i = 0; i < fits; i++) view = new Uint8Array(buffer, i * size, size);
      }
      return view;
    },
    "new Uint8Array": (count) => {
      let view;
      for (let i = 0; i < count; i++) view = new Uint8Array(size);
      return view;
    },
    "Buffer.allocUnsafe": (count) => {
      let view;
      for (let i = 0; i < count; i++) view = Buffer.allocUnsafe(size);
      return view;
    },
    "bump over WebAssembly.Memory": (count) => {
      let view;
      for (let done = 0; done < count; done += fits) {
        wasm.reset();
        for (let i = 0; i < fits; i++) view = wasm.alloc(size);
      }
      return view;
    },
    "@thi.ng/malloc": (count) => {
      let view;
      for (let done = 0; done < count; done += fits) {
        pool.freeAll();
        for (let i = 0; i < fits; i++) view = pool.mallocAs("u8", size);
      }
      return view;
    },
    // Faster than the way in its documentation.
    "@thi.ng/malloc's addresses, and views made by hand": (count) => {
      let view;
      for (let done = 0; done < count; done += fits) {
        pool.freeAll();
        for (let i = 0; i < fits; i++) view = new Uint8Array(pool.buf, pool.malloc(size), size);
      }
      return view;
    },
    "getArrayBuffer": (count) => {
      let view;
      for (let i = 0; i < count; i++) view = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, size));
      return view;
    },
  };
}

const SIZES = [16, 64, KIB, 64 * KIB, MIB, 16 * MIB];
const asked: Record<string, Record<number, Asked>> = {
  "view of a buffer": Object.fromEntries(SIZES.map((size) => [size, { atLeast: 0.952 }])),
  "new Uint8Array": {
    64: { atLeast: 20 },
    [KIB]: { atLeast: 30 },
    [64 * KIB]: { atLeast: 140 },
    [16 * MIB]: { atLeast: 40_000 },
  },
  "Buffer.allocUnsafe": { 64: { atLeast: 1.7 }, [KIB]: { atLeast: 9 } },
  "@thi.ng/malloc": { 64: { atLeast: 1.4 } },
};
/** Ways that leave only views as garbage. The bare view is the floor for every way that returns one. */
const VIEWS_ONLY = [
  "view of a buffer",
  "bump over WebAssembly.Memory",
  "@thi.ng/malloc",
  "@thi.ng/malloc's addresses, and views made by hand",
];
for (const size of SIZES) {
  const name = sizeName(size);
  const fits = Math.min(10_000, ROOM / size);
  const { alloc, ...peers } = ways(size, fits);
  const compare = (what: string, names: string[], options: LoopOptions) =>
    bench.compare({
      what,
      own: ["alloc", alloc],
      peers: names.map((peer) => [peer, peers[peer], asked[peer]?.[size]]),
    }, { batch: fits, ...options });
  // They differ by a few percent, and a virtual machine's processor changes its speed by more from one moment to the
  // next: more rounds, with one after the other.
  bench.about(
    `Blocks of ${name}, allocated and not filled, against other views over memory that exists already. All pay for one ` +
      "view and nothing else, so this shows what the bump adds to the view; the bare view is the floor.",
  );
  await compare(`allocate ${name}, beside views of one buffer`, VIEWS_ONLY, {
    milliseconds: 100,
    rounds: 19,
  });
  const others = Object.keys(peers).filter((peer) => !VIEWS_ONLY.includes(peer));
  bench.about(
    `Blocks of ${name} against new ones from the heap. Nothing is filled: a new array is zeroed and collected all the ` +
      "same, so these ratios compare untouched memory. The bench filled shows what a program gains.",
  );
  await compare(`allocate ${name}`, others, { milliseconds: STEADY, note: UNTOUCHED });
}

bench.about(
  "Node keeps the bytes of arrays up to 64 bytes on the engine's own heap, where they are cheapest. " +
    "This is the best that small arrays can cost; Deno does not do it.",
);
for (const size of [16, 64]) await besideNode(size);

const atomicBump = compileAtomicBump();
if (atomicBump !== null) {
  bench.about(
    "An offset without a view, against a loop in C over an atomic cursor: the lower bound of a bump " +
      "allocator that threads share.",
  );
  await bench.compare({
    what: "an offset of 64 B",
    own: ["offset", (count) => {
      let sum = 0;
      for (let done = 0; done < count; done += 100_000) {
        scratch.rewind(start);
        for (let i = 0; i < 100_000; i++) sum ^= scratch.offset(64);
      }
      return sum;
    }],
    peers: [["an atomic bump in a C loop", (count) => {
      for (let done = 0; done < count; done += 100_000) atomicBump(100_000, 64, 2 ** 30);
    }, { atMost: 1 }]],
  }, { batch: 100_000 });
}
bench.finish();

function sizeName(size: number): string {
  return size < KIB ? `${size} B` : size < MIB ? `${size / KIB} KiB` : `${size / MIB} MiB`;
}

/**
 * `alloc` here, beside `new Uint8Array` in Node: up to 64 bytes Node keeps an array's bytes on the engine's own heap, which
 * Deno does not.
 */
async function besideNode(size: number): Promise<void> {
  const what = `${size} B, beside Node's arrays on its own heap`;
  if (!bench.wants(what)) return;
  const script = `
    function loop(count) {
      let view;
      for (let i = 0; i < count; i++) view = new Uint8Array(${size});
      return view;
    }
    loop(1e6);
    gc();
    const count = ${bench.quick ? 1e5 : 1e7};
    const start = performance.now();
    loop(count);
    console.log((performance.now() - start) * 1e6 / count);`;
  const measureNode = () => {
    const { stdout } = new Deno.Command("node", { args: ["--expose-gc", "-e", script], stderr: "inherit" })
      .outputSync();
    return Number(new TextDecoder().decode(stdout));
  };
  try {
    const options = { batch: 10_000, milliseconds: STEADY };
    const [own, node] = await bench.inTurn([
      ["alloc", bench.timer(ways(size, 10_000).alloc, options)],
      ["new Uint8Array in Node", measureNode],
    ]);
    bench.compared("ns", { what, own: [own.name, own.samples], peers: [[node.name, node.samples]] }, {
      note: UNTOUCHED,
    });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    console.error("alloc is not measured beside Node's arrays: there is no Node here");
  }
}
