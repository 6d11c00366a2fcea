/** Arithmetic on offsets and positions: numbers in, numbers out. It imports nothing. */

/**
 * Positions in a window stay at or below this, so that they are small integers and bit operations on them are exact.
 * A larger window serves one large block.
 */
export const MAX_POSITION = 2 ** 30;

/** Windows start on multiples of this, so that alignments up to it hold for positions in the window. */
export const WINDOW_ALIGN = 4096;

/** Windows grow to this as long as no more than a gigabyte was taken: a clone of a small view copies its whole window. */
const LARGE_WINDOW = 16 * 2 ** 20;

/** Beyond that a window is at most this part of what was taken. */
const WINDOW_PART = 64;

/** `align - 1` for the alignments that positions in a window can serve, else -1. */
export function maskOf(align: number): number {
  return typeof align === "number" && (align | 0) === align && align > 0 && align <= WINDOW_ALIGN &&
      (align & (align - 1)) === 0
    ? align - 1
    : -1;
}

/** The largest power of two up to `WINDOW_ALIGN` that divides a position. */
export function alignOf(position: number): number {
  return position % WINDOW_ALIGN === 0 ? WINDOW_ALIGN : position & -position;
}

/** The least offset from `offset` on whose address, `address` + offset, is a multiple of `align`. */
export function alignUp(address: number, offset: number, align: number): number {
  const past = (address + offset) % align;
  return past === 0 ? offset : small(offset + align - past);
}

/**
 * The same number, as V8's small integer if it is one. What was computed from doubles, such as addresses, stays a double
 * otherwise, and so does every field that it gets into.
 */
export function small(number: number): number {
  return (number | 0) === number ? number | 0 : number;
}

/**
 * The growth policy: bytes that the next window should show. `usual` is the option `window`, `former` the length of the
 * window before (0: none), `taken` the bytes of the region that were taken.
 */
export function windowStep(usual: number, former: number, taken: number): number {
  const most = Math.max(usual, LARGE_WINDOW, Math.min(taken / WINDOW_PART, MAX_POSITION));
  return Math.floor(Math.min(Math.max(usual, 2 * former), most));
}
