/**
 * Every error that an allocator throws by itself. Wrong types are plain `TypeError`s, impossible
 * sizes and alignments plain `RangeError`s.
 *
 * @module
 */

import { formatBytes } from "./format.ts";
import { BumpCode } from "./native/symbols.ts";

/**
 * What an {@linkcode OutOfMemoryError} knows about the request that did not fit. All are bytes.
 *
 * @example What the error tells
 * ```ts
 * import { BumpAlloc, type OutOfMemoryDetails, OutOfMemoryError } from "@bump/alloc";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * using scratch = BumpAlloc.withSize(65536);
 * const details: OutOfMemoryDetails = assertThrows(() => scratch.alloc(100_000), OutOfMemoryError);
 * assertEquals(details.requested - details.capacity, 34464);
 * ```
 */
export interface OutOfMemoryDetails {
  /** Bytes that were asked for. */
  requested: number;
  /** Alignment that was asked for. */
  align: number;
  /** Bytes of the region that were taken. */
  used: number;
  /** Bytes of the region. */
  capacity: number;
}

/**
 * The region has not that many bytes left. Nothing has moved: a smaller request then succeeds.
 *
 * @example Fall back when scratch memory is full
 * ```ts
 * import { BumpAlloc, OutOfMemoryError } from "@bump/alloc";
 * import { assert, assertThrows } from "@std/assert";
 *
 * using scratch = BumpAlloc.withSize(65536);
 * const error = assertThrows(() => scratch.alloc(65537), OutOfMemoryError);
 * assert(error.requested === 65537 && error.used === 0);
 * ```
 */
export class OutOfMemoryError extends RangeError {
  /** Bytes that were asked for. */
  readonly requested: number;
  /** Alignment that was asked for, in bytes. */
  readonly align: number;
  /** Bytes of the region that were taken when the request came. */
  readonly used: number;
  /** Bytes of the region. */
  readonly capacity: number;

  /** Made by the allocator; `details` are in bytes. */
  constructor(details: OutOfMemoryDetails, what: What = "allocate") {
    const { requested, align, used, capacity } = details;
    const aligned = align > 8 ? ` aligned to ${formatBytes(align)}` : "";
    const inPieces = requested <= capacity - used ? ", and no piece that is left is large enough" : "";
    super(
      `Cannot allocate ${formatBytes(requested)}${aligned}: ` +
        `${formatBytes(used)} of ${formatBytes(capacity)} are used${inPieces}`,
    );
    calledFrom(this, what);
    this.requested = requested;
    this.align = align;
    this.used = used;
    this.capacity = capacity;
  }

  static {
    named(this);
  }
}

/**
 * The operating system refused to reserve the address space of a region.
 *
 * @example More than a machine can address
 * ```ts
 * import { BumpAlloc, ReserveError } from "@bump/alloc";
 * import { assertThrows } from "@std/assert";
 *
 * assertThrows(() => BumpAlloc.withSize(2 ** 52), ReserveError, "Cannot reserve 4 PiB of address space");
 * ```
 */
export class ReserveError extends Error {
  /** `errno` on POSIX, `GetLastError()` on Windows. */
  readonly code: number;

  /** Made by the allocator; `byteLength` is what was to be reserved. */
  constructor(byteLength: number, code: number) {
    super(`Cannot reserve ${formatBytes(byteLength)} of address space: ${describeSystemError(code)}`);
    this.code = systemCode(code);
  }

  static {
    named(this);
  }
}

/**
 * The operating system refused to make reserved memory usable (or to give it back).
 *
 * @example The system has no memory left
 * ```ts
 * import { BumpAlloc, CommitError } from "@bump/alloc";
 *
 * using scratch = new BumpAlloc();
 * try {
 *   scratch.alloc(1000);
 * } catch (error) {
 *   if (!(error instanceof CommitError)) throw error;
 *   console.error(error.message); // Cannot allocate 1000 B: out of memory ...
 * }
 * ```
 */
