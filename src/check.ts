import { cannot, type What } from "./errors.ts";
import { formatBytes } from "./format.ts";

/** Throws unless `value` is a size: a non-negative safe integer. `what` begins the message: "allocate". */
export function checkSize(value: unknown, what: What, name = "size"): asserts value is number {
  if (typeof value !== "number") {
    throw cannot(TypeError, what, `the ${name} must be a number, not ${describe(value)}`);
  }
  if (!Number.isSafeInteger(value) || value < 0) {
    const shown = Number.isSafeInteger(value) || !Number.isFinite(value) || value % 1 !== 0
      ? String(value)
      : formatBytes(value);
    throw cannot(RangeError, what, `the ${name} must be a whole number from 0 to 2^53 - 1, not ${shown}`);
  }
}

/** Throws unless `options` is an object. `what` begins the message: "make a pool"; `example` shows one. */
export function checkObject(options: unknown, what: What, example: string): asserts options is object {
  if (options === null || typeof options !== "object") {
    throw cannot(TypeError, what, `options must be an object, as in ${example}, not ${describe(options)}`);
  }
}

/** Throws unless `value` is a boolean. `what` begins the message: "make an allocator". */
export function checkFlag(value: unknown, what: What, name: string): asserts value is boolean {
  if (typeof value !== "boolean") {
    throw cannot(TypeError, what, `${name} must be true or false, not ${describe(value)}`);
  }
}

/** The signal in `options`, if any. Throws its reason if it has already been aborted. */
export function signalOf(options: { signal?: AbortSignal }, what: What): AbortSignal | undefined {
  checkObject(options, what, "{ signal: AbortSignal.timeout(1000) }");
  const { signal } = options;
  if (signal === undefined) return undefined;
  if (!(signal instanceof AbortSignal)) {
    throw cannot(TypeError, what, `signal must be an AbortSignal, not ${describe(signal)}`);
  }
  signal.throwIfAborted();
  return signal;
}

/** Throws unless `align` is a power of two up to `capacity`. */
export function checkAlign(align: unknown, capacity: number, what: What): asserts align is number {
  if (typeof align !== "number") {
    throw cannot(TypeError, what, `the alignment must be a number, not ${describe(align)}`);
  }
  // Over the whole safe range, `Math.log2` gives an exact integer for each power of two.
  if (!(align >= 1 && align <= capacity && Number.isInteger(Math.log2(align)) && Number.isInteger(align))) {
    throw cannot(
      RangeError,
      what,
      `the alignment must be a power of two up to ${formatBytes(capacity)}, not ${align}`,
    );
  }
}

/** Throws unless `view` is a typed array or a `DataView`. */
export function checkView(view: unknown, what: What): asserts view is ArrayBufferView {
  if (!ArrayBuffer.isView(view)) {
    throw cannot(TypeError, what, `a typed array or DataView is needed, not ${describe(view)}`);
  }
}

/** The type of a value in words, for errors. */
export function describe(value: unknown): string {
  if (value === null) return "null";
  if (value === undefined) return "undefined";
  if (typeof value === "object") return "an object";
  if (typeof value === "string") return "a string";
  return `a ${typeof value}`;
}
