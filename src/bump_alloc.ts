import {
  ARENA_KEY,
  arenaState,
  bindArena,
  checkArena,
  closeArena,
  forgetNoted,
  rewindArena,
  ScratchArena,
  settlePins,
} from "./arena.ts";
import { checkFlag, checkObject, checkSize, describe } from "./check.ts";
import { atCaller, isCalledByUsers, SharedError, typeError } from "./errors.ts";
import { formatBytes } from "./format.ts";
import { type BumpHooks, RegionHooks } from "./hooks.ts";
import { ignoreRevocation, Region, sharedRefusal } from "./region.ts";
import { ABI } from "./native/symbols.ts";
import { canMarkUntransferable, MARKS_SINCE } from "./untransferable.ts";

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
  /** Reserved address space, rounded up to whole pages; default 1 GiB. Costs no memory until it is used. */
  size?: number;
  /** Size of the first window, at least 4 KiB; default 1 MiB. A `structuredClone` of a small view copies its whole window. */
  window?: number;
  /** Bytes that stay resident over `reset`; default: all of them. */
  retain?: number;
  /** Ask for huge pages (Linux: 2 MiB): a first fill then takes fewer page faults. Default false. */
  hugePages?: boolean;
  /** Bytes to make resident at once, so that first use does not fault; the region's at most, default 0. */
  prefault?: number;
  /** Zero the bytes of every allocation; default false. */
  zero?: boolean;
  /** Fill memory that is taken back with 0xDD, so that stale bytes show; default false. */
  poison?: boolean;
  /**
   * Whether buffers may be transferred (`postMessage`, `structuredClone`, streams); default true. With
   * false the transfer itself throws. But then nothing can detach: after `reset` or the end of a scope old
   * views alias new ones. False needs Deno 2.9.4 or newer.
   */
  transferable?: boolean;
}

/**
 * Names a shared region; plain data, for `postMessage`. From {@linkcode BumpAlloc.share}.
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
  /** Tells a handle from other data. */
  readonly type: "bump-alloc";
  /** Interface of the native library that made it. */
  readonly abi: number;
  /** Address of the region's control block. */
  readonly control: number;
  /** Random number that the control block must hold. */
  readonly key: number;
}

/**
 * What {@linkcode BumpAlloc.stats} tells. All but the counts are bytes.
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
  /** Taken by allocations, their padding, native callers and, in a shared region, all others. */
  readonly used: number;
  /** Left: `capacity - used`. */
  readonly remaining: number;
  /** Highest `used` of this allocator so far; with native callers, up to a lease more. */
  readonly peak: number;
  /** Leased from the native cursor by this allocator, and not used yet. */
  readonly unused: number;
  /**
   * Part of `used` that nobody uses and that comes back at `reset`: ends of leases that were too short for the request that
   * came next, and what allocators of a shared region left of theirs when they were closed. One that ended
   * without `close`, with its Worker, counts with the whole of its last lease.
   */
  readonly stranded: number;
  /** Usable without asking the operating system. */
  readonly committed: number;
  /** In RAM now. */
  readonly resident: number;
  /** Former address space that receivers of transferred windows still see. */
  readonly orphaned: number;
  /** Windows (`ArrayBuffer`s) whose views may be alive; a count. */
  readonly windows: number;
  /** Open scopes; a count. */
  readonly scopes: number;
  /** Pinned promises; a count. */
  readonly pins: number;
  /** Allocators that hold the region, in all Workers; a count. */
  readonly attached: number;
}

