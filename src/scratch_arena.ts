import { type Arena, ENDED_SCOPE } from "./arena.ts";
import { arrayFrom } from "./arrays.ts";
import { isDetached } from "./buffers.ts";
import { checkView } from "./check.ts";
import { cannot, type What } from "./errors.ts";
import { formatBytes } from "./format.ts";
import { makeOut, type Out, type OutType } from "./out.ts";
import {
  readAll,
  type ReadAllOptions,
  readFile,
  type ReadFileOptions,
  readFileSync,
  type ReadSource,
} from "./reading.ts";
import type { Copied, ElementOf, Mark, Scratch, TypedArray, TypedArrayConstructor } from "./scratch.ts";
import { cstring16, cstringArray, encode } from "./text.ts";
import { allocArray, allocArrayZeroed, copy, placeOf, realloc, viewArray } from "./views.ts";
import { BumpWriter, type BumpWriterOptions } from "./writer.ts";

// Captured once: a program may replace the globals with classes that allocate.
const { BigUint64Array: OwnBigUint64Array, DataView: OwnDataView, Uint8Array: OwnUint8Array } = globalThis;

/** Whoever has this key may construct an arena; it is not exported. */
export const ARENA_KEY = {};

/** The arena behind an allocator or scope. */
export let arenaOf: (scratch: ScratchArena) => Arena;
/** Replaces the arena behind an allocator or scope. */
let setArena: (scratch: ScratchArena, arena: Arena) => void;

/**
 * The base class of {@linkcode BumpAlloc} and {@linkcode BumpScope}, with the methods that allocate. It cannot be
 * constructed; make a `BumpAlloc`.
 *
 * | operation | cost |
 * |---|---|
 * | `alloc`, `tryAlloc`, `view` | that of `new Uint8Array(buffer, offset, length)` |
 * | `offset`, `mark`, `rewind` | a few machine instructions |
 * | `frame` and its end | little more than `mark` and `rewind` |
 * | `scope` and its end | tens of times a frame, because it detaches |
 * | `allocZeroed` | `alloc`, and clearing the bytes used before |
 * | `realloc` | that of `alloc` in place, else that of a copy |
 *
 * @example For a function that takes any allocator or scope
 * ```ts
 * import { BumpAlloc, ScratchArena } from "@bump/alloc";
 * import { assert } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * using scope = scratch.scope();
 * assert(scratch instanceof ScratchArena && scope instanceof ScratchArena);
 * ```
 */
export abstract class ScratchArena implements Scratch {
  // No private field or method: in a base class it adds 20 ns to each construction of a derived object, as much as a
  // whole frame.
  declare private _arena: Arena;

  /** Throws a `TypeError`: make a `BumpAlloc`, or open a scope of one. */
  protected constructor(key: object, arena: object) {
    if (key !== ARENA_KEY) throw new TypeError("Cannot construct this: make a BumpAlloc, or open a scope of one");
    this._arena = arena as Arena;
  }

  /**
   * Allocates `byteLength` uninitialised bytes at an address that is a multiple of `align`.
   *
   * The bytes hold whatever was there before, as with `Buffer.allocUnsafe`. Size 0 gives an empty view with a valid
   * address (aligned up to 4096) and takes no space.
   *
   * @param byteLength Bytes, a non-negative safe integer.
   * @param align Bytes, a power of two up to the capacity; default 8.
   * @throws {OutOfMemoryError} The region does not have that many bytes left. Nothing has moved.
   *
   * @example Scratch memory for a block
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const bytes = scratch.alloc(1024, 64);
   * assertEquals(bytes.length, 1024);
   * assertEquals(scratch.addressOf(bytes) % 64n, 0n);
   * ```
   */
  alloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer> {
    const arena = this._arena;
    const start = arena.take(byteLength, align, methods.alloc);
    return new OwnUint8Array(arena.buffer, start, byteLength);
  }

  /**
   * Allocates `byteLength` zero bytes. Fresh pages are zero already, so only bytes that were used before are cleared.
   *
   * @example A table that starts empty
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assert } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * scratch.alloc(256).fill(1);
   * scratch.reset();
   * assert(scratch.allocZeroed(256).every((byte) => byte === 0));
   * ```
   */
  allocZeroed(byteLength: number, align?: number): Uint8Array<ArrayBuffer> {
    const arena = this._arena;
    const start = arena.take(byteLength, align, methods.allocZeroed);
    arena.clear(start, byteLength);
    return new OwnUint8Array(arena.buffer, start, byteLength);
  }