export class CommitError extends Error {
  /** `errno` on POSIX, `GetLastError()` on Windows. */
  readonly code: number;

  /** Made by the allocator; `what` says what was to be done. */
  constructor(what: string, code: number) {
    super(`Cannot ${what}: ${describeSystemError(code)}`);
    this.code = systemCode(code);
  }

  static {
    named(this);
  }
}

/**
 * The allocator, scope or lease was closed, ended or returned before.
 *
 * @example An allocator after its end
 * ```ts
 * import { BumpAlloc, ClosedError } from "@bump/alloc";
 * import { assertThrows } from "@std/assert";
 *
 * const scratch = new BumpAlloc();
 * scratch.close();
 * assertThrows(() => scratch.alloc(8), ClosedError, "Cannot allocate: the allocator is closed");
 * ```
 */
export class ClosedError extends Error {
  /** Made by the allocator; `what` is what was to be done, `owner` what is closed. */
  constructor(what: What, owner: string, state = "is closed") {
    super(`Cannot ${wordsOf(what)}: the ${owner} ${state}`);
    calledFrom(this, what);
  }

  static {
    named(this);
  }
}

/**
 * The window under an allocator or scope was transferred away, and its memory with it. {@linkcode BumpAlloc.reset} mends
 * the allocator, and so does the end of the scope if the view was from one.
 *
 * @example A transfer takes the memory along
 * ```ts
 * import { BumpAlloc, DetachedError } from "@bump/alloc";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * const bytes = scratch.alloc(8);
 * structuredClone(bytes, { transfer: [bytes.buffer] });
 * assertThrows(() => scratch.alloc(8), DetachedError);
 * scratch.reset();
 * assertEquals(scratch.alloc(8).length, 8);
 * ```
 */
export class DetachedError extends Error {
  /** Made by the allocator; `what` is what was to be done. */
  constructor(what: What) {
    super(
      `Cannot ${wordsOf(what)}: a view's buffer was transferred away, and the memory around it went along. ` +
        "postMessage or structuredClone with a transfer list, ArrayBuffer.prototype.transfer, and " +
        "enqueue or read on a byte stream do that. Hand over a copy (view.slice()), or make the " +
        "allocator with { transferable: false }, and the transfer itself throws. reset() of the allocator, " +
        "or the end of the scope that the view was from, mends this",
    );
    calledFrom(this, what);
  }

  static {
    named(this);
  }
}

/**
 * A parent was used while one of its scopes is open, or scopes were ended out of order.
 *
 * @example The innermost scope allocates
 * ```ts
 * import { BumpAlloc, ScopeError } from "@bump/alloc";
 * import { assertThrows } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * using _scope = scratch.scope();
 * assertThrows(() => scratch.alloc(8), ScopeError);
 * ```
 */
export class ScopeError extends Error {
  /** Made by the allocator; `what` is what was to be done, `where` what debug mode knows. */
  constructor(what: What, where = "") {
    super(
      `Cannot ${wordsOf(what)}: a scope that was opened from it is still open; use or end that scope first. ` +
        "reset() of the allocator ends all scopes; for work that overlaps, give each its own allocator (BumpPool)" +
        where,
    );
    calledFrom(this, what);
  }

  static {
    named(this);
  }
}

/**
 * Memory was to be taken back while a pinned promise may still use it. Nothing has changed.
 *
 * @example Memory in use is not taken back
 * ```ts
 * import { BumpAlloc, PinnedError } from "@bump/alloc";
 * import { assertThrows } from "@std/assert";
 *
 * await using scratch = new BumpAlloc();
 * scratch.pin(crypto.subtle.digest("SHA-256", scratch.allocZeroed(64)));
 * assertThrows(() => scratch.reset(), PinnedError);
 * ```
 */
export class PinnedError extends Error {
  /** Made by the allocator; `what` is what was to be done, `where` what debug mode knows. */
  constructor(what: What, pins: number, where = "") {
    super(
      `Cannot ${wordsOf(what)}: ${pins} pinned ${pins === 1 ? "promise is" : "promises are"} still using the ` +
        "memory; await them first, or use `await using`" + where,
    );
    calledFrom(this, what);
  }