/**
 * A bump allocator: scratch memory from one reserved range of addresses, a gigabyte by default.
 *
 * **Lifetime.** Memory lives until its scope ends or the allocator is reset or closed. Views of it
 * then have length 0: they can neither read nor overwrite what comes next. An allocator that is
 * never closed is released when it and all of its views have been collected, and when its Worker or the
 * program ends.
 *
 * **Guarantees.** No two live allocations overlap; every address is a multiple of the alignment; a
 * failed request changes nothing. No view, used in JavaScript, touches memory that is not mapped.
 *
 * **Not guaranteed**: that the bytes are zero (see `allocZeroed`); anything about a view used after
 * {@linkcode BumpAlloc.rewind}; and what I/O or native code does that is still at work when its memory ends. It
 * holds the address, so that it writes into what is allocated next, or, after `close`, ends the process.
 * {@linkcode BumpAlloc.pin} and `await using` prevent that.
 *
 * **Cost.** Reserving costs no memory: only pages that are touched use RAM.
 *
 * **Threads.** An allocator is used in the Worker that made it; {@linkcode BumpAlloc.share} lets others
 * allocate from the same region.
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
  /** Bytes that are reserved when no size is given: 1 GiB. */
  static readonly DEFAULT_SIZE: number = 2 ** 30;

  readonly #region: Region;
  readonly #retain: number;
  readonly #owner: boolean;
  /** For a pool's lease: where the region goes when this is closed. */
  readonly #home: Home | null;
  #hooks: BumpHooks | undefined;
  /** Closed, and its memory given back. */
  #isReleased = false;

  /**
   * Reserves address space.
   *
   * @throws {ReserveError} The operating system refuses that much.
   * @throws {Deno.errors.NotCapable} `--allow-ffi` is missing.
   */
  constructor(options: BumpAllocOptions = {}) {
    super(ARENA_KEY);
    if (options instanceof Bound) {
      this.#region = options.region;
      this.#retain = options.settings.retain;
      this.#owner = options.owner;
      this.#home = options.home;
      bindArena(this, options.region, options.settings);
      if (this.#home === null) dropped.register(this, this.#region, this.#region);
      return;
    }
    const settings = checkOptions(options);
    this.#region = Region.create(settings);
    this.#retain = settings.retain;
    this.#owner = true;
    this.#home = null;
    bindArena(this, this.#region, settings);
    dropped.register(this, this.#region, this.#region);
    if (settings.prefault > 0) {
      try {
        this.#region.prefault(Math.min(settings.prefault, this.#region.capacity));
      } catch (error) {
        this.close();
        throw error;
      }
    }
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
   * Attaches to a region that another allocator shares, in this Worker or another one. The region lives until
   * the last one that is attached has gone.
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
      throw typeError(`Cannot attach: a handle from share() is needed, not ${describe(handle)}`);
    }
    if (abi !== ABI) throw new SharedError("Cannot attach: another version of the module made the handle");
    const settings = checkOptions({});
    const region = Region.attach(control, key, settings);
    return new BumpAlloc(new Bound(region, settings, false, null) as BumpAllocOptions);
  }

  /**
   * Makes the region attachable by others in this process; see {@linkcode BumpAlloc.attach}.
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
    checkArena(this, "share");
    const { control, key } = this.#region.share();
    return { type: "bump-alloc", abi: ABI, control, key };
  }

  /**
   * Bytes of the region.
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
    return this.#region.capacity;
  }

  /**
   * Bytes that are taken: allocations and their padding, native callers and, in a shared region, all others.
   *
   * @example Padding counts
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * scratch.alloc(1);
   * scratch.alloc(8); // begins at a multiple of 8
   * assertEquals(scratch.used, 16);
   * ```
   */
  override get used(): number {
    return arenaState(this).used;
  }

  /**
   * Bytes that are left. A request for exactly this many succeeds, alignment permitting, as long as nobody else takes from
   * the region: what other allocators and native callers leave is in pieces.
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
    const state = arenaState(this);
    return state.closed ? 0 : this.#region.capacity - state.used;
  }

  /**
   * Address of the region's first byte. It changes when `reset` mends a region after a transfer.
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
    checkArena(this, "take the address");
    return BigInt(this.#region.address);
  }

  /**
   * Allocator callbacks for native libraries: zlib, zstd, Lua, yyjson, PCRE2, FreeType, expat, and those whose allocator is
   * the whole process's. Finish with the native object before `reset` or `close`.
   *
   * From then on the region is released by `close` only, not when the allocator is collected.
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
    checkArena(this, "take the hooks");
    this.#region.isHooked = true;
    return this.#hooks ??= new RegionHooks(this, this.#region, this.#home !== null);
  }

  /**
   * Whether the allocator was closed.
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
    return arenaState(this).closed;
  }

  /**
   * Takes all memory back at once. Every view has length 0 from then on.
   *
   * @param options `retain`: bytes that stay resident; pages above go back to the operating system.
   * @throws {ScopeError} A scope is open.
   * @throws {PinnedError} A pinned promise is still using the memory.
   * @throws {SharedError} Others are attached, or this allocator is not the owner.
   * @throws {CommitError} The system does not take the pages above `retain`: they stay resident, the memory was taken back.
   * @throws {ReserveError} A transfer took memory along, and the system refuses other addresses.
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
    if (options !== undefined) checkObject(options, "reset", "{ retain: 4096 }");
    const retain = options?.retain ?? this.#retain;
    if (retain !== Infinity) checkSize(retain, "reset", "number of bytes to retain");
    checkArena(this, "reset");
    if (!this.#owner) throw new SharedError("Cannot reset: the region belongs to the allocator that shared it");
    if (this.#region.isProcess) {
      throw new SharedError(
        "Cannot reset: it is the process's own allocator, and native libraries use its memory as long as the process " +
          "lives. What is allocated in a scope comes back at the end of that scope",
      );
    }
    rewindArena(this);
    if (retain < this.#region.high) this.#region.discard(retain);
  }

  /**
   * Gives the pages above `retain` bytes that are not in use back to the operating system. They read as zero when they are used
   * again.
   *
   * @param retain Bytes that stay resident; default 0.
   * @throws {CommitError} The system does not take them.
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
   * scratch.trim(2 ** 20); // RAM was kept for the next scope; from now on a megabyte at most
   * assert(scratch.stats().resident <= 2 ** 20);
   * ```
   */
  trim(retain: number = 0): void {
    checkSize(retain, "trim", "number of bytes to retain");
    checkArena(this, "trim");
    if (this.#region.attached > 1) throw sharedRefusal("trim");
    this.#region.discard(Math.max(retain, arenaState(this).position));
    forgetNoted(this);
  }

  /**
   * Figures for monitoring. Takes microseconds to milliseconds, because `resident` asks for each page.
   *
   * @example What is used, and what is in RAM
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
    const { closed, used, unused, position, depth, pins } = arenaState(this);
    const region = this.#region;
    const { capacity, orphaned } = region;
    if (closed) {
      return {
        capacity,
        used: 0,
        remaining: 0,
        peak: region.peak,
        unused: 0,
        stranded: 0,
        committed: 0,
        resident: 0,
        orphaned,
        windows: 0,
        scopes: 0,
        pins: 0,
        attached: 0,
      };
    }
    return {
      capacity,
      used,
      remaining: capacity - used,
      peak: Math.max(region.peak, position, used),
      unused,
      stranded: region.stranded,
      committed: region.committed,
      resident: region.resident,
      orphaned,
      windows: region.windows,
      scopes: depth,
      pins,
      attached: region.attached,
    };
  }

  /**
   * Releases the region; every view of it has length 0 from then on. Closing twice is fine.
   *
   * @throws {PinnedError} A pinned promise is still using the memory.
   * @throws {SharedError} This is the owner of a shared region, and others are attached.
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
    const region = this.#region;
    if (this.#isReleased) return;
    if (!arenaState(this).closed) {
      if (this.#owner && region.shared && othersAttached(region)) throw sharedRefusal("close");
      closeArena(this);
    }
    // Where the stack ends before this, it can be closed again.
    if (this.#home !== null) {
      const serves = this.#home.endLease();
      this.#isReleased = true;
      return this.#home.takeBack(serves);
    }
    region.release();
    this.#isReleased = true;
    dropped.unregister(region);
  }

  /** Closes the allocator: for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Waits for pinned promises, then closes the allocator: for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await settlePins(this);
    this.close();
  }

  /** For `console.log`: used, peak, committed and capacity in human units. */
  [Symbol.for("Deno.customInspect")](): string {
    if (this.closed) return "BumpAlloc { closed }";
    const { used, peak, committed, capacity } = this.stats();
    return `BumpAlloc { used: ${formatBytes(used)}, peak: ${formatBytes(peak)}, ` +
      `committed: ${formatBytes(committed)}, capacity: ${formatBytes(capacity)} }`;
  }

  static {
    isCalledByUsers(this);
  }
}

/** Whether others are known to hold the region: a program that gave the permission for FFI up must be able to close. */
function othersAttached(region: Region): boolean {
  try {
    return region.attached > 1;
  } catch (error) {
    ignoreRevocation(error);
    return false; // and `release` then leaves the region to them
  }
}

/** Options after validation. */
export interface Settings {
  readonly capacity: number;
  readonly window: number;
  readonly retain: number;
  readonly prefault: number;
  readonly hugePages: boolean;
  readonly zero: boolean;
  readonly poison: boolean;
  readonly transferable: boolean;
}

/** Validates options; defaults are filled in. */
export function checkOptions(options: BumpAllocOptions): Settings {
  checkObject(options, "make an allocator", "{ size: 4096 }");
  const { size = BumpAlloc.DEFAULT_SIZE, window = 2 ** 20, retain = Infinity, prefault = 0 } = options;
  checkSize(size, "reserve");
  checkSize(window, "make an allocator", "window");
  checkSize(prefault, "make an allocator", "prefault");
  if (retain !== Infinity) checkSize(retain, "make an allocator", "retain");
  const { hugePages = false, zero = false, poison = false, transferable = true } = options;
  checkFlag(hugePages, "make an allocator", "hugePages");
  checkFlag(zero, "make an allocator", "zero");
  checkFlag(poison, "make an allocator", "poison");
  checkFlag(transferable, "make an allocator", "transferable");
  if (!transferable && !canMarkUntransferable()) {
    throw atCaller(
      new Deno.errors.NotSupported(
        `Cannot make an allocator with { transferable: false }: that needs Deno ${MARKS_SINCE} or newer, and this is ` +
          Deno.version.deno,
      ),
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
    transferable,
  };
}

/** Where a pool's lease goes back to. */
export interface Home {
  /** Ends all views of the lease's memory; whether that may serve another one. */
  endLease(): boolean;
  /** Has it again. `serves`: what `endLease` said. */
  takeBack(serves: boolean): void;
}

/** A region that exists already, in place of options: never visible to users. */
class Bound {
  constructor(
    readonly region: Region,
    readonly settings: Settings,
    readonly owner: boolean,
    readonly home: Home | null,
  ) {}
}

/** An allocator over a pool's region. */
export function leaseAllocator(region: Region, settings: Settings, home: Home): BumpAlloc {
  return new BumpAlloc(new Bound(region, settings, true, home) as BumpAllocOptions);
}

/** Regions whose allocator was collected without having been closed. */
const dropped = new FinalizationRegistry<Region>((region) => region.abandon(() => {}));
