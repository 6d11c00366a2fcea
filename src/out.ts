import { describe } from "./check.ts";
import { ClosedError } from "./errors.ts";

/**
 * The types of an out-parameter, and what `value` then is.
 *
 * @example A 64-bit integer is a bigint
 * ```ts
 * import { BumpAlloc, type OutValues } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * const count: OutValues["usize"] = scratch.out("usize").value;
 * assertEquals(count, 0n);
 * ```
 */
export interface OutValues {
  /** `int8_t`. */
  i8: number;
  /** `uint8_t`. */
  u8: number;
  /** `int16_t`. */
  i16: number;
  /** `uint16_t`. */
  u16: number;
  /** `int32_t`, `int`. */
  i32: number;
  /** `uint32_t`, `unsigned`. */
  u32: number;
  /** `int64_t`. */
  i64: bigint;
  /** `uint64_t`. */
  u64: bigint;
  /** `ssize_t`, `intptr_t`. */
  isize: bigint;
  /** `size_t`, `uintptr_t`. */
  usize: bigint;
  /** `float`. */
  f32: number;
  /** `double`. */
  f64: number;
  /** `bool`, one byte. */
  bool: boolean;
  /** A pointer; null for NULL. */
  pointer: Deno.PointerValue;
}

/**
 * The type of an out-parameter: the scalars of Deno's FFI.
 *
 * @example An out-parameter of any type
 * ```ts
 * import { BumpAlloc, type OutType } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * const types: OutType[] = ["i32", "f64", "bool"];
 * using scratch = new BumpAlloc();
 * assertEquals(types.map((type) => scratch.out(type).value), [0, 0, false]);
 * ```
 */
export type OutType = keyof OutValues;

/**
 * The memory of one out-parameter, from {@linkcode Scratch.out}; zero at first.
 *
 * @example An in-out parameter
 * ```ts
 * import { BumpAlloc, type Out } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * const length: Out<"u32"> = scratch.out("u32");
 * length.value = 256; // the size of a buffer; the function writes how much of it is used
 * assertEquals(length.view.byteLength, 4);
 * ```
 */
export interface Out<T extends OutType> {
  /** To pass where the function takes a `"buffer"`. */
  readonly view: OutView;
  /** What the memory holds. Setting it makes an in-out parameter; of a number what does not fit wraps, as in a typed array. */
  value: OutValues[T];
}

/**
 * One element of the type, in scratch memory.
 *
 * @example What a call is given
 * ```ts
 * import { BumpAlloc, type OutView } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * const view: OutView = scratch.out("f64").view;
 * assertEquals(view.byteLength, 8);
 * ```
 */
export type OutView =
  | Int8Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>
  | Int16Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | BigInt64Array<ArrayBuffer>
  | BigUint64Array<ArrayBuffer>
  | Float32Array<ArrayBuffer>
  | Float64Array<ArrayBuffer>;

/** The part of a typed array that an out-parameter uses. */
interface Cell<V> {
  0: V | undefined;
}

function gone(what: string): ClosedError {
  return new ClosedError(`${what} the out-parameter`, "scope or allocator that made it");
}

function wrongValue(needed: string, value: unknown): TypeError {
  return new TypeError(`Cannot set the out-parameter: ${needed} is needed, not ${describe(value)}`);
}

/** A class for each kind of array, so that reading `value` stays monomorphic. */
function outClass<V>(zero: V, type: new (buffer: ArrayBuffer, offset: number, length: number) => OutView) {
  return class {
    readonly view: OutView;

    constructor(buffer: ArrayBuffer, offset: number) {
      this.view = new type(buffer, offset, 1);
      (this.view as unknown as Cell<V>)[0] = zero;
    }

    get value(): V {
      const value = (this.view as unknown as Cell<V>)[0];
      if (value === undefined) throw gone("read");
      return value;
    }

    set value(value: V) {
      if (this.view.length === 0) throw gone("set");
      if (typeof value !== typeof zero) throw wrongValue(`a ${typeof zero}`, value);
      (this.view as unknown as Cell<V>)[0] = value;
    }
  };
}

const OutI8 = outClass<number>(0, Int8Array);
const OutU8 = outClass<number>(0, Uint8Array);
const OutI16 = outClass<number>(0, Int16Array);
const OutU16 = outClass<number>(0, Uint16Array);
const OutI32 = outClass<number>(0, Int32Array);
const OutU32 = outClass<number>(0, Uint32Array);
const OutI64 = outClass<bigint>(0n, BigInt64Array);
const OutU64 = outClass<bigint>(0n, BigUint64Array);
const OutF32 = outClass<number>(0, Float32Array);
const OutF64 = outClass<number>(0, Float64Array);

class OutBool {
  readonly #byte: InstanceType<typeof OutU8>;

  constructor(buffer: ArrayBuffer, offset: number) {
    this.#byte = new OutU8(buffer, offset);
  }

  get view(): OutView {
    return this.#byte.view;
  }

  get value(): boolean {
    return this.#byte.value !== 0;
  }

  set value(value: boolean) {
    if (typeof value !== "boolean") throw wrongValue("a boolean", value);
    this.#byte.value = value ? 1 : 0;
  }
}

class OutPointer {
  readonly #address: InstanceType<typeof OutU64>;

  constructor(buffer: ArrayBuffer, offset: number) {
    this.#address = new OutU64(buffer, offset);
  }

  get view(): OutView {
    return this.#address.view;
  }

  get value(): Deno.PointerValue {
    return Deno.UnsafePointer.create(this.#address.value);
  }

  set value(value: Deno.PointerValue) {
    let address: bigint;
    try {
      address = Deno.UnsafePointer.value(value);
    } catch {
      throw wrongValue("a pointer (Deno.UnsafePointer.create makes one of an address) or null", value);
    }
    this.#address.value = address;
  }
}

/** Bytes that every out-parameter takes: that of the largest type. */
export const OUT_SIZE = 8;

/** Throws unless `type` is one. */
export function checkOutType(type: unknown): asserts type is OutType {
  if (!TYPES.includes(type as OutType)) {
    const shown = typeof type === "string" ? `"${type}"` : describe(type);
    throw new TypeError(`Cannot make an out-parameter: the type must be one of ${TYPES.join(", ")}, not ${shown}`);
  }
}

const TYPES: readonly OutType[] = [
  "i8",
  "u8",
  "i16",
  "u16",
  "i32",
  "u32",
  "i64",
  "u64",
  "isize",
  "usize",
  "f32",
  "f64",
  "bool",
  "pointer",
];

/** An out-parameter at `offset` of a window. */
export function makeOut(type: OutType, buffer: ArrayBuffer, offset: number): Out<OutType> {
  switch (type) {
    case "i32":
      return new OutI32(buffer, offset);
    case "u32":
      return new OutU32(buffer, offset);
    case "pointer":
      return new OutPointer(buffer, offset);
    case "u64":
    case "usize":
      return new OutU64(buffer, offset);
    case "i64":
    case "isize":
      return new OutI64(buffer, offset);
    case "f64":
      return new OutF64(buffer, offset);
    case "f32":
      return new OutF32(buffer, offset);
    case "u8":
      return new OutU8(buffer, offset);
    case "i8":
      return new OutI8(buffer, offset);
    case "u16":
      return new OutU16(buffer, offset);
    case "i16":
      return new OutI16(buffer, offset);
    case "bool":
      return new OutBool(buffer, offset);
  }
  checkOutType(type);
}
