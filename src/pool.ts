import { type BumpAlloc, type BumpAllocOptions, checkOptions } from "./bump_alloc.ts";
import { checkObject, checkSize, signalOf } from "./check.ts";
import { ClosedError } from "./errors.ts";
import { formatBytes } from "./format.ts";
import { Slots } from "./slots.ts";

/**
 * Options of {@linkcode BumpPool}. Sizes are bytes; `window`, `hugePages` and the rest apply to each lease.
 *
 * @example A hundred requests at once; the others wait
 * ```ts
 * import { BumpPool, type BumpPoolOptions } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * const options: BumpPoolOptions = { limit: 100, size: 16 * 2 ** 20, whenFull: "wait" };
 * using pool = new BumpPool(options);
 * assertEquals(pool.stats().limit, 100);
 * ```
 */
export interface BumpPoolOptions extends Omit<BumpAllocOptions, "prefault"> {
  /** Address space of each lease, rounded up to whole pages; default 64 MiB. It takes no RAM until it is used. */
  size?: number;
  /** Most leases at once; default 10,000. The address space of each is reserved when it is first needed. */
  limit?: number;
  /** What `use` does when `limit` leases are out: `"wait"` for one to come back (the default), or `"throw"`. */
  whenFull?: "wait" | "throw";
  /** Bytes of each idle allocator that stay resident after a burst; default 1 MiB. */
  retain?: number;
}

/**
 * The result of {@linkcode BumpPool.stats}, for metrics.
 *
 * @example Metrics
 * ```ts
 * import { BumpPool, type BumpPoolStats } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * const metrics = ({ leased, waiting, lost }: BumpPoolStats) => ({ leased, waiting, lost });
 * using pool = new BumpPool();
 * using _scratch = pool.lease();
 * assertEquals(metrics(pool.stats()), { leased: 1, waiting: 0, lost: 0 });
 * ```
 */
export interface BumpPoolStats {
  /** Most leases at once; a count. */
  readonly limit: number;
  /** Leases that are out now; a count. */
  readonly leased: number;
  /** Allocators ready to be leased again; a count. */
  readonly idle: number;
  /** Calls of `use` that wait for a lease; a count. */
  readonly waiting: number;
  /** Pinned promises of all leases; a count. */
  readonly pins: number;
  /** Highest `leased` so far; a count. */
  readonly peak: number;
  /** Leases given out so far; a count. */
  readonly leases: number;
  /** Leases that were collected without being closed, because a `using` is missing; a count. */
  readonly lost: number;
  /** Leases whose memory was transferred away and stays mapped for ever; a count. */
  readonly moved: number;
  /** Reserved address space, in bytes. */
  readonly reserved: number;
  /** RAM that idle allocators keep, in bytes. */
  readonly idleResident: number;
}

/**
 * Options of {@linkcode BumpPool.use}.
 *
 * @example Who has gone does not wait
 * ```ts
 * import { BumpPool, type BumpPoolUseOptions } from "@bump/alloc";
 * import { assertRejects } from "@std/assert";
 *
 * const options: BumpPoolUseOptions = { signal: AbortSignal.abort() };
 * using pool = new BumpPool();
 * await assertRejects(() => pool.use(() => {}, options), DOMException);
 * ```
 */
export interface BumpPoolUseOptions {
  /** Ends the wait for a lease: the promise is rejected with the signal's reason, and the function is not called. */
  signal?: AbortSignal;
}

const DEFAULT_SIZE = 64 * 1024 * 1024;
const DEFAULT_LIMIT = 10_000;
const DEFAULT_RETAIN = 1024 * 1024;

/**
 * Scratch memory for servers: each request in flight has its own allocator.
 *
 * **Lifetime.** A lease is a {@linkcode BumpAlloc}. Closing it takes its memory back: every view of it has length 0 from
 * then on, and the object is dead (`ClosedError`), including while its memory is leased to someone else.
 *
 * **Resident memory.** A lease that comes back keeps the pages that recent leases needed. After a burst, idle
 * allocators that are no longer needed shrink to `retain` bytes each, over some dozens of returns. {@linkcode
 * BumpPool.trim} shrinks them at once.
 *
 * **Threads.** A pool and its leases are used in the Worker that made the pool.
 *
 * **Cost.** Leasing and closing takes about a microsecond, without a system call once the memory is warm.
 *
 * @example A lease for each request
 * ```ts
 * import { BumpPool } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * const pool = new BumpPool({ limit: 100 });
 * const server = Deno.serve({ port: 0, onListen() {} }, async (request) => {
 *   await using scratch = pool.lease();
 *   const body = scratch.copy(await request.bytes());
 *   return new Response(String(body.length));
 * });
 * const response = await fetch(`http://127.0.0.1:${server.addr.port}`, { method: "POST", body: "hello" });
 * assertEquals(await response.text(), "5");
 * await server.shutdown();
 * pool.close();
 * ```
 */
export class BumpPool implements Disposable {
  readonly #slots: Slots;
  readonly #throws: boolean;
  readonly #retain: number;

