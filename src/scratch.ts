/**
 * The interface of an allocator and of its scopes.
 *
 * @module
 */

import type { BumpScope } from "./scratch_arena.ts";
import type { Out, OutType } from "./out.ts";
import type { ReadAllOptions, ReadFileOptions, ReadSource } from "./reading.ts";
import type { BumpWriter, BumpWriterOptions } from "./writer.ts";

/**
 * A typed array type that {@linkcode Scratch.allocArray} can make: `Float64Array`, `BigInt64Array` and the others.
 *
 * @example A function over any type of numbers
 * ```ts
 * import { BumpAlloc, type TypedArrayConstructor } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * const pair = <T>(type: TypedArrayConstructor<T>): T => scratch.allocArray(type, 2);
 * assertEquals(pair(Float32Array).byteLength, 8);
 * ```
 */
export interface TypedArrayConstructor<T> {
  /** Bytes of one element: 1, 2, 4 or 8. The array begins at a multiple of 8. */
  readonly BYTES_PER_ELEMENT: number;
  /** Makes an array over part of a buffer. */
  new (buffer: ArrayBuffer, byteOffset: number, length: number): T;
}

/**
 * A position of the cursor, from {@linkcode Scratch.mark} for {@linkcode Scratch.rewind}.
 *
 * @example How much was allocated since
 * ```ts
 * import { BumpAlloc, type Mark } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * const before: Mark = scratch.mark();
 * scratch.alloc(100);
 * assertEquals(scratch.mark().offset - before.offset, 100);
 * ```
 */
export interface Mark {
  /** Offset of the cursor, in bytes from the region's first byte. */
  readonly offset: number;
}

/**
 * Any typed array, including types that this version of Deno does not have.
 *
 * @example What can be reallocated
 * ```ts
 * import { BumpAlloc, type Scratch, type TypedArray } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * const doubled = <T extends TypedArray>(scratch: Scratch, array: T): T => scratch.realloc(array, 2 * array.length);
 * using scratch = new BumpAlloc();
 * assertEquals(doubled(scratch, scratch.allocArray(Float64Array, 4)).length, 8);
 * ```
 */
export interface TypedArray extends ArrayBufferView {
  /** Bytes of one element. */
  readonly BYTES_PER_ELEMENT: number;
  /** Number of elements. */
  readonly length: number;
}

/**
 * The type of a typed array's elements: number or bigint.
 *
 * @example The numbers that an array is made of
 * ```ts
 * import { BumpAlloc, type ElementOf } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * const ids: ElementOf<BigUint64Array>[] = [1n, 2n];
 * using scratch = new BumpAlloc();
 * assertEquals(scratch.arrayFrom(BigUint64Array, ids)[1], 2n);
 * ```
 */
export type ElementOf<T> = T extends { [index: number]: infer E } ? E : number | bigint;

/**
 * The type of a copy of `T` in scratch memory: the same kind of view over an `ArrayBuffer`. A copy of a buffer is a
 * `Uint8Array`.
 *
 * @example A function that keeps a copy of its argument
 * ```ts
 * import { BumpAlloc, type Copied } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * const kept: Copied<Uint16Array> = scratch.copy(new Uint16Array([1, 2]));
 * const bytes: Copied<ArrayBuffer> = scratch.copy(kept.buffer.slice(0, 1));
 * assertEquals([kept.length, bytes.length], [2, 1]);
 * ```
 */
export type Copied<T> = T extends Uint8Array ? Uint8Array<ArrayBuffer>
  : T extends DataView ? DataView<ArrayBuffer>
  : T extends ArrayBufferLike ? Uint8Array<ArrayBuffer>
  // The result of a typed array's `slice` is over an ArrayBuffer.
  : T extends { slice(start?: number): infer S } ? S
  : ArrayBufferView<ArrayBuffer>;

/**
 * A `BumpAlloc` or a `BumpScope`, for functions that accept both. {@linkcode ScratchArena} has an example for each
 * method.
 *
 * No two live allocations overlap. Every view stays valid until its allocator or scope is reset,
 * rewound, ended or closed. After that it has length 0; after the end of a frame it does so a little later, and
 * after `rewind` it aliases what comes next.
 *
 * A size is a non-negative safe integer, an alignment a power of two up to the capacity; both are in bytes. Any other
 * number is a `RangeError`, any other type a `TypeError`. A request that does not fit is an `OutOfMemoryError`. A
 * failed call changes nothing.
 *
 * @example A function that allocates wherever its caller likes, and forgets its own temporaries
 * ```ts
 * import { BumpAlloc, type Scratch } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * function sumOfSquares(scratch: Scratch, count: number): number {
 *   using scope = scratch.scope();
 *   const squares = scope.allocArray(Float64Array, count);
 *   for (let i = 0; i < count; i++) squares[i] = i * i;
 *   return squares.reduce((a, b) => a + b);
 * }
 *
 * using scratch = new BumpAlloc();
 * using scope = scratch.scope();
 * assertEquals([sumOfSquares(scope, 4), scratch.used], [14, 0]);
 * ```
 */
