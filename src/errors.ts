/**
 * The error classes of this package. A value of a wrong type is a plain `TypeError`, an impossible size or alignment a
 * plain `RangeError`.
 *
 * @module
 */

import { formatBytes } from "./format.ts";
import { BumpCode } from "./native/symbols.ts";

/**
 * The request behind an {@linkcode OutOfMemoryError}, and the state of the region; all in bytes.
 *
 * @example The details of the error
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
  /** Requested bytes. */
  requested: number;
  /** Requested alignment. */
  align: number;
  /** Bytes of the region that were taken at the time. */
  used: number;
  /** Size of the region in bytes. */
  capacity: number;
}

/**
 * The region does not have that many bytes left. Nothing has moved, so a smaller request still succeeds.
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
  /** Requested bytes. */
  readonly requested: number;
  /** Requested alignment, in bytes. */
  readonly align: number;
  /** Bytes of the region that were taken at the time. */
  readonly used: number;
  /** Size of the region in bytes. */
  readonly capacity: number;

  /** Thrown by the allocator; `details` are in bytes. */
  constructor(details: OutOfMemoryDetails, what: What = "allocate") {
    const { requested, align, used, capacity } = details;
    const aligned = align > 8 ? ` aligned to ${formatBytes(align)}` : "";
    const inPieces = requested <= capacity - used ? ", and no free piece is large enough" : "";
    super(
      `Cannot allocate ${formatBytes(requested)}${aligned}: ` +
        `${formatBytes(used)} of ${formatBytes(capacity)} are used${inPieces}; the option \`size\` reserves more`,
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

  /** Thrown by the allocator, which tried to reserve `byteLength` bytes. */
  constructor(byteLength: number, code: number) {
    super(`Cannot reserve ${formatBytes(byteLength)} of address space: ${describeSystemError(code)}`);
    this.code = systemCode(code);
  }

  static {
    named(this);
  }
}

/**
 * The operating system refused to commit reserved memory, or to take pages back.
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

  /** Thrown by the allocator; `what` names the operation. */
  constructor(what: string, code: number) {
    super(`Cannot ${what}: ${describeSystemError(code)}`);
    this.code = systemCode(code);
  }

  static {
    named(this);
  }
}

/**
 * The allocator, scope or lease has already been closed, ended or returned.
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
  /** Thrown by the allocator; `what` names the operation, `owner` the closed object. */
  constructor(what: What, owner: string, state = "is closed") {
    super(`Cannot ${wordsOf(what)}: the ${owner} ${state}`);
    calledFrom(this, what);
  }

  static {
    named(this);
  }
}

/**
 * A window of an allocator or scope was transferred away, and its memory with it. {@linkcode BumpAlloc.reset} repairs
 * the allocator; if the view was a scope's, so does the end of that scope.
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
  /** Thrown by the allocator; `what` names the operation. */
  constructor(what: What) {
    super(
      `Cannot ${wordsOf(what)}: a view's buffer was transferred away, together with the memory around it. ` +
        "What transfers: postMessage or structuredClone with a transfer list, ArrayBuffer.prototype.transfer, and " +
        "enqueue or read on a byte stream. Pass a copy (view.slice()), or make the " +
        "allocator with { transferable: false }, so that the transfer itself throws. reset() of the allocator, " +
        "or the end of the view's scope, repairs this",
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
  /** Thrown by the allocator; `what` names the operation, `where` lists stacks in debug mode. */
  constructor(what: What, where = "") {
    super(
      `Cannot ${wordsOf(what)}: a scope or frame opened from it is still open. End it first, best with \`using\`, or ` +
        "allocate from it; reset() of the allocator ends all scopes. For overlapping work, give each task its own " +
        "allocator (BumpPool)" + where,
    );
    calledFrom(this, what);
  }

  static {
    named(this);
  }
}

/**
 * Memory cannot be taken back, because a pinned promise may still use it. Nothing has changed.
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
  /** Thrown by the allocator; `what` names the operation, `where` lists stacks in debug mode. */
  constructor(what: What, pins: number, where = "") {
    super(
      `Cannot ${wordsOf(what)}: ${pins} pinned ${pins === 1 ? "promise is" : "promises are"} still using the ` +
        `memory; await ${pins === 1 ? "it" : "them"} first, or use \`await using\`` + where,
    );
    calledFrom(this, what);
  }

  static {
    named(this);
  }
}

/**
 * A pool has given out as many leases as its `limit` allows.
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
  /** Most leases that the pool gives out at once. */
  readonly limit: number;

  /** Thrown by the pool; `where` lists stacks in debug mode. */
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
 * The details of a {@linkcode StaleWriteError}: places in bytes, and stacks as text.
 *
 * @example The details of the error
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
  /** The former owner of the memory: an allocator, a lease or a scope. */
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

  /** Thrown by the allocator. */
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
 * The handle of a shared region is stale or forged, or the call is not allowed on this allocator.
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
  /** Thrown by the allocator. */
  constructor(message: string) {
    super(message);
  }

  static {
    named(this);
  }
}

/**
 * The operation that failed: its words, as in "Cannot allocate: …", or the public method, whose caller then begins the
 * stack.
 */
// deno-lint-ignore no-explicit-any -- it is never called here
export type What = string | ((...args: any) => unknown);

/** The words for each public method; a method that is not listed is called by its name. */
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

/** Makes an error's stack begin with the caller of the public method, if `what` is one. */
function calledFrom<E extends Error>(error: E, what: What): E {
  if (typeof what === "function") Error.captureStackTrace(error, what);
  return error;
}

/** Sets `name` on the prototype, so that stacks begin with it and `console.log` shows no extra property. */
function named(type: new (...args: never[]) => Error): void {
  Object.defineProperty(type.prototype, "name", { value: type.name, configurable: true, writable: true });
}

/** An error of a built-in type: "Cannot allocate: the size must be a number". */
export function cannot<E extends Error>(type: new (message: string) => E, what: What, why: string): E {
  return calledFrom(new type(`Cannot ${wordsOf(what)}: ${why}`), what);
}

// ---- words ---------------------------------------------------------------------------------------

/** The system's error number in a code of the C library, which is `SYSTEM - e`. */
function systemCode(code: number): number {
  return code === BumpCode.MAPPINGS ? 12 : code <= BumpCode.SYSTEM ? BumpCode.SYSTEM - code : code;
}

/** Describes a code of the C library. */
export function describeSystemError(libraryCode: number): string {
  if (libraryCode === BumpCode.MAPPINGS) return TOO_MANY_MAPPINGS;
  const code = systemCode(libraryCode);
  const words = Deno.build.os === "windows" ? WINDOWS_ERRORS[code] : POSIX_ERRORS[code];
  return words === undefined ? `system error ${code}` : `${words} (system error ${code})`;
}

const TOO_MANY_MAPPINGS =
  "this process has nearly as many memory mappings as the system allows (system error 12; Linux: vm.max_map_count, " +
  "which `sysctl vm.max_map_count` shows and sets). Close allocators that are no longer needed, or use a BumpPool";

const POSIX_ERRORS: Record<number, string> = {
  1: "not permitted",
  11: "too much memory is locked; try again",
  12: "out of memory or address space, or over a limit such as RLIMIT_AS",
  13: "access denied",
  22: "invalid argument",
  23: "the system has no file descriptor left",
  24: "this process has no file descriptor left",
  35: "too much memory is locked; try again",
};

const WINDOWS_ERRORS: Record<number, string> = {
  5: "access denied",
  8: "not enough memory",
  87: "invalid parameter",
  1455: "the commit limit (memory and page file) is reached",
};
