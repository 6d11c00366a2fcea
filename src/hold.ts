import { canMarkUntransferable, detach, isDetached, markUntransferable } from "./buffers.ts";
import { type Chunk, Chunks, type ChunkSource } from "./chunks.ts";
import { Debug, POISON } from "./debug.ts";
import { CommitError, describeSystemError, ReserveError, SharedError } from "./errors.ts";
import { formatBytes } from "./format.ts";
import { checkAliases } from "./native/alias.ts";
import { type BumpLibrary, library, permitted } from "./native/library.ts";
import { BumpCode, HUGE_PAGES } from "./native/symbols.ts";
import { small, windowStep } from "./offsets.ts";
import { type WindowMaker, Windows } from "./windows.ts";

/** Settings of a region: `BumpAllocOptions` after validation. */
export interface Settings {
  readonly capacity: number;
  readonly window: number;
  readonly retain: number;
  readonly prefault: number;
  readonly hugePages: boolean;
  readonly zero: boolean;
  readonly poison: boolean;
  readonly debug: boolean;
  readonly transferable: boolean;
}

/** First chunk of an allocator on a shared region; later ones double up to the window size. */
const SHARED_STEP = 64 * 1024;

const HUGE_PAGE = 2 * 1024 * 1024;

/**
 * One hold on a native region, with the chunks that it took and the windows over them.
 *
 * It never refers to its `BumpAlloc`, so that a `FinalizationRegistry` can hold it as the value for that `BumpAlloc`.
 */
export class Hold implements ChunkSource, WindowMaker {
  readonly capacity: number;
  readonly window: number;
  readonly transferable: boolean;
  readonly zero: boolean;
  readonly poison: boolean;
  /** The records of debug mode; null when it is off. */
  readonly debug: Debug | null;
  readonly chunks: Chunks = new Chunks(this);
  /** Address of offset 0; exact, because addresses are below 2^53. */
  address: number;
  /** Whether attached allocators or native callers may move the native cursor. */
  isShared: boolean;
  /** Pinned promises that use the memory. */
  pins = 0;
  readonly #native: BumpLibrary = library();
  readonly #levels: Windows[] = [];
  /** Pages go back to the system in units of this size. */
  readonly #grain: number;
  #control: Deno.PointerObject;
  #base: Deno.PointerObject;
  /** Length of the latest chunk. */
  #step = 0;
  /** Native callers or former chunks may have used pages above the native cursor. */
  #isHigh = false;
  #isHooked = false;
  /**
   * The span that receivers of transferred windows see since the region last moved, and the bytes they saw before that.
   */
  #lostFrom = Infinity;
  #lostTo = 0;
  #orphaned = 0;
  #isReleased = false;

  private constructor(control: Deno.PointerObject, settings: Settings, isShared: boolean) {
    this.#control = control;
    this.address = region[0];
    this.#base = this.#native.bump_pointer(this.address)!;
    this.capacity = region[1];
    this.window = settings.window;
    this.transferable = settings.transferable;
    this.zero = settings.zero;
    this.poison = settings.poison || settings.debug;
    this.debug = settings.debug ? new Debug(this) : null;
    this.isShared = isShared;
    this.#grain = settings.hugePages ? HUGE_PAGE : this.#native.bump_page_size();
  }

  /** Reserves a region. */
  static create(settings: Settings): Hold {
    const control = library().bump_create(settings.capacity, settings.hugePages ? HUGE_PAGES : 0, regionBytes);
    if (control === null) throw new ReserveError(settings.capacity, region[2]);
    return new Hold(control, settings, false);
  }

  /** Attaches to the region that a handle names. */
  static attach(token: number, key: number, settings: Settings): Hold {
    const control = library().bump_attach(token, key, regionBytes);
    if (control !== null) return new Hold(control, settings, true);
    const [, , code] = region;
    throw new SharedError(
      `Cannot attach: ${
        code <= BumpCode.SYSTEM ? describeSystemError(code) : "the handle names no live region of this process: " +
          "all its allocators were closed, or the handle is stale or forged. Keep the allocator that shared it open until " +
          "the other side has attached"
      }`,
    );
  }