  /**
   * Like {@linkcode ScratchArena.alloc}, but returns `null` when the region is full.
   *
   * @example Fall back to the garbage-collected heap
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = BumpAlloc.withSize(65536);
   * const bytes = scratch.tryAlloc(1 << 20) ?? new Uint8Array(1 << 20);
   * assertEquals(bytes.length, 1 << 20);
   * assertEquals(scratch.used, 0);
   * ```
   */
  tryAlloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer> | null {
    const arena = this._arena;
    const start = arena.take(byteLength, align, methods.tryAlloc);
    return start < 0 ? null : new OwnUint8Array(arena.buffer, start, byteLength);
  }

  /**
   * Allocates a typed array of `length` uninitialised elements. If `type` is a class of your own and its constructor
   * throws, the error reaches you and the memory stays taken.
   *
   * @example Numbers for a computation
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const samples = scratch.allocArray(Float64Array, 1000);
   * samples.fill(0.5);
   * assertEquals(samples.byteLength, 8000);
   * ```
   */
  allocArray<T>(type: TypedArrayConstructor<T>, length: number): T {
    return allocArray(this._arena, type, length, methods.allocArray);
  }

  /**
   * Allocates `byteLength` uninitialised bytes as a `DataView`, for structs.
   *
   * @example A C struct { int32_t x; double y; }
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const point = scratch.allocView(16);
   * point.setInt32(0, 7, true);
   * point.setFloat64(8, 0.5, true);
   * assertEquals(point.getInt32(0, true), 7);
   * ```
   */
  allocView(byteLength: number, align?: number): DataView<ArrayBuffer> {
    const arena = this._arena;
    const start = arena.take(byteLength, align, methods.allocView);
    return new OwnDataView(arena.buffer, start, byteLength);
  }

  /**
   * Like {@linkcode ScratchArena.allocArray}, with all elements zero.
   *
   * @example Counters
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const counts = scratch.allocArrayZeroed(Uint32Array, 256);
   * for (const byte of [1, 2, 1]) counts[byte]++;
   * assertEquals([counts[0], counts[1]], [0, 2]);
   * ```
   */
  allocArrayZeroed<T>(type: TypedArrayConstructor<T>, length: number): T {
    return allocArrayZeroed(this._arena, type, length, methods.allocArrayZeroed);
  }

  /**
   * Like {@linkcode ScratchArena.allocView}, with all bytes zero: for structs of which you set only some fields, like
   * C's `calloc`.
   *
   * @example A struct with reserved fields
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const struct = scratch.allocViewZeroed(24);
   * struct.setUint32(0, 24, true); // its size
   * assertEquals(struct.getBigUint64(16, true), 0n);
   * ```
   */
  allocViewZeroed(byteLength: number, align?: number): DataView<ArrayBuffer> {
    const arena = this._arena;
    const start = arena.take(byteLength, align, methods.allocViewZeroed);
    arena.clear(start, byteLength);
    return new OwnDataView(arena.buffer, start, byteLength);
  }

  /**
   * Makes a typed array of the values of an array, a typed array or any iterable. Values are converted as typed arrays
   * convert them. If reading or converting a value throws, the memory is given back; an endless iterable ends with an
   * {@linkcode OutOfMemoryError}.
   *
   * @example Of a set, and of another type
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const ids = scratch.arrayFrom(Uint32Array, new Set([3, 1, 3]));
   * const floats = scratch.arrayFrom(Float64Array, ids);
   * assertEquals([...floats], [3, 1]);
   * ```
   */
  arrayFrom<T>(type: TypedArrayConstructor<T>, values: ArrayLike<ElementOf<T>> | Iterable<ElementOf<T>>): T {
    return arrayFrom(this, type, values);
  }

  /**
   * Copies a typed array or `DataView` into scratch memory, with the same type and elements. A buffer is copied as
   * bytes.
   *
   * @example Keep bytes that a callback shows only for a moment
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const kept = scratch.copy(new Uint16Array([1, 2, 3]));
   * assertEquals([...kept], [1, 2, 3]);
   * assertEquals(scratch.owns(kept), true);
   * ```
   */
  copy<T extends ArrayBufferView | ArrayBufferLike>(source: T): Copied<T> {
    return copy(this._arena, source, methods.copy);
  }

