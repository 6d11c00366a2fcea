/** Writers: every type in both byte orders, growth in place and by moving, and refused values. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  BumpAlloc,
  type BumpWriter,
  ClosedError,
  DetachedError,
  OutOfMemoryError,
  ScopeError,
  type Scratch,
} from "../mod.ts";
import { assertSameBytes, fillPattern, patternHolds, randomOf } from "./support/pattern.ts";

type NumberType = "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64";
type BigType = "u64" | "i64";

/** Values that fit, values that do not, and the DataView method that writes them. */
const NUMBERS: Record<NumberType, { size: number; fit: number[]; not: number[]; set: string }> = {
  u8: { size: 1, fit: [0, 1, 255], not: [-1, 256, 0.5], set: "setUint8" },
  i8: { size: 1, fit: [-128, -1, 0, 127], not: [-129, 128, 0.5], set: "setInt8" },
  u16: { size: 2, fit: [0, 258, 65535], not: [-1, 65536, 0.5], set: "setUint16" },
  i16: { size: 2, fit: [-32768, -2, 32767], not: [-32769, 32768, 0.5], set: "setInt16" },
  u32: { size: 4, fit: [0, 2 ** 31, 2 ** 32 - 1], not: [-1, 2 ** 32, 0.5], set: "setUint32" },
  i32: { size: 4, fit: [-(2 ** 31), -3, 2 ** 31 - 1], not: [-(2 ** 31) - 1, 2 ** 31, 0.5], set: "setInt32" },
  f32: { size: 4, fit: [0.5, -0, NaN, Infinity, -Infinity, 3e38, 1e-50, 0.1], not: [3.5e38, -1e39], set: "setFloat32" },
  f64: { size: 8, fit: [0.1, -0, NaN, -Infinity, 1e308], not: [], set: "setFloat64" },
};
const BIGS: Record<BigType, { fit: bigint[]; not: bigint[]; set: string }> = {
  u64: { fit: [0n, 1n, 2n ** 63n, 2n ** 64n - 1n], not: [-1n, 2n ** 64n], set: "setBigUint64" },
  i64: { fit: [-(2n ** 63n), -5n, 2n ** 63n - 1n], not: [-(2n ** 63n) - 1n, 2n ** 63n], set: "setBigInt64" },
};

function setter(type: string): "setU8" {
  return `set${type[0].toUpperCase()}${type.slice(1)}` as "setU8";
}

Deno.test("numbers of every type in both byte orders, appended and overwritten, are a DataView's bytes", () => {
  using scratch = new BumpAlloc();
  for (const littleEndian of [true, false]) {
    const cases = [
      ...Object.entries(NUMBERS).map(([type, { size, fit, set }]) => ({ type, size, fit: fit as unknown[], set })),
      ...Object.entries(BIGS).map(([type, { fit, set }]) => ({ type, size: 8, fit: fit as unknown[], set })),
    ];
    for (const { type, size, fit, set } of cases) {
      for (const value of fit) {
        const expected = new DataView(new ArrayBuffer(size));
        (expected[set as "setUint8"] as (at: number, value: unknown, little: boolean) => void)(0, value, littleEndian);
        const appended = scratch.writer({ littleEndian }).u8(9)[type as "u8"](value as number);
        const overwritten = scratch.writer({ littleEndian }).u8(9).bytes(new Uint8Array(size));
        assertEquals(overwritten[setter(type)](1, value as number), overwritten);
        for (const writer of [overwritten, appended]) {
          assertEquals([...writer.finish()], [9, ...new Uint8Array(expected.buffer)], `${type} ${value}`);
        }
      }
    }
  }
});

