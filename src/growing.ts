/** Blocks that grow while they are filled: in place while they are the last block. */
import { OutOfMemoryError, ScopeError } from "./errors.ts";
import type { Mark, Scratch, TypedArray } from "./scratch.ts";

/**
 * Grows a block to `preferred` elements, or to as many as fit, but at least to `least`. If it throws, nothing has
 * changed.
 */
export function grown<T extends TypedArray>(scratch: Scratch, block: T, least: number, preferred: number): T {
  for (let size = Math.max(least, preferred);; size = least + Math.floor((size - least) / 2)) {
    try {
      return scratch.realloc(block, size);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError) || size === least) throw error;
    }
  }
}

/**
 * Cuts a block to its first `length` bytes. The rest is given back, unless something was allocated behind it or a scope
 * is open.
 */
export function cut(scratch: Scratch, block: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  if (length === block.length) return block;
  try {
    return scratch.realloc(block, length);
  } catch (error) {
    if (!(error instanceof ScopeError)) throw error;
    return block.subarray(0, length);
  }
}

/** A block, and the cursor before it was taken: `drop` goes back to it. */
export interface Place<T extends TypedArray = Uint8Array<ArrayBuffer>> {
  block: T;
  before: Mark;
}

/** Grows the block of a place. If it moves, what was allocated meanwhile lies below it and stays. */
export function grow<T extends TypedArray>(scratch: Scratch, place: Place<T>, least: number, preferred: number): void {
  const before = scratch.mark();
  const { block } = place;
  place.block = grown(scratch, block, least, preferred);
  if (block.byteLength === 0 || scratch.offsetOf(place.block) !== scratch.offsetOf(block)) place.before = before;
}

/** Gives a block back, unless something was allocated behind it. */
export function drop(scratch: Scratch, { block, before }: Place<TypedArray>): void {
  if (block.byteLength === 0) return;
  try {
    if (scratch.offsetOf(block) + block.byteLength === scratch.mark().offset) scratch.rewind(before);
  } catch { /* the arena has ended, or one of its scopes is open */ }
}
