/** Typed arrays and other views: their own properties are not trusted; copies and resized arrays are right. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { BumpAlloc, OutOfMemoryError, type Scratch } from "../mod.ts";
import { fillPattern, patternHolds } from "./support/pattern.ts";

Deno.test("free does nothing; realloc keeps the bytes and refuses foreign arrays", () => {
  using scratch = new BumpAlloc();
  using other = new BumpAlloc();
  const foreign = other.alloc(8);
  scratch.free(foreign);
  assertThrows(() => scratch.free(5 as never), TypeError);
  assertThrows(() => scratch.realloc(foreign, 16), TypeError);
  assertThrows(() => scratch.realloc(new Uint8Array(8), 16), TypeError);
  assertThrows(() => scratch.addressOf(foreign), TypeError);
  let view = scratch.alloc(100);
  fillPattern(view, 1);
  const address = scratch.addressOf(view);
  view = scratch.realloc(view, 3 * 2 ** 20); // across windows, in place
  assertEquals(scratch.addressOf(view), address);
  assert(patternHolds(view.subarray(0, 100), 1));
  view = scratch.realloc(view, 50);
  assertEquals(scratch.used, 50);
  scratch.alloc(1);
  const moved = scratch.realloc(view, 60);
  assert(scratch.addressOf(moved) !== address);
  assert(patternHolds(moved.subarray(0, 50), 1));
  const before = scratch.used;
  assertThrows(() => scratch.realloc(moved, 2 ** 31), OutOfMemoryError);
  assertEquals(scratch.used, before);
  assert(patternHolds(moved.subarray(0, 50), 1));
});

Deno.test("realloc: the same length takes nothing, an empty view grows to an aligned one, a block that cannot grow is copied", () => {
  using scratch = BumpAlloc.withSize(2 ** 24, { window: 65536 });
  const first = scratch.alloc(100);
  scratch.alloc(3, 1);
  const { used } = scratch;
  assertEquals(scratch.addressOf(scratch.realloc(first, 100)), scratch.addressOf(first));
  assertEquals(scratch.used, used);
  const empty = scratch.alloc(0, 1);
  assertEquals(scratch.addressOf(scratch.realloc(empty, 8)) % 8n, 0n);
  // A native block follows, so that the last block cannot grow in place.
  const last = scratch.alloc(1000);
  fillPattern(last, 3);
  const { alloc, bump } = scratch.hooks.native;
  const type = { parameters: ["pointer", "usize", "usize"], result: "pointer" } as const;
  new Deno.UnsafeFnPointer(alloc as Deno.PointerObject<typeof type>, type).call(bump, 16n, 16n);
  const moved = scratch.realloc(last, 200_000);
  assert(moved.buffer !== last.buffer);
  assert(patternHolds(moved.subarray(0, 1000), 3));
});

Deno.test("a block that begins at 2 GiB of its window can be reallocated", () => {
  // Debug mode would fill two gigabytes at the end.
  using scratch = BumpAlloc.withSize(2 ** 34, { debug: false });
  const { buffer } = scratch.alloc(2 ** 31 + 4096);
  assertEquals(scratch.realloc(new Uint8Array(buffer, 2 ** 31, 4096), 10).length, 10);
  assertEquals(scratch.used, 2 ** 31 + 10);
});

Deno.test("shrinking does not move the cursor below the own chunk, into others' bytes", () => {
  using owner = BumpAlloc.withSize(2 ** 26);
  const handle = owner.share();
  const first = BumpAlloc.attach(handle);
  const offset = Number(first.addressOf(first.alloc(100).fill(1)) - first.address);
  first.close(); // the next chunk begins in the same page
  const kept = owner.view(offset, 100);
  using second = BumpAlloc.attach(handle);
  const last = second.alloc(8);
  second.realloc(new Uint8Array(last.buffer, 0, last.byteOffset + 8), 0);
  second.alloc(64).fill(2);
  assert(kept.every((byte) => byte !== 2));
});

Deno.test("copy keeps type and elements, also of subclasses", async () => {
  using scratch = new BumpAlloc();
  const { Buffer } = await import("node:buffer");
  assertEquals([...scratch.copy(new Float32Array([1.5, 2]))], [1.5, 2]);
  assertEquals(scratch.copy(new BigInt64Array([-5n])), new BigInt64Array([-5n]));
  assertEquals(scratch.copy(new DataView(new Uint8Array([1, 2, 3]).buffer, 1)).getUint8(1), 3);
  assertEquals(scratch.copy(Buffer.from("hi")).byteLength, 2);
  assertEquals(scratch.copy(new Uint8Array(0)).length, 0);
  assertThrows(() => scratch.copy([1] as never), TypeError);
});

Deno.test("copy refuses a source whose buffer was transferred away", () => {
  using scratch = new BumpAlloc();
  const buffer = new ArrayBuffer(8);
  const views = [new Uint8Array(buffer), new Float64Array(buffer), new DataView(buffer)];
  buffer.transfer();
  for (const view of views) {
    assertThrows(() => scratch.copy(view), TypeError, "Cannot copy: the view's buffer was transferred away");
  }
  assertEquals(scratch.used, 0);
});

Deno.test("copy and realloc use a view's real bytes, not its own properties", () => {
  using scratch = new BumpAlloc();
  const lying = { byteLength: { value: 2 ** 20 }, byteOffset: { value: 0 }, buffer: { value: new ArrayBuffer(3) } };
  const source = Object.defineProperties(new Uint16Array([1, 2, 3]), lying);
  assertEquals([...scratch.copy(source)], [1, 2, 3]);
  const view = Object.defineProperties(new DataView(new Uint8Array([4, 5]).buffer, 1), lying);
  Object.setPrototypeOf(view, Uint8Array.prototype);
  assertEquals(DataView.prototype.getUint8.call(scratch.copy(view), 0), 5);
  const live = scratch.alloc(64).fill(1);
  const last = Object.defineProperties(scratch.alloc(16).fill(2), {
    byteOffset: { value: live.byteOffset },
    byteLength: { value: 80 },
    subarray: { value: () => new Uint8Array(9) },
    fill: { value: () => live.fill(0) },
  });
  assertEquals([...scratch.realloc(last, 2 ** 21).subarray(0, 16)], new Array(16).fill(2));
  scratch.alloc(64).fill(3);
  assert(live.every((byte) => byte === 1));
  assertThrows(() => scratch.realloc(Object.create(Uint8Array.prototype), 8), TypeError, "a typed array is needed");
});

Deno.test("only a view has an address", () => {
  using scratch = new BumpAlloc();
  const { buffer } = scratch.alloc(8);
  for (const byteOffset of ["5", 5, -1e9, {}, undefined]) {
    const forged = { buffer, byteOffset, byteLength: 8 } as never;
    assertThrows(() => scratch.addressOf(forged), TypeError, "Cannot take the address: a typed array or DataView");
    assertThrows(() => scratch.pointerOf(forged), TypeError, "Cannot take the address: a typed array or DataView");
  }
});

Deno.test("a class whose constructor allocates or throws, or has a wrong element size, overlaps nothing", () => {
  using scratch = new BumpAlloc();
  const live = scratch.alloc(64).fill(1);
  class Nested {
    static readonly BYTES_PER_ELEMENT = 1;
    readonly own: Uint8Array;
    readonly nested: Uint8Array;
    constructor(buffer: ArrayBuffer, offset: number, length: number) {
      this.own = new Uint8Array(buffer, offset, length).fill(2);
      this.nested = scratch.alloc(100).fill(3);
    }
  }
  const { own, nested } = scratch.allocArray(Nested, 10);
  scratch.alloc(200).fill(4);
  assert(live.every((b) => b === 1) && own.every((b) => b === 2) && nested.every((b) => b === 3));
  class Throws extends Uint8Array {
    constructor() {
      super(1);
      throw new Error("mine");
    }
  }
  assertThrows(() => scratch.allocArray(Throws, 100), Error, "mine");
  const other = new BumpAlloc();
  other.alloc(64);
  let after!: Uint8Array;
  class ThrowsAfterReset extends Throws {
    constructor() {
      other.reset();
      after = other.alloc(164).fill(6); // up to where this one's memory ended
      super();
    }
  }
  assertThrows(() => other.allocArray(ThrowsAfterReset, 100), Error, "mine");
  other.alloc(100).fill(7);
  assert(after.every((byte) => byte === 6));
  other.close();
  const { used } = scratch;
  for (const BYTES_PER_ELEMENT of [-8, 0, 0.1, 3, -1e9, NaN, Infinity, "8"]) {
    const type = Object.assign(class {}, { BYTES_PER_ELEMENT });
    assertThrows(() => scratch.allocArray(type as never, 10), TypeError, "typed array constructor");
  }
  assertEquals(scratch.used, used);
});

Deno.test("copy works after a program replaces or deletes the global typed arrays", () => {
  using scratch = new BumpAlloc();
  const globals = globalThis as Record<string, unknown>;
  const sources = [new Uint16Array([1, 2]), new Float64Array([3]), new Uint8ClampedArray([4])];
  const { Uint16Array: saved, Float64Array: other } = globalThis;
  try {
    globals.Uint16Array = class Mine {};
    delete globals.Float64Array;
    for (const source of sources) {
      const copy = scratch.copy(source);
      assertEquals([Object.getPrototypeOf(copy), ...copy], [Object.getPrototypeOf(source), ...source]);
    }
  } finally {
    Object.assign(globalThis, { Uint16Array: saved, Float64Array: other });
  }
});

Deno.test("a global Uint8Array that allocates when it is constructed is not used", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(8);
  const saved = Uint8Array;
  let constructed = 0;
  globalThis.Uint8Array = class extends saved {
    constructor(...args: unknown[]) {
      super(...args as [number]);
      constructed++;
    }
  } as unknown as typeof Uint8Array;
  try {
    scratch.alloc(8);
    scratch.allocZeroed(8);
    scratch.realloc(scratch.alloc(8, 8192), 2 ** 21);
    scratch.cstring("text");
  } finally {
    globalThis.Uint8Array = saved;
  }
  assertEquals(constructed, 0);
});

Deno.test("prepareStackTrace of a program may allocate while a request fails: no byte is given twice", () => {
  using scratch = BumpAlloc.withSize(65536);
  const block = scratch.alloc(64).fill(1);
  const between: Uint8Array[] = [];
  Object.defineProperty(Error, "prepareStackTrace", {
    configurable: true,
    get: () => void between.push(scratch.alloc(8).fill(2)),
    set() {},
  });
  try {
    assertThrows(() => scratch.realloc(block, 2 ** 20), OutOfMemoryError);
  } finally {
    delete (Error as { prepareStackTrace?: unknown }).prepareStackTrace;
  }
  assert(block.every((byte) => byte === 1) && between.every((view) => view.every((byte) => byte === 2)));
});

Deno.test("empty memory is a valid pointer, never NULL", () => {
  using allocator = new BumpAlloc();
  const check = (scratch: Scratch) => {
    for (
      const view of [scratch.alloc(0), scratch.copy(new Uint8Array(0)), scratch.cstring(""), scratch.cstringArray([])]
    ) {
      assert(scratch.addressOf(view) !== 0n);
      assert(scratch.pointerOf(view) !== null);
    }
  };
  check(allocator);
  using scope = allocator.scope();
  check(scope);
});

Deno.test("pointerOf and addressOf agree with UnsafePointer.of", () => {
  using scratch = new BumpAlloc({ window: 4096 });
  for (let i = 0; i < 50; i++) {
    const view = scratch.alloc(1 + i * 100, 1);
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(view));
    assertEquals(scratch.addressOf(view), BigInt(address));
    assert(Deno.UnsafePointer.equals(scratch.pointerOf(view), Deno.UnsafePointer.of(view)));
    const part = view.subarray(i >> 1);
    if (part.length > 0) assertEquals(Deno.UnsafePointer.value(scratch.pointerOf(part)), address + BigInt(i >> 1));
  }
  assertThrows(() => scratch.pointerOf(new Uint8Array(8)), TypeError);
  assertThrows(() => scratch.pointerOf(null as never), TypeError);
});
