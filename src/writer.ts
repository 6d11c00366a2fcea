import { checkFlag, checkObject, checkSize, describe } from "./check.ts";
import { ClosedError } from "./errors.ts";
import { formatBytes } from "./format.ts";
import { cut, grown } from "./growing.ts";
import type { Scratch } from "./scratch.ts";
import { encodeInto, SHORT_TEXT, utf8Length, writeShort } from "./utf8.ts";
import { bytesOf } from "./views.ts";

/**
 * Options of {@linkcode Scratch.writer}.
 *
 * @example Network byte order
 * ```ts
 * import { BumpAlloc, type BumpWriterOptions } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * const options: BumpWriterOptions = { littleEndian: false };
 * using scratch = new BumpAlloc();
 * assertEquals([...scratch.writer(options).u16(1).finish()], [0, 1]);
 * ```
 */
export interface BumpWriterOptions {
  /** Byte order of numbers; default true, the lowest byte first. */
  littleEndian?: boolean;
}

/** Bytes of a writer's first block. */
const FIRST_BLOCK = 1024;

/** A writer's block after `finish`. It has no room, so every call takes the slow path, which throws. */
const NOTHING = new Uint8Array(0);

/**
 * Appends numbers, text and bytes to one block of scratch memory, from {@linkcode Scratch.writer}.
 *
 * **Memory.** The block grows in place while nothing is allocated behind it. Otherwise it moves, and the old block
 * stays taken until its scope ends. Several writers at once, or allocations in between, work but are slower.
 *
 * **Errors.** A value of the wrong type is a `TypeError`, a value out of range a `RangeError`. A failed call writes
 * nothing, and what was written before stays.
 *
 * **Cost.** A number costs a few nanoseconds; a text costs what `encode` costs, less its view.
 *
 * @example A message with its length in front
 * ```ts
 * import { BumpAlloc, type BumpWriter } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * const writer: BumpWriter = scratch.writer();
 * writer.u16(0).text("hello").u8(10);
 * writer.setU16(0, writer.length - 2);
 * assertEquals([...writer.finish()], [6, 0, 104, 101, 108, 108, 111, 10]);
 * ```
 */
export class BumpWriter {
  readonly #scratch: Scratch;
  readonly #littleEndian: boolean;
  #block: Uint8Array<ArrayBuffer>;
  /** A `DataView` over the block. */
  #view: DataView<ArrayBuffer>;
  /** Length that the block must have; -1 after `finish`. A shorter block has lost its memory. */
  #size: number;
  #length = 0;

  /** Made by {@linkcode Scratch.writer}. */
  constructor(scratch: Scratch, options: BumpWriterOptions = {}) {
    checkObject(options, "make a writer", "{ littleEndian: false }");
    const { littleEndian = true } = options;
    checkFlag(littleEndian, "make a writer", "littleEndian");
    this.#scratch = scratch;
    this.#littleEndian = littleEndian;
    this.#block = scratch.tryAlloc(FIRST_BLOCK) ?? grown(scratch, scratch.alloc(0), 0, FIRST_BLOCK);
    this.#view = viewOver(this.#block);
    this.#size = this.#block.length;
  }

  /**
   * Bytes written so far.
   *
   * @example Where the next byte goes
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals(scratch.writer().u32(7).text("é").length, 6);
   * ```
   */
  get length(): number {
    return this.#length;
  }

  /**
   * Appends an unsigned byte: 0 to 255.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().u8(255).finish()], [255]);
   * ```
   */
  u8(value: number): this {
    if (typeof value !== "number" || (value & 0xff) !== value) throw wrongNumber(value, "0 to 255");
    const at = this.#take(1);
    this.#view.setUint8(at, value);
    return this;
  }

  /**
   * Appends a signed byte: -128 to 127.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().i8(-1).finish()], [255]);
   * ```
   */
  i8(value: number): this {
    if (typeof value !== "number" || (value << 24 >> 24) !== value) throw wrongNumber(value, "-128 to 127");
    const at = this.#take(1);
    this.#view.setInt8(at, value);
    return this;
  }

  /**
   * Appends an unsigned 16-bit integer: 0 to 65,535.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().u16(258).finish()], [2, 1]);
   * ```
   */
  u16(value: number): this {
    if (typeof value !== "number" || (value & 0xffff) !== value) throw wrongNumber(value, "0 to 65,535");
    const at = this.#take(2);
    this.#view.setUint16(at, value, this.#littleEndian);
    return this;
  }