  /**
   * Resizes a typed array to `length` elements: in place when it is the last allocation or shrinks, else by copying.
   * Elements up to the shorter length are kept; further ones are uninitialised. Do not use the old array afterwards. An
   * array of an outer scope is copied; one of another allocator is a `TypeError`.
   *
   * @example Grow a buffer while it fills
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * let line = scratch.alloc(16);
   * line.set([72, 105]);
   * line = scratch.realloc(line, 4096);
   * assertEquals([...line.subarray(0, 2)], [72, 105]);
   * assertEquals(scratch.used, 4096); // grown in place
   * ```
   */
  realloc<T extends TypedArray>(array: T, length: number): T {
    return realloc(this._arena, array, length, methods.realloc);
  }

  /**
   * Does nothing, as in every bump allocator: memory comes back when the scope ends, or at `reset`. It exists for code
   * that frees what it allocates, so that such code can work on any {@linkcode Scratch}.
   *
   * @example Code that frees what it allocates
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const bytes = scratch.alloc(16);
   * scratch.free(bytes);
   * assertEquals([bytes.length, scratch.used], [16, 16]);
   * ```
   */
  free(view: ArrayBufferView): void {
    checkView(view, methods.free);
  }

  /**
   * Like {@linkcode ScratchArena.alloc}, but returns the offset from the region's address and makes no view: for data
   * at offsets of one array, or for addresses passed to native code.
   *
   * @example Make the view later, or elsewhere
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const offset = scratch.offset(64);
   * const bytes = scratch.view(offset, 64);
   * assertEquals(scratch.addressOf(bytes), scratch.address + BigInt(offset));
   * ```
   */
  offset(byteLength: number, align?: number): number {
    const arena = this._arena;
    const start = arena.take(byteLength, align, methods.offset);
    return arena.base + start;
  }

  /**
   * Makes a view of `byteLength` bytes at `offset` from the region's address. The bytes must have been allocated; in a
   * shared region, by any allocator.
   *
   * @throws {RangeError} Some of the bytes were never allocated.
   *
   * @example Data at offsets
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const offset = scratch.offset(4);
   * scratch.view(offset, 4).set([1, 2, 3, 4]);
   * assertEquals([...scratch.view(offset + 1, 2)], [2, 3]);
   * ```
   */
  view(offset: number, byteLength: number): Uint8Array<ArrayBuffer> {
    const arena = this._arena;
    if (typeof offset === "number" && typeof byteLength === "number" && arena.bytes.length > 0) {
      const start = offset - arena.base;
      if (
        (start | 0) === start && start >= 0 && (byteLength | 0) === byteLength && byteLength >= 0 &&
        start + byteLength <= arena.cursor
      ) {
        return new OwnUint8Array(arena.buffer, start, byteLength);
      }
    }
    const place = arena.viewElsewhere(offset, byteLength, methods.view);
    return new OwnUint8Array(place.buffer, place.start, byteLength);
  }

  /**
   * The offset of the first byte of `view` from the region's address. {@linkcode ScratchArena.view} takes it, in this
   * Worker or another.
   *
   * @throws {TypeError} The view is not memory of this allocator.
   *
   * @example Where a C string is
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const text = scratch.cstring("hello");
   * assertEquals([...scratch.view(scratch.offsetOf(text), 2)], [104, 101]);
   * ```
   */
  offsetOf(view: ArrayBufferView): number {
    return addressOf(this._arena, view, methods.offsetOf) - this._arena.hold.address;
  }

  /**
   * Makes a typed array of `length` allocated elements at `offset` from the region's address.
   *
   * @throws {RangeError} Some of the bytes were never allocated, or the offset is not a multiple of the element's size.
   *
   * @example Numbers at an offset
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const offset = scratch.offset(32);
   * scratch.viewArray(Float64Array, offset, 4).fill(0.5);
   * assertEquals(scratch.viewArray(Float64Array, offset + 24, 1)[0], 0.5);
   * ```
   */
  viewArray<T>(type: TypedArrayConstructor<T>, offset: number, length: number): T {
    return viewArray(this._arena, type, offset, length, methods.viewArray);
  }

  /**
   * The position of the cursor, for {@linkcode ScratchArena.rewind}.
   *
   * @example The sharp tool: take memory back without detaching
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const mark = scratch.mark();
   * scratch.alloc(4096);
   * scratch.rewind(mark);
   * assertEquals(scratch.used, 0);
   * ```
   */
  mark(): Mark {
    const arena = this._arena;
    if (arena.bytes.length === 0) arena.checkMarkable(methods.mark);
    return new CursorMark(this, arena.life, arena.top = arena.position);
  }

