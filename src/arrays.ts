/** Makes typed arrays from values. */
import { checkSize, describe } from "./check.ts";
import { drop, grow } from "./growing.ts";
import type { ElementOf, Scratch, TypedArray, TypedArrayConstructor } from "./scratch.ts";
import { typedArrayName } from "./views.ts";

/** `%TypedArray%`, which `Float64Array` and the others extend. */
const AnyTypedArray: { readonly prototype: object } & (new () => object) = Object.getPrototypeOf(Uint8Array);

/** Elements of the first block, for an iterable of unknown length. */
const FIRST_LENGTH = 64;

/** A typed array of these values. Arrays and array-likes are read by index, other objects by their iterator. */
export function arrayFrom<T>(
  scratch: Scratch,
  type: TypedArrayConstructor<T> & { readonly prototype?: unknown },
  values: ArrayLike<ElementOf<T>> | Iterable<ElementOf<T>>,
): T {
  if (values === null || typeof values !== "object") {
    throw new TypeError(`Cannot make an array: an array or an iterable of values is needed, not ${describe(values)}`);
  }
  if (!(type?.prototype instanceof AnyTypedArray)) {
    throw new TypeError("Cannot make an array: the type must be a typed array constructor");
  }
  const isList = Array.isArray(values) || typedArrayName.call(values) !== undefined;
  return isList || !(Symbol.iterator in values)
    ? fromList(scratch, type, values as ArrayLike<ElementOf<T>>)
    : fromIterable(scratch, type, values);
}

function fromList<T>(scratch: Scratch, type: TypedArrayConstructor<T>, values: ArrayLike<ElementOf<T>>): T {
  const { length } = values;
  checkSize(length, "make an array", "length");
  const before = scratch.mark();
  const array = scratch.allocArray(type, length) as AnyArray;
  try {
    // Converting a value may call its `valueOf`, which may do anything, such as resetting the allocator.
    array.set(values);
    checkThere(array, length);
    return array as T;
  } catch (error) {
    drop(scratch, { block: array, before });
    throw error;
  }
}

function fromIterable<T>(scratch: Scratch, type: TypedArrayConstructor<T>, values: Iterable<ElementOf<T>>): T {
  const before = scratch.mark();
  let array = scratch.allocArray(type, 0) as AnyArray;
  const place = { block: array, before };
  let length = 0;
  try {
    for (const value of values) {
      checkThere(array, length);
      if (length === array.length) {
        grow(scratch, place, length + 1, Math.max(2 * length, FIRST_LENGTH));
        array = place.block;
      }
      array[length++] = value;
    }
    checkThere(array, length);
    const { buffer, byteOffset } = scratch.realloc(array, length);
    return new type(buffer as ArrayBuffer, byteOffset, length);
  } catch (error) {
    drop(scratch, place);
    throw error;
  }
}

/** The part of a typed array's interface that this file uses. */
interface AnyArray extends TypedArray {
  [index: number]: unknown;
  set(values: ArrayLike<unknown>): void;
}

function checkThere(array: AnyArray, length: number): void {
  if (array.length < length) throw new TypeError("Cannot make an array: its memory was taken back meanwhile");
}
