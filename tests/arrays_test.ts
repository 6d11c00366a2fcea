/** Arrays: from values, zeroed, copied, resized, and at offsets. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { BumpAlloc, OutOfMemoryError, ScopeError, type Scratch, type TypedArrayConstructor } from "../mod.ts";
import { isBefore } from "./support/skip.ts";

type Numbers = Float64Array<ArrayBuffer>;

const NUMBER_TYPES = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array]
  .concat([Float32Array, Float64Array] as never) as unknown as (TypedArrayConstructor<Numbers> & typeof Float64Array)[];
if (!isBefore("2.3.0")) {
  NUMBER_TYPES.push((globalThis as unknown as { Float16Array: typeof Float64Array }).Float16Array);
}
const BIG_TYPES = [BigInt64Array, BigUint64Array];

Deno.test("arrayFrom: every type, from arrays, arrays with holes, typed arrays, sets, generators, array-likes", () => {
  using scratch = new BumpAlloc();
  const values = [0, 1, -1, 2.5, 300, NaN, 70_000, -(2 ** 31), 2 ** 40];
  const sources: (() => ArrayLike<number> | Iterable<number>)[] = [
    () => values,
    () => [1, , 3] as number[], // deno-lint-ignore no-sparse-arrays -- holes are what this is about
    () => new Float32Array(values),
    () => new Uint8Array([1, 2, 3]),
    () => new Set(values),
    function* () {
      yield* values;
    },
    () => ({ length: 3, 0: 5, 2: 7 }) as ArrayLike<number>,
    () => [],
    () => new Set<number>(),
    () => Array.from({ length: 10_000 }, (_, i) => i / 3),
    function* () {
      for (let i = 0; i < 10_000; i++) yield i / 3;
    },
    () => scratch.arrayFrom(Float64Array, values),
  ];
  for (const type of NUMBER_TYPES) {
    for (const source of sources) {
      const array = scratch.arrayFrom(type, source());
      assertEquals(array.constructor, type);
      assertEquals(array, type.from(source() as number[]) as Numbers, type.name);
      assert(scratch.owns(array) && scratch.addressOf(array) % 8n === 0n);
    }
  }
  for (const type of BIG_TYPES) {
    const bigs = [0n, 1n, -1n, 2n ** 63n, 2n ** 65n + 5n];
    for (const source of [bigs, new Set(bigs), new BigInt64Array(bigs)]) {
      assertEquals(scratch.arrayFrom(type as typeof BigInt64Array, source), type.from(bigs));
    }
  }
});

Deno.test("arrayFrom takes exactly the bytes it needs, and can fill the region to its last byte", () => {
  using scratch = BumpAlloc.withSize(65536);
  scratch.arrayFrom(Float64Array, new Set([1, 2, 3]));
  assertEquals(scratch.used, 24);
  const count = function* (count: number) {
    for (let i = 0; i < count; i++) yield i;
  };
  assertThrows(() => scratch.arrayFrom(Float64Array, count(8190)), OutOfMemoryError);
  assertThrows(() => scratch.arrayFrom(Float64Array, [...count(8190)]), OutOfMemoryError);
  assertEquals(scratch.used, 24);
  assertEquals(scratch.arrayFrom(Float64Array, count(8189)).at(-1), 8188);
  assertEquals(scratch.remaining, 0);
  assertEquals(scratch.arrayFrom(Float64Array, count(0)).length, 0);
});

Deno.test("arrayFrom: iterables that throw, never end, allocate, open scopes, or reset", () => {
  using scratch = BumpAlloc.withSize(1 << 20);
  const before = scratch.alloc(100).fill(1);
  let closed = 0;
  const iterable = (next: (i: number) => number): Iterable<number> => {
    let i = 0;
    return {
      [Symbol.iterator]: () => ({
        next: () => ({ done: false, value: next(i++) }),
        return: () => ({ done: true as const, value: closed++ }),
      }),
    };
  };
  const fails = (source: ArrayLike<number> | Iterable<number>, type: ErrorType, part: string) => {
    const { used } = scratch;
    assertThrows(() => scratch.arrayFrom(Float64Array, source), type, part);
    assertEquals(scratch.used, used);
  };
  fails(iterable(() => 1), OutOfMemoryError, "Cannot allocate");
  assertEquals(closed, 1);
  const thrown = new Error("enough");
  const thrower = (i: number) => {
    if (i === 1000) throw thrown;
    return i;
  };
  fails(iterable(thrower), Error, "enough");
  fails(
    {
      length: 2000,
      get 1000(): number {
        throw thrown;
      },
    } as ArrayLike<number>,
    Error,
    "enough",
  );
  fails([1, { valueOf: () => thrower(1000) } as unknown as number], Error, "enough");
  fails([1, 2n as never], TypeError, "BigInt");
  fails([1, Symbol() as never], TypeError, "");
  assertThrows(() => scratch.arrayFrom(BigInt64Array, [1 as never]), TypeError);
  // An iterable that allocates: its blocks stay, and the array is right.
  const blocks: Uint8Array[] = [];
  const array = scratch.arrayFrom(
    Float64Array,
    (function* () {
      for (let i = 0; i < 1000; i++) {
        if (i % 50 === 0) blocks.push(scratch.alloc(100).fill(i));
        yield i;
      }
    })(),
  );
  array.forEach((value, i) => assertEquals(value, i));
  blocks.forEach((block, i) => assert(block.every((byte) => byte === (50 * i & 255))));
  assert(before.every((byte) => byte === 1));
  // One that allocates and throws later: the array has moved behind a block, and only the array is given back.
  let kept = before;
  const allocates = iterable((i) => {
    if (i === 10) kept = scratch.alloc(100).fill(7);
    return i < 1000 ? i : thrower(1000);
  });
  assertThrows(() => scratch.arrayFrom(Float64Array, allocates), Error, "enough");
  scratch.alloc(50_000).fill(9);
  assert(kept !== before && kept.every((byte) => byte === 7));
  // An iterable that leaves a scope open: the array cannot grow.
  let scope: { end(): void } | undefined;
  assertThrows(
    () => scratch.arrayFrom(Float64Array, iterable((i) => (i === 10 && (scope = scratch.scope()), i))),
    ScopeError,
  );
  scope!.end();
  // An iterable that takes the array's memory back.
  for (
    const source of [
      iterable((i) => (i === 10 && scratch.reset(), i)),
      [1, { valueOf: () => (scratch.reset(), 2) } as unknown as number],
    ]
  ) {
    const error = assertThrows(() => scratch.arrayFrom(Float64Array, source), TypeError);
    assert(error.message.includes("taken back"), error.message);
    assertEquals(scratch.alloc(8).length, 8);
  }
});

// deno-lint-ignore no-explicit-any -- errors are made of anything
type ErrorType = new (...args: any[]) => Error;

Deno.test("arrayFrom: wrong types and wrong values", () => {
  using scratch = new BumpAlloc();
  class Own {
    static readonly BYTES_PER_ELEMENT = 1;
  }
  for (const type of [undefined, null, 7, {}, Own, DataView, Array, ArrayBuffer]) {
    assertThrows(() => scratch.arrayFrom(type as never, [1]), TypeError, "the type must be a typed array constructor");
  }
  for (const values of [undefined, null, 7, "12", Symbol(), () => {}]) {
    assertThrows(() => scratch.arrayFrom(Float64Array, values as never), TypeError, "an array or an iterable");
  }
  for (const length of [-1, NaN, 0.5, 2 ** 60, Infinity]) {
    assertThrows(() => scratch.arrayFrom(Float64Array, { length }), RangeError, "the length must be");
  }
  assertThrows(() => scratch.arrayFrom(Float64Array, { length: "3" } as never), TypeError);
  assertThrows(() => scratch.arrayFrom(Float64Array, { length: 2 ** 40 }), OutOfMemoryError);
  assertEquals(scratch.used, 0);
});

Deno.test("allocArrayZeroed and allocViewZeroed are zero where memory was used before", () => {
  for (const options of [{}, { zero: true }, { poison: true }, { window: 4096 }]) {
    using scratch = new BumpAlloc(options);
    scratch.alloc(200_000).fill(255);
    scratch.reset();
    for (const type of [...NUMBER_TYPES, ...BIG_TYPES] as (typeof Float64Array)[]) {
      const array = scratch.allocArrayZeroed(type as TypedArrayConstructor<Numbers>, 1000);
      assertEquals([array.constructor, array.length], [type, 1000]);
      assert(new Uint8Array(array.buffer, array.byteOffset, array.byteLength).every((byte) => byte === 0));
    }
    const struct = scratch.allocViewZeroed(4096, 64);
    assert(struct instanceof DataView && scratch.addressOf(struct) % 64n === 0n);
    for (let i = 0; i < 4096; i++) assertEquals(struct.getUint8(i), 0);
    assertEquals([scratch.allocArrayZeroed(Float64Array, 0).length, scratch.allocViewZeroed(0).byteLength], [0, 0]);
    for (const wrong of [-1, 0.5, NaN]) {
      assertThrows(() => scratch.allocArrayZeroed(Float64Array, wrong), RangeError);
      assertThrows(() => scratch.allocViewZeroed(wrong), RangeError);
    }
    assertThrows(() => scratch.allocArrayZeroed(Array as never, 1), TypeError);
    assertThrows(() => scratch.allocViewZeroed("1" as never), TypeError);
  }
});

Deno.test("realloc: every type, in elements; in place when it is the last, a copy when it is not", () => {
  using scratch = new BumpAlloc();
  for (const type of [...NUMBER_TYPES, ...BIG_TYPES] as (typeof Float64Array)[]) {
    using scope = scratch.scope();
    const size = type.BYTES_PER_ELEMENT;
    const one = (type as unknown) === BigInt64Array || (type as unknown) === BigUint64Array ? 1n as never : 1;
    const array = scope.allocArray(type as TypedArrayConstructor<Numbers>, 10).fill(one);
    const grown = scope.realloc(array, 100);
    assertEquals([grown.constructor, grown.length, grown.byteOffset], [type, 100, array.byteOffset]);
    assert(grown.subarray(0, 10).every((value) => value === one));
    assertEquals(scope.used, 100 * size);
    const cut = scope.realloc(grown, 5);
    assertEquals([cut.constructor, cut.length, scope.used], [type, 5, 5 * size]);
    scope.alloc(8).fill(9);
    const moved = scope.realloc(cut, 20);
    assert(moved.byteOffset !== cut.byteOffset && moved.subarray(0, 5).every((value) => value === one));
    assertEquals([moved.constructor, moved.length], [type, 20]);
    assertEquals(scope.realloc(moved, 0).length, 0);
  }
  const view = scratch.allocView(8);
  for (const wrong of [view, view.buffer, [1], {}, null, undefined]) {
    assertThrows(() => scratch.realloc(wrong as never, 8), TypeError, "a typed array is needed");
  }
  assertThrows(() => scratch.realloc(new Float64Array(8), 16), TypeError, "not memory of this allocator");
  const last = scratch.allocArray(Float64Array, 8).fill(1);
  for (const wrong of [-1, 0.5, NaN, 2 ** 60]) assertThrows(() => scratch.realloc(last, wrong), RangeError);
  assertThrows(() => scratch.realloc(last, 2 ** 40), OutOfMemoryError);
  assertEquals([last.length, last[7]], [8, 1]);
});

Deno.test("copy: buffers and shared buffers as bytes, views with their own type, each over an ArrayBuffer", async () => {
  using scratch = new BumpAlloc();
  const shared = new SharedArrayBuffer(4);
  new Uint8Array(shared).set([1, 2, 3, 4]);
  const copies = [
    scratch.copy(shared),
    scratch.copy(new Uint8Array(shared).slice().buffer),
    scratch.copy(new Uint8Array(shared)),
  ];
  for (const copy of copies) {
    assertEquals([copy.constructor, ...copy], [Uint8Array, 1, 2, 3, 4] as unknown[]);
    assert(scratch.owns(copy));
  }
  assertEquals(scratch.copy(new ArrayBuffer(0)).length, 0);
  const resizable = new ArrayBuffer(4, { maxByteLength: 100 });
  resizable.resize(50);
  assertEquals(scratch.copy(resizable).length, 50);
  // Type check: these functions accept only views over an ArrayBuffer.
  const data: ArrayBufferView = new Uint8Array(shared);
  await crypto.subtle.digest("SHA-256", scratch.copy(data as Uint8Array));
  await crypto.subtle.digest("SHA-256", scratch.copy(data as Float64Array | DataView));
  await crypto.subtle.digest("SHA-256", scratch.copy(data));
  const typed: Float64Array<ArrayBuffer> = scratch.copy(new Float64Array(2) as Float64Array);
  const clamped: Uint8ClampedArray<ArrayBuffer> = scratch.copy(new Uint8ClampedArray(2) as Uint8ClampedArray);
  const bigs: BigInt64Array<ArrayBuffer> = scratch.copy(new BigInt64Array(2) as BigInt64Array);
  const view: DataView<ArrayBuffer> = scratch.copy(new DataView(shared) as DataView);
  const bytes: Uint8Array<ArrayBuffer> = scratch.copy(shared as ArrayBufferLike);
  assertEquals([typed.length, clamped.length, bigs.length, view.byteLength, bytes.length], [2, 2, 2, 4, 4]);
  for (const wrong of [undefined, null, 7, "text", [1], {}]) {
    assertThrows(() => scratch.copy(wrong as never), TypeError, "Cannot copy: a typed array, DataView or ArrayBuffer");
  }
  const gone = new ArrayBuffer(8);
  gone.transfer();
  assertThrows(() => scratch.copy(gone), TypeError, "transferred away");
});

Deno.test("offsetOf and viewArray find the same bytes, also from scopes", () => {
  using scratch = new BumpAlloc();
  const array = scratch.arrayFrom(Float64Array, [1, 2, 3]);
  const check = (arena: Scratch) => {
    const offset = arena.offsetOf(array);
    assertEquals(scratch.address + BigInt(offset), scratch.addressOf(array));
    assertEquals([...arena.viewArray(Float64Array, offset, 3)], [1, 2, 3]);
    assertEquals(arena.viewArray(Float64Array, offset + 8, 1)[0], 2);
    assertEquals(arena.viewArray(BigUint64Array, offset, 3).length, 3);
    arena.viewArray(Float64Array, offset, 3)[2]++;
    array[2]--;
    assertEquals(arena.offsetOf(array.subarray(1)), offset + 8);
  };
  check(scratch);
  using scope = scratch.scope();
  check(scope);
  assertThrows(() => scope.viewArray(Float64Array, 4, 1), RangeError, "multiple of the element's 8 bytes");
  assertThrows(() => scope.viewArray(Float64Array, 0, 4), RangeError, "are not all allocated");
  assertThrows(() => scope.viewArray(Float64Array, 0, -1), RangeError);
  assertThrows(() => scope.viewArray(Float64Array, "0" as never, 1), TypeError);
  assertThrows(() => scope.viewArray(Array as never, 0, 1), TypeError, "a typed array constructor");
  assertThrows(() => scope.offsetOf(new Uint8Array(8)), TypeError, "not memory of this allocator");
  assertThrows(() => scope.offsetOf(7 as never), TypeError);
});

Deno.test("scopes report used too, and it is 0 after the end", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(100);
  const scope = scratch.scope();
  scope.alloc(50, 1);
  assertEquals([scope.used, scratch.used], [150, 150]);
  scope.end();
  assertEquals([scope.used, scratch.used], [0, 100]);
});
