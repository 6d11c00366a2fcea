// The behaviour of the process's own allocator; run by hooks_test.ts.
import { assert, assertEquals, assertThrows } from "../offline/assert.ts";
import { BumpAlloc, ClosedError, SharedError } from "../../mod.ts";

const scratch = BumpAlloc.withSize(2 ** 24);
using other = new BumpAlloc();
const { malloc, calloc, realloc, free, strdup, usableSize } = scratch.hooks.process;
assertEquals(scratch.hooks.process.malloc, malloc);
assertThrows(() => other.hooks.process, SharedError, "there is one already");

const call = (callback: Deno.PointerObject, ...sizes: (bigint | Deno.PointerValue)[]) =>
  new Deno.UnsafeFnPointer(callback as never, {
    parameters: sizes.map((value) => typeof value === "bigint" ? "usize" : "pointer") as "usize"[],
    result: "pointer",
  }).call(...sizes as bigint[]);
const inside = (pointer: Deno.PointerValue) => {
  const offset = Deno.UnsafePointer.value(pointer) - address;
  return offset >= 0n && offset < 2n ** 24n;
};
const address = scratch.address;

const block = call(malloc, 1000n)!;
assert(inside(block));
const bytes = new Uint8Array(new Deno.UnsafePointerView(block).getArrayBuffer(1000)).fill(255);
assertEquals(Deno.UnsafePointer.value(call(usableSize, block)), 1016n);
call(free, block);
const zero = call(calloc, 100n, 8n)!;
assertEquals(Deno.UnsafePointer.value(zero), Deno.UnsafePointer.value(block));
assert(bytes.subarray(0, 800).every((byte) => byte === 0));
assertEquals(call(calloc, 2n ** 33n, 2n ** 33n), null);
assert(inside(call(realloc, zero, 2000n)));
const text = call(strdup, Deno.UnsafePointer.of(new TextEncoder().encode("kept\0")))!;

// Scopes work as usual; calls that would take memory away from native libraries are refused.
{
  using scope = scratch.scope();
  scope.alloc(1000).fill(1);
}
scratch.trim();
const before = scratch.alloc(10);
scratch.reset(); // the allocator's own memory; native blocks stay
assertEquals(before.length, 0);
assertEquals(new Deno.UnsafePointerView(text).getCString(), "kept");
assertEquals(scratch.stats().attached, 2); // the library holds the region too
const view = scratch.alloc(10);
const { hooks } = scratch;
scratch.close();
assertEquals([view.length, scratch.closed], [0, true]);
assertThrows(() => hooks.process, ClosedError);
assertThrows(() => other.hooks.process, SharedError);
assertEquals(new Deno.UnsafePointerView(text).getCString(), "kept");
assert(inside(call(malloc, 2n ** 20n)));
assertEquals(call(malloc, 2n ** 24n), null);
console.log(JSON.stringify("as documented"));
