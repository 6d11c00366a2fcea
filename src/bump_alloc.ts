import { Arena } from "./arena.ts";
import { canMarkUntransferable, MARKS_SINCE } from "./buffers.ts";
import { checkFlag, checkObject, checkSize, describe } from "./check.ts";
import { isDebugDefault } from "./debug.ts";
import { cannot, SharedError } from "./errors.ts";
import { formatBytes } from "./format.ts";
import { Hold, type Settings } from "./hold.ts";
import { type BumpHooks, HoldHooks } from "./hooks.ts";
import { ABI } from "./native/symbols.ts";
import { ARENA_KEY, arenaOf, ScratchArena } from "./scratch_arena.ts";

/**
 * Options of {@linkcode BumpAlloc}. Sizes are bytes.
 *
 * @example Sixteen gigabytes whose first megabyte is in RAM at once
 * ```ts
 * import { BumpAlloc } from "@bump/alloc";
 * import { assert } from "@std/assert";
 *
 * using scratch = new BumpAlloc({ size: 16 * 2 ** 30, prefault: 2 ** 20, hugePages: true });
 * assert(scratch.stats().resident >= 2 ** 20);
 * ```
 */
export interface BumpAllocOptions {
  /** Address space to reserve, rounded up to whole pages; default 1 GiB. It takes no RAM until it is used. */
  size?: number;
  /**
   * Size of the first window (an `ArrayBuffer`), at least 4 KiB; default 1 MiB. A `structuredClone` of a small view
   * copies its whole window.
   */
  window?: number;
  /** Bytes that stay resident after `reset`; default: all of them. */
  retain?: number;
  /** Ask for huge pages (Linux: 2 MiB), so that a first fill takes fewer page faults; default false. */
  hugePages?: boolean;
  /**
   * Bytes to make resident in the constructor, so that first use takes no page faults; at most the region, default 0.
   */
  prefault?: number;
  /** Zero every allocation; default false. */
  zero?: boolean;
  /** Fill memory with 0xDD when it is taken back, so that stale bytes are recognised; default false. */
  poison?: boolean;
  /**
   * Debug mode, which is slow. It finds writes to memory that was taken back ({@linkcode StaleWriteError}), adds stacks
   * to errors, and reports allocators, scopes and leases that are never ended. Default: false, or true if the
   * environment variable `BUMP_ALLOC_DEBUG` is 1 and `--allow-env` permits reading it.
   */
  debug?: boolean;
  /**
   * Whether buffers may be transferred (`postMessage`, `structuredClone`, streams); default true. With false, the
   * transfer itself throws. The price: windows can never be detached, so after `reset` or the end of a scope old views
   * alias new ones. False needs Deno 2.9.4 or newer.
   */
  transferable?: boolean;
}

/**
 * Names a shared region. Plain data, made by {@linkcode BumpAlloc.share} and sent with `postMessage`.
 *
 * @example A handle is plain data
 * ```ts
 * import { BumpAlloc, type BumpHandle } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * const handle: BumpHandle = structuredClone(scratch.share()); // as postMessage does
 * using attached = BumpAlloc.attach(handle);
 * assertEquals(attached.address, scratch.address);
 * ```
 */
export interface BumpHandle {
  /** Distinguishes a handle from other data. */
  readonly type: "bump-alloc";
  /** Interface version of the native library that made it. */
  readonly abi: number;
  /** Address of the region's control block. */
  readonly control: number;
  /** Random number that the control block must hold. */
  readonly key: number;
}

/**
 * The result of {@linkcode BumpAlloc.stats}: bytes, unless a field says that it is a count.
 *
 * @example A warning before the region is full
 * ```ts
 * import { BumpAlloc, type BumpStats } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * const isNearlyFull = ({ used, capacity }: BumpStats) => used > 0.9 * capacity;
 * using scratch = BumpAlloc.withSize(65536);
 * scratch.alloc(60_000);
 * assertEquals(isNearlyFull(scratch.stats()), true);
 * ```
 */