export interface Scratch {
  // ---- memory by size
  /** `byteLength` uninitialised bytes whose address is a multiple of `align` (default 8). */
  alloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer>;
  /** `byteLength` zero bytes; only bytes that were used before are cleared. */
  allocZeroed(byteLength: number, align?: number): Uint8Array<ArrayBuffer>;
  /** Like `alloc`, but `null` when the region is full. */
  tryAlloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer> | null;
  /** A typed array of `length` uninitialised elements. */
  allocArray<T>(type: TypedArrayConstructor<T>, length: number): T;
  /** A typed array of `length` zeros. */
  allocArrayZeroed<T>(type: TypedArrayConstructor<T>, length: number): T;
  /** A `DataView` over `byteLength` uninitialised bytes. */
  allocView(byteLength: number, align?: number): DataView<ArrayBuffer>;
  /** A `DataView` over `byteLength` zero bytes, for structs; like C's `calloc`. */
  allocViewZeroed(byteLength: number, align?: number): DataView<ArrayBuffer>;

  // ---- memory from values
  /** A typed array of the values of an array, a typed array or any iterable. */
  arrayFrom<T>(type: TypedArrayConstructor<T>, values: ArrayLike<ElementOf<T>> | Iterable<ElementOf<T>>): T;
  /** A copy of `source`: of a view with the same type and elements; of a buffer as bytes. */
  copy<T extends ArrayBufferView | ArrayBufferLike>(source: T): Copied<T>;
  /** Resizes `array` to `length` elements: in place when it is the last allocation or shrinks, else by copying. */
  realloc<T extends TypedArray>(array: T, length: number): T;
  /** Does nothing, as in every bump allocator. */
  free(view: ArrayBufferView): void;

  // ---- text, and arguments of FFI calls
  /** `text` as UTF-8, without a NUL. */
  encode(text: string): Uint8Array<ArrayBuffer>;
  /** `text` as a C string: UTF-8 and a NUL. */
  cstring(text: string): Uint8Array<ArrayBuffer>;
  /** `text` as a Windows wide string: UTF-16 and a NUL. */
  cstring16(text: string): Uint16Array<ArrayBuffer>;
  /** A `char**`: the addresses of C strings and a final NULL. */
  cstringArray(texts: readonly string[]): BigUint64Array<ArrayBuffer>;
  /** Memory for one out-parameter of an FFI call. */
  out<T extends OutType>(type: T): Out<T>;
  /** A writer that appends numbers, text and bytes to one growing block. */
  writer(options?: BumpWriterOptions): BumpWriter;

  // ---- files and bodies
  /** The bytes of a file. */
  readFileSync(path: string | URL): Uint8Array<ArrayBuffer>;
  /** The bytes of a file, read in the background under a pin. */
  readFile(path: string | URL, options?: ReadFileOptions): Promise<Uint8Array<ArrayBuffer>>;
  /** All bytes of a stream, request, response, blob, async iterable, file or connection, read under a pin. */
  readAll(source: ReadSource, options?: ReadAllOptions): Promise<Uint8Array<ArrayBuffer>>;

  // ---- offsets and addresses
  /** Like `alloc`, but returns the offset from the region's address and makes no view. */
  offset(byteLength: number, align?: number): number;
  /** The offset of the first byte of `view` from the region's address. */
  offsetOf(view: ArrayBufferView): number;
  /** A view of `byteLength` allocated bytes at `offset` from the region's address. */
  view(offset: number, byteLength: number): Uint8Array<ArrayBuffer>;
  /** A typed array of `length` allocated elements at `offset` from the region's address. */
  viewArray<T>(type: TypedArrayConstructor<T>, offset: number, length: number): T;
  /** Whether `view` is live memory of this allocator or scope. */
  owns(view: ArrayBufferView): boolean;
  /** The address of the first byte of `view`. */
  addressOf(view: ArrayBufferView): bigint;
  /** A pointer to the first byte of `view`, for FFI calls. */
  pointerOf(view: ArrayBufferView): Deno.PointerObject;

  // ---- lifetimes
  /** Bytes of the region that are taken. */
  readonly used: number;
  /** Opens a nested lifetime. At its end all its views have length 0; until then its parent cannot allocate. */
  scope(): BumpScope;
  /** Opens a frame: a scope at the price of `mark` and `rewind`, whose views are detached a little later. */
  frame(): BumpScope;
  /** Calls `fn` with a frame, ends the frame, and returns the result. */
  frame<T>(fn: (frame: BumpScope) => T): T;
  /** Keeps the memory in use until the promise settles. Returns the promise. */
  pin<T>(promise: Promise<T>): Promise<T>;
  /** The position of the cursor, for `rewind`. */
  mark(): Mark;
  /** Takes back everything allocated since `mark`. Unchecked: old views then alias new ones. */
  rewind(mark: Mark): void;
}