  /**
   * Takes back everything that was allocated since `mark`. Unchecked: views made after the mark stay usable and alias
   * new allocations. Prefer {@linkcode ScratchArena.frame}, which costs little more.
   *
   * @throws {TypeError} The mark is not from this allocator or scope.
   * @throws {RangeError} The mark is above the cursor, or from before a `reset`.
   *
   * @example A temporary for each turn of a loop
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const mark = scratch.mark();
   * let sum = 0;
   * for (let i = 0; i < 100; i++) {
   *   const row = scratch.allocArray(Float64Array, 1000);
   *   row.fill(i);
   *   sum += row[999];
   *   scratch.rewind(mark);
   * }
   * assertEquals([sum, scratch.used], [4950, 0]);
   * ```
   */
  rewind(mark: Mark): void {
    // The owner proves that it is a mark; `instanceof` would double the cost of this method.
    const { owner, life, offset } = (mark ?? NO_MARK) as CursorMark;
    const arena = this._arena;
    if (owner === this && life === arena.life && offset <= arena.top) {
      const start = offset - arena.base;
      const { cursor } = arena;
      if (start >= arena.floor) {
        if (cursor > arena.high) arena.high = cursor;
        arena.cursor = start;
        arena.top = offset;
        return;
      }
    }
    // Pass the fields: if the mark never escapes, V8 does not allocate it.
    rewindFar(arena, owner === this, life, offset);
  }

  /**
   * Whether `view` is live memory of this allocator or scope. Memory that `rewind` took back still counts, because its
   * views are alive.
   *
   * @example Tell scratch memory from other memory
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const bytes = scratch.alloc(8);
   * assertEquals(scratch.owns(bytes), true);
   * assertEquals(scratch.owns(new Uint8Array(8)), false);
   * scratch.reset();
   * assertEquals(scratch.owns(bytes), false);
   * ```
   */
  owns(view: ArrayBufferView): boolean {
    checkView(view, methods.owns);
    const arena = this._arena;
    const { buffer } = view;
    if (arena.closed || (buffer instanceof ArrayBuffer && isDetached(buffer))) return false;
    return arena.baseOf(buffer, view.byteOffset, arena.depth) >= 0;
  }

  /**
   * The address of the first byte of `view`, computed without an FFI call. If a program redefines the view's
   * `byteOffset`, the address is wrong.
   *
   * @throws {TypeError} The view is not memory of this allocator.
   *
   * @example An address in a struct
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const text = scratch.cstring("hello");
   * const struct = scratch.allocView(8);
   * struct.setBigUint64(0, scratch.addressOf(text), true); // char*
   * const pointer = Deno.UnsafePointer.create(struct.getBigUint64(0, true))!;
   * assertEquals(Deno.UnsafePointerView.getCString(pointer), "hello");
   * ```
   */
  addressOf(view: ArrayBufferView): bigint {
    return toBigInt(addressOf(this._arena, view, methods.addressOf));
  }

  /**
   * A pointer to the first byte of `view`, for FFI calls that take a `"pointer"`.
   *
   * @throws {TypeError} The view is not memory of this allocator.
   *
   * @example What an FFI call takes
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const pointer = scratch.pointerOf(scratch.cstring("hello"));
   * assertEquals(new Deno.UnsafePointerView(pointer).getCString(), "hello");
   * ```
   */
  pointerOf(view: ArrayBufferView): Deno.PointerObject {
    const address = addressOf(this._arena, view, methods.pointerOf);
    return this._arena.hold.pointer(address);
  }

  /**
   * Writes `text` as UTF-8, without a NUL, at any address. Lone surrogates become U+FFFD.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.encode("na\u00efve")], [110, 97, 195, 175, 118, 101]);
   * ```
   */
  encode(text: string): Uint8Array<ArrayBuffer> {
    return encode(this._arena, text, 0, methods.encode);
  }

  /**
   * Writes `text` as a C string: UTF-8 and a NUL, at any address. The view includes the NUL.
   *
   * Lone surrogates become U+FFFD. An empty text becomes a single NUL, so its pointer is valid and not NULL.
   *
   * @throws {TypeError} The text contains a NUL, which C would take for the end.
   *
   * @example UTF-8 and the NUL
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const name = scratch.cstring("na\u00efve");
   * assertEquals([...name], [110, 97, 195, 175, 118, 101, 0]);
   * ```
   */
  cstring(text: string): Uint8Array<ArrayBuffer> {
    return encode(this._arena, text, 1, methods.cstring);
  }

