import { type BumpLibrary, library } from "./native/library.ts";
import { BumpCode, HUGE_PAGES } from "./native/symbols.ts";
import { CommitError, describeSystemError, ReserveError, SharedError } from "./errors.ts";
import { formatBytes } from "./format.ts";
import { canMarkUntransferable, markUntransferable } from "./untransferable.ts";

/** A run of committed bytes that this allocator took from the native cursor. */
export interface Lease {
  /** Offset of its first byte. */
  readonly start: number;
  /** Offset past its last byte; grows when the next lease continues this one. */
  end: number;
  /** Bytes from here to `end` were never used, so they are zero. */
  dirty: number;
}

/** A window that is not the current one of its level but whose views still live. */
interface OlderWindow {
  readonly buffer: ArrayBuffer;
  readonly base: number;
  /** Offset past its last byte: a buffer that was transferred away does not tell its length any more. */
  readonly end: number;
  readonly depth: number;
}

/** Where a pool's region lies: `offset` in the reservation of `parent`. */
export interface Place {
  readonly parent: Region;
  readonly offset: number;
}

/** What a region is made with; `BumpAllocOptions` after validation. */
export interface RegionSettings {
  readonly capacity: number;
  readonly window: number;
  readonly hugePages: boolean;
  readonly poison: boolean;
  readonly transferable: boolean;
}

/** No lease is taken, and no window made, larger than this unless one request asks for more: a
 * `structuredClone` of a small view copies its whole window. */
const MAX_STEP = 64 * 1024 * 1024;

/** First lease of an allocator on a shared region; doubles up to the window size. */
const SHARED_STEP = 64 * 1024;

/** Byte that `poison` fills reclaimed memory with. */
export const POISON = 0xdd;

/** Windows start on such an offset, so that alignments up to it hold for positions in the window. */
export const WINDOW_ALIGN = 4096;

/**
 * One allocator's hold on a native region: its leases, its windows, and their end.
 *
 * It never refers to the `BumpAlloc` that uses it, so that it can be the value that a
 * `FinalizationRegistry` holds for that `BumpAlloc`.
 */
export class Region {
  readonly capacity: number;
  readonly window: number;
  readonly transferable: boolean;
  readonly #poison: boolean;
  readonly leases: Lease[] = [];
  /** Current window of each level (0 is the allocator, 1 its scope, and so on), its offset, and the offset past its last byte. */
  readonly buffers: (ArrayBuffer | null)[] = [null];
  readonly bases: number[] = [0];
  readonly #ends: number[] = [0];
  /** What the current window of a level was when it was an older one; kept, so that a loop over windows allocates nothing. */
  readonly #shelved: (OlderWindow | null)[] = [null];
  /** The window that the next scope of a level starts with: fresh, and seen by nobody. */
  readonly #spares: (ArrayBuffer | null)[] = [];
  readonly #spareBases: number[] = [];
  readonly #older: OlderWindow[] = [];
  readonly #native: BumpLibrary = library();
  #control: Deno.PointerObject;
  #base: Deno.PointerObject;
  /** The address of offset 0 as a number: exact, because addresses are below 2^53. */
  address: number;
  /** Highest offset in use since pages were last given back. */
  high = 0;
  /** Highest offset ever in use since the last renewal. */
  peak = 0;
  /** Bytes of former address space that transferred windows still hold. */
  orphaned = 0;
  /** Nothing below is handed out again: the end of the highest lease under a window that was transferred away. */
  stolenEnd = 0;
  #shared = false;
  /** For a region inside another one's reservation: finds another place when a transfer took this one. */
  #move: (() => Place) | null = null;
  #step: number;
  #released = false;
  /** Whether native libraries were given callbacks that allocate here. */
  isHooked = false;
  /** Whether it is the process's own: it then stays until the process ends. */
  isProcess = false;

