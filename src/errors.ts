/**
 * Every error that an allocator throws by itself. Wrong types are plain `TypeError`s, impossible
 * sizes and alignments plain `RangeError`s. Their stacks begin at the caller's line, which makes an error dear.
 *
 * @module
 */

import { formatBytes } from "./format.ts";

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
  constructor(details: OutOfMemoryDetails) {
    const { requested, align, used, capacity } = details;
    const aligned = align > 8 ? ` aligned to ${formatBytes(align)}` : "";
    const inPieces = requested <= capacity - used ? ", and no piece that is left is large enough" : "";
    super(
      `Cannot allocate ${formatBytes(requested)}${aligned}: ` +
        `${formatBytes(used)} of ${formatBytes(capacity)} are used${inPieces}`,
    );
    named(this, "OutOfMemoryError");
    this.requested = requested;
    this.align = align;
    this.used = used;
    this.capacity = capacity;
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
    named(this, "ReserveError");
    this.code = code;
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
    named(this, "CommitError");
    this.code = code;
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
  constructor(what: string, owner: string) {
    super(`Cannot ${what}: the ${owner} is closed`);
    named(this, "ClosedError");
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
  constructor(what: string) {
    super(
      `Cannot ${what}: a view's buffer was transferred away, and the memory around it went along. ` +
        "postMessage or structuredClone with a transfer list, ArrayBuffer.prototype.transfer, and " +
        "enqueue or read on a byte stream do that. Hand over a copy (view.slice()), or make the " +
        "allocator with { transferable: false }, and the transfer itself throws. reset() of the allocator, " +
        "or the end of the scope that the view was from, mends this",
    );
    named(this, "DetachedError");
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
  /** Made by the allocator; `what` is what was to be done. */
  constructor(what: string) {
    super(`Cannot ${what}: a scope that was opened from it is still open; use or end that scope first`);
    named(this, "ScopeError");
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
  /** Made by the allocator; `what` is what was to be done. */
  constructor(what: string, pins: number) {
    super(
      `Cannot ${what}: ${pins} pinned ${pins === 1 ? "promise is" : "promises are"} still using the ` +
        "memory; await them first, or use `await using`",
    );
    named(this, "PinnedError");
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

  /** Made by the pool. */
  constructor(limit: number) {
    super(
      `Cannot lease: all ${limit} allocators of the pool are in use; close leases sooner, raise \`limit\`, ` +
        "or let `use` wait for one",
    );
    named(this, "PoolFullError");
    this.limit = limit;
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
    named(this, "SharedError");
  }
}

// ---- where an error was made ---------------------------------------------------------------------

/** A `TypeError` at the caller's line. */
export function typeError(message: string): TypeError {
  return atCaller(new TypeError(message));
}

/** A `RangeError` at the caller's line. */
export function rangeError(message: string): RangeError {
  return atCaller(new RangeError(message));
}

function named(error: Error, name: string): void {
  error.name = name;
  atCaller(error);
}

/**
 * Lets an error's stack begin at the line that called into this package, also where Deno reports an uncaught error, which
 * looks at the frames and not at the text. `Error.captureStackTrace` leaves out what lies above a function: so this
 * finds the outermost of the leading frames that are the package's own, and its function by name among those
 * that users call.
 */
export function atCaller<E extends Error>(error: E): E {
  const frames = framesBelow(atCaller);
  const own = frames.findIndex(isOthers);
  const name = frames[own - 1]?.getFunctionName(); // none when all are own, or the caller made the error
  const entry = name && entries(name).find((entry) => framesBelow(entry).findIndex(isOthers) === 0);
  if (entry) captureStackTrace(error, entry);
  return error;
}

const { captureStackTrace } = Error;
const PLAIN = { configurable: true, enumerable: true, writable: true };

/** The folder of these modules, or the one file that they were bundled into. */
const OWN = import.meta.url.replace(/\/src\/errors\.ts$/, "/src/");

function isOthers(frame: Frame): boolean {
  return !frame.getScriptNameOrSourceURL()?.startsWith(OWN);
}

/** A function that users call. */
// deno-lint-ignore no-explicit-any -- it is never called here
type Entry = (...args: any) => unknown;

const entryClasses: object[] = [];

/** Says that users call the methods of a class. */
export function isCalledByUsers(type: { readonly prototype: object }): void {
  entryClasses.push(type, type.prototype);
}

/** The functions of that name. */
function entries(name: string): Entry[] {
  return (entriesByName ??= Map.groupBy(
    entryClasses
      .flatMap((holder) => Reflect.ownKeys(holder).map((key) => Object.getOwnPropertyDescriptor(holder, key)!))
      .flatMap(({ get, set, value }): Entry[] => [get, set, value]),
    (entry) => entry?.name,
  )).get(name) ?? [];
}

let entriesByName: Map<string, Entry[]> | undefined;

/** Part of V8's `CallSite`. */
interface Frame {
  getFunctionName(): string | null;
  getScriptNameOrSourceURL(): string | null;
}

/** The frames that called the topmost call of a function; none when it is not being called. */
function framesBelow(entry: Entry): Frame[] {
  const settings = Object.getOwnPropertyDescriptor(Error, "prepareStackTrace");
  // An accessor would run a program's code in the midst of an allocation.
  if (settings !== undefined && !settings.writable) return [];
  const probe: { stack?: Frame[] } = {};
  try {
    const value = (_: unknown, frames: Frame[]) => frames;
    Object.defineProperty(Error, "prepareStackTrace", { ...PLAIN, ...settings, value });
    captureStackTrace(probe, entry);
    const frames = probe.stack;
    if (settings === undefined) delete (Error as { prepareStackTrace?: unknown }).prepareStackTrace;
    else Object.defineProperty(Error, "prepareStackTrace", settings);
    return Array.isArray(frames) ? frames : []; // none are taken when Error.stackTraceLimit is no number
  } catch {
    return []; // somebody froze Error
  }
}

// ---- words ---------------------------------------------------------------------------------------

/** The words for the codes that memory calls give; others are given as a number. */
export function describeSystemError(code: number): string {
  const words = Deno.build.os === "windows" ? WINDOWS_ERRORS[code] : POSIX_ERRORS[code];
  return words === undefined ? `system error ${code}` : `${words} (system error ${code})`;
}

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
