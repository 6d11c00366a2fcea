/** Typed arrays and other views in an arena's memory. */

import type { Arena } from "./arena.ts";
import { isDetached } from "./buffers.ts";
import { checkSize, checkView } from "./check.ts";
import { cannot, type What } from "./errors.ts";
import type { TypedArrayConstructor } from "./scratch.ts";

// Taken once: a program may replace the global ones, by classes that allocate.
const { DataView: OwnDataView, Uint8Array: OwnUint8Array } = globalThis;

/** A typed array of any type. */
export type AnyArray = ArrayBufferView & { readonly length: number };

/** A view's built-in type, to make another of it. */
interface ViewType {
  readonly BYTES_PER_ELEMENT?: number;
  new (buffer: ArrayBufferLike, offset: number, length: number): ArrayBufferView;
}

/** The built-in typed arrays by name. Float16Array came with Deno 2.3. */
const arrayTypes: Record<string, ViewType> = Object.fromEntries(
  "Int8 Uint8 Uint8Clamped Int16 Uint16 Int32 Uint32 BigInt64 BigUint64 Float16 Float32 Float64".split(" ")
    .map((kind) => [`${kind}Array`, (globalThis as unknown as Record<string, ViewType>)[`${kind}Array`]]),
);

// The getters that a view's own property or a subclass cannot replace.
const typedArrayPrototype = Object.getPrototypeOf(OwnUint8Array.prototype);
/** Name of a typed array's built-in type; undefined for all else. */
const typedArrayName = getter<string | undefined>(typedArrayPrototype, Symbol.toStringTag);
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

/** Where a view's bytes are, whatever it says of itself. Throws when they are gone. */
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

/** The built-in type of a view: that of a subclass, such as Node's `Buffer`, is its base. */
function viewType(view: ArrayBufferView): ViewType {
  const name = typedArrayName.call(view);
  return name === undefined ? OwnDataView as ViewType : arrayTypes[name];
}

/** A typed array of `length` elements. */
export function allocArray<T>(arena: Arena, type: TypedArrayConstructor<T>, length: number, what: What): T {
  const size = type?.BYTES_PER_ELEMENT;
  // A power of two up to eight: what a class says of itself must not move the cursor back.
  if (typeof type !== "function" || !(size === 8 || size === 4 || size === 2 || size === 1)) {
    throw cannot(TypeError, what, "the type must be a typed array constructor");
  }
  if (typeof length !== "number" || (length | 0) !== length || length < 0) checkSize(length, what, "length");
  const start = arena.take(length * size, undefined, what);
  return new type(arena.buffer, start, length);
}

/** A copy of a view: same type, same elements. */
export function copy<T extends ArrayBufferView>(arena: Arena, source: T, what: What): T {
  const { buffer, start, byteLength } = placeOf(source, what);
  const to = arena.take(byteLength, undefined, what);
  new OwnUint8Array(arena.buffer, to, byteLength).set(new OwnUint8Array(buffer, start, byteLength));
  const type = viewType(source);
  return new type(arena.buffer, to, byteLength / (type.BYTES_PER_ELEMENT ?? 1)) as T;
}

/** A typed array with another length: in place when it is the last block or shrinks, else a copy. */
export function realloc<T extends AnyArray>(arena: Arena, array: T, length: number, what: What): T {
  if (typedArrayName.call(array) === undefined) throw cannot(TypeError, what, "a typed array is needed");
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
    return new type(arena.buffer, moved, length) as T;
  }
  if (wanted <= byteLength) return new type(buffer, start, length) as T;
  const to = arena.take(wanted, undefined, what);
  new OwnUint8Array(arena.buffer, to, byteLength).set(new OwnUint8Array(buffer, start, byteLength));
  return new type(arena.buffer, to, length) as T;
}
