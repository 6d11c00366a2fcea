// `deno task bench`: allocation by size, each way against the bare view.
import { Buffer } from "node:buffer";
import { MemPool } from "@thi.ng/malloc";
import { BumpAlloc } from "../mod.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

for (
  const [size, name] of [[16, "16 B"], [64, "64 B"], [KIB, "1 KiB"], [64 * KIB, "64 KiB"], [MIB, "1 MiB"], [
    16 * MIB,
    "16 MiB",
  ]] as const
) {
  const group = name;
  const scratch = new BumpAlloc({ window: 64 * MIB });
  const start = scratch.mark();
  // As many allocations as fit 64 MiB, then from the start again: the same for all that bump.
  const count = Math.min(10_000, Math.floor(64 * MIB / size));
  const buffer = new ArrayBuffer(64 * MIB);
  let at = 0;
  Deno.bench({ name: `bare view, ${name}`, group, baseline: true }, () => {
    new Uint8Array(buffer, at * size, size);
    if (++at === count) at = 0;
  });
  let taken = 0;
  Deno.bench({ name: `BumpAlloc.alloc, ${name}`, group }, () => {
    scratch.alloc(size);
    if (++taken === count) {
      taken = 0;
      scratch.rewind(start);
    }
  });
  Deno.bench({ name: `new Uint8Array, ${name}`, group }, () => void new Uint8Array(size));
  Deno.bench({ name: `Buffer.allocUnsafe, ${name}`, group }, () => void Buffer.allocUnsafe(size));
  const memory = new WebAssembly.Memory({ initial: 1024 });
  let cursor = 0;
  Deno.bench({ name: `bump over WebAssembly.Memory, ${name}`, group }, () => {
    new Uint8Array(memory.buffer, cursor, size);
    cursor += size;
    if (cursor + size > 64 * MIB) cursor = 0;
  });
  const pool = new MemPool({ size: 65 * MIB });
  Deno.bench({ name: `@thi.ng/malloc and free, ${name}`, group }, () => {
    const address = pool.malloc(size);
    new Uint8Array(pool.buf, address, size);
    pool.free(address);
  });
  const pointer = Deno.UnsafePointer.of(new Uint8Array(buffer));
  Deno.bench({ name: `getArrayBuffer, ${name}`, group }, () => {
    new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer!, size, 0));
  });
}

const scratch = new BumpAlloc();
Deno.bench({ name: "a scope with ten allocations of 64 B", group: "scope", baseline: true }, () => {
  using scope = scratch.scope();
  for (let i = 0; i < 10; i++) scope.alloc(64);
});
Deno.bench({ name: "ten new Uint8Array(64)", group: "scope" }, () => {
  for (let i = 0; i < 10; i++) new Uint8Array(64);
});
Deno.bench({ name: "a scope with one allocation", group: "scope" }, () => {
  using scope = scratch.scope();
  scope.alloc(64);
});
Deno.bench({ name: "mark, alloc, rewind", group: "scope" }, () => {
  const mark = scratch.mark();
  scratch.alloc(64);
  scratch.rewind(mark);
});
Deno.bench({ name: "alloc, reset", group: "scope" }, () => {
  scratch.alloc(64);
  scratch.reset();
});