  /**
   * Appends a signed 16-bit integer: -32,768 to 32,767.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().i16(-2).finish()], [254, 255]);
   * ```
   */
  i16(value: number): this {
    if (typeof value !== "number" || (value << 16 >> 16) !== value) throw wrongNumber(value, "-32,768 to 32,767");
    const at = this.#take(2);
    this.#view.setInt16(at, value, this.#littleEndian);
    return this;
  }

  /**
   * Appends an unsigned 32-bit integer: 0 to 2^32 - 1.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().u32(1).finish()], [1, 0, 0, 0]);
   * ```
   */
  u32(value: number): this {
    if (typeof value !== "number" || (value >>> 0) !== value) throw wrongNumber(value, "0 to 2^32 - 1");
    const at = this.#take(4);
    this.#view.setUint32(at, value, this.#littleEndian);
    return this;
  }

  /**
   * Appends a signed 32-bit integer: -2^31 to 2^31 - 1.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().i32(-1).finish()], [255, 255, 255, 255]);
   * ```
   */
  i32(value: number): this {
    if (typeof value !== "number" || (value | 0) !== value) throw wrongNumber(value, "-2^31 to 2^31 - 1");
    const at = this.#take(4);
    this.#view.setInt32(at, value, this.#littleEndian);
    return this;
  }

  /**
   * Appends an unsigned 64-bit integer: 0n to 2n ** 64n - 1n.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().u64(1n).finish()], [1, 0, 0, 0, 0, 0, 0, 0]);
   * ```
   */
  u64(value: bigint): this {
    if (typeof value !== "bigint" || BigInt.asUintN(64, value) !== value) {
      throw wrongBigInt(value, "0n to 2n ** 64n - 1n");
    }
    const at = this.#take(8);
    this.#view.setBigUint64(at, value, this.#littleEndian);
    return this;
  }

  /**
   * Appends a signed 64-bit integer: -(2n ** 63n) to 2n ** 63n - 1n.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().i64(-1n).finish()], Array(8).fill(255));
   * ```
   */
  i64(value: bigint): this {
    if (typeof value !== "bigint" || BigInt.asIntN(64, value) !== value) {
      throw wrongBigInt(value, "-(2n ** 63n) to 2n ** 63n - 1n");
    }
    const at = this.#take(8);
    this.#view.setBigInt64(at, value, this.#littleEndian);
    return this;
  }

  /**
   * Appends a 32-bit float, the nearest one to `value`. A finite number beyond its range is a `RangeError`.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().f32(0.5).finish()], [0, 0, 0, 63]);
   * ```
   */
  f32(value: number): this {
    checkFloat32(value);
    const at = this.#take(4);
    this.#view.setFloat32(at, value, this.#littleEndian);
    return this;
  }

  /**
   * Appends a 64-bit float.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().f64(0.5).finish()], [0, 0, 0, 0, 0, 0, 224, 63]);
   * ```
   */
  f64(value: number): this {
    if (typeof value !== "number") throw wrongNumber(value, "any");
    const at = this.#take(8);
    this.#view.setFloat64(at, value, this.#littleEndian);
    return this;
  }

