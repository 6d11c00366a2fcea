/**
 * `deno task bench scopes`: the ways to take memory back: marks, frames, scopes, reset, leases; also arrays, and buffers that grow.
 *
 * @module
 */
import { BumpAlloc, BumpPool } from "../mod.ts";
import { Bench, type Loop, STEADY, UNTOUCHED } from "./lib/measure.ts";

const bench = new Bench("scopes", { rounds: 11 });
const scratch = new BumpAlloc();
const buffer = new ArrayBuffer(65536);

/** Keeps the latest array reachable, so that the engine cannot optimise arrays away. */
const kept: { latest?: ArrayLike<number> } = {};

function write(numbers: Float64Array, from: number): number {
  for (let i = 0; i < 4; i++) numbers[i] = from + i + 0.5;
  kept.latest = numbers;
  return numbers[0] + numbers[3];
}

/** The same for the engine's own arrays. A shared function would see two types and be slow for both. */
function writePlain(numbers: number[], from: number): number {
  for (let i = 0; i < 4; i++) numbers[i] = from + i + 0.5;
  kept.latest = numbers;
  return numbers[0] + numbers[3];
}
scratch.alloc(64);

bench.about(
  "Marks and frames: the cheapest ways to take memory back, for one block in each turn of a loop. The " +
    "floor is a view of an existing buffer. Nothing is filled, by any way.",
);
await bench.compare({
  what: "64 B that come back at once",
  own: ["mark, alloc, rewind", (count) => {
    let view;
    for (let i = 0; i < count; i++) {
      const mark = scratch.mark();
      view = scratch.alloc(64);
      scratch.rewind(mark);
    }
    return view;
  }],
  peers: [["view of a buffer", (count) => {
    let view;
    for (let i = 0; i < count; i++) view = new Uint8Array(buffer, (i & 1023) * 64, 64);
    return view;
  }, { atMost: 1.3 }]],
});
/** Opens and ends a frame with one block in each way. */
const FRAMES: Record<string, [loop: Loop, atMost?: number]> = {
  "frame(), end()": [(count) => {
    for (let i = 0; i < count; i++) {
      const frame = scratch.frame();
      frame.alloc(64);
      frame.end();
    }
  }, 1.3],
  "frame(fn)": [(count) => {
    for (let i = 0; i < count; i++) scratch.frame((frame) => frame.alloc(64));
  }, 1.6],
  "using frame()": [(count) => {
    for (let i = 0; i < count; i++) {
      using frame = scratch.frame();
      frame.alloc(64);
    }
  }],
};
for (const [name, [loop, atMost]] of Object.entries(FRAMES)) {
  await bench.compare({
    what: `${name}, with one block of 64 B`,
    own: [name, loop],
    peers: [["mark, alloc, rewind", (count) => {
      for (let i = 0; i < count; i++) {
        const mark = scratch.mark();
        scratch.alloc(64);
        scratch.rewind(mark);
      }
    }, { atMost }], ["scope(), end()", (count) => {
      for (let i = 0; i < count; i++) {
        const scope = scratch.scope();
        scope.alloc(64);
        scope.end();
      }
    }]],
  });
}
bench.about(
  "A scope against new arrays that live equally long. The arrays are not filled, but zeroed and " +
    "collected all the same.",
);
await bench.compare({
  what: "ten blocks of 64 B",
  own: ["a scope", (count) => {
    for (let i = 0; i < count; i++) {
      const scope = scratch.scope();
      for (let j = 0; j < 10; j++) scope.alloc(64);
      scope.end();
    }
  }],
  peers: [["new Uint8Array", (count) => {
    let view;
    for (let i = 0; i < count; i++) for (let j = 0; j < 10; j++) view = new Uint8Array(64);
    return view;
  }, { atLeast: 2.5 }]],
}, { milliseconds: STEADY, note: UNTOUCHED });
bench.about(
  "The fixed cost of each way to end memory at once, without a peer: it is paid once for each scope, " +
    "lease or allocator, whatever is allocated in it. Detaching takes most of it.",
);
await bench.time("a scope with one block of 64 B", (count) => {
  for (let i = 0; i < count; i++) {
    const scope = scratch.scope();
    scope.alloc(64);
    scope.end();
  }
}, { asked: { atMost: 800 } });
await bench.time("a scope with using, one block of 64 B", (count) => {
  for (let i = 0; i < count; i++) {
    using scope = scratch.scope();
    scope.alloc(64);
  }
});
for (const [name, byteLength] of [["64 B", 64], ["512 MiB", 2 ** 29]] as const) {
  await bench.time(`alloc of ${name} and reset, which detaches it`, (count) => {
    for (let i = 0; i < count; i++) {
      scratch.alloc(byteLength);
      scratch.reset();
    }
  }, { asked: { atMost: 1000 } });
}
await bench.time("an allocator, one block of 64 B, and close", (count) => {
  for (let i = 0; i < count; i++) {
    const own = new BumpAlloc();
    own.alloc(64);
    own.close();
  }
});

