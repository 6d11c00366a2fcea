import { BumpAlloc, SharedError } from "../../mod.ts";

/** Callbacks, and a block that they made; addresses. */
export interface Given {
  malloc: bigint;
  free: bigint;
  block: bigint;
}

/** What a Worker says: its callbacks, unless another arena is the process's, and the address of another allocator's region. */
export interface Answer {
  given: Given | null;
  plain: bigint;
}

/** What another allocator of this Worker has: without a lease nothing of it stays for receivers of a transfer. */
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