  /**
   * Appends `text` as UTF-8, without its length and without a NUL. Lone surrogates become U+FFFD.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().text("na\u00efve").finish()], [110, 97, 195, 175, 118, 101]);
   * ```
   */
  text(text: string): this {
    if (typeof text !== "string") throw new TypeError(`Cannot write text: a string is needed, not ${describe(text)}`);
    const { length } = text;
    const at = this.#length;
    if (length > SHORT_TEXT) return this.#longText(text);
    if (at + 3 * length > this.#block.length) this.#makeRoom(at + utf8Length(text, 0));
    this.#length = writeShort(text, this.#block, at, 0);
    return this;
  }

  /** Writes a long text. Most are ASCII, so it makes room for that first, and counts the rest only if needed. */
  #longText(text: string): this {
    const { length } = text;
    let at = this.#length;
    if (at + length > this.#block.length) this.#makeRoom(at + length);
    const { read, written } = encodeInto(text, 0, this.#rest(at));
    at += written;
    if (read < length) {
      this.#makeRoom(at + utf8Length(text, read));
      at += encodeInto(text, read, this.#rest(at)).written;
    }
    this.#length = at;
    return this;
  }

  /**
   * Appends a copy of the bytes of a view or a buffer.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const writer = scratch.writer().bytes(new Uint16Array([1, 2])).bytes(new ArrayBuffer(1));
   * assertEquals([...writer.finish()], [1, 0, 2, 0, 0]);
   * ```
   */
  bytes(source: ArrayBufferView | ArrayBufferLike): this {
    const bytes = bytesOf(source, "write bytes");
    const at = this.#take(bytes.length);
    this.#block.set(bytes, at);
    return this;
  }

  /**
   * Appends `byteLength` uninitialised bytes, for you to fill. The view is valid until the next call of the writer,
   * which may move the block.
   *
   * @example For a function that writes into a buffer
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const writer = scratch.writer().u8(1);
   * crypto.getRandomValues(writer.reserve(16));
   * assertEquals(writer.finish().length, 17);
   * ```
   */
  reserve(byteLength: number): Uint8Array<ArrayBuffer> {
    checkSize(byteLength, "reserve");
    const at = this.#take(byteLength);
    return this.#block.subarray(at, at + byteLength);
  }

  /**
   * Overwrites an unsigned byte at `position`, in bytes from the beginning.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().u8(0).setU8(0, 255).finish()], [255]);
   * ```
   */
  setU8(position: number, value: number): this {
    if (typeof value !== "number" || (value & 0xff) !== value) throw wrongNumber(value, "0 to 255");
    this.#checkWritten(position, 1);
    this.#view.setUint8(position, value);
    return this;
  }

  /**
   * Overwrites a signed byte at `position`, in bytes from the beginning.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().i8(0).setI8(0, -1).finish()], [255]);
   * ```
   */
  setI8(position: number, value: number): this {
    if (typeof value !== "number" || (value << 24 >> 24) !== value) throw wrongNumber(value, "-128 to 127");
    this.#checkWritten(position, 1);
    this.#view.setInt8(position, value);
    return this;
  }

  /**
   * Overwrites an unsigned 16-bit integer at `position`, in bytes from the beginning.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().u16(0).setU16(0, 258).finish()], [2, 1]);
   * ```
   */
  setU16(position: number, value: number): this {
    if (typeof value !== "number" || (value & 0xffff) !== value) throw wrongNumber(value, "0 to 65,535");
    this.#checkWritten(position, 2);
    this.#view.setUint16(position, value, this.#littleEndian);
    return this;
  }

  /**
   * Overwrites a signed 16-bit integer at `position`, in bytes from the beginning.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().i16(0).setI16(0, -2).finish()], [254, 255]);
   * ```
   */
  setI16(position: number, value: number): this {
    if (typeof value !== "number" || (value << 16 >> 16) !== value) throw wrongNumber(value, "-32,768 to 32,767");
    this.#checkWritten(position, 2);
    this.#view.setInt16(position, value, this.#littleEndian);
    return this;
  }

  /**
   * Overwrites an unsigned 32-bit integer at `position`, in bytes from the beginning.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().u32(0).setU32(0, 1).finish()], [1, 0, 0, 0]);
   * ```
   */
  setU32(position: number, value: number): this {
    if (typeof value !== "number" || (value >>> 0) !== value) throw wrongNumber(value, "0 to 2^32 - 1");
    this.#checkWritten(position, 4);
    this.#view.setUint32(position, value, this.#littleEndian);
    return this;
  }

  /**
   * Overwrites a signed 32-bit integer at `position`, in bytes from the beginning.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().i32(0).setI32(0, -1).finish()], [255, 255, 255, 255]);
   * ```
   */
  setI32(position: number, value: number): this {
    if (typeof value !== "number" || (value | 0) !== value) throw wrongNumber(value, "-2^31 to 2^31 - 1");
    this.#checkWritten(position, 4);
    this.#view.setInt32(position, value, this.#littleEndian);
    return this;
  }

  /**
   * Overwrites an unsigned 64-bit integer at `position`, in bytes from the beginning.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().u64(0n).setU64(0, 1n).finish()], [1, 0, 0, 0, 0, 0, 0, 0]);
   * ```
   */
  setU64(position: number, value: bigint): this {
    if (typeof value !== "bigint" || BigInt.asUintN(64, value) !== value) {
      throw wrongBigInt(value, "0n to 2n ** 64n - 1n");
    }
    this.#checkWritten(position, 8);
    this.#view.setBigUint64(position, value, this.#littleEndian);
    return this;
  }

  /**
   * Overwrites a signed 64-bit integer at `position`, in bytes from the beginning.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().i64(0n).setI64(0, -1n).finish()], Array(8).fill(255));
   * ```
   */
  setI64(position: number, value: bigint): this {
    if (typeof value !== "bigint" || BigInt.asIntN(64, value) !== value) {
      throw wrongBigInt(value, "-(2n ** 63n) to 2n ** 63n - 1n");
    }
    this.#checkWritten(position, 8);
    this.#view.setBigInt64(position, value, this.#littleEndian);
    return this;
  }

  /**
   * Overwrites a 32-bit float at `position`, in bytes from the beginning.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().f32(0).setF32(0, 0.5).finish()], [0, 0, 0, 63]);
   * ```
   */
  setF32(position: number, value: number): this {
    checkFloat32(value);
    this.#checkWritten(position, 4);
    this.#view.setFloat32(position, value, this.#littleEndian);
    return this;
  }

  /**
   * Overwrites a 64-bit float at `position`, in bytes from the beginning.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().f64(0).setF64(0, 0.5).finish()], [0, 0, 0, 0, 0, 0, 224, 63]);
   * ```
   */
  setF64(position: number, value: number): this {
    if (typeof value !== "number") throw wrongNumber(value, "any");
    this.#checkWritten(position, 8);
    this.#view.setFloat64(position, value, this.#littleEndian);
    return this;
  }

  /**
   * Discards what was written and starts over in the same memory.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.writer().text("draft").clear().u8(7).finish()], [7]);
   * ```
   */
  clear(): this {
    this.#checkThere();
    this.#length = 0;
    return this;
  }

  /**
   * Ends the writer and returns exactly what was written. The rest of the block is given back, if nothing was allocated
   * behind it.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const bytes = scratch.writer().f64(0.5).finish();
   * assertEquals([bytes.length, scratch.used], [8, 8]);
   * ```
   */
  finish(): Uint8Array<ArrayBuffer> {
    this.#checkThere();
    const bytes = cut(this.#scratch, this.#block, this.#length);
    this.#block = NOTHING;
    this.#size = -1;
    return bytes;
  }

  /** Moves the end by `byteLength` bytes. Returns where it was. */
  #take(byteLength: number): number {
    const at = this.#length;
    const end = at + byteLength;
    // True as well when the memory is gone: the block then has length 0.
    if (end > this.#block.length) this.#makeRoom(end);
    this.#length = end;
    return at;
  }

  /** Grows the block to at least `end` bytes. If it throws, nothing has changed. */
  #makeRoom(end: number): void {
    if (end <= this.#block.length) return;
    this.#checkThere();
    this.#block = grown(this.#scratch, this.#block, end, 2 * this.#block.length);
    this.#view = viewOver(this.#block);
    this.#size = this.#block.length;
  }

  #rest(at: number): Uint8Array<ArrayBuffer> {
    return this.#block.subarray(at);
  }

  #checkWritten(position: number, size: number): void {
    if (!(Number.isSafeInteger(position) && position >= 0 && position + size <= this.#length)) {
      checkSize(position, "write", "position");
      throw new RangeError(
        `Cannot write ${formatBytes(size)} at position ${position}: only ${
          formatBytes(this.#length)
        } were written so far`,
      );
    }
    if (this.#block.length < this.#length) this.#checkThere();
  }

  /** Throws when the writer has finished or its memory is gone. */
  #checkThere(): void {
    if (this.#block.length === this.#size) return;
    if (this.#size < 0) throw new ClosedError("write", "writer");
    this.#scratch.alloc(0); // throws the error that says why
    throw new ClosedError("write", "scope or allocator that made the writer");
  }

  /**
   * For `JSON.stringify`.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals(JSON.stringify(scratch.writer().u32(7)), '{"length":4}');
   * ```
   */
  toJSON(): { length: number } {
    return { length: this.#length };
  }

  /** For `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    const state = this.#size < 0 ? "finished" : this.#block.length < this.#size ? "memory taken back" : null;
    return `BumpWriter { ${formatBytes(this.#length)}${state === null ? "" : `, ${state}`} }`;
  }
}

function viewOver(block: Uint8Array<ArrayBuffer>): DataView<ArrayBuffer> {
  return new DataView(block.buffer, block.byteOffset, block.length);
}

function wrongNumber(value: unknown, range: string): Error {
  if (typeof value !== "number") {
    return new TypeError(`Cannot write the number: a number is needed, not ${describe(value)}`);
  }
  return new RangeError(`Cannot write the number: an integer from ${range} is needed, not ${value}`);
}

function wrongBigInt(value: unknown, range: string): Error {
  if (typeof value !== "bigint") {
    return new TypeError(`Cannot write the number: a bigint is needed, not ${describe(value)}`);
  }
  return new RangeError(`Cannot write the number: a bigint from ${range} is needed, not ${value}n`);
}

function checkFloat32(value: number): void {
  if (typeof value !== "number") throw wrongNumber(value, "any");
  if (Math.abs(Math.fround(value)) === Infinity && Math.abs(value) !== Infinity) {
    throw new RangeError(`Cannot write the number: ${value} is beyond a 32-bit float`);
  }
}
