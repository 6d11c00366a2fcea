/** Views in an arena's memory. */

import type { Arena } from "./arena.ts";
import { isDetached } from "./buffers.ts";
import { checkSize, checkView, describe } from "./check.ts";
import { cannot, type What } from "./errors.ts";
import type { Copied, TypedArray, TypedArrayConstructor } from "./scratch.ts";

// Captured once: a program may replace the globals with classes that allocate.
const { DataView: OwnDataView, Uint8Array: OwnUint8Array } = globalThis;

/** The built-in type of a view, for making another one. */
interface ViewType {
  readonly BYTES_PER_ELEMENT?: number;
  new (buffer: ArrayBufferLike, offset: number, length: number): ArrayBufferView;
}

/** The built-in typed arrays by name. Float16Array came with Deno 2.3. */
const arrayTypes: Record<string, ViewType> = Object.fromEntries(
  "Int8 Uint8 Uint8Clamped Int16 Uint16 Int32 Uint32 BigInt64 BigUint64 Float16 Float32 Float64".split(" ")
    .map((kind) => [`${kind}Array`, (globalThis as unknown as Record<string, ViewType>)[`${kind}Array`]]),
);

// Built-in getters, which a view's own property or a subclass cannot override.
const typedArrayPrototype = Object.getPrototypeOf(OwnUint8Array.prototype);
/** Name of a typed array's built-in type; undefined for any other value. */
export const typedArrayName = getter<string | undefined>(typedArrayPrototype, Symbol.toStringTag);
const arrayBuffer = getter<ArrayBufferLike>(typedArrayPrototype, "buffer");
const arrayByteOffset = getter<number>(typedArrayPrototype, "byteOffset");
const arrayByteLength = getter<number>(typedArrayPrototype, "byteLength");
const dataViewBuffer = getter<ArrayBufferLike>(OwnDataView.prototype, "buffer");
const dataViewByteOffset = getter<number>(OwnDataView.prototype, "byteOffset");
const dataViewByteLength = getter<number>(OwnDataView.prototype, "byteLength");

function getter<T>(prototype: object, name: PropertyKey): () => T {
  return Object.getOwnPropertyDescriptor(prototype, name)!.get as () => T;
}

/** Where a view's bytes are. */
export interface Place {
  readonly buffer: ArrayBufferLike;
  readonly start: number;
  readonly byteLength: number;
}

/** Finds a view's bytes by the built-in getters. Throws when they are gone. */
export function placeOf(view: unknown, what: What): Place {
  checkView(view, what);
  const isArray = typedArrayName.call(view) !== undefined;
  const buffer = (isArray ? arrayBuffer : dataViewBuffer).call(view);
  if (buffer instanceof ArrayBuffer && isDetached(buffer)) {
    throw cannot(TypeError, what, "the view's buffer was transferred away, or its memory was taken back");
  }
  return isArray
    ? { buffer, start: arrayByteOffset.call(view), byteLength: arrayByteLength.call(view) }
    : { buffer, start: dataViewByteOffset.call(view), byteLength: dataViewByteLength.call(view) };
}

/** The built-in type of a view; for a subclass, such as Node's `Buffer`, its base. */
function viewType(view: ArrayBufferView): ViewType {
  const name = typedArrayName.call(view);
  return name === undefined ? OwnDataView as ViewType : arrayTypes[name];
}

/** A typed array of `length` elements. */
export function allocArray<T>(arena: Arena, type: TypedArrayConstructor<T>, length: number, what: What): T {
  const size = sizeOf(type, what);
  if (typeof length !== "number" || (length | 0) !== length || length < 0) checkSize(length, what, "length");
  const start = arena.take(length * size, undefined, what);
  return new type(arena.buffer, start, length);
}

