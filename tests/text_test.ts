/** Text as UTF-8 and UTF-16 in scratch memory. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { BumpAlloc, ClosedError, DetachedError, OutOfMemoryError, ScopeError, type Scratch } from "../mod.ts";
import { memcmp, strlen } from "./support/libc.ts";
import { assertSameBytes } from "./support/pattern.ts";
import { times } from "./support/times.ts";

const encoder = new TextEncoder();

/** Texts around the lengths where the way of writing changes, with characters beyond ASCII at every place. */
function* texts(): Generator<string> {
  for (const length of [0, 1, 2, 3, 4, 5, 7, 8, 38, 39, 40, 41, 42, 63, 64, 100, 3000]) {
    yield "x".repeat(length);
    for (
      const odd of [
        "\u007f",
        "\u0080",
        "\u07ff",
        "\u0800",
        "\uffff",
        "\ud83d\ude00",
        "\ud83d",
        "\ude00",
        "\ude00\ud83d",
      ]
    ) {
      for (const at of [0, 1, 3, 4, length >> 1, length]) {
        if (at <= length) yield "x".repeat(at) + odd + "x".repeat(length - at);
      }
      yield odd.repeat(length);
    }
  }
}

/** The bytes of a C string, by the platform's own encoder. */
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

Deno.test("C strings are the bytes of the platform's encoder and a NUL", () => {
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
    // The bytes written before the NUL are not taken for fresh, zero memory.
    assert(scratch.allocZeroed(1000).every((byte) => byte === 0));
    scratch.reset();
  }
  for (const text of [null, undefined, 7, new Uint8Array(3)]) {
    assertThrows(() => scratch.cstring(text as never), TypeError, "a string is needed");
  }
});

Deno.test("C strings that do not fit are an error and move nothing; one that fits exactly fits", () => {
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

Deno.test("encode and cstring give the bytes of the platform's encoder, at any place of any window", () => {
  for (const options of [{}, { zero: true }, { window: 4096 }, { poison: true }]) {
    using scratch = new BumpAlloc(options);
    const kept: [view: Uint8Array, text: string, nul: boolean][] = [];
    for (const text of texts()) kept.push([scratch.encode(text), text, false], [scratch.cstring(text), text, true]);
    for (const [view, text, nul] of kept) {
      const expected = encoder.encode(nul ? `${text}\0` : text);
      if (view.length !== expected.length || view.some((byte, i) => byte !== expected[i])) {
        assertEquals([...view], [...expected], JSON.stringify(text));
      }
    }
  }
});

Deno.test("ropes, slices and texts made from numbers are written correctly", () => {
  using scratch = new BumpAlloc();
  const whole = "Zürich, Bern, Köln, ".repeat(20);
  for (let i = 0; i < 60; i++) {
    const rope = `${whole.slice(0, i)}${i}-${whole.slice(i, 2 * i)}`;
    for (const text of [rope, rope.slice(i >> 1), String(i / 7)]) {
      assertSameBytes(scratch.encode(text), encoder.encode(text));
      assertSameBytes(scratch.cstring(text), encoder.encode(`${text}\0`));
    }
  }
});

Deno.test("encode: any text, also with NULs; a text that does not fit is an error and moves nothing", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: "binary", maxLength: 200 }), { maxLength: 40 }),
      fc.nat(9000),
      (list, before) => {
        using scratch = new BumpAlloc({ size: 16384, window: 4096 });
        scratch.alloc(before);
        const views: [Uint8Array, string][] = [];
        for (const text of list) {
          const { remaining, used } = scratch;
          const { length } = encoder.encode(text);
          if (length <= remaining) {
            views.push([scratch.encode(text), text]);
            assertEquals(scratch.used, used + length);
          } else {
            const error = assertThrows(() => scratch.encode(text), OutOfMemoryError);
            assertEquals(scratch.used, used);
            assert(error.requested <= length);
          }
        }
        for (const [view, text] of views) assertEquals([...view], [...encoder.encode(text)]);
      },
    ),
    { numRuns: times(300) },
  );
});

Deno.test("bytes that were written but not taken are not handed out as zero", () => {
  // The three ways of writing: the loop, the attempt as ASCII, and counting first.
  for (const text of ["x".repeat(39) + "\0", "x".repeat(250) + "\u20ac".repeat(20), "\u20ac".repeat(2000)]) {
    for (const wide of [false, true]) {
      using scratch = BumpAlloc.withSize(65536);
      scratch.encode((wide ? "\u20ac" : "x").repeat(100));
      scratch.alloc(scratch.remaining - 300, 1);
      assertThrows(() => scratch.cstring(text));
      assert(scratch.allocZeroed(288).every((byte) => byte === 0));
    }
  }
});

