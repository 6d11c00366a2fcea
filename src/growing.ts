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

/** Gives a block back, with everything taken since `before`, unless something was allocated behind it. */
export function drop(scratch: Scratch, block: ArrayBufferView, before: Mark): void {
  if (block.byteLength === 0) return;
  try {
    if (scratch.offsetOf(block) + block.byteLength === scratch.mark().offset) scratch.rewind(before);
  } catch { /* the arena has ended, or one of its scopes is open */ }
}
