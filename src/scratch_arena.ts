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

// Taken once: a program may replace the global ones, by classes that allocate.
const { BigUint64Array: OwnBigUint64Array, DataView: OwnDataView, Uint8Array: OwnUint8Array } = globalThis;

/** Who has it may construct an arena. */
export const ARENA_KEY = {};

/** What is behind an allocator or scope. */
export let arenaOf: (scratch: ScratchArena) => Arena;
/** Puts another arena behind it. */
let setArena: (scratch: ScratchArena, arena: Arena) => void;

/**
 * What {@linkcode BumpAlloc} and {@linkcode BumpScope} have in common: the methods that allocate. It
 * cannot be constructed; make a `BumpAlloc`.
 *
 * | operation | cost |
 * |---|---|
 * | `alloc`, `tryAlloc`, `view` | that of `new Uint8Array(buffer, offset, length)` |
 * | `offset`, `mark`, `rewind` | a few instructions |
 * | `frame`, and its end | little more than `mark` and `rewind` |
 * | `scope`, and its end | tens of frames, because it detaches |
 * | `allocZeroed` | `alloc`, and clearing what was used before |
 * | `realloc` | `alloc` when in place, else a copy |
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
  // No private field or method: of a base class they cost 20 ns for each object of a derived one, as much as a frame may.
  declare private _arena: Arena;

  /** Throws a `TypeError`: make a `BumpAlloc`, or open a scope of one. */
  protected constructor(key: object, arena: object) {
    if (key !== ARENA_KEY) throw new TypeError("Cannot construct this: make a BumpAlloc, or open a scope of one");
    this._arena = arena as Arena;
  }

  /**
   * Allocates `byteLength` uninitialised bytes at an address that is a multiple of `align`.
   *
   * The bytes are whatever was there before, as with `Buffer.allocUnsafe`. A size of 0 gives an
   * empty view with a valid address (aligned up to 4096) and takes no space.
   *
   * @param byteLength Bytes, a safe integer from 0 on.
   * @param align Bytes, a power of two up to the capacity; default 8.
   * @throws {OutOfMemoryError} The region has not that many bytes left; nothing has moved.
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
   * Allocates `byteLength` zero bytes. Fresh pages are known to be zero, so only bytes that were used before
   * are cleared.
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
   * As {@linkcode ScratchArena.alloc}, but gives `null` when the region is full.
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
   * Allocates a typed array of `length` uninitialised elements. What the constructor of a class of your own throws reaches
   * you, and its memory stays taken.
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
   * Allocates `byteLength` uninitialised bytes as a `DataView`: for structs.
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
   * As {@linkcode ScratchArena.allocArray}, with zeros.
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
   * As {@linkcode ScratchArena.allocView}, with zeros: for structs of which only some fields are set, as C's `calloc`.
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
   * A typed array of these values: of an array, another typed array, or any iterable. They are converted as typed arrays do, and
   * may be endless: then the region is full at some point. Where one throws, nothing stays taken.
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
   * Copies a typed array or `DataView` into own memory: same type, same elements. Of a buffer it copies the bytes.
   *
   * @example Keep what a callback shows only for a moment
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
   * Gives a typed array another length, in elements: in place when it is the last allocation or shrinks, else as a
   * copy. The elements that both have stay; further ones are uninitialised. The old array must not be used
   * any more. A view of an outer scope is copied; one of another allocator is a `TypeError`.
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
   * Does nothing, as in every bump allocator: memory comes back when the scope ends, or at `reset`. It is here so that
   * code which frees what it allocated can be given any {@linkcode Scratch}.
   *
   * @example For code that frees what it allocated
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
   * As {@linkcode ScratchArena.alloc}, but gives the offset from the region's address and makes no view:
   * for those who keep their data at offsets of one array or pass addresses to native code.
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
   * A view of `byteLength` bytes at `offset` from the region's address. They must have been allocated; in a
   * shared region by anyone.
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
   * The offset of the first byte of `view` from the region's address: what {@linkcode ScratchArena.view} takes, in this Worker or another.
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
   * A typed array of `length` allocated elements at `offset` from the region's address.
   *
   * @throws {RangeError} Some of the bytes were never allocated, or the offset is no multiple of the element's size.
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
   * Takes back everything that was allocated since `mark`. Unchecked: views from after the mark
   * stay usable and then alias new allocations. Prefer {@linkcode ScratchArena.frame}, which costs little more.
   *
   * @throws {TypeError} The mark is not one of this allocator or scope.
   * @throws {RangeError} The mark lies above the cursor, or is from before a `reset`.
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
    // The owner proves that it is a mark; `instanceof` would cost as much as the rest.
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
   * Whether `view` shows memory of this allocator or scope that was not taken back. Memory that `rewind` took
   * back still counts, because its views are alive.
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
   * The address of the first byte of `view`, by arithmetic, without a call. It believes the view's `byteOffset`: where
   * a program has redefined that property, the address is wrong.
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
   * Lone surrogates become U+FFFD. An empty text gives one NUL: a valid pointer, not NULL.
   *
   * @throws {TypeError} The text has a NUL inside: C would take it for the end.
   *
   * @example A call frame: what the call needs is gone when the block ends
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
   * Writes `text` as a wide string of Windows: UTF-16 and a NUL. Lone surrogates become U+FFFD. The array includes the NUL.
   *
   * @throws {TypeError} The text has a NUL inside: C would take it for the end.
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
   * Writes texts as C strings, and an array of their addresses with a NULL at the end: a `char**`.
   *
   * @throws {TypeError} A text has a NUL inside; nothing has changed.
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
   * Memory for an out-parameter: eight zero bytes at a multiple of eight. Pass `view`, read `value`. Setting `value`
   * before the call makes an in-out parameter.
   *
   * @example What `int frexp(double, int* exponent)` writes
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
   * A {@linkcode BumpWriter}: appends numbers, text and bytes to one block that grows in place.
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
   * Reads a whole file, including one whose size is not known before, as in `/proc`. When it fails, nothing stays taken.
   *
   * @throws {Deno.errors.NotFound} And what else `Deno.openSync` throws.
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
   * Reads a whole file in the background. The memory is pinned meanwhile, and for as long as a read goes on after an abort.
   *
   * This arena may allocate meanwhile; then the block moves when it has to grow. While one of its scopes is open it cannot grow, and the
   * promise is rejected with a {@linkcode ScopeError}.
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
   * Reads a source to its end: a stream, a request's or response's body, a blob, an async iterable of bytes, or what has Deno's `read`.
   * The memory is pinned meanwhile. `null`, which a missing body is, gives an empty view.
   *
   * Where the source fails, is aborted, or has more than `limit` bytes, the promise is rejected, the source cancelled, and the memory given
   * back, if nothing was allocated behind it. As with {@linkcode ScratchArena.readFile}, the block cannot grow while a scope is open.
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
   * Opens a nested lifetime: a scope whose memory comes back when it ends. Until then this arena
   * allocates nothing.
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
    const arena = this._arena;
    const scope = new BumpScope(ARENA_KEY, arena.open(methods.scope));
    arena.hold.debug?.watch(scope);
    return scope;
  }

  /**
   * Opens a frame: a scope for the price of `mark` and `rewind`. Its views live a little longer than the frame. Until they
   * have length 0 they show the bytes that they had, and what is written through them reaches nobody.
   *
   * With a function, it calls that with a frame, ends the frame however the function ends, and returns its result.
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
    const arena = this._arena;
    const frame = new BumpScope(ARENA_KEY, arena.openFrame(methods.frame));
    arena.hold.debug?.watch(frame);
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
      "the function returned a promise, and the frame ends before it settles. Use scope() with `await using`, and pin()",
    );
  }

  /**
   * Keeps the memory in use until `promise` settles: for I/O or a nonblocking FFI call that works on it.
   * `await using` waits for it; a synchronous end throws a `PinnedError` and changes nothing.
   *
   * Without a pin nothing notices that such work still runs. When the memory ends it goes on at the same address, and
   * writes into what is allocated there next. After `close` the addresses stay mapped for a second at least; work that
   * takes longer may crash the process. `rewind` ignores pins.
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
   * Bytes that are taken: allocations and their padding, native callers and, in a shared region, all others.
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

/** The public methods: errors have their words, and begin at their caller's line. */
const methods = ScratchArena.prototype;

