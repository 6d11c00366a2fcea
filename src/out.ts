import type { Arena } from "./arena.ts";
import { describe } from "./check.ts";
import { cannot, ClosedError, type What } from "./errors.ts";

/**
 * The types of an out-parameter, and the type of `value` for each.
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
 * The type of an out-parameter: a scalar of Deno's FFI.
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
  /** The memory, to pass where the function takes a `"buffer"`. */
  readonly view: OutViews[T];
  /**
   * The value in the memory. Setting it before the call makes an in-out parameter. Numbers that do not fit wrap, as in
   * a typed array.
   */
  value: OutValues[T];
}

/**
 * The one-element array behind an out-parameter of each type.
 *
 * @example The argument of a call
 * ```ts
 * import { BumpAlloc, type OutViews } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * const view: OutViews["f64"] = scratch.out("f64").view; // a Float64Array<ArrayBuffer>
 * assertEquals(view.length, 1);
 * ```
 */
export interface OutViews {
  /** `int8_t`. */
  i8: Int8Array<ArrayBuffer>;
  /** `uint8_t`. */
  u8: Uint8Array<ArrayBuffer>;
  /** `int16_t`. */
  i16: Int16Array<ArrayBuffer>;
  /** `uint16_t`. */
  u16: Uint16Array<ArrayBuffer>;
  /** `int32_t`, `int`. */
  i32: Int32Array<ArrayBuffer>;
  /** `uint32_t`, `unsigned`. */
  u32: Uint32Array<ArrayBuffer>;
  /** `int64_t`. */
  i64: BigInt64Array<ArrayBuffer>;
  /** `uint64_t`. */
  u64: BigUint64Array<ArrayBuffer>;
  /** `ssize_t`, `intptr_t`. */
  isize: BigInt64Array<ArrayBuffer>;
  /** `size_t`, `uintptr_t`. */
  usize: BigUint64Array<ArrayBuffer>;
  /** `float`. */
  f32: Float32Array<ArrayBuffer>;
  /** `double`. */
  f64: Float64Array<ArrayBuffer>;
  /** `bool`, one byte. */
  bool: Uint8Array<ArrayBuffer>;
  /** A pointer: its address. */
  pointer: BigUint64Array<ArrayBuffer>;
}

type Cell<T extends OutType> = OutViews[T] & { 0: number | bigint | undefined };

function gone(what: string): ClosedError {
  return new ClosedError(`${what} the out-parameter`, "memory", "was taken back or transferred away");
}

function wrongValue(needed: string, value: unknown): TypeError {
  return new TypeError(`Cannot set the out-parameter: ${needed} is needed, not ${describe(value)}`);
}

/** How every kind is shown. It never throws: a log must not fail because the memory has ended. */
abstract class Shown<V> {
  abstract value: V;
  abstract readonly view: ArrayBufferView;

  get #ended(): boolean {
    return this.view.byteLength === 0;
  }

  /** For `console.log`. */
  [Symbol.for("Deno.customInspect")](inspect: typeof Deno.inspect): string {
    return this.#ended ? "Out { memory taken back }" : `Out { ${inspect(this.value)} }`;
  }

  /** The value, for `JSON.stringify`; 64-bit integers and addresses in decimal digits. */
  toJSON(): unknown {
    if (this.#ended) return null;
    return typeof this.value === "bigint" ? String(this.value) : this.value;
  }
}

/** Makes a class for each kind of array, so that reading `value` stays monomorphic. */
function outClass<T extends OutType>(
  zero: OutValues[T] & (number | bigint),
  type: new (buffer: ArrayBuffer, offset: number, length: number) => OutViews[T],
) {
  return class extends Shown<OutValues[T]> implements Out<T> {
    // Private, so that cloning the object does not copy the window.
    readonly #view: Cell<T>;

    constructor(buffer: ArrayBuffer, offset: number) {
      super();
      this.#view = new type(buffer, offset, 1) as Cell<T>;
      this.#view[0] = zero;
    }

    get view(): OutViews[T] {
      return this.#view;
    }

    get value(): OutValues[T] {
      const value = this.#view[0];
      if (value === undefined) throw gone("read");
      return value as OutValues[T];
    }

    set value(value: OutValues[T]) {
      if (this.#view.length === 0) throw gone("set");
      if (typeof value !== typeof zero) throw wrongValue(`a ${typeof zero}`, value);
      this.#view[0] = value as number | bigint;
    }
  };
}

const OutI8 = outClass<"i8">(0, Int8Array);
const OutU8 = outClass<"u8">(0, Uint8Array);
const OutI16 = outClass<"i16">(0, Int16Array);
const OutU16 = outClass<"u16">(0, Uint16Array);
const OutI32 = outClass<"i32">(0, Int32Array);
const OutU32 = outClass<"u32">(0, Uint32Array);
const OutI64 = outClass<"i64">(0n, BigInt64Array);
const OutU64 = outClass<"u64">(0n, BigUint64Array);
const OutF32 = outClass<"f32">(0, Float32Array);
const OutF64 = outClass<"f64">(0, Float64Array);

class OutBool extends Shown<boolean> implements Out<"bool"> {
  readonly #byte: InstanceType<typeof OutU8>;

  constructor(buffer: ArrayBuffer, offset: number) {
    super();
    this.#byte = new OutU8(buffer, offset);
  }

  get view(): Uint8Array<ArrayBuffer> {
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

class OutPointer extends Shown<Deno.PointerValue> implements Out<"pointer"> {
  readonly #address: InstanceType<typeof OutU64>;

  constructor(buffer: ArrayBuffer, offset: number) {
    super();
    this.#address = new OutU64(buffer, offset);
  }

  get view(): BigUint64Array<ArrayBuffer> {
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

  /** The address in decimal digits, null for NULL. */
  override toJSON(): unknown {
    const address = this.#address.toJSON();
    return address === "0" ? null : address;
  }
}

/** Bytes of every out-parameter: the size of the largest type. */
const OUT_SIZE = 8;

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

/** Makes an out-parameter in an arena's memory. */
export function makeOut(arena: Arena, type: OutType, what: What): Out<OutType> {
  // Test the usual types first: searching the list takes as long as the rest of this function.
  if (type !== "i32" && type !== "pointer" && type !== "u64" && !TYPES.includes(type)) {
    const shown = typeof type === "string" ? `"${type}"` : describe(type);
    throw cannot(TypeError, what, `the type must be one of ${TYPES.join(", ")}, not ${shown}`);
  }
  const offset = arena.take(OUT_SIZE, undefined, what);
  const { buffer } = arena;
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
}