  /**
   * Writes `text` as a Windows wide string: UTF-16 and a NUL. The array includes the NUL. Lone surrogates become
   * U+FFFD.
   *
   * @throws {TypeError} The text contains a NUL, which C would take for the end.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.cstring16("C:\\")], [67, 58, 92, 0]); // for a function that takes an LPCWSTR
   * ```
   */
  cstring16(text: string): Uint16Array<ArrayBuffer> {
    return cstring16(this._arena, text, methods.cstring16);
  }

  /**
   * Writes a `char**`: each text as a C string, and an array of their addresses with a final NULL.
   *
   * @throws {TypeError} A text contains a NUL. Nothing has changed.
   *
   * @example Arguments of a program
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const argv = scratch.cstringArray(["ls", "-l"]);
   * assertEquals([argv.length, argv[2]], [3, 0n]);
   * ```
   */
  cstringArray(texts: readonly string[]): BigUint64Array<ArrayBuffer> {
    return cstringArray(this._arena, texts, methods.cstringArray);
  }

  /**
   * Memory for an out-parameter: eight zero bytes, aligned to eight. Pass `view` to the function, then read `value`.
   * Setting `value` before the call makes an in-out parameter.
   *
   * @example The exponent that `int frexp(double, int* exponent)` writes
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const exponent = scratch.out("i32");
   * // library.symbols.frexp(8, exponent.view);
   * assertEquals(exponent.value, 0);
   * ```
   */
  out<T extends OutType>(type: T): Out<T> {
    return makeOut(this._arena, type, methods.out) as unknown as Out<T>;
  }

  /**
   * Makes a {@linkcode BumpWriter}, which appends numbers, text and bytes to one block that grows in place.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const packet = scratch.writer({ littleEndian: false }).u8(1).u16(2).text("hi").finish();
   * assertEquals([...packet], [1, 0, 2, 104, 105]);
   * ```
   */
  writer(options?: BumpWriterOptions): BumpWriter {
    return new BumpWriter(this, options);
  }

  /**
   * Reads a whole file, including files of unknown size, as in `/proc`. If it fails, the memory is given back.
   *
   * @throws {Deno.errors.NotFound} And any other error of `Deno.openSync`.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const path = Deno.makeTempFileSync();
   * Deno.writeTextFileSync(path, "a,b\n");
   * assertEquals([...scratch.readFileSync(path)], [97, 44, 98, 10]);
   * Deno.removeSync(path);
   * ```
   */
  readFileSync(path: string | URL): Uint8Array<ArrayBuffer> {
    return readFileSync(this, path);
  }

  /**
   * Reads a whole file in the background. The memory stays pinned until the last read has ended, even after an abort.
   *
   * Meanwhile this arena may allocate; the block then moves if it has to grow. While one of the arena's scopes is open,
   * the block cannot grow, and the promise is rejected with a {@linkcode ScopeError}.
   *
   * @example Two files at once
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assert } from "@std/assert";
   *
   * await using scratch = new BumpAlloc();
   * const path = new URL(import.meta.url);
   * const [first, second] = await Promise.all([scratch.readFile(path), scratch.readFile(path)]);
   * assert(first.length === second.length);
   * ```
   */
  readFile(path: string | URL, options?: ReadFileOptions): Promise<Uint8Array<ArrayBuffer>> {
    return readFile(this, path, options);
  }

  /**
   * Reads a source to its end: a stream, the body of a request or response, a blob, an async iterable of bytes, or an
   * object with Deno's `read`. The memory is pinned meanwhile. `null`, a missing body, gives an empty view.
   *
   * If the source fails, is aborted, or has more than `limit` bytes, the source is cancelled and the promise rejected.
   * The memory is given back, unless something was allocated behind it. As with {@linkcode ScratchArena.readFile}, the
   * block cannot grow while a scope is open.
   *
   * @throws {RangeError} The source has more than `limit` bytes.
   *
   * @example The body of a request, in a server
   * ```ts
   * import { BumpAlloc, BumpPool } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using pool = new BumpPool();
   * const handler = (request: Request) =>
   *   pool.use(async (scratch) => {
   *     const body = await scratch.readAll(request, { limit: 1_000_000 });
   *     return new Response(String(body.length));
   *   });
   * const response = await handler(new Request("http://localhost/", { method: "POST", body: "hello" }));
   * assertEquals(await response.text(), "5");
   * ```
   */
  readAll(source: ReadSource, options?: ReadAllOptions): Promise<Uint8Array<ArrayBuffer>> {
    return readAll(this, source, options);
  }

