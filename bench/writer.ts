/**
 * `deno task bench writer`: buffers of unknown length and arrays from values, against manual code.
 *
 * @module
 */
import { BumpAlloc } from "../mod.ts";
import { Bench, type Loop, STEADY } from "./lib/measure.ts";

const bench = new Bench("writer", { rounds: 11 });
const scratch = new BumpAlloc();
const start = scratch.mark();
const encoder = new TextEncoder();
const TEXTS = [
  "id",
  "a short name",
  "status: ok",
  "2026-11-26",
  "user@example.org",
  "x",
  "some more text",
  "the last one",
];

/** Appends a message. Each text is preceded by its length. */
interface Appender {
  f64(value: number): unknown;
  shortText(text: string): unknown;
  finish(): Uint8Array;
}

/** A growing `Uint8Array`, a `DataView` and `TextEncoder.encode`. */
class Growing implements Appender {
  bytes = new Uint8Array(64);
  view = new DataView(this.bytes.buffer);
  length = 0;

  room(byteLength: number): number {
    const at = this.length;
    this.length += byteLength;
    if (this.length > this.bytes.length) {
      const bytes = new Uint8Array(Math.max(2 * this.bytes.length, this.length));
      bytes.set(this.bytes);
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer);
    }
    return at;
  }

  f64(value: number): void {
    const at = this.room(8);
    this.view.setFloat64(at, value, true);
  }

  shortText(text: string): void {
    const bytes = encoder.encode(text);
    const at = this.room(2 + bytes.length);
    this.view.setUint16(at, bytes.length, true);
    this.bytes.set(bytes, at + 2);
  }

  finish(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }
}

/** The same with `encodeInto` and a first buffer that is large enough: more careful than most code. */
class Careful extends Growing {
  override bytes = new Uint8Array(1024);
  override view = new DataView(this.bytes.buffer);

  override shortText(text: string): void {
    const at = this.room(2 + 3 * text.length);
    const { written } = encoder.encodeInto(text, this.bytes.subarray(at + 2));
    this.view.setUint16(at, written, true);
    this.length = at + 2 + written;
  }
}

/** Loops that write eight numbers and eight short texts. */
function messages(make: () => Appender): Loop {
  return (count) => {
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const message = make();
      for (let j = 0; j < 8; j++) {
        message.f64(i + j * 0.5);
        message.shortText(TEXTS[j]);
      }
      sum += message.finish().length;
    }
    return sum;
  };
}

bench.about(
  "Messages of unknown length, against a growing array and against careful manual code with a buffer " +
    "that is large enough.",
);
await bench.compare({
  what: "a message of eight numbers and eight short texts",
  own: ["writer", (count) => {
    let sum = 0;
    for (let i = 0; i < count; i++) {
      scratch.rewind(start);
      const message = scratch.writer();
      for (let j = 0; j < 8; j++) {
        message.f64(i + j * 0.5);
        const at = message.u16(0).length;
        message.text(TEXTS[j]).setU16(at - 2, message.length - at);
      }
      sum += message.finish().length;
    }
    return sum;
  }],
  peers: [
    ["growing Uint8Array, TextEncoder.encode", messages(() => new Growing()), { atLeast: 3 }],
    ["Uint8Array of 1 KiB, encodeInto", messages(() => new Careful())],
  ],
}, { milliseconds: STEADY });

const MEBI = 2 ** 20;
await bench.compare({
  what: "a million bytes, one u32 after the other, a figure for each u32",
  own: ["writer", (count) => {
    for (let done = 0; done < count; done += MEBI / 4) {
      scratch.rewind(start);
      const writer = scratch.writer();
      for (let i = 0; i < MEBI / 4; i++) writer.u32(i);
      writer.finish();
    }
  }],
  peers: [["growing Uint8Array", (count) => {
    let sum = 0;
    for (let done = 0; done < count; done += MEBI / 4) {
      const writer = new Growing();
      for (let i = 0; i < MEBI / 4; i++) {
        const at = writer.room(4);
        writer.view.setUint32(at, i, true);
      }
      sum += writer.finish().length;
    }
    return sum;
  }]],
}, { batch: MEBI / 4 });

bench.about(
  "Typed arrays from values, against the engine's own Float64Array.from.",
);
const numbers = Array.from({ length: 1000 }, (_, i) => i / 3);
const set = new Set(numbers);
for (const [what, values, atLeast] of [["an array of", numbers, 3], ["a set of", set, undefined]] as const) {
  await bench.compare({
    what: `arrayFrom(Float64Array, ${what} a thousand numbers)`,
    own: ["arrayFrom", (count) => {
      let array;
      for (let i = 0; i < count; i++) {
        scratch.rewind(start);
        array = scratch.arrayFrom(Float64Array, values);
      }
      return array;
    }],
    peers: [["Float64Array.from", (count) => {
      let array;
      for (let i = 0; i < count; i++) array = Float64Array.from(values);
      return array;
    }, { atLeast }]],
  }, { milliseconds: STEADY });
}
bench.finish();