export interface BumpStats {
  /** Size of the region. */
  readonly capacity: number;
  /** Taken by allocations and their padding, by native callers and, in a shared region, by other allocators. */
  readonly used: number;
  /** Left: `capacity - used`. */
  readonly remaining: number;
  /** Highest `used` of this allocator so far. Native callers may raise it by up to a chunk. */
  readonly peak: number;
  /** Taken from the region by this allocator and not used yet. */
  readonly unused: number;
  /** Committed: usable without another system call. */
  readonly committed: number;
  /** In RAM now. Reading this field asks the system about each page. */
  readonly resident: number;
  /** Address space given up to receivers of transferred windows. */
  readonly orphaned: number;
  /** Windows (`ArrayBuffer`s) whose views may be alive; a count. */
  readonly windows: number;
  /** Open scopes; a count. */
  readonly scopes: number;
  /** Pinned promises; a count. */
  readonly pins: number;
  /** Holds on the region: allocators in all Workers, and the process's own hooks; a count. */
  readonly attached: number;
}

/**
 * A bump allocator: scratch memory from one reserved range of addresses, by default 1 GiB.
 *
 * **Methods.** {@linkcode ScratchArena} has the methods that allocate, and scopes share them: `alloc`, `allocArray`,
 * `copy`, `cstring`, `readAll`, `writer`, `scope` and others. `deno doc --filter ScratchArena jsr:@bump/alloc` lists
 * them, each with an example.
 *
 * **Lifetime.** Memory lives until its scope ends or the allocator is reset or closed. From then on its views have
 * length 0 (those of a frame a little later): they can neither read nor overwrite later allocations. An allocator that
 * is never closed is released once it and all its views have been collected, or when its Worker or the program ends.
 *
 * **Guarantees.** No two live allocations overlap; every address is a multiple of the alignment; a
 * failed request changes nothing. No view, used in JavaScript, touches memory that is not mapped.
 *
 * **Not guaranteed.** Bytes are not zero unless you ask for it (`allocZeroed`). A view used after {@linkcode
 * BumpAlloc.rewind} aliases new allocations. I/O or native code that is still working when its memory ends keeps the
 * address: it may write into a later allocation, or crash the process long after `close`. {@linkcode BumpAlloc.pin} and
 * `await using` prevent that.
 *
 * **Cost.** Reserving takes no RAM; each page takes RAM once it is touched.
 *
 * **Threads.** An allocator belongs to the Worker that made it. {@linkcode BumpAlloc.share} lets other Workers allocate
 * from the same region.
 *
 * @example Scratch memory for a block
 * ```ts
 * import { BumpAlloc } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * const bytes = scratch.alloc(1024);
 * const sums = scratch.allocArray(Float64Array, 256);
 * assertEquals(scratch.used, 1024 + 2048);
 * sums.fill(bytes.length);
 * ```
 */
export class BumpAlloc extends ScratchArena implements Disposable, AsyncDisposable {
  /** Default of the option `size`: 1 GiB. */
  static readonly DEFAULT_SIZE: number = 2 ** 30;

  readonly #hold: Hold;
  readonly #retain: number;
  /** The slot of a pool's lease, to which the memory returns; else null. */
  readonly #home: Home | null;
  #hooks: BumpHooks | undefined;
  /** Closed, and the memory was given back. */
  #isReleased = false;

  /**
   * Reserves address space.
   *
   * @throws {ReserveError} The operating system refuses that much.
   * @throws {Deno.errors.NotCapable} `--allow-ffi` is missing.
   */
  constructor(options: BumpAllocOptions = {}) {
    const made = options instanceof Made ? options : make(options);
    const { hold, retain, home } = made;
    super(ARENA_KEY, new Arena(home === null ? "allocator" : "lease", hold, null));
    arenaOf(this).user = this;
    this.#hold = hold;
    this.#retain = retain;
    this.#home = home;
    if (home === null) dropped.register(this, hold, hold);
    hold.debug?.open(arenaOf(this), this);
  }

  /**
   * An allocator of `byteLength` bytes.
   *
   * @example Sixteen gigabytes of address space
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = BumpAlloc.withSize(16 * 2 ** 30);
   * assertEquals(scratch.remaining, 16 * 2 ** 30);
   * ```
   */
  static withSize(byteLength: number, options: Omit<BumpAllocOptions, "size"> = {}): BumpAlloc {
    checkSize(byteLength, "reserve");
    checkObject(options, "make an allocator", "{ zero: true }");
    return new BumpAlloc({ ...options, size: byteLength });
  }

