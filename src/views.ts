/** What a view or a buffer is, whatever it says of itself: its own properties and a subclass may say anything. */
import { describe } from "./check.ts";
import { typeError } from "./errors.ts";

/** A view's type, to make another of it. */
export interface ViewType {
  readonly BYTES_PER_ELEMENT?: number;
  new (buffer: ArrayBuffer, offset: number, length: number): ArrayBufferView;
}

/** The built-in type of a view: that of a subclass, such as Node's `Buffer`, is its base. */
export function viewType(view: ArrayBufferView): ViewType {
  const name = typedArrayName.call(view);
  return name === undefined ? DataView : arrayTypes[name];
}

/** The bytes of a view or a buffer. */
export function bytesOf(source: ArrayBufferView | ArrayBufferLike, what: string): Uint8Array {
  const isArray = typedArrayName.call(source) !== undefined;
  const isView = isArray || ArrayBuffer.isView(source);
  const buffer = isView ? (isArray ? arrayBuffer : dataViewBuffer).call(source) : source as ArrayBufferLike;
  if (!(buffer instanceof ArrayBuffer)) {
    if (!isView && !(buffer instanceof SharedArrayBuffer)) {
      throw typeError(`Cannot ${what}: a typed array, DataView or ArrayBuffer is needed, not ${describe(source)}`);
    }
  } else if (buffer.detached) {
    throw typeError(`Cannot ${what}: the buffer of the source was transferred away, or its memory was taken back`);
  }
  if (!isView) return new Uint8Array(buffer);
  return isArray
    ? new Uint8Array(buffer, arrayByteOffset.call(source), arrayByteLength.call(source))
    : new Uint8Array(buffer, dataViewByteOffset.call(source), dataViewByteLength.call(source));
}

/** The built-in typed arrays by name. Float16Array came with Deno 2.3. */
const arrayTypes: Record<string, ViewType> = Object.fromEntries(
  "Int8 Uint8 Uint8Clamped Int16 Uint16 Int32 Uint32 BigInt64 BigUint64 Float16 Float32 Float64".split(" ")
    .map((kind) => [`${kind}Array`, (globalThis as unknown as Record<string, ViewType>)[`${kind}Array`]]),
);

// The getters that a view's own property or a subclass cannot replace.
const typedArrayPrototype = Object.getPrototypeOf(Uint8Array.prototype);
/** Name of a typed array's built-in type; undefined for all else. */
export const typedArrayName = getter<string | undefined>(typedArrayPrototype, Symbol.toStringTag);
export const arrayBuffer = getter<ArrayBufferLike>(typedArrayPrototype, "buffer");
export const arrayByteOffset = getter<number>(typedArrayPrototype, "byteOffset");
export const arrayByteLength = getter<number>(typedArrayPrototype, "byteLength");
const dataViewBuffer = getter<ArrayBufferLike>(DataView.prototype, "buffer");
const dataViewByteOffset = getter<number>(DataView.prototype, "byteOffset");
const dataViewByteLength = getter<number>(DataView.prototype, "byteLength");

function getter<T>(prototype: object, name: PropertyKey): () => T {
  return Object.getOwnPropertyDescriptor(prototype, name)!.get as () => T;
}