  private constructor(
    control: Deno.PointerObject,
    settings: RegionSettings,
    shared: boolean,
  ) {
    this.#control = control;
    this.#base = this.#native.bump_base(control)!;
    this.address = Number(Deno.UnsafePointer.value(this.#base));
    this.capacity = settings.capacity;
    this.window = settings.window;
    this.transferable = settings.transferable;
    this.#poison = settings.poison;
    this.#shared = shared;
    this.#step = shared ? Math.min(SHARED_STEP, settings.window) : settings.window;
    live.add(this);
    markSettledOnUnload();
  }

  /** Reserves address space. */
  static create(settings: RegionSettings): Region {
    const native = library();
    const control = native.bump_create(
      settings.capacity,
      settings.hugePages ? HUGE_PAGES : 0,
      errorBytes,
    );
    if (control === null) throw new ReserveError(settings.capacity, systemCode(errorCell[0]));
    return new Region(
      control,
      { ...settings, capacity: native.bump_capacity(control) },
      false,
    );
  }

  /** A region inside the reservation of a parent, which stays alive as long as this. */
  static carve(place: Place, settings: RegionSettings, move: () => Place): Region {
    const region = new Region(carveControl(place, settings.capacity), settings, false);
    region.#move = move;
    return region;
  }

  /** Attaches to the region that a handle names. */
  static attach(control: number, key: number, settings: Omit<RegionSettings, "capacity">): Region {
    const native = library();
    const pointer = native.bump_attach(control, key, errorBytes);
    if (pointer === null) {
      const [code] = errorCell;
      if (code <= BumpCode.SYSTEM) throw new SharedError(`Cannot attach: ${describeSystemError(systemCode(code))}`);
      throw new SharedError(
        "Cannot attach: the handle names no live region of this process (it is stale or forged, " +
          "or its owner has closed the region)",
      );
    }
    return new Region(pointer, { ...settings, capacity: native.bump_capacity(pointer) }, true);
  }

  /** What another Worker needs to attach. */
  share(): { control: number; key: number } {
    // A handle outlives the lease, and would then name somebody else's memory.
    if (this.#move !== null) throw new SharedError("Cannot share: a pool's lease stays in its own Worker");
    const key = this.#native.bump_share(this.#control);
    if (key <= 0) {
      throw new SharedError(`Cannot share: the system gives no random key (system error ${systemCode(key)})`);
    }
    this.#shared = true;
    return { control: Number(Deno.UnsafePointer.value(this.#control)), key };
  }

  /** Whether others may move the native cursor. */
  get shared(): boolean {
    return this.#shared;
  }

  /** The `bump_t*` for native callers. */
  get control(): Deno.PointerObject {
    return this.#control;
  }

  /** The pointer to offset 0. */
  get base(): Deno.PointerObject {
    return this.#base;
  }

  /** Offset of the native cursor. */
  get cursor(): number {
    return this.#native.bump_cursor(this.#control);
  }

  /** As `cursor`; what is known of it when the program has given the permission for FFI up. */
  get knownCursor(): number {
    try {
      return this.cursor;
    } catch (error) {
      ignoreRevocation(error);
      return this.leases.at(-1)?.end ?? 0;
    }
  }

  get committed(): number {
    return this.#native.bump_committed(this.#control);
  }

  /** What nobody uses of leases that were left. */
  get stranded(): number {
    return this.#native.bump_stranded(this.#control);
  }

  get resident(): number {
    return Math.max(0, this.#native.bump_resident(this.#control));
  }

  /** How many allocators hold the region, this one included. */
  get attached(): number {
    return this.#native.bump_attached(this.#control) - (this.isProcess ? 1 : 0);
  }

  /** The region's `XML_Memory_Handling_Suite`; `null` when there are no more. */
  expatSuite(): Deno.PointerObject | null {
    return this.#native.bump_expat_suite(this.#control);
  }

  /** Windows whose views may be alive. */
  get windows(): number {
    let count = this.#older.length;
    for (const buffer of this.buffers) if (buffer) count++; // a level that never had one has a hole there
    return count;
  }

  /** A pointer to an address. */
  pointer(address: number): Deno.PointerObject {
    return this.#native.bump_pointer(address)!;
  }

  // ---- leases ----------------------------------------------------------------------------------

  /**
   * Takes more of the region for `byteLength` bytes that were to start at `position` (in the last
   * lease). Returns the index of the lease that has room for them, or -1 when the region is full.
   */
  extend(position: number, byteLength: number, align: number): number {
    const last = this.leases.length - 1;
    if (last >= 0) {
      // Usually nobody else has moved the cursor, and the new lease continues the last one: then
      // only what is missing is asked for, and the last byte of the region can be had.
      const lease = this.leases[last];
      const missing = this.alignUp(Math.max(position, lease.start), align) + byteLength - lease.end;
      if (this.#shared || this.cursor === lease.end) {
        const code = this.#lease(missing, 1);
        if (code === BumpCode.OK && grant[0] === lease.end) {
          // One mark for the whole lease: used bytes in what was added make all before them count as used.
          if (grant[2] > grant[0]) lease.dirty = Math.max(lease.dirty, grant[2]);
          lease.end = grant[1];
          return last;
        }
        if (code === BumpCode.OK) this.#native.bump_unlease(this.#control, grant[0], grant[1]);
        else if (code !== BumpCode.FULL) this.#refuse(byteLength, code);
        else if (!this.#shared) return -1;
      }
    }
    const code = this.#lease(byteLength, align);
    if (code === BumpCode.FULL) return -1;
    if (code !== BumpCode.OK) this.#refuse(byteLength, code);
    this.leases.push({ start: grant[0], end: grant[1], dirty: grant[2] });
    if (last >= 0) {
      // Too short for this request, and there is a later lease now: the library notes what nobody uses.
      const { start, end } = this.leases[last];
      if (position < end) this.#native.bump_unlease(this.#control, Math.max(position, start), end);
    }
    return this.leases.length - 1;
  }

  #lease(minimum: number, align: number): number {
    const preferred = Math.max(minimum, this.#step);
    const code = this.#native.bump_lease(this.#control, minimum, preferred, align, grantBytes);
    if (code === BumpCode.OK) {
      const most = this.#shared ? this.window : MAX_STEP;
      this.#step = Math.min(this.#step * 2, Math.max(most, this.window));
    }
    return code;
  }

  #refuse(byteLength: number, code: number): never {
    throw new CommitError(`allocate ${formatBytes(byteLength)}`, systemCode(code));
  }

  /** The least offset from `offset` on whose address is a multiple of `align`. */
  alignUp(offset: number, align: number): number {
    const past = (this.address + offset) % align;
    return past === 0 ? offset : offset + align - past;
  }

  /** Remembers that everything below `position` in lease `index` was used. */
  noteUsed(index: number, position: number): void {
    if (position > this.high) this.high = position;
    if (position > this.peak) this.peak = position;
    const lease = this.leases[index];
    if (lease !== undefined && position > lease.dirty) lease.dirty = position;
  }

  /** Sum of what the leases hold beyond `position` in lease `index`: leased, and not used. */
  unused(index: number, position: number): number {
    let bytes = 0;
    for (let i = index; i < this.leases.length; i++) {
      bytes += this.leases[i].end - this.#ownFrom(i, index, position);
    }
    return bytes;
  }

  /**
   * Where in lease `i` begins what is unused, if the cursor is at `position` in lease `index`. Of an arena that has taken
   * nothing yet the cursor is at 0, and the lease that a scope took for it may begin behind others' bytes.
   */
  #ownFrom(i: number, index: number, position: number): number {
    const { start } = this.leases[i];
    return i === index ? Math.max(position, start) : start;
  }

  /** Index of the lease that begins at `stolenEnd`; one is split, or an empty one added, when none does. */
  splitAtStolen(): number {
    const leases = this.leases;
    const end = this.stolenEnd;
    let index = 0;
    while (index < leases.length && leases[index].start < end) index++;
    const before = leases[index - 1];
    if (before !== undefined && before.end > end) {
      leases.splice(index, 0, { start: end, end: before.end, dirty: Math.max(before.dirty, end) });
      before.end = end;
      before.dirty = Math.min(before.dirty, end);
    } else if (index === leases.length) leases.push({ start: end, end, dirty: end });
    return index;
  }

  /** Gives the leases above `position` back, where nobody took more since. */
  giveBack(index: number, position: number): void {
    if (this.isStolen(this.buffers.length)) return; // the receiver sees it
    for (let i = this.leases.length - 1; i >= index && i >= 0; i--) {
      const lease = this.leases[i];
      const from = this.#ownFrom(i, index, position);
      if (this.#native.bump_unlease(this.#control, from, lease.end) !== 1) continue; // the library notes it
      if (from === lease.start) this.leases.pop();
      else lease.end = from;
    }
  }

  // ---- windows ---------------------------------------------------------------------------------

  /**
   * Makes a window current for a level: one that shows at least [start, start + byteLength) of
   * lease `index`. The former one becomes an older window.
   */
  openWindow(depth: number, index: number, start: number, byteLength: number): ArrayBuffer {
    const former = this.buffers[depth] ?? null;
    const lease = this.leases[index];
    const end = start + byteLength;
    // After a rewind there may be a window already.
    const again = this.#older.length === 0 ? null : this.#reopen(depth, start, end);
    if (again !== null) return again;
    let buffer = this.#spares[depth] ?? null;
    let base = this.#spareBases[depth];
    let windowEnd: number;
    if (buffer !== null && former === null && base <= start && end <= base + lengthOf(buffer)) {
      windowEnd = base + lengthOf(buffer);
      this.#spares[depth] = null;
    } else {
      base = start - start % WINDOW_ALIGN;
      const step = Math.min(
        former === null ? this.window : Math.max(this.window, 2 * lengthOf(former)),
        Math.max(MAX_STEP, this.window),
      );
      windowEnd = Math.min(Math.max(end, base + step), lease.end);
      buffer = this.makeWindow(base, windowEnd - base);
    }
    if (former !== null) this.#shelve(former, depth);
    this.buffers[depth] = buffer;
    this.bases[depth] = base;
    this.#ends[depth] = windowEnd;
    return buffer;
  }

  /** Makes the current window of a level an older one. */
  shelve(depth: number): void {
    const buffer = this.buffers[depth] ?? null;
    if (buffer === null) return;
    this.#shelve(buffer, depth);
    this.buffers[depth] = null;
  }

  #shelve(buffer: ArrayBuffer, depth: number): void {
    const before = this.#shelved[depth] ?? null;
    // A new object here would be one more for each collection of young objects to follow from an old one: 20 us.
    if (before !== null && before.buffer === buffer) this.#older.push(before);
    else this.#older.push({ buffer, base: this.bases[depth], end: this.#ends[depth], depth });
  }

  /** How far, in a window, a block of lease `index` may reach. */
  windowEnd(index: number, base: number, buffer: ArrayBuffer): number {
    const lease = this.leases[index];
    return lease === undefined ? -1 : Math.min(lease.end - base, lengthOf(buffer));
  }

  /** A new `ArrayBuffer` over [base, base + byteLength). */
  makeWindow(base: number, byteLength: number): ArrayBuffer {
    const buffer = Deno.UnsafePointerView.getArrayBuffer(this.#base, byteLength, base) as ArrayBuffer;
    if (!this.transferable) markUntransferable(buffer);
    return buffer;
  }

  /** Makes the older window of a level that shows the byte at `position` current again, if there is one. */
  reopenWindow(depth: number, position: number): ArrayBuffer | null {
    return this.#reopen(depth, position, position + 1);
  }

  #reopen(depth: number, start: number, end: number): ArrayBuffer | null {
    const older = this.#older;
    for (let i = older.length - 1; i >= 0; i--) {
      const window = older[i];
      const { buffer, base } = window;
      if (window.depth !== depth || start < base || end > base + lengthOf(buffer)) continue;
      const former = this.buffers[depth] ?? null;
      if (former !== null) this.#shelve(former, depth);
      older.splice(i, 1);
      this.buffers[depth] = buffer;
      this.bases[depth] = base;
      this.#ends[depth] = window.end;
      this.#shelved[depth] = window;
      return buffer;
    }
    return null;
  }

  /** A window at `depth` that shows [offset, offset + byteLength), not the current one. */
  windowOver(depth: number, offset: number, byteLength: number, end: number): OlderWindow {
    for (let i = this.#older.length - 1; i >= 0; i--) {
      const w = this.#older[i];
      if (
        w.depth === depth && w.base <= offset && offset + byteLength <= w.base + lengthOf(w.buffer)
      ) return w;
    }
    const base = offset - offset % WINDOW_ALIGN;
    const windowEnd = Math.min(end, Math.max(offset + byteLength, base + MAX_STEP));
    const made = { buffer: this.makeWindow(base, windowEnd - base), base, end: windowEnd, depth };
    this.#older.push(made);
    return made;
  }

  /** The offset of a window's first byte, or -1 when it is no window of level `depth` or deeper. */
  baseOf(buffer: ArrayBufferLike, depth: number): number {
    for (let i = depth; i < this.buffers.length; i++) {
      if (this.buffers[i] === buffer) return this.bases[i];
    }
    for (const window of this.#older) {
      if (window.buffer === buffer && window.depth >= depth) return window.base;
    }
    return -1;
  }

  /** Whether a window of the level, or of one around it, was transferred away: it may show what comes next. */
  isStolen(depth: number): boolean {
    for (let i = 0; i <= depth; i++) {
      const buffer = this.buffers[i] ?? null;
      if (buffer !== null && isDetached(buffer)) return true;
    }
    return this.#older.some((window) => window.depth <= depth && isDetached(window.buffer));
  }

  /** Ends all windows of a level: every view of them has length 0 from now on. */
  dropWindows(depth: number): void {
    if (this.#older.length > 0) this.#dropOlder(depth);
    const buffer = this.buffers[depth] ?? null;
    if (buffer === null) return;
    const former = this.#spares[depth] ?? null;
    if (!this.transferable) {
      // It cannot be detached: the next use of the level aliases the same window.
      if (former !== null) this.#undetachable.push(former);
      this.#spares[depth] = buffer;
      this.buffers[depth] = null;
    } else {
      // It keeps the memory, detaches the views and costs a third of a new window.
      const fresh = transferred(buffer);
      if (fresh === null) this.#noteStolen(this.#ends[depth]);
      // Not before: a window that is forgotten too early, because the stack ends, outlives its memory.
      this.buffers[depth] = null;
      if (fresh === null) return;
      this.#spares[depth] = fresh;
      if (former !== null) detach(former);
    }
    this.#spareBases[depth] = this.bases[depth];
  }

  /** Ends the older windows of a level and makes its first one current, to be the next spare. */
  #dropOlder(depth: number): void {
    const older = this.#older;
    for (let i = older.length - 1; i >= 0; i--) {
      const { buffer, base, end } = older[i];
      if (older[i].depth !== depth) continue;
      const current = this.buffers[depth] ?? null;
      const isFirst = current === null || (base < this.bases[depth] && !isDetached(buffer));
      if (current !== null) this.#dropWindow(isFirst ? current : buffer, isFirst ? this.#ends[depth] : end);
      if (isFirst) {
        this.buffers[depth] = buffer;
        this.bases[depth] = base;
        this.#ends[depth] = end;
      }
      older.splice(i, 1);
    }
  }

  #dropWindow(buffer: ArrayBuffer, end: number): void {
    if (!this.transferable) this.#undetachable.push(buffer);
    else if (!detach(buffer)) this.#noteStolen(end);
  }

  /** Windows that no option lets us detach, kept so that their memory outlives their views. */
  readonly #undetachable: ArrayBuffer[] = [];

  /** Somebody sees a window that ends at `windowEnd`, now and later: it was transferred away, or cannot be detached. */
  #noteStolen(windowEnd: number): void {
    const end = this.leases.find((lease) => windowEnd <= lease.end)?.end ?? windowEnd;
    if (end > this.stolenEnd) this.stolenEnd = end;
  }

  /** Overwrites [from, to), but nothing that a receiver of a transferred window sees: for poison. The bytes are committed. */
  fill(from: number, to: number, value: number): void {
    from = Math.max(from, this.stolenEnd);
    if (to <= from) return;
    const bytes = Deno.UnsafePointerView.getArrayBuffer(this.#base, to - from, from) as ArrayBuffer;
    new Uint8Array(bytes).fill(value);
    detach(bytes);
  }

  // ---- the end ---------------------------------------------------------------------------------

  /**
   * Takes all memory back after the windows of level 0 were dropped. Keeps the first lease when
   * nothing but leases moved the native cursor, which was at `cursor`; else the next allocation leases anew.
   */
  rewindAll(cursor: number): void {
    if (this.stolenEnd > 0) {
      this.#renew();
      return;
    }
    if (this.#poison && this.isHooked) this.#poisonNative(cursor);
    const first = this.leases[0];
    if (first === undefined || first.start !== 0) {
      if (first !== undefined || cursor > 0) this.#resetCursor(0);
      this.leases.length = 0;
      this.#dropSpares();
    } else if (this.leases.length > 1 || cursor !== first.end) {
      this.#resetCursor(first.end);
      this.leases.length = 1;
    }
  }

  /** Remembers what native callers, or allocators that were attached, may have used. Returns the cursor. */
  noteNative(): number {
    const cursor = this.cursor;
    if (this.isHooked || cursor > (this.leases.at(-1)?.end ?? 0)) {
      this.high = Math.max(this.high, cursor);
      this.peak = Math.max(this.peak, cursor);
    }
    return cursor;
  }

  /** Overwrites what native callers had: all that is in no lease. */
  #poisonNative(cursor: number): void {
    let from = 0;
    for (const lease of this.leases) {
      this.fill(from, lease.start, POISON);
      from = lease.end;
    }
    this.fill(from, cursor, POISON);
  }

  #resetCursor(cursor: number): void {
    const code = this.#native.bump_reset(this.#control, cursor);
    if (code === BumpCode.SHARED) throw sharedRefusal("reset");
    if (code !== BumpCode.OK) throw new CommitError("reset", systemCode(code));
  }

  /** Takes everything back, for the next lease of a pool. */
  recycle(): void {
    for (let depth = 0; depth < this.buffers.length; depth++) this.dropWindows(depth);
    this.rewindAll(this.noteNative());
    this.peak = 0;
    this.isHooked = false;
  }

  /** Moves to fresh address space, because a receiver of transferred memory sees the old one. */
  #renew(): void {
    if (this.#move !== null) {
      const control = carveControl(this.#move(), this.capacity);
      this.#native.bump_close(this.#control, this.stolenEnd);
      this.#control = control;
    } else {
      const code = this.#native.bump_renew(this.#control, this.stolenEnd);
      if (code === BumpCode.SHARED) throw sharedRefusal("reset");
      if (code !== BumpCode.OK) throw new ReserveError(this.capacity, systemCode(code));
    }
    this.orphaned += this.stolenEnd;
    this.stolenEnd = 0;
    this.#base = this.#native.bump_base(this.#control)!;
    this.address = Number(Deno.UnsafePointer.value(this.#base));
    this.leases.length = 0;
    this.high = 0;
    this.#dropSpares();
  }

  /** Spare windows that nobody sees any more; detaching them frees them without waiting for a collection. */
  #dropSpares(): void {
    if (!this.transferable) return;
    for (let depth = 0; depth < this.#spares.length; depth++) {
      const spare = this.#spares[depth] ?? null;
      if (spare !== null) detach(spare);
      this.#spares[depth] = null;
    }
  }

  /**
   * Gives the pages between `from` and the highest used byte back to the operating system, those of the leases
   * and above the native cursor: what lies between is native callers'. All these bytes of leases then read as zero.
   */
  discard(from: number): void {
    if (this.isStolen(this.buffers.length)) return;
    const page = this.#native.bump_page_size();
    for (const lease of this.leases) {
      const start = Math.max(from, lease.start, this.stolenEnd);
      // `dirty` may be above `high`: what others used, and gave back, before it became this lease.
      const used = Math.max(this.high, lease.dirty);
      // With the rest of the last page, which was never written: else each call would leave one page.
      const end = Math.min(Math.ceil(used / page) * page, lease.end);
      if (start >= Math.min(used, end)) continue;
      const code = this.#native.bump_discard(this.#control, start, end);
      if (code !== BumpCode.OK) throw new CommitError("give pages back", systemCode(code));
      // Whole pages only went back: the parts of pages at both ends are cleared.
      const firstPage = Math.min(Math.ceil(start / page) * page, end);
      const lastPage = Math.max(Math.floor(end / page) * page, firstPage);
      this.fill(start, firstPage, 0);
      this.fill(lastPage, end, 0);
      lease.dirty = Math.min(lease.dirty, start);
    }
    this.#discardAbove(from);
    this.high = Math.min(this.high, from);
  }

  /** Gives back what is above the native cursor. It is taken meanwhile, so that no native thread can have it. */
  #discardAbove(from: number): void {
    const cursor = this.cursor;
    if (this.high <= Math.max(cursor, from)) return;
    if (this.#native.bump_lease(this.#control, 1, this.high - cursor, 1, grantBytes) !== BumpCode.OK) return;
    const [start, end] = grant;
    const code = this.#native.bump_discard(this.#control, Math.max(from, start), Math.max(from, end));
    if (this.#native.bump_unlease(this.#control, start, end) !== 1) this.leases.push({ start, end, dirty: end });
    if (code !== BumpCode.OK) throw new CommitError("give pages back", systemCode(code));
  }

  /** Makes [0, byteLength) resident. */
  prefault(byteLength: number): void {
    const code = this.#native.bump_prefault(this.#control, 0, byteLength);
    if (code !== BumpCode.OK) {
      throw new CommitError(`prefault ${formatBytes(byteLength)}`, systemCode(code));
    }
  }

  /** Releases the hold on the region; its windows end with it. */
  release(): void {
    if (this.#released) return;
    for (let depth = 0; depth < this.buffers.length; depth++) this.dropWindows(depth);
    this.#dropSpares();
    const undetachable = this.#undetachable.concat(this.#spares.filter((buffer) => buffer !== null));
    if (undetachable.length > 0) this.#releaseAfter(undetachable, () => {});
    else this.#close();
  }

  /** Releases the hold once every window has been collected: for an allocator that was dropped. */
  abandon(then: () => void): void {
    // What native code uses of it is not seen by the garbage collector: such a region is closed, or stays.
    if (this.#released || this.isHooked) return;
    const windows = this.#undetachable.splice(0);
    for (let depth = 0; depth < this.buffers.length; depth++) {
      this.#collectWindow(windows, this.buffers[depth] ?? null, this.#ends[depth]);
      this.buffers[depth] = null;
    }
    for (const window of this.#older.splice(0)) this.#collectWindow(windows, window.buffer, window.end);
    if (this.transferable) this.#dropSpares();
    else for (const spare of this.#spares) if (spare) windows.push(spare);
    this.#spares.length = 0;
    this.#releaseAfter(windows, then);
  }

  #collectWindow(windows: ArrayBuffer[], buffer: ArrayBuffer | null, end: number): void {
    if (buffer === null) return;
    if (isDetached(buffer)) {
      this.#noteStolen(end);
      return;
    }
    // Nobody would notice a transfer from now on, so that none may happen any more.
    if (this.transferable) {
      if (!canMarkUntransferable()) {
        // Then it counts as transferred: its memory stays, because its views may reach anywhere.
        this.#noteStolen(end);
        return;
      }
      markUntransferable(buffer);
    }
    windows.push(buffer);
  }

  #releaseAfter(windows: ArrayBuffer[], then: () => void): void {
    let waiting = windows.length;
    const gone = () => {
      if (--waiting > 0) return;
      this.#close();
      then();
    };
    if (waiting === 0) {
      waiting = 1;
      gone();
    }
    for (const buffer of windows) collectedWindows.register(buffer, gone);
    this.#spares.length = 0;
  }

  #close(): void {
    if (this.#released) return;
    this.#released = true;
    live.delete(this);
    try {
      this.#native.bump_close(this.#control, this.stolenEnd);
    } catch (error) {
      // The memory then stays until the Worker ends, and no view of it is alive.
      ignoreRevocation(error);
    }
  }

  /** Tells the C library, at unload, whether it may unmap what windows showed. */
  settle(): void {
    if (this.stolenEnd > 0 || this.orphaned > 0) return;
    for (let depth = 0; depth < this.buffers.length; depth++) if (this.isStolen(depth)) return;
    this.#native.bump_settle(this.#control);
  }
}

/** Throws unless the reason is that the program has given the permission for FFI up. */
export function ignoreRevocation(error: unknown): void {
  if (!(error instanceof Deno.errors.NotCapable)) throw error;
}

/** The refusal of what only the sole holder of a region may do. */
export function sharedRefusal(what: string): SharedError {
  return new SharedError(
    `Cannot ${what}: other allocators are attached to the region; close them first`,
  );
}

function carveControl(place: Place, capacity: number): Deno.PointerObject {
  const control = library().bump_carve(place.parent.control, place.offset, capacity, errorBytes);
  if (control === null) throw new ReserveError(capacity, systemCode(errorCell[0]));
  return control;
}

// What keeps a view from outliving its memory is taken once: neither a patched prototype nor a buffer's own property gets
// in between.
const { apply } = Reflect;
const transfer = ArrayBuffer.prototype.transfer;
const detachedGetter = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "detached")!.get!;
const lengthGetter = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "byteLength")!.get!;
const NOTHING: never[] = [];
const ZERO_LENGTH = [0];

export function isDetached(buffer: ArrayBuffer): boolean {
  return apply(detachedGetter, buffer, NOTHING);
}

/** Bytes of a buffer; 0 when it is detached. */
export function lengthOf(buffer: ArrayBuffer): number {
  return apply(lengthGetter, buffer, NOTHING);
}

/** The same memory in a new buffer, the views of the old one detached; null when somebody took it or marked it untransferable. */
function transferred(buffer: ArrayBuffer): ArrayBuffer | null {
  try {
    return apply(transfer, buffer, NOTHING);
  } catch (error) {
    return ignoreRefusal(error);
  }
}

/** False when somebody took the buffer or marked it untransferable. */
function detach(buffer: ArrayBuffer): boolean {
  try {
    apply(transfer, buffer, ZERO_LENGTH);
    return true;
  } catch (error) {
    ignoreRefusal(error);
    return false;
  }
}

/** A refused transfer is a `TypeError`. A `RangeError` says that the stack is full: the caller can try again. */
function ignoreRefusal(error: unknown): null {
  if (error instanceof RangeError) throw error;
  return null;
}

/** System errors come as `SYSTEM - e`. */
function systemCode(code: number): number {
  return code <= BumpCode.SYSTEM ? BumpCode.SYSTEM - code : code;
}

// One call at a time uses these: FFI calls are synchronous.
const errorCell = new Int32Array(1);
const errorBytes = new Uint8Array(errorCell.buffer);
const grant = new Float64Array(3);
const grantBytes = new Uint8Array(grant.buffer);

/** Runs the callback that was registered with a window once that window has been collected. */
const collectedWindows = new FinalizationRegistry<() => void>((gone) => gone());

/** Regions of this Worker that are not released. */
const live = new Set<Region>();

let listening = false;

function markSettledOnUnload(): void {
  // Of a Worker Deno tells no end: there an event of that name is made by a program, which may transfer windows after it.
  if (listening || "WorkerGlobalScope" in globalThis) return;
  listening = true;
  globalThis.addEventListener("unload", () => {
    for (const region of live) {
      try {
        region.settle();
      } catch { /* the permission was given up meanwhile: its memory then stays accessible */ }
    }
  });
}