  /** Gives the data that another Worker needs to attach. */
  share(): { control: number; key: number } {
    const key = this.#native.bump_share(this.#control);
    if (key <= 0) throw new SharedError(`Cannot share: the system gives no random key: ${describeSystemError(key)}`);
    this.isShared = true;
    return { control: this.#native.bump_token(this.#control), key };
  }

  /** The `bump_t*` for native callers, which may take memory from now on. */
  get control(): Deno.PointerObject {
    this.#isHooked = this.isShared = true;
    return this.#control;
  }

  get cursor(): number {
    return this.#native.bump_cursor(this.#control);
  }

  /** Like `cursor`; an estimate when the program has revoked its FFI permission. */
  get knownCursor(): number {
    try {
      return this.cursor;
    } catch (error) {
      ignoreRevocation(error);
      return this.chunks.list.at(-1)?.end ?? 0;
    }
  }

  get committed(): number {
    return this.#native.bump_committed(this.#control);
  }

  get resident(): number {
    return Math.max(0, this.#native.bump_resident(this.#control));
  }

  /** Number of holds on the region, in all Workers. */
  get holders(): number {
    return this.#native.bump_holders(this.#control);
  }

  /** The hold's `XML_Memory_Handling_Suite`; null when all suites are in use. */
  expatSuite(): Deno.PointerObject | null {
    return this.#native.bump_expat_suite(this.control);
  }

  /** Makes a pointer to an address. */
  pointer(address: number): Deno.PointerObject {
    return this.#native.bump_pointer(address)!;
  }

  // ---- chunks ----------------------------------------------------------------------------------

  take(minimum: number, align: number): Chunk | null {
    const step = this.isShared
      ? Math.min(Math.max(SHARED_STEP, 2 * this.#step), this.window)
      : windowStep(this.window, this.#step, this.chunks.list.at(-1)?.end ?? 0);
    const code = this.#native.bump_take(this.#control, minimum, Math.max(minimum, step), align, grantBytes);
    if (code === BumpCode.FULL) return null;
    if (code !== BumpCode.OK) throw new CommitError(`allocate ${formatBytes(minimum)}`, code);
    this.#step = step;
    return { start: small(grant[0]), end: small(grant[1]), dirty: small(grant[2]) };
  }

  give(from: number, to: number): boolean {
    this.debug?.forget(from, to); // others may take it at once, and the stack may end here
    return this.#native.bump_give(this.#control, from, to) === 1;
  }

  // ---- windows ---------------------------------------------------------------------------------

  /** The windows of a level: 0 is the allocator, 1 its scope, and so on. */
  level(depth: number): Windows {
    return this.#levels[depth] ??= new Windows(this);
  }

  makeWindow(base: number, byteLength: number): ArrayBuffer {
    const buffer = this.#show(base, byteLength);
    if (!isChecked) checkAliases(buffer, this.address + base);
    isChecked = true;
    if (!this.transferable) markUntransferable(buffer);
    return buffer;
  }

  #show(base: number, byteLength: number): ArrayBuffer {
    return permitted(() => Deno.UnsafePointerView.getArrayBuffer(this.#base, byteLength, base) as ArrayBuffer);
  }

  lose(base: number, end: number): void {
    this.chunks.cut(base, end);
    this.debug?.forget(base, end);
    this.#lostFrom = Math.min(this.#lostFrom, base);
    this.#lostTo = Math.max(this.#lostTo, end);
    this.#keep(base, end);
  }

  #keep(base: number, end: number): void {
    try {
      this.#native.bump_keep(this.#control, base, end);
    } catch (error) {
      ignoreRevocation(error);
      this.#isReleased = true; // the C library cannot be told, so the region stays mapped until the Worker ends
    }
  }

  get #isLossy(): boolean {
    return this.#lostTo > 0;
  }

  /** Bytes of address space that receivers of transferred windows still see. */
  get orphaned(): number {
    return this.#orphaned + (this.#isLossy ? this.#lostTo - this.#lostFrom : 0);
  }

  /** Number of windows whose views may be alive. */
  get windows(): number {
    return this.#levels.reduce((count, level) => count + level.count, 0);
  }

  /** Poisons those bytes of [from, to) that are in own chunks and were used. */
  reclaim(from: number, to: number): void {
    this.chunks.forEach(from, to, (from, to) => this.#fill(from, to, POISON));
    this.debug?.reclaim(from, to);
  }

  #fill(from: number, to: number, value: number): void {
    if (to > from) this.withBytes(from, to, (bytes) => bytes.fill(value));
  }

  /** Calls `use` with the bytes of [from, to), which must be committed. */
  withBytes(from: number, to: number, use: (bytes: Uint8Array<ArrayBuffer>) => void): void {
    const buffer = this.#show(from, to - from);
    use(new Uint8Array(buffer));
    detach(buffer);
  }

  // ---- the end ---------------------------------------------------------------------------------

  /** Gives back the bytes above `position`, unless another caller took some since, or a receiver sees them. */
  giveBack(position: number): void {
    this.reportLost();
    this.chunks.giveBack(position);
  }

  /** Cuts windows that were transferred away out of the chunks. */
  reportLost(): void {
    for (const level of this.#levels) level.reportLost();
  }

  /**
   * Asks the system for everything that `endAll` will need, before anything changes: new addresses, if receivers see
   * the present ones. Where windows cannot be detached, the region may not move.
   */
  prepareEnd(): void {
    if (!this.transferable) return;
    // Other holds may have lost windows too.
    let mightMove = this.#isLossy || this.isShared;
    for (const level of this.#levels) {
      if (!level.hasLost) continue;
      mightMove = true;
      for (const { base, end } of level.lost) this.#keep(base, end);
    }
    if (!mightMove) return;
    const code = this.#native.bump_prepare_reset(this.#control);
    if (code !== BumpCode.OK && code !== BumpCode.SHARED) throw new ReserveError(this.capacity, code);
  }

  /**
   * Detaches all views and takes back everything that this hold took; if it is the only hold, the whole region. After a
   * stack overflow in here it can be called again.
   */
  endAll(): void {
    const { chunks } = this;
    for (let depth = this.#levels.length - 1; depth >= 0; depth--) this.#levels[depth].end();
    // The usual case: only the first chunk was taken, and stays.
    if (!this.isShared && !this.#isLossy && chunks.list.length <= 1 && chunks.firstEnd > 0) return;
    const cursor = this.cursor;
    if (cursor > chunks.peak && this.#isHooked) chunks.peak = cursor;
    const code = this.#native.bump_reset(this.#control, chunks.firstEnd, this.transferable, regionBytes);
    if (code === BumpCode.MOVED) return this.#move();
    // Others hold the region, or it cannot move after all: then the own chunks serve again, without what was lost.
    if (code !== BumpCode.OK) return chunks.dropEmpty();
    if (this.poison && this.#isHooked) this.#fill(chunks.firstEnd, cursor, POISON);
    this.#isHigh = true;
    if (chunks.keepFirst() === 0) this.#dropWindows();
    this.debug?.forget(chunks.firstEnd, Infinity);
  }

  /** Adopts the new addresses of the region. */
  #move(): void {
    this.#orphaned = this.orphaned;
    this.#lostFrom = Infinity;
    this.#lostTo = this.#step = 0;
    this.#isHigh = false;
    this.address = region[0];
    this.#base = this.#native.bump_pointer(this.address)!;
    this.chunks.list.length = 0;
    this.debug?.forget(0, Infinity);
    this.#dropWindows();
  }

  #dropWindows(): void {
    for (const level of this.#levels) level.clear();
  }

  /** Makes [0, byteLength) resident. */
  prefault(byteLength: number): void {
    const code = this.#native.bump_prefault(this.#control, 0, byteLength);
    if (code !== BumpCode.OK) throw new CommitError(`prefault ${formatBytes(byteLength)}`, code);
  }

  /** End of the highest used bytes of own chunks: nothing above may be resident. */
  get dirtyEnd(): number {
    return this.chunks.list.reduce((end, { start, dirty }) => dirty > start ? dirty : end, 0);
  }

  /**
   * Gives pages above `from` back to the system: those of own chunks, and those above the native cursor. They then read
   * as zero.
   */
  discard(from: number): void {
    this.debug?.leave(from, Infinity);
    for (const chunk of this.chunks.list) {
      const start = Math.max(from, chunk.start);
      // Include the rest of the last page, huge or not; else each call would leave one page resident.
      const end = Math.min(Math.ceil(chunk.dirty / this.#grain) * this.#grain, chunk.end);
      if (start >= chunk.dirty) continue;
      this.#discard(start, end);
      chunk.dirty = start;
    }
    if (this.#isHigh || this.isShared || this.#grain === HUGE_PAGE) this.#discardAbove(from);
  }

  #discard(start: number, end: number): void {
    const code = this.#native.bump_discard(this.#control, start, end);
    if (code !== BumpCode.OK) throw new CommitError("give pages back", code);
    // Only whole pages went back, so clear the partial pages at both ends.
    const page = this.#native.bump_page_size();
    const firstPage = Math.min(Math.ceil(start / page) * page, end);
    const lastPage = Math.max(Math.floor(end / page) * page, firstPage);
    this.#fill(start, firstPage, 0);
    this.#fill(lastPage, end, 0);
  }

  /**
   * Gives back pages above the native cursor. They are taken during the call, so that no native thread can get them.
   */
  #discardAbove(from: number): void {
    const { cursor, committed } = this;
    const above = committed - Math.max(cursor, from);
    if (above <= 0) return;
    const code = this.#native.bump_take(this.#control, 1, committed - cursor, 1, grantBytes);
    if (code !== BumpCode.OK) return;
    const [start, end] = grant;
    try {
      if (end > from) this.#discard(Math.max(from, start), end);
      if (from <= start) this.#isHigh = false;
    } finally {
      if (!this.give(start, end)) this.chunks.list.push({ start, end, dirty: end });
    }
  }

  /**
   * Prepares the hold for the next lease of a pool. If native callers were given the `bump_t`, it is replaced, and
   * theirs returns NULL from now on. Returns false when the system refuses a new one.
   */
  renewControl(): boolean {
    this.chunks.peak = 0;
    if (!this.#isHooked) return true;
    const control = this.#native.bump_hold(this.#control, regionBytes);
    if (control === null) return false;
    this.#native.bump_close(this.#control);
    this.#control = control;
    this.#isHooked = this.isShared = false;
    return true;
  }

  /** Releases the hold and detaches its windows. */
  release(): void {
    if (this.#isReleased) return;
    if (!this.transferable) return this.abandon();
    for (const level of this.#levels) level.clear();
    this.#close();
  }

  /**
   * Calls `then`, which by default releases the hold, once every window has been collected. For allocators that were
   * dropped, and for windows that cannot be detached.
   */
  abandon(then: () => void = () => this.#close()): void {
    if (this.#isReleased) return;
    const buffers: ArrayBuffer[] = [];
    for (const level of this.#levels) {
      for (const { buffer, base, end, fresh } of level.release()) {
        if (fresh && this.transferable) detach(buffer);
        else if (isDetached(buffer)) this.lose(base, end);
        else if (this.transferable && !canMarkUntransferable()) {
          // A later transfer could not be noticed, so treat the window as transferred.
          this.lose(base, end);
        } else {
          if (this.transferable) markUntransferable(buffer);
          buffers.push(buffer);
        }
      }
    }
    let waiting = Math.max(buffers.length, 1);
    const gone = () => {
      if (--waiting === 0) then();
    };
    if (buffers.length === 0) gone();
    for (const buffer of buffers) collectedWindows.register(buffer, gone);
  }

  #close(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    // In a shared region, writes by others are no late writes.
    if (this.debug !== null && !this.isShared) this.debug.outlive(() => this.#drop());
    else this.#drop();
  }

  #drop(): void {
    this.debug?.drop();
    try {
      this.#native.bump_close(this.#control);
    } catch (error) {
      // The memory stays mapped until the Worker ends; no view of it is alive.
      ignoreRevocation(error);
    }
  }
}

/** Whether a window was checked to show native memory. */
let isChecked = false;

/** Rethrows every error, except that the program has revoked its FFI permission. */
export function ignoreRevocation(error: unknown): void {
  if (!(error instanceof Deno.errors.NotCapable)) throw error;
}

// Shared by all calls, because FFI calls are synchronous.
/** Address, capacity, error code. */
const region = new Float64Array(3);
const regionBytes = new Uint8Array(region.buffer);
/** Start and end of a chunk, and the offset above which it was never used. */
const grant = new Float64Array(3);
const grantBytes = new Uint8Array(grant.buffer);

/** Runs a window's registered callback once the window has been collected. */
const collectedWindows = new FinalizationRegistry<() => void>((gone) => gone());