  static {
    named(this);
  }
}

/**
 * A pool has as many leases out as its `limit` allows.
 *
 * @example One lease too many
 * ```ts
 * import { BumpPool, PoolFullError } from "@bump/alloc";
 * import { assertThrows } from "@std/assert";
 *
 * using pool = new BumpPool({ limit: 1 });
 * using _scratch = pool.lease();
 * assertThrows(() => pool.lease(), PoolFullError);
 * ```
 */
export class PoolFullError extends Error {
  /** Leases that the pool allows at once. */
  readonly limit: number;

  /** Made by the pool; `where` is what debug mode knows. */
  constructor(limit: number, where = "") {
    super(
      `Cannot lease: all ${limit} allocators of the pool are in use; close leases sooner, raise \`limit\`, ` +
        "or let `use` wait for one" + where,
    );
    this.limit = limit;
  }

  static {
    named(this);
  }
}

/**
 * What a {@linkcode StaleWriteError} knows: bytes, and stacks as text.
 *
 * @example What the error tells
 * ```ts
 * import { type StaleWriteDetails, StaleWriteError } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * const details: StaleWriteDetails = {
 *   offset: 64,
 *   byteLength: 1,
 *   kind: "scope",
 *   openedAt: "    at opened",
 *   endedAt: "    at ended",
 * };
 * assertEquals(new StaleWriteError(details).offset, 64);
 * ```
 */
export interface StaleWriteDetails {
  /** Where the first wrong byte is, from the region's address on. */
  readonly offset: number;
  /** Bytes up to the last wrong one. */
  readonly byteLength: number;
  /** What the memory was of: an allocator, a lease or a scope. */
  readonly kind: string;
  /** The stack of where that was opened. */
  readonly openedAt: string;
  /** The stack of where the memory was taken back. */
  readonly endedAt: string;
}

/**
 * Only in debug mode: memory was written after it had been taken back. I/O or native code that was given a view of it goes on;
 * a {@linkcode BumpScope.pin} or an `await` is missing. It is thrown where the memory was to be handed out again, which may be
 * far from the cause: the stacks say where that is.
 *
 * @example A view that outlives its mark
 * ```ts
 * import { BumpAlloc, StaleWriteError } from "@bump/alloc";
 * import { assertThrows } from "@std/assert";
 *
 * using scratch = new BumpAlloc({ debug: true });
 * const mark = scratch.mark();
 * const bytes = scratch.alloc(8);
 * scratch.rewind(mark);
 * bytes[0] = 1; // as work would that was not awaited
 * assertThrows(() => scratch.alloc(8), StaleWriteError);
 * ```
 */
export class StaleWriteError extends Error {
  /** Where the first wrong byte is, from the region's address on. */
  readonly offset: number;
  /** Bytes up to the last wrong one. */
  readonly byteLength: number;
  /** The stack of where the memory's allocator, lease or scope was opened. */
  readonly openedAt: string;
  /** The stack of where the memory was taken back. */
  readonly endedAt: string;

  /** Made by the allocator. */
  constructor({ offset, byteLength, kind, openedAt, endedAt }: StaleWriteDetails) {
    super(
      `Cannot reuse memory: ${
        formatBytes(byteLength)
      } at offset ${offset} were written after the memory had been taken ` +
        `back. Work that was given a view of it went on: a pin() or an await is missing\n` +
        `The ${kind} was opened\n${openedAt}\nThe memory was taken back\n${endedAt}\nIt was found`,
    );
    this.offset = offset;
    this.byteLength = byteLength;
    this.openedAt = openedAt;
    this.endedAt = endedAt;
  }

  static {
    named(this);
  }
}