const pool = new BumpPool({ limit: 4 });
const leased = { asked: { atMost: 1500 } };
await bench.time("a pool's lease, one block of 64 B, and close", (count) => {
  for (let i = 0; i < count; i++) {
    const lease = pool.lease();
    lease.alloc(64);
    lease.close();
  }
}, leased);
await bench.time("a pool's lease with using, one block of 64 B", (count) => {
  for (let i = 0; i < count; i++) {
    using lease = pool.lease();
    lease.alloc(64);
  }
}, leased);
const uses = bench.quick ? 1000 : 20_000;
const [{ samples }] = await bench.inTurn([["pool.use", async () => {
  const start = performance.now();
  for (let i = 0; i < uses; i++) await pool.use((lease) => void lease.alloc(64));
  return (performance.now() - start) * 1e6 / uses;
}]]);
bench.value("a pool's use, one block of 64 B, awaited", "ns", samples);
pool.close();

bench.about(
  "Typed arrays for numbers, and a buffer that grows while it is filled, against those of the engine. " +
    "An engine's own small array (new Array) is cheaper still.",
);
await bench.compare({
  what: "an array of 100 numbers",
  own: ["allocArray(Float64Array)", (count) => {
    let array;
    for (let done = 0; done < count; done += 1000) {
      scratch.reset();
      for (let i = 0; i < 1000; i++) array = scratch.allocArray(Float64Array, 100);
    }
    return array;
  }],
  peers: [["new Float64Array", (count) => {
    let array;
    for (let i = 0; i < count; i++) array = new Float64Array(100);
    return array;
  }]],
}, { batch: 1000, milliseconds: STEADY, note: UNTOUCHED });
await bench.compare({
  what: "an array of 4 numbers, written",
  own: ["allocArray(Float64Array)", (count) => {
    let sum = 0;
    for (let done = 0; done < count; done += 1000) {
      scratch.reset();
      for (let i = 0; i < 1000; i++) sum += write(scratch.allocArray(Float64Array, 4), i);
    }
    return sum;
  }],
  peers: [["new Float64Array", (count) => {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += write(new Float64Array(4), i);
    return sum;
  }], ["new Array", (count) => {
    let sum = 0;
    for (let i = 0; i < count; i++) sum += writePlain(new Array<number>(4), i);
    return sum;
  }]],
}, { batch: 1000, milliseconds: STEADY });
await bench.compare({
  what: "a buffer that grows from 64 B to 64 KiB",
  own: ["realloc, in place", (count) => {
    for (let i = 0; i < count; i++) {
      scratch.reset();
      let bytes = scratch.alloc(64);
      for (let size = 128; size <= 65536; size *= 2) bytes = scratch.realloc(bytes, size);
    }
  }],
  peers: [["new Uint8Array and set", (count) => {
    for (let i = 0; i < count; i++) {
      let bytes = new Uint8Array(64);
      for (let size = 128; size <= 65536; size *= 2) {
        const grown = new Uint8Array(size);
        grown.set(bytes);
        bytes = grown;
      }
    }
  }]],
}, { milliseconds: STEADY });
bench.finish();
