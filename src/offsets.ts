/** Arithmetic on offsets and positions. It imports nothing, so that it can be fuzzed alone. */

/**
 * Highest position in a window: positions stay small integers in V8, and bit operations on them are exact. A larger
 * window serves one large block.
 */
export const MAX_POSITION = 2 ** 30;

/** Windows start at multiples of this many bytes, so that aligning a position aligns its address too. */
export const WINDOW_ALIGN = 4096;

/**
 * Windows grow up to this size while at most 1 GiB is taken. Larger ones would make clones dear: a clone of a small
 * view copies its whole window.
 */
const LARGE_WINDOW = 16 * 2 ** 20;

/** Beyond 1 GiB, a window is at most one part in this many of the bytes taken. */
const WINDOW_PART = 64;

/** `align - 1` if aligning a position in a window aligns its address, else -1. */
export function maskOf(align: number): number {
  return typeof align === "number" && (align | 0) === align && align > 0 && align <= WINDOW_ALIGN &&
      (align & (align - 1)) === 0
    ? align - 1
    : -1;
}

/** Largest power of two, up to `WINDOW_ALIGN`, that divides a position. */
export function alignOf(position: number): number {
  return position % WINDOW_ALIGN === 0 ? WINDOW_ALIGN : position & -position;
}

/** Lowest offset, not below `offset`, at which `address + offset` is a multiple of `align`. */
export function alignUp(address: number, offset: number, align: number): number {
  const past = (address + offset) % align;
  return past === 0 ? offset : small(offset + align - past);
}

/**
 * Converts a number to V8's small-integer form if possible. A result of double arithmetic stays a double otherwise, and
 * turns every field that stores it into a double field.
 */
export function small(number: number): number {
  return (number | 0) === number ? number | 0 : number;
}

/**
 * The growth policy: size of the next window. `usual` is the option `window`, `former` the size of the window before
 * (0: none), `taken` the bytes taken from the region.
 */
export function windowStep(usual: number, former: number, taken: number): number {
  const most = Math.max(usual, LARGE_WINDOW, Math.min(taken / WINDOW_PART, MAX_POSITION));
  return Math.floor(Math.min(Math.max(usual, 2 * former), most));
}