  /**
   * Attaches to a region that another allocator shares, in this Worker or another one. The region lives until every
   * attached allocator is closed.
   *
   * @throws {SharedError} The handle names no live region of this process.
   *
   * @example Two allocators on one region
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * using attached = BumpAlloc.attach(scratch.share()); // in real life: in another Worker
   * const result = attached.alloc(3);
   * result.set([1, 2, 3]);
   * const offset = Number(attached.addressOf(result) - attached.address);
   * assertEquals([...scratch.view(offset, 3)], [1, 2, 3]); // not copied
   * ```
   */
  static attach(handle: BumpHandle): BumpAlloc {
    const { type, abi, control, key } = handle ?? {};
    if (type !== "bump-alloc" || !Number.isSafeInteger(control) || !Number.isSafeInteger(key)) {
      throw cannot(TypeError, BumpAlloc.attach, `a handle from share() is needed, not ${describe(handle)}`);
    }
    if (abi !== ABI) throw new SharedError("Cannot attach: another version of the module made the handle");
    const settings = checkOptions({});
    const made = new Made(Hold.attach(control, key, settings), settings.retain, null);
    return new BumpAlloc(made as BumpAllocOptions);
  }

  /**
   * Lets other allocators of this process attach to the region; see {@linkcode BumpAlloc.attach}.
   *
   * @example Send a Worker the region
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   *
   * using scratch = new BumpAlloc();
   * const channel = new MessageChannel();
   * channel.port1.postMessage(scratch.share()); // the other side calls BumpAlloc.attach(data)
   * channel.port1.close();
   * ```
   */
  share(): BumpHandle {
    arenaOf(this).checkOpen(methods.share);
    // A handle outlives the lease and would then name another lease's memory.
    if (this.#home !== null) throw new SharedError("Cannot share: a pool's lease stays in its own Worker");
    const { control, key } = this.#hold.share();
    return { type: "bump-alloc", abi: ABI, control, key };
  }

  /**
   * Size of the region in bytes.
   *
   * @example Whole pages
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assert } from "@std/assert";
   *
   * using scratch = BumpAlloc.withSize(1);
   * assert(scratch.capacity >= 4096);
   * ```
   */
  get capacity(): number {
    return this.#hold.capacity;
  }

  /**
   * Bytes that are left. A request for exactly this many succeeds, alignment permitting, unless other allocators or
   * native callers use the region too: then the rest may be in pieces.
   *
   * @example All that is left
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = BumpAlloc.withSize(65536);
   * scratch.alloc(1000);
   * scratch.alloc(scratch.remaining);
   * assertEquals(scratch.remaining, 0);
   * ```
   */
  get remaining(): number {
    return this.closed ? 0 : this.#hold.capacity - this.used;
  }

  /**
   * Address of the region's first byte. It changes when `reset` repairs a region after a transfer.
   *
   * @example From an offset to an address
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const offset = scratch.offset(64);
   * assertEquals(scratch.address + BigInt(offset), scratch.addressOf(scratch.view(offset, 64)));
   * ```
   */
  get address(): bigint {
    arenaOf(this).checkOpen("take the address");
    return BigInt(this.#hold.address);
  }

  /**
   * Allocator callbacks for native libraries: zlib, zstd, Lua, yyjson, PCRE2, FreeType, expat, and libraries with one
   * allocator for the whole process. Finish with the native object before `reset` or `close`.
   *
   * @example Call an allocator callback, as zstd would
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const { customAlloc, opaque } = scratch.hooks.zstd;
   * const type = { parameters: ["pointer", "usize"], result: "pointer" } as const;
   * const allocate = new Deno.UnsafeFnPointer(customAlloc as Deno.PointerObject<typeof type>, type);
   * const block = allocate.call(opaque, 1000n);
   * assertEquals(Deno.UnsafePointer.value(block) % 16n, 0n);
   * assertEquals(scratch.used >= 1000, true);
   * ```
   */
  get hooks(): BumpHooks {
    arenaOf(this).checkOpen("take the hooks");
    return this.#hooks ??= new HoldHooks(this, this.#hold, this.#home !== null);
  }

  /**
   * Whether the allocator is closed.
   *
   * @example After the end
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * const scratch = new BumpAlloc();
   * scratch.close();
   * assertEquals(scratch.closed, true);
   * ```
   */
  get closed(): boolean {
    return arenaOf(this).closed;
  }

  /**
   * Takes back everything that this allocator has allocated, and ends its scopes. Every view has length 0 from then on.
   * If no other allocator holds the region, the whole region is free again.
   *
   * @param options `retain`: bytes that stay resident; pages above it go back to the operating system.
   * @throws {PinnedError} A pinned promise is still using the memory. Nothing has changed.
   * @throws {ReserveError} A window was transferred away, and the system refuses to reserve new addresses. Nothing has
   * changed.
   * @throws {CommitError} The memory was taken back, but the system refused to take the pages above `retain`: they stay
   * resident.
   *
   * @example Start over for each request
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const old = scratch.alloc(100);
   * scratch.reset();
   * assertEquals(old.length, 0);
   * assertEquals(scratch.used, 0);
   * ```
   */
  reset(options?: { retain?: number }): void {
    if (options !== undefined) checkObject(options, methods.reset, "{ retain: 4096 }");
    const retain = options?.retain ?? this.#retain;
    if (retain !== Infinity) checkSize(retain, methods.reset, "number of bytes to retain");
    const arena = arenaOf(this);
    arena.checkOpen(methods.reset);
    arena.reset(methods.reset);
    if (retain !== Infinity) this.#hold.discard(retain);
  }

  /**
   * Gives unused pages above `retain` bytes back to the operating system. They read as zero when they are used again.
   *
   * @param retain Bytes that stay resident; default 0.
   * @throws {CommitError} The system refuses to take the pages.
   *
   * @example Give RAM back after a peak
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assert } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * {
   *   using scope = scratch.scope();
   *   scope.alloc(2 ** 24).fill(1);
   * }
   * scratch.trim(2 ** 20); // RAM was kept for the next scope; now a megabyte of it stays
   * assert(scratch.stats().resident <= 2 ** 20);
   * ```
   */
  trim(retain: number = 0): void {
    checkSize(retain, methods.trim, "number of bytes to retain");
    const arena = arenaOf(this);
    arena.checkOpen(methods.trim);
    arena.trim(retain);
  }

  /**
   * Figures for monitoring. Reading `resident` asks the system about each page, which takes microseconds to
   * milliseconds.
   *
   * @example Used bytes, and bytes in RAM
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assert, assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * scratch.alloc(100_000).fill(1);
   * const { used, resident, committed } = scratch.stats();
   * assertEquals(used, 100_000);
   * assert(resident >= used && resident <= committed);
   * ```
   */
  stats(): BumpStats {
    const arena = arenaOf(this);
    const hold = this.#hold;
    const { capacity, orphaned, chunks } = hold;
    if (arena.closed) {
      return {
        capacity,
        used: 0,
        remaining: 0,
        peak: chunks.peak,
        unused: 0,
        committed: 0,
        resident: 0,
        orphaned,
        windows: 0,
        scopes: 0,
        pins: 0,
        attached: 0,
      };
    }
    const { used, innermost, pins } = arena;
    const stats: BumpStats = {
      capacity,
      used,
      remaining: capacity - used,
      peak: Math.max(chunks.peak, innermost.position, used),
      unused: chunks.above(innermost.position),
      committed: hold.committed,
      get resident(): number {
        return arena.closed ? 0 : hold.resident;
      },
      orphaned,
      windows: hold.windows,
      scopes: innermost.depth,
      pins,
      attached: hold.holders,
    };
    // Makes console.log show the number in place of `[Getter]`.
    const value = (inspect: typeof Deno.inspect, options: Deno.InspectOptions) => inspect({ ...stats }, options);
    return Object.defineProperty(stats, Symbol.for("Deno.customInspect"), { value });
  }

  /**
   * Closes the allocator: every view of it has length 0 from then on. The region is released when its last allocator is
   * closed. Closing twice is fine.
   *
   * @throws {PinnedError} A pinned promise is still using the memory.
   *
   * @example Where `using` does not fit
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * const scratch = new BumpAlloc();
   * const bytes = scratch.alloc(10);
   * scratch.close();
   * assertEquals(bytes.length, 0);
   * ```
   */
  close(): void {
    if (this.#isReleased) return;
    const arena = arenaOf(this);
    let stale: Error | null = null;
    if (!arena.closed) {
      arena.checkPins(methods.close);
      stale = this.#hold.debug?.look() ?? null;
      arena.close();
    }
    // After a stack overflow above this line, the lease can be closed again.
    if (this.#home !== null) this.#home.takeBack();
    else {
      this.#hold.release();
      dropped.unregister(this.#hold);
    }
    this.#isReleased = true;
    this.#home?.goOn();
    if (stale !== null) throw stale;
  }

  /** Closes the allocator; called by `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Waits for pinned promises, then closes the allocator; called by `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await arenaOf(this).settlePins();
    this.close();
  }

  /** Used, peak, committed and capacity in human units, for `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    if (this.closed) return "BumpAlloc { closed }";
    const { used, peak, committed, capacity } = this.stats();
    return `BumpAlloc { used: ${formatBytes(used)}, peak: ${formatBytes(peak)}, ` +
      `committed: ${formatBytes(committed)}, capacity: ${formatBytes(capacity)} }`;
  }

  /**
   * The figures of `stats()`, for `JSON.stringify`.
   *
   * @example A line of a log
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = BumpAlloc.withSize(65536);
   * scratch.alloc(100);
   * assertEquals(JSON.parse(JSON.stringify(scratch)).used, 100);
   * ```
   */
  toJSON(): BumpStats {
    return this.stats();
  }
}

/** The public methods, from which an error takes its words and the line where its stack begins. */
const methods = BumpAlloc.prototype;

/** Validates options and fills in defaults. */
export function checkOptions(options: BumpAllocOptions): Settings {
  checkObject(options, "make an allocator", "{ size: 4096 }");
  const { size = BumpAlloc.DEFAULT_SIZE, window = 2 ** 20, retain = Infinity, prefault = 0 } = options;
  checkSize(size, "reserve");
  checkSize(window, "make an allocator", "window");
  checkSize(prefault, "make an allocator", "prefault");
  if (retain !== Infinity) checkSize(retain, "make an allocator", "retain");
  const { hugePages = false, zero = false, poison = false, debug = isDebugDefault(), transferable = true } = options;
  checkFlag(hugePages, "make an allocator", "hugePages");
  checkFlag(zero, "make an allocator", "zero");
  checkFlag(poison, "make an allocator", "poison");
  checkFlag(debug, "make an allocator", "debug");
  checkFlag(transferable, "make an allocator", "transferable");
  if (!transferable && !canMarkUntransferable()) {
    throw new Deno.errors.NotSupported(
      `Cannot make an allocator with { transferable: false }: that needs Deno ${MARKS_SINCE} or newer, and this is ` +
        Deno.version.deno,
    );
  }
  return {
    capacity: Math.max(size, 1),
    window: Math.max(window, 4096),
    retain,
    prefault,
    hugePages,
    zero,
    poison,
    debug,
    transferable,
  };
}

/** Where the memory of a pool's lease goes back to. */
export interface Home {
  /** Takes the memory of the lease back. */
  takeBack(): void;
  /** Serves the next caller that waits for a lease. */
  goOn(): void;
}

/** An existing hold, passed to the constructor in place of options; never visible to users. */
class Made {
  constructor(readonly hold: Hold, readonly retain: number, readonly home: Home | null) {}
}

/** Reserves a new region. */
function make(options: BumpAllocOptions): Made {
  const settings = checkOptions(options);
  const hold = Hold.create(settings);
  if (settings.prefault > 0) {
    try {
      hold.prefault(Math.min(settings.prefault, hold.capacity));
    } catch (error) {
      hold.release();
      throw error;
    }
  }
  return new Made(hold, settings.retain, null);
}

/** An allocator over a pool's region. */
export function leaseAllocator(hold: Hold, home: Home): BumpAlloc {
  return new BumpAlloc(new Made(hold, Infinity, home) as BumpAllocOptions);
}

/** Releases the hold of an allocator that was collected without being closed. */
const dropped = new FinalizationRegistry<Hold>((hold) => hold.abandon());
