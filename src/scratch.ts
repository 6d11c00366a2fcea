/**
 * What allocates scratch memory: an allocator or a scope of one.
 *
 * @module
 */

import type { Out, OutType } from "./out.ts";

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
  /** Makes the array over part of a buffer. */
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
 * What allocates: a `BumpAlloc` or a `BumpScope`.
 *
 * No two live allocations overlap. Every view stays valid until its allocator or scope is reset,
 * rewound, ended or closed; after all of these but `rewind` it has length 0.
 *
 * A size is a safe integer from 0 on, an alignment a power of two up to the capacity, both in bytes.
 * Any other number is a `RangeError`, any other type a `TypeError`; what does not fit is an
 * `OutOfMemoryError`. After an error nothing has moved.
 *
 * @example A function that allocates wherever its caller likes
 * ```ts
 * import { BumpAlloc, type Scratch } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * function squares(scratch: Scratch, count: number): Float64Array {
 *   const result = scratch.allocArray(Float64Array, count);
 *   for (let i = 0; i < count; i++) result[i] = i * i;
 *   return result;
 * }
 *
 * using scratch = new BumpAlloc();
 * using scope = scratch.scope();
 * assertEquals([...squares(scope, 4)], [0, 1, 4, 9]);
 * ```
 */
export interface Scratch {
  /** `byteLength` uninitialised bytes whose address is a multiple of `align` (default 8). */
  alloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer>;
  /** `byteLength` zero bytes; clears only what was used before. */
  allocZeroed(byteLength: number, align?: number): Uint8Array<ArrayBuffer>;
  /** As `alloc`, or `null` when the region has not that many bytes left. */
  tryAlloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer> | null;
  /** A typed array of `length` uninitialised elements. */
  allocArray<T>(type: TypedArrayConstructor<T>, length: number): T;
  /** A `DataView` over `byteLength` uninitialised bytes. */
  allocView(byteLength: number, align?: number): DataView<ArrayBuffer>;
  /** A copy of `source`: same type, same elements, own memory. */
  copy<T extends ArrayBufferView>(source: T): T;
  /** `view` with another length: in place when it is the last allocation or shrinks, else copied. */
  realloc<T extends ArrayBufferView & { readonly length: number }>(array: T, length: number): T;
  /** Does nothing, as in every bump allocator. */
  free(view: ArrayBufferView): void;
  /** As `alloc`, without making a view: the offset from the region's address, in bytes. */
  offset(byteLength: number, align?: number): number;
  /** A view of `byteLength` allocated bytes at `offset` from the region's address. */
  view(offset: number, byteLength: number): Uint8Array<ArrayBuffer>;
  /** The position of the cursor, for `rewind`. */
  mark(): Mark;
  /** Takes back what was allocated since `mark`. Unchecked: old views then alias new ones. */
  rewind(mark: Mark): void;
  /** Whether `view` shows memory of this allocator or scope that was not taken back. */
  owns(view: ArrayBufferView): boolean;
  /** The address of the first byte of `view`. */
  addressOf(view: ArrayBufferView): bigint;
  /** A pointer to the first byte of `view`, for FFI calls. */
  pointerOf(view: ArrayBufferView): Deno.PointerObject;
  /** `text` as a C string: UTF-8 and a NUL. */
  cstring(text: string): Uint8Array<ArrayBuffer>;
  /** A `char**`: the addresses of C strings, and a NULL at the end. */
  cstringArray(texts: readonly string[]): BigUint64Array<ArrayBuffer>;
  /** Memory for one out-parameter of an FFI call. */
  out<T extends OutType>(type: T): Out<T>;
}