/** Like `allocArray`, with all elements zero. */
export function allocArrayZeroed<T>(arena: Arena, type: TypedArrayConstructor<T>, length: number, what: What): T {
  const size = sizeOf(type, what);
  checkSize(length, what, "length");
  const start = arena.take(length * size, undefined, what);
  arena.clear(start, length * size);
  return new type(arena.buffer, start, length);
}

/** A typed array over allocated bytes. */
export function viewArray<T>(
  arena: Arena,
  type: TypedArrayConstructor<T>,
  offset: number,
  length: number,
  what: What,
): T {
  const size = sizeOf(type, what);
  checkSize(length, what, "length");
  const { buffer, start } = arena.viewElsewhere(offset, length * size, what);
  if (offset % size !== 0) {
    throw cannot(RangeError, what, `the offset must be a multiple of the element's ${size} bytes, not ${offset}`);
  }
  return new type(buffer, start, length);
}

/** Bytes of one element, checked to be 1, 2, 4 or 8: a negative one would move the cursor back. */
function sizeOf(type: TypedArrayConstructor<unknown>, what: What): number {
  const size = type?.BYTES_PER_ELEMENT;
  if (typeof type === "function" && (size === 8 || size === 4 || size === 2 || size === 1)) return size;
  throw cannot(TypeError, what, "the type must be a typed array constructor");
}

/** The bytes of a view or a buffer, found by built-in getters. Throws when they are gone. */
export function bytesOf(source: ArrayBufferView | ArrayBufferLike, what: What): Uint8Array {
  if (ArrayBuffer.isView(source)) {
    const { buffer, start, byteLength } = placeOf(source, what);
    return new OwnUint8Array(buffer, start, byteLength);
  }
  if (source instanceof SharedArrayBuffer) return new OwnUint8Array(source);
  if (!(source instanceof ArrayBuffer)) {
    throw cannot(TypeError, what, `a typed array, DataView or ArrayBuffer is needed, not ${describe(source)}`);
  }
  if (isDetached(source)) throw cannot(TypeError, what, "the buffer was transferred away");
  return new OwnUint8Array(source);
}

/** Copies a view with its type and elements, or a buffer as bytes. */
export function copy<T extends ArrayBufferView | ArrayBufferLike>(arena: Arena, source: T, what: What): Copied<T> {
  const bytes = bytesOf(source, what);
  const byteLength = bytes.length;
  const to = arena.take(byteLength, undefined, what);
  new OwnUint8Array(arena.buffer, to, byteLength).set(bytes);
  const type = ArrayBuffer.isView(source) ? viewType(source) : OwnUint8Array;
  return new type(arena.buffer, to, byteLength / (type.BYTES_PER_ELEMENT ?? 1)) as ArrayBufferView as Copied<T>;
}

/** Resizes a typed array: in place when it is the last block or shrinks, else by copying. */
export function realloc<T extends TypedArray>(arena: Arena, array: T, length: number, what: What): T {
  if (typedArrayName.call(array) === undefined) {
    throw cannot(TypeError, what, `a typed array is needed, not ${describe(array)}`);
  }
  checkSize(length, what, "length");
  arena.checkUsable(what);
  const { buffer, start, byteLength } = placeOf(array, what);
  const type = viewType(array);
  const wanted = length * (type.BYTES_PER_ELEMENT ?? 1);
  if (arena.baseOf(buffer, start, 0) < 0) {
    throw cannot(TypeError, what, "the view is not memory of this allocator (or was taken back)");
  }
  if (arena.isLast(buffer, start, start + byteLength)) {
    const moved = arena.resizeLast(start, wanted, what);
    return new type(arena.buffer, moved, length) as ArrayBufferView as T;
  }
  if (wanted <= byteLength) return new type(buffer, start, length) as ArrayBufferView as T;
  const to = arena.take(wanted, undefined, what);
  new OwnUint8Array(arena.buffer, to, byteLength).set(new OwnUint8Array(buffer, start, byteLength));
  return new type(arena.buffer, to, length) as ArrayBufferView as T;
}