  /** Makes an empty pool; each allocator is made when it is first needed. */
  constructor(options: BumpPoolOptions = {}) {
    checkObject(options, "make a pool", "{ limit: 100 }");
    const { size = DEFAULT_SIZE, retain = DEFAULT_RETAIN, limit = DEFAULT_LIMIT, whenFull = "wait" } = options;
    const settings = checkOptions({ ...options, size, retain });
    checkSize(limit, "make a pool", "limit");
    if (limit === 0) throw new RangeError("Cannot make a pool: the limit must be at least 1");
    if (whenFull !== "wait" && whenFull !== "throw") {
      throw new TypeError('Cannot make a pool: whenFull must be "wait" or "throw"');
    }
    this.#slots = new Slots(settings, limit);
    this.#throws = whenFull === "throw";
    this.#retain = settings.retain;
    dropped.register(this, this.#slots, this);
  }

  /**
   * Takes an allocator for exclusive use. Closing or disposing it resets it and puts it back.
   *
   * @throws {PoolFullError} As many leases are out as `limit` allows. `use` can wait.
   * @throws {ClosedError} The pool is closed.
   *
   * @example
   * ```ts
   * import { BumpPool } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using pool = new BumpPool();
   * {
   *   using scratch = pool.lease();
   *   scratch.alloc(1000);
   *   assertEquals(pool.stats().leased, 1);
   * }
   * assertEquals(pool.stats().leased, 0);
   * ```
   */
  lease(): BumpAlloc {
    return this.#slots.lease();
  }

  /**
   * Calls `fn` with a lease, waits for its result and for pinned promises, and puts the lease back, even if `fn`
   * throws. Views of the lease then have length 0. If `fn` returns one, the promise is rejected: return a copy.
   *
   * When the pool is full, it waits for its turn or throws a {@linkcode PoolFullError}, depending on the option
   * `whenFull`. Do not nest: a `use` inside another one waits for ever when all leases of the pool are held by such
   * calls. `stats()` then shows `waiting` but no `pins`. Open a scope of the lease instead.
   *
   * @param options.signal Ends the wait for a lease. `fn` is not aborted by it.
   * @throws {TypeError} `fn` returned a view of the lease.
   *
   * @example
   * ```ts
   * import { BumpPool } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using pool = new BumpPool({ limit: 1 });
   * const sum = (numbers: number[]) =>
   *   pool.use((scratch) => scratch.copy(new Float64Array(numbers)).reduce((a, b) => a + b));
   * assertEquals(await Promise.all([sum([1, 2]), sum([3, 4])]), [3, 7]); // one after the other
   * ```
   */
  async use<T>(fn: (scratch: BumpAlloc) => Promise<T> | T, options: BumpPoolUseOptions = {}): Promise<T> {
    if (typeof fn !== "function") throw new TypeError("Cannot use the pool: a function is needed");
    const signal = signalOf(options, "use the pool");
    const slots = this.#slots;
    const wait = !this.#throws && !slots.closed && !slots.available;
    const scratch = wait ? await slots.wait(signal) : slots.lease();
    if (scratch === null) throw new ClosedError("lease", "pool");
    try {
      const result = await fn(scratch);
      if (ArrayBuffer.isView(result) && scratch.owns(result)) {
        throw new TypeError(
          "Cannot use the pool: the function returned a view of its lease, which ends now; return a copy",
        );
      }
      return result;
    } finally {
      await scratch[Symbol.asyncDispose]();
    }
  }

  /**
   * Gives pages of idle allocators back to the operating system now; for a quiet time after a burst.
   *
   * @param retain Bytes of each that stay resident; default: the option `retain`.
   *
   * @example After a burst
   * ```ts
   * import { BumpPool } from "@bump/alloc";
   * import { assert } from "@std/assert";
   *
   * using pool = new BumpPool();
   * await Promise.all([1, 2, 3].map(() => pool.use((scratch) => void scratch.alloc(100_000).fill(1))));
   * pool.trim(0);
   * assert(pool.stats().idleResident < 3 * 2 ** 16);
   * ```
   */
  trim(retain: number = this.#retain): void {
    if (retain !== Infinity) checkSize(retain, "trim", "number of bytes to retain");
    this.#slots.trim(retain);
  }

  /**
   * Figures for metrics. It asks the operating system about each idle allocator, some microseconds for each.
   *
   * @example Leases that are out
   * ```ts
   * import { BumpPool } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using pool = new BumpPool();
   * await pool.use(() => assertEquals(pool.stats().leased, 1));
   * assertEquals(pool.stats().leased, 0);
   * ```
   */
  stats(): BumpPoolStats {
    return this.#slots.stats();
  }

  /**
   * Whether the pool is closed.
   *
   * @example After the end
   * ```ts
   * import { BumpPool } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * const pool = new BumpPool();
   * pool.close();
   * assertEquals(pool.closed, true);
   * ```
   */
  get closed(): boolean {
    return this.#slots.closed;
  }

  /**
   * Releases the memory. Leases that are still out keep working, and release their memory when they are closed. Waiting
   * calls of `use` are rejected with a {@linkcode ClosedError}. Closing twice is fine.
   *
   * @example A lease outlives its pool
   * ```ts
   * import { BumpPool } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * const pool = new BumpPool();
   * using scratch = pool.lease();
   * pool.close();
   * assertEquals(scratch.alloc(10).length, 10);
   * ```
   */
  close(): void {
    dropped.unregister(this);
    this.#slots.close();
  }

  /** Closes the pool; called by `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** For `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    if (this.closed) return "BumpPool { closed }";
    const { leased, idle, waiting, pins, limit, idleResident } = this.stats();
    return `BumpPool { leased: ${leased}, idle: ${idle}, waiting: ${waiting}, pins: ${pins}, limit: ${limit}, ` +
      `idleResident: ${formatBytes(idleResident)} }`;
  }
}

/** Closes the slots of a pool that was collected without being closed. */
const dropped = new FinalizationRegistry<Slots>((slots) => slots.close());
