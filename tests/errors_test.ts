/** An error names the operation, and its stack begins at the line of the call. */
import { assert, assertMatch, assertStringIncludes } from "@std/assert";
import { BumpAlloc } from "../mod.ts";

// deno-lint-ignore no-explicit-any -- bad calls are the point
type Any = any;

const CALLS: Record<string, (scratch: BumpAlloc) => unknown> = {
  alloc: (scratch) => scratch.alloc(-1),
  allocZeroed: (scratch) => scratch.allocZeroed(2 ** 40),
  tryAlloc: (scratch) => scratch.tryAlloc("8" as Any),
  allocArray: (scratch) => scratch.allocArray(Float64Array, 2 ** 40),
  allocView: (scratch) => scratch.allocView(8, 3),
  copy: (scratch) => scratch.copy([1] as Any),
  realloc: (scratch) => scratch.realloc(new Uint8Array(8), 16),
  free: (scratch) => scratch.free(5 as Any),
  offset: (scratch) => scratch.offset(NaN),
  view: (scratch) => scratch.view(0, 2 ** 20),
  rewind: (scratch) => scratch.rewind({} as Any),
  owns: (scratch) => scratch.owns(null as Any),
  addressOf: (scratch) => scratch.addressOf(new Uint8Array(8)),
  pointerOf: (scratch) => scratch.pointerOf(new Uint8Array(8)),
  cstring: (scratch) => scratch.cstring("a\0b"),
  cstringArray: (scratch) => scratch.cstringArray(["fine", "é".repeat(200) + "\0"]),
  pin: (scratch) => scratch.pin(5 as Any),
  reset: (scratch) => scratch.reset({ retain: -1 }),
  trim: (scratch) => scratch.trim(-1),
  share: (scratch) => {
    scratch.close();
    scratch.share();
  },
};

for (const [name, call] of Object.entries(CALLS)) {
  Deno.test(`${name}: a bad call's error begins at the caller's line`, () => {
    using scratch = new BumpAlloc();
    const { used } = scratch;
    try {
      call(scratch);
    } catch (error) {
      assert(error instanceof Error);
      assertMatch(error.message, /^Cannot [a-z]/);
      const [header, first] = error.stack!.split("\n").filter((line) => line !== error.message.split("\n")[1]);
      assertStringIncludes(header, error.name);
      assertStringIncludes(first, import.meta.url);
      assert(scratch.closed || scratch.used === used);
      return;
    }
    assert(false, "nothing was thrown");
  });
}
