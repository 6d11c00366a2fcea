/**
 * MessagePack on a writer in scratch memory: messages of a service, without a new buffer for each text and each
 * doubling.
 *
 * ```sh
 * deno run --allow-ffi --allow-read examples/msgpack.ts [FILE.json]
 * ```
 *
 * encodes a JSON file repeatedly, and the same on a growing `Uint8Array`. Without FILE: a thousand records.
 *
 * @module
 */
import { BumpAlloc, type Scratch } from "../mod.ts";

/** Values that can be encoded: those of JSON, bytes, and bigints of 64 bits. */
export type Value = null | boolean | number | bigint | string | Uint8Array | readonly Value[] | {
  readonly [key: string]: Value;
};

/** The target of an encoder: a `BumpWriter` or {@linkcode GrowingBytes}. Numbers are in network byte order. */
export interface Sink {
  u8(value: number): unknown;
  i8(value: number): unknown;
  u16(value: number): unknown;
  i16(value: number): unknown;
  u32(value: number): unknown;
  i32(value: number): unknown;
  u64(value: bigint): unknown;
  i64(value: bigint): unknown;
  f64(value: number): unknown;
  bytes(source: Uint8Array): unknown;
  text(text: string): unknown;
  readonly length: number;
  setU8(position: number, value: number): unknown;
  finish(): Uint8Array;
}

/** The encoded value, in scratch memory. */
export function encode(scratch: Scratch, value: Value): Uint8Array {
  const writer = scratch.writer({ littleEndian: false });
  append(writer, value);
  return writer.finish();
}

/** The encoded value, on the heap. */
export function encodePlainly(value: Value): Uint8Array {
  const bytes = new GrowingBytes();
  append(bytes, value);
  return bytes.finish();
}

function append(to: Sink, value: Value): void {
  if (value === null) to.u8(0xc0);
  else if (typeof value === "boolean") to.u8(value ? 0xc3 : 0xc2);
  else if (typeof value === "number") appendNumber(to, value);
  else if (typeof value === "bigint") value < 0n ? (to.u8(0xd3), to.i64(value)) : (to.u8(0xcf), to.u64(value));
  else if (typeof value === "string") appendText(to, value);
  else if (value instanceof Uint8Array) {
    appendSize(to, value.length, 0xc4);
    to.bytes(value);
  } else if (isList(value)) {
    appendCount(to, value.length, 0x90, 0xdc);
    for (const item of value) append(to, item);
  } else {
    const keys = Object.keys(value);
    appendCount(to, keys.length, 0x80, 0xde);
    for (const key of keys) {
      appendText(to, key);
      append(to, value[key]);
    }
  }
}

function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

/** Appends a number in the fewest bytes. */
function appendNumber(to: Sink, value: number): void {
  if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
    to.u8(0xcb);
    to.f64(value);
  } else if (value >= 0) {
    if (value < 0x80) to.u8(value);
    else if (value < 0x100) to.u8(0xcc), to.u8(value);
    else if (value < 0x10000) to.u8(0xcd), to.u16(value);
    else if (value < 0x100000000) to.u8(0xce), to.u32(value);
    else to.u8(0xcf), to.u64(BigInt(value));
  } else if (value >= -0x20) to.i8(value);
  else if (value >= -0x80) to.u8(0xd0), to.i8(value);
  else if (value >= -0x8000) to.u8(0xd1), to.i16(value);
  else if (value >= -0x80000000) to.u8(0xd2), to.i32(value);
  else to.u8(0xd3), to.i64(BigInt(value));
}

/** Appends a text behind its length in bytes. For a short text the length is patched in afterwards. */
function appendText(to: Sink, text: string): void {
  if (text.length * 3 < 0x100) {
    const short = text.length * 3 < 0x20;
    if (!short) to.u8(0xd9);
    const at = to.length;
    to.u8(0);
    to.text(text);
    const byteLength = to.length - at - 1;
    to.setU8(at, short ? 0xa0 | byteLength : byteLength);
    return;
  }
  const bytes = encoder.encode(text);
  appendSize(to, bytes.length, 0xd9);
  to.bytes(bytes);
}

