import { BumpAlloc, SharedError } from "../../mod.ts";

/** Addresses of callbacks and of a block that they allocated. */
export interface Given {
  malloc: bigint;
  free: bigint;
  block: bigint;
}

/**
 * A Worker's answer: its callbacks, unless another arena is the process's own, and the address of another allocator's
 * region.
 */
export interface Answer {
  given: Given | null;
  plain: bigint;
}

/** Another allocator of this Worker. It has no window, so that none of its addresses stay reserved for receivers. */
const plain = new BumpAlloc();

const scratch = new BumpAlloc();

function given(): Given | null {
  let callbacks;
  try {
    callbacks = scratch.hooks.process;
  } catch (error) {
    if (error instanceof SharedError) return null;
    throw error;
  }
  const { malloc, free, strdup } = callbacks;
  const copy = new Deno.UnsafeFnPointer(strdup as never, { parameters: ["buffer"], result: "pointer" });
  return {
    malloc: Deno.UnsafePointer.value(malloc),
    free: Deno.UnsafePointer.value(free),
    block: Deno.UnsafePointer.value(copy.call(new TextEncoder().encode("from a Worker\0"))),
  };
}

(self as unknown as { postMessage(data: unknown): void }).postMessage({ given: given(), plain: plain.address });