  /**
   * Opens a nested lifetime: a scope whose memory comes back when it ends. Until then this arena cannot allocate.
   *
   * @example A lifetime is a block
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * let leaked: Uint8Array;
   * {
   *   using scope = scratch.scope();
   *   leaked = scope.alloc(100);
   * }
   * assertEquals(leaked.length, 0); // dead, not dangling
   * assertEquals(scratch.used, 0);
   * ```
   */
  scope(): BumpScope {
    const arena = this._arena.open(methods.scope);
    const scope = new BumpScope(ARENA_KEY, arena);
    arena.hold.debug?.open(arena, scope);
    return scope;
  }

  /**
   * Opens a frame: a scope at the price of `mark` and `rewind`. Its views are detached a little after the frame's end.
   * Until then they show the bytes that they had, and writes through them reach no other allocation.
   *
   * With a function: calls it with a frame, ends the frame even if the function throws, and returns the result.
   *
   * @example A call frame
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const length = scratch.frame((frame) => frame.cstring("hello").length);
   * assertEquals([length, scratch.used], [6, 0]);
   * ```
   */
  frame(): BumpScope;
  /**
   * Calls a function with a frame.
   *
   * @example The lifetime is the function
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const sum = scratch.frame((frame) => frame.copy(new Uint8Array([1, 2, 3])).reduce((a, b) => a + b));
   * assertEquals(sum, 6);
   * ```
   */
  frame<T>(fn: (frame: BumpScope) => T): T;
  frame<T>(fn?: (frame: BumpScope) => T): BumpScope | T {
    const arena = this._arena.openFrame(methods.frame);
    const frame = new BumpScope(ARENA_KEY, arena);
    arena.hold.debug?.open(arena, frame);
    if (fn === undefined) return frame;
    try {
      const result = fn(frame);
      if (typeof (result as PromiseLike<unknown> | null)?.then !== "function") return result;
    } finally {
      frame.end();
    }
    throw cannot(
      TypeError,
      methods.frame,
      "the function returned a promise, which would outlive the frame. Use scope() with `await using`, and pin()",
    );
  }

  /**
   * Keeps the memory in use until `promise` settles: for I/O or a nonblocking FFI call that works on the memory. With
   * `await using`, the end waits for the promise; a synchronous end throws a `PinnedError` and changes nothing.
   *
   * Without a pin nothing notices such work. When the memory ends, the work continues at the same address and writes
   * into the next allocation there. After `close` the addresses stay mapped for at least a second; work that takes
   * longer may crash the process. `rewind` ignores pins.
   *
   * @returns The same promise.
   *
   * @example Write a file from scratch memory
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   *
   * await using scratch = new BumpAlloc();
   * const bytes = scratch.alloc(5);
   * new TextEncoder().encodeInto("hello", bytes);
   * await scratch.pin(crypto.subtle.digest("SHA-256", bytes));
   * ```
   */
  pin<T>(promise: Promise<T>): Promise<T> {
    const arena = this._arena;
    arena.checkOpen(methods.pin);
    if (typeof promise?.then !== "function") throw cannot(TypeError, methods.pin, "a promise is needed");
    arena.pin(promise, this);
    return promise;
  }

  /**
   * Bytes that are taken: by allocations and their padding, by native callers and, in a shared region, by other
   * allocators.
   *
   * @example Padding counts
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * scratch.alloc(1);
   * scratch.alloc(8); // begins at a multiple of 8
   * assertEquals(scratch.used, 16);
   * ```
   */
  get used(): number {
    return this._arena.used;
  }

  static {
    arenaOf = (scratch) => scratch._arena;
    setArena = (scratch, arena) => scratch._arena = arena;
  }
}

/** The public methods, from which an error takes its words and the line where its stack begins. */
const methods = ScratchArena.prototype;