const encoder = new TextEncoder();

/** Appends a size in one, two or four bytes, behind its kind: `first` or one of the two after it. */
function appendSize(to: Sink, size: number, first: number): void {
  if (size < 0x100) to.u8(first), to.u8(size);
  else if (size < 0x10000) to.u8(first + 1), to.u16(size);
  else to.u8(first + 2), to.u32(size);
}

/** Appends a count. Up to fifteen fits in the byte of the kind. */
function appendCount(to: Sink, count: number, few: number, first: number): void {
  if (count < 16) to.u8(few | count);
  else if (count < 0x10000) to.u8(first), to.u16(count);
  else to.u8(first + 1), to.u32(count);
}

/** The usual way without scratch memory: an array that doubles, a `DataView` and `TextEncoder`. */
export class GrowingBytes implements Sink {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  #room(byteLength: number): number {
    const at = this.length;
    this.length += byteLength;
    if (this.length > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(2 * this.#bytes.length, this.length));
      bytes.set(this.#bytes);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
    }
    return at;
  }

  u8(value: number): void {
    const at = this.#room(1);
    this.#view.setUint8(at, value);
  }

  i8(value: number): void {
    const at = this.#room(1);
    this.#view.setInt8(at, value);
  }

  u16(value: number): void {
    const at = this.#room(2);
    this.#view.setUint16(at, value);
  }

  i16(value: number): void {
    const at = this.#room(2);
    this.#view.setInt16(at, value);
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#view.setUint32(at, value);
  }

  i32(value: number): void {
    const at = this.#room(4);
    this.#view.setInt32(at, value);
  }

  u64(value: bigint): void {
    const at = this.#room(8);
    this.#view.setBigUint64(at, value);
  }

  i64(value: bigint): void {
    const at = this.#room(8);
    this.#view.setBigInt64(at, value);
  }

  f64(value: number): void {
    const at = this.#room(8);
    this.#view.setFloat64(at, value);
  }

  bytes(source: Uint8Array): void {
    const at = this.#room(source.length);
    this.#bytes.set(source, at);
  }

  text(text: string): void {
    this.bytes(encoder.encode(text));
  }

  setU8(position: number, value: number): void {
    this.#view.setUint8(position, value);
  }

  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
}

/** Records that a service might send. */
export function records(count: number): Value {
  return Array.from({ length: count }, (_, i) => ({
    id: 1_000_000 + i,
    name: `user ${i}`,
    email: `user.${i}@example.org`,
    active: i % 3 > 0,
    score: i / 7,
    tags: ["one", "two", "naïve"].slice(i % 3),
    address: { street: `Street ${i % 100}`, city: "Zürich", zip: 8000 + i % 99 },
  }));
}

if (import.meta.main) {
  const value: Value = Deno.args.length > 0 ? JSON.parse(Deno.readTextFileSync(Deno.args[0])) : records(1000);
  using scratch = new BumpAlloc();
  const times: [own: number, plain: number][] = [];
  for (let round = 0; round < 200; round++) {
    const start = performance.now();
    {
      using scope = scratch.scope();
      encode(scope, value);
    }
    const middle = performance.now();
    encodePlainly(value);
    times.push([middle - start, performance.now() - middle]);
  }
  const [own, plain] = [0, 1].map((i) => times.map((both) => both[i]).toSorted((a, b) => a - b)[100]);
  console.log(`${encodePlainly(value).length} bytes`);
  console.log(`in scratch memory    ${own.toFixed(2).padStart(7)} ms`);
  console.log(`growing Uint8Array   ${plain.toFixed(2).padStart(7)} ms   ${(plain / own).toFixed(1)} times as long`);
}
