import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { BumpAlloc, ClosedError, DetachedError, OutOfMemoryError, type OutType, type Scratch } from "../mod.ts";
import { times } from "./support/times.ts";

const { memcmp, memcpy, strlen } = openLibc();

function openLibc() {
  const name = { linux: "libc.so.6", darwin: "libSystem.B.dylib" }[Deno.build.os as string] ?? "ucrtbase.dll";
  const parameters = ["pointer", "buffer", "usize"] as const;
  return Deno.dlopen(name, {
    memcmp: { parameters, result: "i32" },
    memcpy: { parameters, result: "pointer" },
    strlen: { parameters: ["buffer"], result: "usize" },
  }).symbols;
}

const encoder = new TextEncoder();

/** What a C string must hold, by the platform's own encoder. */
const expected = (text: string) => [...encoder.encode(text), 0];

const TEXTS = [
  "",
  "a",
  "plain ASCII",
  "é",
  "naïve café",
  "Zürich",
  "中文字符串",
  "😀 and 👩‍👩‍👧",
  "\ud800",
  "\udc00 alone",
  "a\ud83dz",
  "ends in \ud83d",
  "\u{10ffff}\uffff\u07ff\u0800\u007f\u0080",
  "x".repeat(99) + "é",
  "x".repeat(100),
  "x".repeat(101) + "\ud83d",
  "x".repeat(5000),
  "é".repeat(5000),
  "x".repeat(4999) + "😀".repeat(3000),
  "\ud83d".repeat(300),
];

Deno.test("C strings are what the platform's encoder says, and a NUL", () => {
  for (const options of [{}, { zero: true }, { window: 4096 }, { poison: true }]) {
    using scratch = new BumpAlloc(options);
    for (const text of TEXTS) {
      const view = scratch.cstring(text);
      assertEquals([...view], expected(text));
      assertEquals(Number(strlen(view)), view.length - 1);
      assertEquals(scratch.owns(view), true);
    }
    const kept = TEXTS.map((text) => scratch.cstring(text));
    kept.forEach((view, i) => assertEquals([...view], expected(TEXTS[i])));
  }
});

Deno.test("any text at any place of small windows", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.string({ unit: "binary", maxLength: 300 }), fc.string({ maxLength: 120 })), {
        maxLength: 40,
      }),
      fc.nat(9000),
      (texts, before) => {
        using scratch = new BumpAlloc({ size: 65536, window: 4096 });
        scratch.alloc(before);
        const views: [Uint8Array, string][] = [];
        for (const text of texts) {
          const used = scratch.used;
          const nul = text.indexOf("\0");
          if (nul >= 0) {
            assertThrows(() => scratch.cstring(text), TypeError, `NUL at index ${nul}`);
            assertEquals(scratch.used, used);
          } else views.push([scratch.cstring(text), text]);
        }
        for (const [view, text] of views) assertEquals([...view], expected(text));
      },
    ),
    { numRuns: times(500) },
  );
});

Deno.test("a text with a NUL is refused, says where, and leaves no trace", () => {
  using scratch = new BumpAlloc();
  for (const [text, index] of [["\0", 0], ["abc\0def", 3], ["é\0", 1], ["x".repeat(500) + "\0", 500]] as const) {
    assertThrows(() => scratch.cstring(text), TypeError, `NUL at index ${index}`);
    assertEquals(scratch.used, 0);
    // What was written in front of the NUL is not taken for fresh, zero memory.
    assert(scratch.allocZeroed(1000).every((byte) => byte === 0));
    scratch.reset();
  }
  for (const text of [null, undefined, 7, new Uint8Array(3)]) {
    assertThrows(() => scratch.cstring(text as never), TypeError, "a string is needed");
  }
});

Deno.test("C strings that do not fit: an error, nothing has moved, and what fits to the byte fits", () => {
  using scratch = new BumpAlloc({ size: 4096 });
  scratch.alloc(scratch.capacity - 100, 1);
  const used = scratch.used;
  for (const text of ["x".repeat(100), "é".repeat(50), "x".repeat(98) + "é", "中".repeat(34)]) {
    assertThrows(() => scratch.cstring(text), OutOfMemoryError);
    assertEquals(scratch.used, used);
  }
  const mark = scratch.mark();
  for (const text of ["x".repeat(99), "é".repeat(49) + "x", "中".repeat(33)]) {
    assertEquals([...scratch.cstring(text)], expected(text));
    assertEquals(scratch.remaining, 0);
    scratch.rewind(mark);
  }
});