Deno.test("a value of another type is a TypeError, one that does not fit a RangeError; nothing is written", () => {
  using scratch = new BumpAlloc();
  const writer = scratch.writer().f64(0.5);
  const refused = (call: (value: never) => unknown, values: unknown[], type: typeof TypeError | typeof RangeError) => {
    for (const value of values) {
      const error = assertThrows(() => call(value as never), type, "Cannot write");
      assertEquals(error.constructor, type, String(value));
    }
  };
  const noNumber = [undefined, null, "1", {}, [1], true, 1n, Symbol()];
  for (const [type, { not }] of Object.entries(NUMBERS)) {
    for (const call of [writer[type as NumberType], (value: never) => writer[setter(type)](0, value)]) {
      refused((value) => call.call(writer, value), noNumber, TypeError);
      refused((value) => call.call(writer, value), not, RangeError);
      if (!type.startsWith("f")) refused((value) => call.call(writer, value), [NaN, Infinity], RangeError);
    }
  }
  for (const [type, { not }] of Object.entries(BIGS)) {
    for (
      const call of [
        writer[type as BigType] as (value: never) => unknown,
        (value: never) => writer[setter(type)](0, value),
      ]
    ) {
      refused(
        (value) => call.call(writer, value),
        [...noNumber.filter((value) => typeof value !== "bigint"), 1],
        TypeError,
      );
      refused((value) => call.call(writer, value), not, RangeError);
    }
  }
  refused((value) => writer.text(value), [undefined, null, 7, {}], TypeError);
  for (const wrong of [undefined, null, 7, "text", {}, [1], () => {}]) {
    assertThrows(() => writer.bytes(wrong as never), TypeError, "Cannot write bytes");
  }
  for (const wrong of [-1, 0.5, NaN, 2 ** 60]) assertThrows(() => writer.reserve(wrong), RangeError, "Cannot reserve");
  assertThrows(() => writer.reserve("1" as never), TypeError, "Cannot reserve");
  for (const position of [-1, 1, 8, 0.5, NaN, Infinity, 2 ** 60]) {
    assertThrows(() => writer.setF64(position, 1), RangeError, "Cannot write");
    assertThrows(() => writer.setU64(position, 1n), RangeError, "Cannot write");
  }
  assertThrows(() => writer.setU8("0" as never, 1), TypeError, "position");
  assertEquals([...writer.finish()], [0, 0, 0, 0, 0, 0, 224, 63]);
  for (const options of [null, 7, { littleEndian: 1 }, { littleEndian: null }]) {
    assertThrows(() => scratch.writer(options as never), TypeError, "Cannot make a writer");
  }
});

const TEXTS = [
  "",
  "a",
  "na\u00efve",
  "\ud83d\ude00 and \ud83d",
  "\0",
  "x".repeat(40),
  "x".repeat(41),
  "\u00e9".repeat(40),
];
TEXTS.push("\u00e9".repeat(41), "x".repeat(2000), `${"x".repeat(900)}\u20ac`.repeat(5), "\ud83d\ude00".repeat(3000));

Deno.test("text gives the bytes of the platform's encoder, at any place, with and without growing", () => {
  using scratch = new BumpAlloc();
  for (const text of TEXTS) {
    for (const before of [0, 1, 1000, 1023, 1024]) {
      for (const beside of [false, true]) {
        const writer = scratch.writer().bytes(new Uint8Array(before).fill(1));
        if (beside) scratch.alloc(8);
        const bytes = writer.text(text).u8(2).finish();
        assertSameBytes(
          bytes,
          new Uint8Array([...new Uint8Array(before).fill(1), ...new TextEncoder().encode(text), 2]),
        );
      }
    }
  }
});

