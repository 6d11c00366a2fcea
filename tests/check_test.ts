/** Wrong sizes, flags and options are refused, with an error that names their type. */
import { assertEquals, assertThrows } from "@std/assert";
import { BumpAlloc, BumpPool } from "../mod.ts";

Deno.test("options must be an object", () => {
  using scratch = new BumpAlloc({ size: 65536 });
  for (const wrong of [null, 5, "x"] as never[]) {
    assertThrows(() => new BumpPool(wrong), TypeError, "Cannot make a pool: options must be an object");
    assertThrows(() => new BumpAlloc(wrong), TypeError, "Cannot make an allocator: options must be an object");
    assertThrows(() => BumpAlloc.withSize(1, wrong), TypeError, "Cannot make an allocator: options must be an object");
    assertThrows(() => scratch.reset(wrong), TypeError, "Cannot reset: options must be an object");
  }
});

Deno.test("flags are true or false, and messages name the unit only where there is one", () => {
  for (const name of ["hugePages", "zero", "poison", "transferable"]) {
    for (const wrong of [1, 0, "yes", null, {}]) {
      const options = { [name]: wrong };
      assertThrows(() => new BumpAlloc(options), TypeError, `Cannot make an allocator: ${name} must be true or false`);
      assertThrows(() => new BumpPool(options), TypeError, `${name} must be true or false`);
    }
    new BumpAlloc({ [name]: undefined }).close();
  }
  assertThrows(() => new BumpPool({ limit: "5" as never }), TypeError, "the limit must be a number, not a string");
  using scratch = new BumpAlloc();
  assertThrows(
    () => scratch.allocArray(Int8Array, "5" as never),
    TypeError,
    "the length must be a number, not a string",
  );
});

Deno.test("a size that is no number, and a receiver that is no allocator, are TypeErrors that say so", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(8);
  const throwing = {
    valueOf() {
      throw new Error("mine");
    },
  };
  for (const wrong of [8n, Symbol(), throwing, null, "8", {}] as never[]) {
    for (const call of ["alloc", "offset", "allocZeroed", "tryAlloc", "allocView"] as const) {
      assertThrows(() => scratch[call](wrong), TypeError, "Cannot allocate: the size must be a number");
      assertThrows(() => scratch[call](8, wrong), TypeError, "Cannot allocate: the alignment must be a number");
    }
    assertThrows(() => scratch.allocArray(Int8Array, wrong), TypeError, "Cannot allocate: the length must be a number");
    assertThrows(() => scratch.view(wrong, 1), TypeError, "Cannot view: the offset must be a number");
    assertThrows(() => scratch.view(0, wrong), TypeError, "Cannot view: the size must be a number");
  }
  assertEquals(scratch.used, 8);
});
