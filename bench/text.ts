/**
 * `deno task bench text`: text as UTF-8 in scratch memory, against `TextEncoder` and manual code.
 *
 * "By hand, ASCII only" is wrong for any other text, and lets a NUL pass into a C string; "by hand" is right for all texts.
 *
 * @module
 */
import { BumpAlloc } from "../mod.ts";
import { type Asked, Bench, type Loop } from "./lib/measure.ts";

const bench = new Bench("text", { rounds: 15 });
const scratch = new BumpAlloc();
const encoder = new TextEncoder();
const start = scratch.mark();

/** Ways to write a text. */
type Write = (text: string) => Uint8Array;

const EXACT: Record<string, Write> = {
  encode: (text) => {
    const view = scratch.alloc(text.length, 1);
    encoder.encodeInto(text, view);
    return view;
  },
  cstring: (text) => {
    const view = scratch.alloc(text.length + 1, 1);
    encoder.encodeInto(text, view);
    view[text.length] = 0;
    return view;
  },
};

const BY_HAND: Record<string, Write> = {
  encode: (text) => {
    const view = scratch.alloc(3 * text.length, 1);
    return view.subarray(0, encoder.encodeInto(text, view).written);
  },
  cstring: (text) => {
    if (text.includes("\0")) throw new TypeError("a NUL");
    const view = scratch.alloc(3 * text.length + 1, 1);
    const { written } = encoder.encodeInto(text, view);
    view[written] = 0;
    return view.subarray(0, written + 1);
  },
};

const ASCII = "The quick brown fox jumps over the lazy dog, and this goes on. ".repeat(200);
const GERMAN = "Zwölf große Boxkämpfer jagen Viktor quer über den Sylter Deich. ".repeat(200);

/** A copy of the text as one flat string. */
function flat(text: string): string {
  return new TextDecoder().decode(encoder.encode(text));
}

/** Texts of each kind, in turn: sixteen texts, or a fresh one each time. */
const KINDS: Record<string, (length: number) => (i: number) => string> = {
  "ASCII": (length) => {
    const texts = Array.from({ length: 16 }, (_, i) => flat(ASCII.slice(i, i + length)));
    return (i) => texts[i & 15];
  },
  "fresh templates": (length) => {
    const head = flat(ASCII.slice(0, length - 4));
    return (i) => `${head}${1000 + (i & 4095)}`;
  },
  "beyond ASCII": (length) => {
    const texts = Array.from({ length: 16 }, (_, i) => flat(GERMAN.slice(i, i + length)));
    return (i) => texts[i & 15];
  },
};

/** Writes one text after the other, and rewinds before the memory is full. */
function looped(write: Write, text: (i: number) => string): Loop {
  return (count) => {
    let sum = 0;
    for (let i = 0; i < count; i++) {
      if ((i & 255) === 0) scratch.rewind(start);
      sum += write(text(i)).length;
    }
    return sum;
  };
}

const own: Record<string, Write> = {
  encode: (text) => scratch.encode(text),
  cstring: (text) => scratch.cstring(text),
};
const short = KINDS["ASCII"](30);
bench.about(
  "A short text as UTF-8 in scratch memory, against TextEncoder.encode, which makes a new array.",
);
await bench.compare({
  what: "30 characters",
  own: ["encode", looped(own.encode, short)],
  peers: [["TextEncoder.encode", looped((text) => encoder.encode(text), short), { atLeast: 8 }]],
}, { milliseconds: 100 });
bench.about(
  'Text of each length and kind against the best manual code: encodeInto into scratch memory. "By ' +
    'hand, ASCII only" is wrong for any other text, and lets a NUL pass into a C string.',
);
for (const call of ["encode", "cstring"]) {
  for (const [kind, texts] of Object.entries(KINDS)) {
    for (const length of [10, 30, 100, 1000, 10_000]) {
      const text = texts(length);
      const peers: [string, Loop, Asked?][] = [["by hand", looped(BY_HAND[call], text), { atLeast: 1 }]];
      if (kind !== "beyond ASCII") peers.push(["by hand, ASCII only", looped(EXACT[call], text)]);
      const what = `${call} of ${length.toLocaleString("en")} characters, ${kind}`;
      await bench.compare({ what, own: [call, looped(own[call], text)], peers }, { milliseconds: 20 });
    }
  }
}
bench.finish();