Deno.test("bytes: views and buffers of every kind, scratch memory, and the writer's own bytes", () => {
  using scratch = new BumpAlloc();
  const source = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
  const own = scratch.copy(source);
  const writer = scratch.writer();
  for (
    const part of [
      source,
      source.buffer,
      new Uint16Array(source.buffer, 2, 1),
      new DataView(source.buffer, 4, 2),
      own,
      Object.assign(new SharedArrayBuffer(2)),
      new Uint8Array(0),
    ]
  ) writer.bytes(part);
  assertEquals([...writer.finish()], [...source, ...source, 3, 4, 5, 6, ...source, 0, 0]);
  const doubling = scratch.writer().bytes(new Uint8Array(1000).fill(1));
  const first = doubling.reserve(24).fill(2);
  doubling.bytes(first); // grows during the call
  scratch.alloc(8);
  doubling.bytes(new Uint8Array(5000)); // moves
  assertEquals([...first], new Array(24).fill(2));
  const bytes = doubling.finish();
  assertEquals([bytes[999], bytes[1000], bytes[1047], bytes[1048], bytes.length], [1, 2, 2, 0, 6048]);
  const gone = new Uint8Array(8);
  gone.buffer.transfer();
  assertThrows(() => scratch.writer().bytes(gone), TypeError, "was transferred away");
});

Deno.test("a writer grows in place, gives back unused bytes, and takes nothing else", () => {
  using scratch = new BumpAlloc();
  for (const length of [0, 1, 1023, 1024, 1025, 100_000, 5_000_000]) {
    using scope = scratch.scope();
    const writer = scope.writer();
    for (let at = 0; at < length; at += 997) fillPattern(writer.reserve(Math.min(997, length - at)), at);
    assertEquals(writer.length, length);
    const bytes = writer.finish();
    assertEquals([bytes.length, scope.used], [length, length]);
    for (let at = 0; at < length; at += 997) assert(patternHolds(bytes.subarray(at, at + 997), at));
  }
});

Deno.test("several writers at once, with allocations in between, are each right", () => {
  using scratch = new BumpAlloc();
  const random = randomOf(5);
  const writers = Array.from({ length: 8 }, (_, id) => ({ writer: scratch.writer(), expected: [] as number[], id }));
  const blocks: Uint8Array[] = [];
  for (let turn = 0; turn < 3000; turn++) {
    const { writer, expected, id } = writers[random(writers.length)];
    const count = 1 + random(20);
    for (let i = 0; i < count; i++) {
      writer.u16(turn);
      expected.push(turn & 255, turn >> 8);
    }
    if (random(10) === 0) writer.text("ä").setU8(0, expected[0] = id);
    if (writer.length > expected.length) expected.push(0xc3, 0xa4);
    if (random(10) > 0) continue;
    blocks.push(scratch.alloc(1 + random(100)));
    fillPattern(blocks.at(-1)!, blocks.length);
  }
  for (const { writer, expected } of writers) assertSameBytes(writer.finish(), new Uint8Array(expected));
  blocks.forEach((block, i) => assert(patternHolds(block, i + 1)));
});

Deno.test("a full region: OutOfMemoryError, written bytes stay, and values that fit can be written", () => {
  for (const beside of [0, 1000]) {
    using scratch = BumpAlloc.withSize(65536);
    const writer = scratch.writer();
    if (beside > 0) scratch.alloc(beside);
    writer.bytes(new Uint8Array(2000).fill(7));
    for (
      const call of [
        () => writer.bytes(new Uint8Array(70_000)),
        () => writer.reserve(70_000),
        () => writer.text("x".repeat(70_000)),
        () => writer.text("\u20ac".repeat(30_000)), // as many code units would fit
      ]
    ) {
      assertThrows(call, OutOfMemoryError);
      assertEquals(writer.length, 2000);
    }
    let count = 0;
    assertThrows(() => {
      for (;; count++) writer.u8(7);
    }, OutOfMemoryError);
    assertEquals(writer.length, 2000 + count);
    const whole = writer.setU8(0, 7).finish();
    assert(whole.length === 2000 + count && whole.every((byte) => byte === 7));
    if (beside === 0) assertEquals(whole.length, 65536); // to the last byte
  }
  using full = BumpAlloc.withSize(65536);
  full.alloc(65536 - 100);
  const writer = full.writer(); // less than its first block is left
  writer.text("x".repeat(41)).text("x".repeat(40)).bytes(new Uint8Array(15));
  assertEquals([writer.finish().length, full.remaining], [96, 0]);
  assertEquals(full.writer().text("").finish().length, 0);
  assertThrows(() => full.writer().u8(1), OutOfMemoryError);
});

