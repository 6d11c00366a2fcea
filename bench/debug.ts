/**
 * `deno task bench debug`: what debug mode costs when it is on: blocks, frames, scopes, leases and allocators against the same
 * without it.
 *
 * @module
 */
import { BumpAlloc, BumpPool } from "../mod.ts";
import { Bench, type Loop } from "./lib/measure.ts";

const bench = new Bench("debug", { rounds: 11 });

/** One block of 64 B in each way, with debug mode on or off. */
function loops(own: BumpAlloc, pool: BumpPool, debug: boolean): Record<string, Loop> {
  return {
    "alloc": (count) => {
      for (let done = 0; done < count; done += 1000) {
        own.reset();
        for (let i = 0; i < 1000; i++) own.alloc(64);
      }
    },
    "frame(fn)": (count) => {
      for (let i = 0; i < count; i++) own.frame((frame) => frame.alloc(64));
    },
    "a scope": (count) => {
      for (let i = 0; i < count; i++) {
        const scope = own.scope();
        scope.alloc(64);
        scope.end();
      }
    },
    "a lease": (count) => {
      for (let i = 0; i < count; i++) {
        const lease = pool.lease();
        lease.alloc(64);
        lease.close();
      }
    },
    "an allocator": (count) => {
      for (let i = 0; i < count; i++) {
        const own = new BumpAlloc({ debug });
        own.alloc(64);
        own.close();
      }
    },
  };
}

using plain = new BumpAlloc({ debug: false });
using plainPool = new BumpPool({ debug: false });
using debugged = new BumpAlloc({ debug: true });
using debuggedPool = new BumpPool({ debug: true });
bench.about(
  "Debug mode, on against off: one block of 64 B from an allocator, and in a frame, a scope, a lease and an allocator " +
    "that ends at once. Tests in debug mode pay this.",
);
const off = loops(plain, plainPool, false);
const on = loops(debugged, debuggedPool, true);
for (const name of Object.keys(off)) {
  await bench.compare({ what: name, own: ["off", off[name]], peers: [["on", on[name]]] }, { batch: 1000 });
}
bench.finish();