Deno.test("char**: addresses of C strings with a NULL at the end", () => {
  using scratch = new BumpAlloc();
  const texts = ["ls", "", "-l", "Zürich", "x".repeat(300)];
  const array = scratch.cstringArray(texts);
  assertEquals([array.length, array[texts.length]], [texts.length + 1, 0n]);
  texts.forEach((text, i) => {
    const bytes = Uint8Array.from(expected(text));
    assertEquals(memcmp(Deno.UnsafePointer.create(array[i]), bytes, BigInt(bytes.length)), 0);
  });
  assertEquals([...scratch.cstringArray([])], [0n]);
  const used = scratch.used;
  assertThrows(() => scratch.cstringArray(["fine", "not\0fine"]), TypeError, "NUL at index 3");
  assertThrows(() => scratch.cstringArray(["fine", 7 as never]), TypeError, "a string is needed");
  assertThrows(() => scratch.cstringArray("ls" as never), TypeError, "an array");
  assertEquals(scratch.used, used);
});

Deno.test("out-parameters of every type: zero at first, read and set", () => {
  const values: Record<OutType, unknown[]> = {
    i8: [-128, 127],
    u8: [255],
    i16: [-32768],
    u16: [65535],
    i32: [-(2 ** 31)],
    u32: [2 ** 32 - 1],
    i64: [-(2n ** 63n)],
    u64: [2n ** 64n - 1n],
    isize: [-1n],
    usize: [2n ** 64n - 1n],
    f32: [0.5, Infinity],
    f64: [Math.PI],
    bool: [true, false],
    pointer: [Deno.UnsafePointer.create(4096n), null],
  };
  using scratch = new BumpAlloc();
  scratch.alloc(4096).fill(255);
  scratch.reset();
  for (const [type, list] of Object.entries(values) as [OutType, unknown[]][]) {
    const out = scratch.out(type);
    const zero = type === "bool" ? false : type === "pointer" ? null : typeof list[0] === "bigint" ? 0n : 0;
    assertEquals(out.value as unknown, zero, type);
    assertEquals(scratch.addressOf(out.view) % 8n, 0n);
    for (const value of list) {
      out.value = value as never;
      if (type === "pointer") {
        assert(value === null ? out.value === null : Deno.UnsafePointer.equals(out.value as never, value as never));
      } else assertEquals(out.value as unknown, value, type);
    }
  }
  // As C sees it.
  const target = scratch.out("i32");
  memcpy(scratch.pointerOf(target.view), new Int32Array([123456]), 4n);
  assertEquals(target.value, 123456);
  for (const type of ["i128", "", null, undefined, {}]) {
    const used = scratch.used;
    assertThrows(() => scratch.out(type as never), TypeError, "the type must be one of i8, u8");
    assertEquals(scratch.used, used);
  }
});

Deno.test("an out-parameter is set to a value of its type; any other is a TypeError that changes nothing", () => {
  using scratch = new BumpAlloc();
  const right = { i32: 7, f32: 0.5, u64: 7n, isize: -7n, bool: true, pointer: scratch.pointerOf(scratch.alloc(1)) };
  const needed = {
    i32: "a number",
    f32: "a number",
    u64: "a bigint",
    isize: "a bigint",
    bool: "a boolean",
    pointer: "a pointer",
  };
  for (const type of Object.keys(right) as (keyof typeof right)[]) {
    const out = scratch.out(type) as { value: unknown };
    out.value = right[type];
    for (const wrong of [undefined, "7", {}, [], type === "pointer" ? 7n : null, type === "u64" ? 7 : Symbol()]) {
      const error = assertThrows(() => out.value = wrong, TypeError);
      assert(error.message.startsWith(`Cannot set the out-parameter: ${needed[type]}`), error.message);
    }
    if (type === "pointer") assert(Deno.UnsafePointer.equals(out.value as Deno.PointerValue, right.pointer));
    else assertEquals(out.value, right[type]);
  }
});

Deno.test("an out-parameter and C strings end with their frame", () => {
  using scratch = new BumpAlloc();
  const scope = scratch.scope();
  const values = { i32: 1, u64: 1n, bool: true, pointer: null };
  const outs = Object.keys(values).map((type) => scope.out(type as OutType));
  const text = scope.cstring("gone");
  scope.end();
  assertEquals(text.length, 0);
  Object.values(values).forEach((value, i) => {
    assertThrows(() => outs[i].value, ClosedError);
    assertThrows(() => outs[i].value = value, ClosedError);
  });
  assertThrows(() => scope.cstring("x"), ClosedError);
  assertThrows(() => scope.out("i32"), ClosedError);
  assertThrows(() => scope.cstringArray([]), ClosedError);
  scratch.cstring("taken").buffer.transfer();
  assertThrows(() => scratch.cstring("x"), DetachedError);
  assertThrows(() => scratch.out("i32"), DetachedError);
  assertThrows(() => scratch.cstringArray(["x"]), DetachedError);
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