Deno.test("cstring16: UTF-16 with a NUL, lone surrogates replaced; a NUL inside is refused and says where", () => {
  using scratch = new BumpAlloc();
  for (const text of texts()) {
    const mark = scratch.mark();
    const units = scratch.cstring16(text);
    const expected = text.toWellFormed();
    assertEquals(units.length, text.length + 1);
    for (let i = 0; i < text.length; i++) assert(units[i] === expected.charCodeAt(i), JSON.stringify(text));
    assertEquals([units.at(-1), units.byteOffset % 2], [0, 0]);
    scratch.rewind(mark);
  }
  for (const [text, index] of [["\0", 0], ["abc\0def", 3], ["\u00e9".repeat(500) + "\0", 500]] as const) {
    assertThrows(() => scratch.cstring16(text), TypeError, `NUL at index ${index}`);
  }
  assertEquals(scratch.used, 0);
  scratch.alloc(scratch.remaining - 16);
  assertThrows(() => scratch.cstring16("12345678"), OutOfMemoryError);
  assertEquals([...scratch.cstring16("1234567")], [49, 50, 51, 52, 53, 54, 55, 0]);
  assertEquals(scratch.remaining, 0);
});

Deno.test("a value that is no text is a TypeError; ended arenas and lost windows have their own errors", () => {
  const scratch = new BumpAlloc();
  const calls = (arena: Scratch) => [
    (text: string) => arena.encode(text),
    (text: string) => arena.cstring(text),
    (text: string) => arena.cstring16(text),
  ];
  for (const call of calls(scratch)) {
    for (const wrong of [undefined, null, 7, {}, ["a"], new String("a"), Symbol()]) {
      assertThrows(() => call(wrong as never), TypeError, "a string is needed");
    }
  }
  assertEquals(scratch.used, 0);
  const scope = scratch.scope();
  const inputs = ["", "short", "x".repeat(100), "\u20ac".repeat(100)];
  const all = (arena: Scratch, type: ErrorType) => {
    for (const call of calls(arena)) for (const text of inputs) assertThrows(() => call(text), type);
  };
  all(scratch, ScopeError);
  scope.encode("x").buffer.transfer();
  all(scope, DetachedError);
  scope.end();
  all(scope, ClosedError);
  for (const call of calls(scratch)) for (const text of inputs) call(text);
  scratch.close();
  all(scratch, ClosedError);
});

// deno-lint-ignore no-explicit-any -- errors are made of anything
type ErrorType = new (...args: any[]) => Error;

Deno.test("empty texts are views with an address that take no space, also when the region is full", () => {
  using scratch = BumpAlloc.withSize(65536);
  assert(scratch.addressOf(scratch.encode("")) > 0n);
  assertEquals(scratch.used, 0);
  scratch.alloc(65536);
  assert(scratch.addressOf(scratch.encode("")) > 0n);
  assertThrows(() => scratch.cstring(""), OutOfMemoryError);
});

Deno.test("optimised code writes the same: Latin-1 texts that need more than one byte per code unit", () => {
  using scratch = new BumpAlloc({ zero: true });
  using plain = new BumpAlloc();
  const list = ["na\u00efve caf\u00e9", `${"x".repeat(99)}\u00e9`, `${"x".repeat(50)}\u00e9x`];
  const lengths = list.map((text) => encoder.encode(text).length);
  for (let turn = 0; turn < 30_000; turn++) {
    if (turn % 100 === 0) [scratch, plain].forEach((arena) => arena.reset());
    const text = list[turn % 3];
    for (const arena of [scratch, plain]) {
      assertEquals(arena.encode(text).length, lengths[turn % 3]);
      const writer = arena.writer();
      writer.reserve(1024 - text.length); // as many code units as fit without growing
      assertEquals(writer.text(text).length, 1024 - text.length + lengths[turn % 3]);
      assertEquals(arena.cstring(text).length, lengths[turn % 3] + 1);
    }
  }
});

Deno.test("texts that change while they are written still end with NULL", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(4096).fill(255);
  scratch.reset();
  const texts = ["a", "b"];
  Object.defineProperty(texts, 0, {
    get() {
      texts.push("more");
      return "a";
    },
  });
  assertEquals(scratch.cstringArray(texts).at(-1), 0n);
});

Deno.test("a getter for a text allocates, and a later value is no text: its block stays", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(8);
  let live!: Uint8Array;
  const texts = ["a", "b"];
  Object.defineProperty(texts, 1, { get: () => (live = scratch.alloc(64).fill(1), 5) });
  assertThrows(() => scratch.cstringArray(texts), TypeError, "a string is needed");
  scratch.alloc(64).fill(2);
  assert(live.every((byte) => byte === 1));
});

Deno.test("a subclass that allocates elsewhere changes nothing about C strings", () => {
  class Elsewhere extends BumpAlloc {
    override alloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer> {
      return byteLength > 1000 ? new Uint8Array(byteLength) : super.alloc(byteLength, align);
    }
    override cstring(text: string): Uint8Array<ArrayBuffer> {
      return text === "elsewhere" ? new Uint8Array(10) : super.cstring(text);
    }
  }
  using scratch = new Elsewhere();
  const live = scratch.alloc(64).fill(1);
  assertEquals(scratch.cstring("\u00e9".repeat(2000)).length, 4001);
  assertEquals(scratch.cstringArray(["elsewhere"]).length, 2);
  scratch.alloc(64).fill(2);
  assert(live.every((byte) => byte === 1));
});
