/**
 * Scratch memory for Deno: a bump allocator over one reserved gigabyte of address space.
 *
 * @example
 * ```ts
 * import { BumpAlloc } from "@bump/alloc";
 *
 * using scratch = new BumpAlloc();
 * const bytes = scratch.alloc(1024); // costs little more than a view of an existing buffer
 * ```
 *
 * @module
 */

export { BumpAlloc, type BumpAllocOptions, type BumpHandle, type BumpStats } from "./src/bump_alloc.ts";
export { BumpPool, type BumpPoolOptions, type BumpPoolStats, type BumpPoolUseOptions } from "./src/pool.ts";
export type { BumpHooks } from "./src/hooks.ts";
export { BumpScope, ScratchArena } from "./src/scratch_arena.ts";
export { BumpWriter, type BumpWriterOptions } from "./src/writer.ts";
export type { Out, OutType, OutValues, OutViews } from "./src/out.ts";
export type { ByteReader, ReadAllOptions, ReadFileOptions, ReadSource } from "./src/reading.ts";
export type { Copied, ElementOf, Mark, Scratch, TypedArray, TypedArrayConstructor } from "./src/scratch.ts";
export {
  ClosedError,
  CommitError,
  DetachedError,
  type OutOfMemoryDetails,
  OutOfMemoryError,
  PinnedError,
  PoolFullError,
  ReserveError,
  ScopeError,
  SharedError,
  type StaleWriteDetails,
  StaleWriteError,
} from "./src/errors.ts";