/** To another window, or with poison. */
function rewindFar(arena: Arena, isOwn: boolean, life: number, offset: number): void {
  arena.checkOpen(methods.rewind);
  if (!isOwn) throw cannot(TypeError, methods.rewind, "the mark is not one of this allocator or scope");
  if (life !== arena.life) throw cannot(RangeError, methods.rewind, "the mark is from before a reset");
  if (offset > arena.top || offset > arena.position) {
    throw cannot(RangeError, methods.rewind, "the mark is above the cursor; a rewind went below it before");
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
 * A nested lifetime, from `scope()` or `frame()` of an allocator or of another scope. The methods that allocate are
 * {@linkcode ScratchArena}'s.
 *
 * @example Scopes in a scope
 * ```ts
 * import { BumpAlloc, type BumpScope } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * // Each row is forgotten before the next.
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
  // Written down, because the engine does not inline the one that passes all arguments on.
  /** Throws a `TypeError`: open a scope with `scope()`. */
  constructor(key: object, arena: object) {
    super(key, arena);
  }

  /**
   * Takes the scope's memory back; every view of it has length 0 from then on, and those of a frame a little later.
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

  /** Ends the scope: for `using`. */
  [Symbol.dispose](): void {
    this.end();
  }

  /** For `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    const arena = arenaOf(this);
    const name = arena.isFrame ? "BumpScope (frame)" : "BumpScope";
    return arena.closed ? `${name} { ended }` : `${name} { used: ${formatBytes(arena.position - arena.start)} }`;
  }

  /** Waits for pinned promises, then ends the scope: for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await arenaOf(this).settlePins();
    this.end();
  }
}

/** What ending a scope is called. */
const END = "end the scope";

/** A position with its owner, so that no other arena can be rewound with it. */
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

/** What a missing mark is read as. */
const NO_MARK = {};

const doubleCell = new Float64Array(1);
const bitsOfDouble = new OwnBigUint64Array(doubleCell.buffer);

/**
 * An address as a bigint. BigInt(number) is a call of the runtime; this is a store and a load: 2^52 plus an integer
 * below it is a double whose lower 52 bits are that integer. User space ends far below, at 2^47 or 2^48.
 */
function toBigInt(address: number): bigint {
  doubleCell[0] = 2 ** 52 + address;
  return BigInt.asUintN(52, bitsOfDouble[0]);
}