Deno.test("clear starts over in the same memory; finish ends the writer", () => {
  using scratch = new BumpAlloc();
  const writer = scratch.writer();
  const used = scratch.used;
  for (let turn = 0; turn < 1000; turn++) assertEquals(writer.clear().text("the line").u8(turn & 255).length, 9);
  assertEquals(scratch.used, used);
  const bytes = writer.finish();
  const line = [...new TextEncoder().encode("the line"), 999 & 255];
  assertEquals([...bytes], line);
  refusesAll(writer, ClosedError, "the writer is closed");
  assertEquals([...bytes], line);
});

/** Checks that every call of a dead writer is refused. */
function refusesAll(writer: BumpWriter, type: ErrorType, part = ""): void {
  const { length } = writer;
  const calls: (() => unknown)[] = [
    ...Object.keys(NUMBERS).map((type) => () => writer[type as NumberType](0)),
    ...Object.keys(BIGS).map((type) => () => writer[type as BigType](0n)),
    () => writer.setU8(0, 1),
    () => writer.setF64(0, 1),
    () => writer.text("x"),
    () => writer.text("x".repeat(100)),
    () => writer.bytes(new Uint8Array(1)),
    () => writer.reserve(1),
    () => writer.clear(),
    () => writer.finish(),
  ];
  for (const call of calls) {
    if (length === 0 && String(call).includes("set")) continue; // nothing to overwrite
    assertThrows(call, type, part);
  }
  assertEquals(writer.length, length);
}

// deno-lint-ignore no-explicit-any -- errors are made of anything
type ErrorType = new (...args: any[]) => Error;

Deno.test("after its memory's end, or a transfer, every call of a writer is an error", () => {
  const scratch = new BumpAlloc();
  const scope = scratch.scope();
  const ended = scope.writer().f64(1);
  scope.end();
  refusesAll(ended, ClosedError);
  const taken = scratch.writer().f64(1);
  structuredClone(null, { transfer: [taken.reserve(8).buffer] });
  refusesAll(taken, DetachedError);
  scratch.reset();
  const reset = scratch.writer().f64(1);
  scratch.reset();
  scratch.alloc(5000).fill(3);
  refusesAll(reset, ClosedError);
  const empty = scratch.writer();
  scratch.close();
  refusesAll(empty, ClosedError);
});

Deno.test("while a scope is open, a writer of its parent writes into its block, but cannot grow", () => {
  using scratch = new BumpAlloc();
  const writer = scratch.writer().u8(1);
  {
    using _scope = scratch.scope();
    writer.u8(2);
    assertThrows(() => writer.reserve(5000), ScopeError);
    assertThrows(() => scratch.writer(), ScopeError);
  }
  const other = scratch.writer();
  using _scope = scratch.scope();
  assertEquals([...writer.u8(3).finish()], [1, 2, 3]);
  assertEquals(other.finish().length, 0);
});

Deno.test("a writer is shown with its length", () => {
  using scratch = new BumpAlloc();
  const writer: BumpWriter = (scratch as Scratch).writer().f64(1);
  assertEquals(Deno.inspect(writer), "BumpWriter { 8 B }");
  assertEquals(JSON.stringify({ writer }), '{"writer":{"length":8}}');
  assertEquals(structuredClone(writer) as unknown, {});
  writer.finish();
  assertEquals(Deno.inspect(writer), "BumpWriter { 8 B, finished }");
  const gone = scratch.writer().u8(1);
  scratch.reset();
  assertEquals(Deno.inspect(gone), "BumpWriter { 1 B, memory taken back }");
});