/** Rewinds to another window or with poison, or throws the error for a mark that is not valid. */
function rewindFar(arena: Arena, isOwn: boolean, life: number, offset: number): void {
  arena.checkOpen(methods.rewind);
  if (!isOwn) throw cannot(TypeError, methods.rewind, "the mark is not from this allocator or scope");
  if (life !== arena.life) throw cannot(RangeError, methods.rewind, "the mark is from before a reset");
  if (offset > arena.top || offset > arena.position) {
    throw cannot(RangeError, methods.rewind, "the mark is above the cursor, because an earlier rewind went below it");
  }
  arena.rewindTo(offset, methods.rewind);
}

/** The address of a view's first byte, as a number. */
function addressOf(arena: Arena, view: ArrayBufferView, what: What): number {
  if (view?.buffer === arena.buffer && arena.bytes.length > 0 && ArrayBuffer.isView(view)) {
    return arena.hold.address + arena.base + view.byteOffset;
  }
  arena.checkOpen(what);
  const { buffer, start } = placeOf(view, what);
  const base = arena.baseOf(buffer, start, 0);
  if (base < 0) throw cannot(TypeError, what, "the view is not memory of this allocator (or was taken back)");
  return arena.hold.address + base + start;
}

/**
 * A nested lifetime, opened by `scope()` or `frame()` of an allocator or another scope. {@linkcode ScratchArena} has
 * the methods that allocate.
 *
 * @example Scopes in a scope
 * ```ts
 * import { BumpAlloc, type BumpScope } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * // Each row's memory is taken back before the next.
 * function sum(outer: BumpScope, rows: number): number {
 *   let total = 0;
 *   for (let i = 1; i <= rows; i++) {
 *     using inner = outer.scope();
 *     total += inner.copy(new Uint8Array([i, i])).reduce((a, b) => a + b);
 *   }
 *   return total;
 * }
 *
 * using scratch = new BumpAlloc();
 * using scope = scratch.scope();
 * assertEquals(sum(scope, 3), 12);
 * ```
 */
export class BumpScope extends ScratchArena implements Disposable, AsyncDisposable {
  // Explicit, because V8 does not inline a default derived constructor.
  /** Throws a `TypeError`: open a scope with `scope()`. */
  constructor(key: object, arena: object) {
    super(key, arena);
  }

  /**
   * Ends the scope and takes its memory back. Its views have length 0 from then on; those of a frame, a little later.
   * Ending a scope twice is fine.
   *
   * @throws {ScopeError} A scope inside this one is open.
   * @throws {PinnedError} A pinned promise is still using the memory.
   *
   * @example Where `using` does not fit
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const scope = scratch.scope();
   * const bytes = scope.alloc(10);
   * scope.end();
   * assertEquals(bytes.length, 0);
   * ```
   */
  end(): void {
    const arena = arenaOf(this);
    if (arena.closed) return;
    arena.end(END);
    setArena(this, ENDED_SCOPE);
  }

  /** Ends the scope; called by `using`. */
  [Symbol.dispose](): void {
    this.end();
  }

  /** For `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    const arena = arenaOf(this);
    const name = arena.isFrame ? "BumpScope (frame)" : "BumpScope";
    return arena.closed ? `${name} { ended }` : `${name} { used: ${formatBytes(arena.position - arena.start)} }`;
  }

  /** Waits for pinned promises, then ends the scope; called by `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await arenaOf(this).settlePins();
    this.end();
  }
}

/** The operation, in errors. */
const END = "end the scope";

/** A position and its owner, so that it cannot rewind another arena. */
class CursorMark implements Mark {
  readonly owner: ScratchArena;
  readonly life: number;
  readonly offset: number;

  constructor(owner: ScratchArena, life: number, offset: number) {
    this.owner = owner;
    this.life = life;
    this.offset = offset;
  }

  /** For `JSON.stringify`. */
  toJSON(): { offset: number } {
    return { offset: this.offset };
  }

  /** For `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    return `Mark { offset: ${this.offset} }`;
  }
}

/** Stands for a missing mark: it has no owner. */
const NO_MARK = {};

const doubleCell = new Float64Array(1);
const bitsOfDouble = new OwnBigUint64Array(doubleCell.buffer);

/**
 * Converts an address to a bigint by a store and a load, where BigInt(number) would call the runtime. The double 2^52 +
 * n, for an integer n below 2^52, has n in its lower 52 bits. User space ends far below, at 2^47 or 2^48.
 */
function toBigInt(address: number): bigint {
  doubleCell[0] = 2 ** 52 + address;
  return BigInt.asUintN(52, bitsOfDouble[0]);
}