/**
 * A shared region: the handle is stale or forged, or the call is refused while others are attached.
 *
 * @example A handle whose region is gone
 * ```ts
 * import { BumpAlloc, SharedError } from "@bump/alloc";
 * import { assertThrows } from "@std/assert";
 *
 * const scratch = new BumpAlloc();
 * const handle = scratch.share();
 * scratch.close();
 * assertThrows(() => BumpAlloc.attach(handle), SharedError);
 * ```
 */
export class SharedError extends Error {
  /** Made by the allocator. */
  constructor(message: string) {
    super(message);
  }

  static {
    named(this);
  }
}

/** What was to be done: words, as in "Cannot allocate: …", or the public method, which a stack then begins below. */
// deno-lint-ignore no-explicit-any -- it is never called here
export type What = string | ((...args: any) => unknown);

/** The words of a public method; one that is not listed goes by its name. */
const WORDS: Readonly<Record<string, string>> = {
  alloc: "allocate",
  allocArray: "allocate",
  allocArrayZeroed: "allocate",
  allocView: "allocate",
  allocViewZeroed: "allocate",
  allocZeroed: "allocate",
  tryAlloc: "allocate",
  offset: "allocate",
  realloc: "reallocate",
  arrayFrom: "make an array",
  viewArray: "view",
  encode: "encode text",
  cstring: "make a C string",
  cstring16: "make a wide C string",
  cstringArray: "make C strings",
  out: "make an out-parameter",
  scope: "open a scope",
  frame: "open a frame",
  addressOf: "take the address",
  pointerOf: "take the address",
  offsetOf: "take the offset",
  owns: "look up the owner",
};

function wordsOf(what: What): string {
  return typeof what === "string" ? what : WORDS[what.name] ?? what.name;
}

/** Lets an error's stack begin with the caller of a public method, where that is at hand. */
function calledFrom<E extends Error>(error: E, what: What): E {
  if (typeof what === "function") Error.captureStackTrace(error, what);
  return error;
}

/** On the prototype, so that a stack begins with it and `console.log` shows no property. */
function named(type: new (...args: never[]) => Error): void {
  Object.defineProperty(type.prototype, "name", { value: type.name, configurable: true, writable: true });
}

/** An error of a built-in type: "Cannot allocate: the size must be a number". */
export function cannot<E extends Error>(type: new (message: string) => E, what: What, why: string): E {
  return calledFrom(new type(`Cannot ${wordsOf(what)}: ${why}`), what);
}

// ---- words ---------------------------------------------------------------------------------------

/** The system's error number in a code of the C library: that comes as `SYSTEM - e`. */
function systemCode(code: number): number {
  return code === BumpCode.MAPPINGS ? 12 : code <= BumpCode.SYSTEM ? BumpCode.SYSTEM - code : code;
}

/** The words for a code of the C library. */
export function describeSystemError(libraryCode: number): string {
  if (libraryCode === BumpCode.MAPPINGS) return TOO_MANY_MAPPINGS;
  const code = systemCode(libraryCode);
  const words = Deno.build.os === "windows" ? WINDOWS_ERRORS[code] : POSIX_ERRORS[code];
  return words === undefined ? `system error ${code}` : `${words} (system error ${code})`;
}

const TOO_MANY_MAPPINGS =
  "this process has nearly as many memory mappings as the system allows (system error 12; Linux: vm.max_map_count, " +
  "which `sysctl vm.max_map_count` tells and raises). Close allocators that are not needed any more, or use a BumpPool";

const POSIX_ERRORS: Record<number, string> = {
  1: "not permitted",
  11: "try again: too much memory is locked",
  12: "out of memory or address space, or over a limit such as RLIMIT_AS",
  13: "access denied",
  22: "invalid argument",
  23: "the system has no file descriptor left",
  24: "this process has no file descriptor left",
  35: "try again: too much memory is locked",
};

const WINDOWS_ERRORS: Record<number, string> = {
  5: "access denied",
  8: "not enough memory",
  87: "invalid parameter",
  1455: "the commit limit (memory and page file) is reached",
};
