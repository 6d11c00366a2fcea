import { isDetached, lengthOf } from "./buffers.ts";
import { checkAlign, checkSize } from "./check.ts";
import { cannot, ClosedError, DetachedError, OutOfMemoryError, PinnedError, ScopeError, type What } from "./errors.ts";
import { formatBytes } from "./format.ts";
import { type Hold, ignoreRevocation } from "./hold.ts";
import { alignOf, alignUp, maskOf, MAX_POSITION } from "./offsets.ts";
import { NO_WINDOW, type Windows } from "./windows.ts";

// Taken once: a program may replace the global ones, by classes that allocate.
const { Uint8Array: OwnUint8Array } = globalThis;

const DEFAULT_ALIGN = 8;

/** Above every position: the slow path must see each rewind. */
const NO_FLOOR = MAX_POSITION + 1;

/** Stands for the bytes of an arena that the fast path may not serve. */
const NO_BYTES = new OwnUint8Array(NO_WINDOW.buffer);

/** What an arena is to its user. */
type Kind = "allocator" | "lease" | "scope";

/**
 * What is behind a {@linkcode BumpAlloc} or {@linkcode BumpScope}: the bump, and one slow path. Fields are plain, so that
 * the files that write text, copies and out-parameters into memory take an `Arena`.
 *
 * The position of the arena is `base + cursor`. Everything below it, from `start` on, is allocated; in the window
 * nothing above `base + max(high, cursor)` was ever used.
 */
export class Arena {
  /** Position in the window. */
  cursor = 0;
  /**
   * The bytes of the window that the fast path may hand out: its length is the limit. `NO_BYTES` while another arena has the
   * memory, or the slow path must see each request. A window that was transferred away has length 0, too.
   */
  bytes: Uint8Array<ArrayBuffer> = NO_BYTES;
  /** The window: views are made over it. */
  buffer: ArrayBuffer = NO_WINDOW.buffer;
  /** Offset of the window. */
  base = 0;
  /**
   * The fast path rewinds to here or above: where one's own bytes begin in the window, whose first page may show others'.
   * `NO_FLOOR` while the slow path must see each rewind.
   */
  floor = NO_FLOOR;
  /** Highest cursor in this window before it went back. */
  high = 0;
  /** Bytes behind the cursor of a block that is too large for positions in a window. */
  beyond = 0;
  /** Offset of the latest mark: marks above it are void. Below 0 when there is none. */
  top = 0;
  /** Counts resets: a mark is good only until the next one. */
  life = 0;
  /** Offset where this arena began. */
  start = 0;
  /** The arena of the open scope. */
  child: Arena | null = null;
  /** Nothing may be done any more. */
  closed = false;
  /** A scope whose views may live on for a while when it has ended. */
  isFrame = false;
  /** Who uses an allocator's arena: its scopes keep that from being collected. */
  user: object | null = null;
  /** Frames have ended whose views are not detached yet; they show the bytes from the parent's position on. */
  ended = false;
  readonly kind: Kind;
  readonly hold: Hold;
  readonly parent: Arena | null;
  readonly windows: Windows;
  readonly depth: number;
  #pins: Set<Promise<unknown>> | null = null;
  /** What `bytes` was when the fast path was let in last. */
  #shown: Uint8Array<ArrayBuffer> = NO_BYTES;
  #shownBuffer: ArrayBuffer = NO_WINDOW.buffer;
  /** Serves one scope after the other. */
  #spare: Arena | null = null;

  constructor(kind: Kind, hold: Hold, parent: Arena | null) {
    this.kind = kind;
    this.hold = hold;
    this.parent = parent;
    this.depth = parent === null ? 0 : parent.depth + 1;
    this.windows = hold.level(this.depth);
  }

  /** Offset of the cursor. */
  get position(): number {
    return this.base + this.cursor + this.beyond;
  }

  // ---- the bump --------------------------------------------------------------------------------

  /**
   * Takes `byteLength` bytes and returns their position in the window. A full region is an error, or -1 when it is `tryAlloc`
   * that asks.
   */
  take(byteLength: number, align: number | undefined, what: What): number {
    if (typeof byteLength === "number" && (byteLength | 0) === byteLength && byteLength > 0) {
      const mask = align === undefined ? DEFAULT_ALIGN - 1 : maskOf(align);
      const start = (this.cursor + mask) & ~mask;
      const end = start + byteLength;
      if (end <= this.bytes.length && mask >= 0) {
        this.cursor = end;
        return start;
      }
    }
    return this.#takeSlowly(byteLength, align, what);
  }

  /** The request that did not fit. */
  full(requested: number, align: number = DEFAULT_ALIGN, what: What): OutOfMemoryError {
    return new OutOfMemoryError({ requested, align, used: this.used, capacity: this.hold.capacity }, what);
  }

  /** Runs when the window has no room, is lost or locked, or the request is an unusual one. */
  #takeSlowly(byteLength: number, align: number | undefined, what: What): number {
    checkSize(byteLength, what);
    this.checkUsable(what);
    if (align === undefined) align = DEFAULT_ALIGN;
    else checkAlign(align, this.hold.capacity, what);
    if (byteLength === 0) return this.#takeNothing(align);
    if (this.#isEmpty && !this.#hasRoom(byteLength, align)) this.#startOver();
    const start = this.#place(byteLength, align, this.position);
    if (start < 0) {
      if (typeof what === "function" && what.name === "tryAlloc") return -1;
      throw this.full(byteLength, align, what);
    }
    if (this.hold.zero) this.clear(start, byteLength);
    return start;
  }

  /** Moves the cursor behind a block that begins at offset `position` or above. Returns -1 when the region is full. */
  #place(byteLength: number, align: number, position: number): number {
    const { hold } = this;
    if (byteLength > hold.capacity) return -1;
    const start = hold.chunks.place(position, byteLength, align);
    if (start < 0) return -1;
    hold.debug?.leave(position, start + byteLength);
    this.#enter(start, start + byteLength);
    return start - this.base;
  }

  /** Makes a window current that shows [start, end), and puts the cursor at `end`. */
  #enter(start: number, end: number): void {
    const { base } = this;
    const length = lengthOf(this.buffer);
    if (length === 0 || start < base || end > base + length || start - base > MAX_POSITION) {
      this.note();
      const window = this.windows.open(start, end, this.hold.chunks.endAt(start), length);
      this.high = 0;
      this.buffer = window.buffer;
      this.base = window.base;
    }
    this.#seek(start, end);
  }

  /** Puts the cursor at offset `end` of the current window, behind a block at `start`. */
  #seek(start: number, end: number): void {
    const isBeyond = end - this.base > MAX_POSITION;
    this.cursor = (isBeyond ? start : end) - this.base;
    this.beyond = isBeyond ? end - start : 0;
    this.#unlock();
  }

  /** Sets the limit of the fast path: 0 where the slow path must see each request. */
  #unlock(): void {
    const { hold, base, buffer } = this;
    this.floor = hold.poison || this.beyond > 0 ? NO_FLOOR : this.#lowest;
    const limit = Math.min(hold.chunks.endAt(this.position) - base, lengthOf(buffer), MAX_POSITION);
    if (limit <= 0 || this.beyond > 0 || hold.zero || hold.debug !== null) {
      this.bytes = NO_BYTES;
      return;
    }
    if (this.#shown.length !== limit || this.#shownBuffer !== buffer) {
      this.#shown = new OwnUint8Array(buffer, 0, limit);
      this.#shownBuffer = buffer;
    }
    this.bytes = this.#shown;
  }

  /** Sends every request to the slow path. */
  #lock(): void {
    this.bytes = NO_BYTES;
    this.floor = NO_FLOOR;
  }

  /** Position where one's own bytes begin in the window. */
  get #lowest(): number {
    return Math.max(0, this.hold.chunks.startAt(this.position) - this.base);
  }

  /** Whether the current window has room for a block at the cursor. */
  #hasRoom(byteLength: number, align: number): boolean {
    const { position } = this;
    const end = alignUp(this.hold.address, position, align) + byteLength;
    return end <= Math.min(this.base + lengthOf(this.buffer), this.hold.chunks.endAt(position));
  }

  /** Has no window: the next request opens one. The cursor is at an offset. */
  #leave(offset: number): void {
    this.#lock();
    this.buffer = NO_WINDOW.buffer;
    this.base = offset;
    this.cursor = this.beyond = this.high = 0;
  }

  /** An empty block: at the cursor, aligned downwards, so that it takes no space. */
  #takeNothing(align: number): number {
    if (lengthOf(this.buffer) === 0 || this.beyond > 0) {
      const { chunks, knownCursor } = this.hold;
      const start = chunks.place(this.position, 1, 1);
      // When everything is taken by others, behind the last byte: a view of no bytes shows none of theirs.
      if (start < 0) this.windows.open(knownCursor - 1, knownCursor, knownCursor, 0);
      const at = start < 0 ? knownCursor : start;
      this.#enter(Math.max(at - 1, start), at);
    }
    this.top = Math.max(this.top, this.position); // like a mark: a frame that starts over would end this view, too
    const past = (this.hold.address + this.position) % align;
    return Math.max(0, Math.min(this.cursor, lengthOf(this.buffer)) - past);
  }

  /** Throws when nothing may be allocated here now. */
  checkUsable(what: What): void {
    this.checkOpen(what);
    if (this.child !== null) throw this.#scopeError(what);
    // deno-lint-ignore no-this-alias -- a walk that starts here
    for (let arena: Arena | null = this; arena !== null; arena = arena.parent) {
      if (arena.isLost) throw new DetachedError(what);
    }
    this.settle();
  }

  /** Throws when there is no position to mark. Ended frames do not matter to that. */
  checkMarkable(what: What): void {
    this.checkOpen(what);
    if (this.child !== null) throw this.#scopeError(what);
    if (this.isLost) throw new DetachedError(what);
  }

  #scopeError(what: What): ScopeError {
    return new ScopeError(what, this.hold.debug?.openAt(this.depth + 1));
  }

  /** Throws when closed. */
  checkOpen(what: What): void {
    if (!this.closed) return;
    if (this.kind === "lease") throw new ClosedError(what, "lease", "went back to its pool");
    throw new ClosedError(what, this.kind);
  }

  /** Whether the current window was transferred away. */
  get isLost(): boolean {
    return this.buffer !== NO_WINDOW.buffer && isDetached(this.buffer);
  }

  // ---- what was used ---------------------------------------------------------------------------

  /** Remembers that bytes of this window were used. */
  note(): void {
    if (this.buffer === NO_WINDOW.buffer) return;
    this.hold.chunks.note(this.base + Math.max(this.high, this.cursor) + this.beyond);
  }

  /** Clears what was used before of a block that was just taken. */
  clear(start: number, byteLength: number): void {
    const used = Math.max(this.hold.chunks.used(this.base + start, byteLength), this.high - start);
    if (used > 0) new OwnUint8Array(this.buffer, start, Math.min(used, byteLength)).fill(0);
  }

  /** Notes, and poisons, what is taken back from offset `from` on. */
  #reclaim(from: number): void {
    this.note();
    if (!this.hold.poison) return;
    this.windows.reportLost(); // what was transferred away is its receiver's
    this.hold.reclaim(from, this.position);
  }

  /** Bytes of the region that are taken, by anyone. */
  get used(): number {
    if (this.closed) return 0;
    const { chunks, knownCursor } = this.hold;
    // What ended frames left between an arena and the frame that is open in it is free.
    let own = chunks.above(this.innermost.position);
    for (let arena = this.innermost; arena.parent !== null; arena = arena.parent) {
      if (arena.start > arena.parent.position) own += chunks.above(arena.parent.position) - chunks.above(arena.start);
    }
    return knownCursor - own;
  }

  /** The arena of the innermost open scope. */
  get innermost(): Arena {
    // deno-lint-ignore no-this-alias -- a walk that starts here
    let arena: Arena = this;
    while (arena.child !== null) arena = arena.child;
    return arena;
  }

  // ---- blocks ----------------------------------------------------------------------------------

  /** Whether [start, end) of a buffer is the last block here. */
  isLast(buffer: ArrayBufferLike, start: number, end: number): boolean {
    return buffer === this.buffer && end === this.cursor + this.beyond && end > start && start >= this.#lowest &&
      this.base + start >= this.start;
  }

  /**
   * The last block, from `start` to the cursor, gets another length: in place where there is room, else at the position
   * that is returned, with its contents.
   */
  resizeLast(start: number, byteLength: number, what: What): number {
    const { base, buffer, hold } = this;
    const offset = base + start;
    const end = this.cursor + this.beyond;
    const kept = Math.min(byteLength, end - start);
    this.note();
    // Ask for the block again from its own start: where there is room behind it, it stays.
    const moved = this.#place(byteLength, alignOf(start), offset);
    if (moved < 0) throw this.full(byteLength, DEFAULT_ALIGN, what);
    if (hold.poison) hold.reclaim(offset + kept, base + end);
    if (this.base + moved !== offset) {
      new OwnUint8Array(this.buffer, moved, kept).set(new OwnUint8Array(buffer, start, kept));
    }
    if (hold.zero) new OwnUint8Array(this.buffer, moved + kept, byteLength - kept).fill(0);
    this.top = Math.min(this.top, this.position); // marks behind a block that was cut are void
    return moved;
  }

  // ---- marks -----------------------------------------------------------------------------------

  /** Takes back everything above an offset of this arena. */
  rewindTo(offset: number, what: What): void {
    this.checkOpen(what);
    if (this.child !== null) throw this.#scopeError(what);
    this.settle();
    this.windows.reportLost(); // what receivers see is nobody's before the cursor goes below it
    this.#reclaim(offset);
    this.top = offset;
    if (this.isLost && offset >= this.base) {
      this.cursor = offset - this.base; // the next request says that the window is lost
      this.beyond = 0;
      return;
    }
    if (offset < this.base + this.#lowest || lengthOf(this.buffer) === 0) {
      const window = this.windows.showing(offset, offset + 1);
      this.#leave(offset);
      if (window === NO_WINDOW) return;
      this.buffer = window.buffer;
      this.base = window.base;
    } else this.high = Math.max(this.high, this.cursor);
    this.#seek(offset, offset);
  }

  // ---- views -----------------------------------------------------------------------------------

  /** A view that the current window does not show, or not as allocated bytes. */
  viewElsewhere(offset: number, byteLength: number, what: What): { buffer: ArrayBuffer; start: number } {
    checkSize(offset, what, "offset");
    checkSize(byteLength, what);
    this.checkOpen(what);
    const { hold, windows } = this;
    // Asking how far others have taken is a call: a window that shows the bytes is as good.
    let window = hold.isShared ? windows.showing(offset, offset + byteLength) : NO_WINDOW;
    if (window === NO_WINDOW) {
      const end = hold.isShared ? hold.cursor : this.position;
      if (offset + byteLength > end) {
        const shown = formatBytes(byteLength);
        throw cannot(RangeError, what, `of ${shown} at offset ${offset} some were never allocated (${end} bytes are)`);
      }
      if (end === 0) {
        const start = this.take(0, undefined, what);
        return { buffer: this.buffer, start };
      }
      // A view of no bytes is over a window, too: its address is not NULL.
      const first = byteLength > 0 ? offset : Math.min(offset, end - 1);
      const last = Math.max(offset + byteLength, first + 1);
      window = windows.showing(first, last);
      if (window === NO_WINDOW) {
        if (this.isLost || windows.hasLost) throw new DetachedError(what);
        window = windows.open(first, last, end, 0);
      }
    }
    return { buffer: window.buffer, start: offset - window.base };
  }

  /**
   * The offset of a window if bytes at `start` of it are live memory of this arena, of one inside, or of one around it from
   * level `depth` on; else -1. Memory that `rewind` took back still counts: its views are alive.
   */
  baseOf(buffer: ArrayBufferLike, start: number, depth: number): number {
    for (let arena: Arena | null = this.innermost; arena !== null && arena.depth >= depth; arena = arena.parent) {
      const { base, end } = arena.windows.of(buffer);
      if (end === 0) continue;
      const offset = base + start;
      // Between an arena's position and the frame that is open in it lie the bytes of frames that have ended.
      const isOwn = offset >= arena.start || (arena.parent !== null && offset < arena.parent.position);
      return isOwn && (depth === 0 || offset >= this.start) && !isDetached(buffer as ArrayBuffer) ? base : -1;
    }
    return -1;
  }

  // ---- scopes and frames -----------------------------------------------------------------------

  /** Opens a scope. */
  open(what: What): Arena {
    if (this.bytes.length === 0) this.checkUsable(what);
    if (this.high > this.cursor) this.note();
    const child = this.#spare ??= new Arena("scope", this.hold, this);
    child.isFrame = false;
    child.start = this.position;
    child.top = -1;
    child.#leave(child.start);
    this.child = child;
    this.#lock();
    this.hold.debug?.open(child.kind, child.depth, child.start);
    return child;
  }

  /** Opens a frame: where one has ended before, behind its bytes, in the same window. */
  openFrame(what: What): Arena {
    const spare = this.#spare;
    if (spare === null || !spare.ended || this.child !== null || spare.bytes.length === 0) {
      const child = this.open(what);
      child.isFrame = !this.hold.poison; // what shows the poison at once has ended at once
      return child;
    }
    spare.start = spare.base + spare.cursor;
    spare.top = -1;
    this.child = spare;
    return spare;
  }

  /**
   * Takes a scope's memory back. The views of a frame die when the window is used up, or the memory is needed for something
   * else. If the stack overflows in here, it can be called again.
   */
  end(what: What): void {
    if (this.child !== null) throw this.#scopeError(what);
    if (this.#pins !== null) this.checkPins(what);
    this.settle();
    const parent = this.parent!;
    if (this.isFrame) {
      this.ended = true;
      parent.child = null; // the fast path stays out of it
    } else {
      this.#detach();
      this.hold.debug?.close(this.depth);
      parent.child = null;
      parent.#unlock();
    }
  }

  /** Ends every view of this level. */
  #detach(): void {
    if (this.buffer !== NO_WINDOW.buffer) this.#reclaim(this.start);
    this.windows.end();
    this.ended = false;
    this.#leave(this.start);
  }

  /** Ends the views of frames that have ended, and lets the fast path in again. */
  settle(): void {
    const spare = this.#spare;
    if (spare === null || !spare.ended || this.child !== null) return;
    spare.#detach();
    this.#unlock();
  }

  /** Nothing is allocated here yet, and there is no mark. */
  get #isEmpty(): boolean {
    return this.top < 0 && this.position === this.start;
  }

  /** Where nothing is allocated yet, here and in the scopes around, frames go back to where the first one began. */
  #startOver(): void {
    const { parent } = this;
    if (parent === null || !this.#isEmpty) return;
    parent.#startOver();
    if (this.ended) this.#detach();
    if (this.start === parent.position) return;
    this.start = parent.position;
    this.#leave(this.start);
  }

  // ---- pins ------------------------------------------------------------------------------------

  /** Keeps the memory from ending until a promise settles; and `user` from being collected. */
  pin(promise: PromiseLike<unknown>, user: object): void {
    const pins = this.#pins ??= new Set();
    const { hold } = this;
    hold.pins++;
    const unpin = async () => {
      try {
        await promise; // never goes on at once, whatever a thenable does
      } catch { /* whoever has the promise handles it */ }
      hold.pins--;
      hold.debug?.unpin(settled);
      if (user !== null) pins.delete(settled);
    };
    const settled: Promise<void> = unpin();
    pins.add(settled);
    hold.debug?.pin(settled, this.depth);
  }

  /** Pinned promises of this arena and its scopes. */
  get pins(): number {
    let count = 0;
    // deno-lint-ignore no-this-alias -- a walk that starts here
    for (let arena: Arena | null = this; arena !== null; arena = arena.child) count += arena.#pins?.size ?? 0;
    return count;
  }

  /** Throws when a pinned promise uses this arena or one inside. */
  checkPins(what: What): void {
    const { pins } = this;
    if (pins > 0) throw new PinnedError(what, pins, this.hold.debug?.pinsFrom(this.depth));
  }

  /** Waits for the pinned promises of this arena and its scopes. */
  async settlePins(): Promise<void> {
    // deno-lint-ignore no-this-alias -- a walk that starts here
    for (let arena: Arena | null = this; arena !== null; arena = arena.child) {
      while (arena.#pins !== null && arena.#pins.size > 0) await Promise.all(arena.#pins);
    }
  }

  // ---- the end of all --------------------------------------------------------------------------

  /** Takes all memory of an allocator back, and ends its scopes. All or nothing. */
  reset(what: What): void {
    this.checkPins(what);
    this.hold.prepareEnd();
    this.#reclaimAll();
    this.hold.endAll();
    this.#closeScopes();
    this.life = (this.life + 1) | 0;
    this.top = 0;
    this.#leave(0);
  }

  /** Gives the pages above `retain` bytes that are not in use back to the system. */
  trim(retain: number): void {
    const { innermost } = this;
    innermost.settle();
    this.hold.reportLost(); // what receivers see keeps its pages, and nobody may go on allocating there
    innermost.#unlock();
    innermost.#noteAll();
    this.hold.discard(Math.max(retain, innermost.position));
    for (let arena: Arena | null = innermost; arena !== null; arena = arena.parent) arena.high = 0;
  }

  /** Ends an allocator and its scopes, but not its hold. */
  close(): void {
    const { hold } = this;
    try {
      this.#reclaimAll();
      if (hold.isShared) hold.giveBack(this.innermost.position);
    } catch (error) {
      ignoreRevocation(error); // nobody sees these bytes any more, poisoned or not
    }
    this.#closeScopes();
    this.#leave(0);
    this.closed = true;
    hold.debug?.close(0);
  }

  /** Notes what this arena and those around it have used, and ended frames in it. */
  #noteAll(): void {
    this.#spare?.note();
    // deno-lint-ignore no-this-alias -- a walk that starts here
    for (let arena: Arena | null = this; arena !== null; arena = arena.parent) arena.note();
  }

  #reclaimAll(): void {
    this.innermost.#noteAll();
    if (!this.hold.poison) return;
    this.hold.reportLost(); // what receivers see is not poisoned
    this.hold.reclaim(0, this.innermost.position);
  }

  /** Scopes that are open are closed from now on. */
  #closeScopes(): void {
    for (let arena = this.innermost; arena !== this; arena = arena.parent!) {
      arena.#leave(0);
      arena.closed = true;
      arena.ended = false;
    }
    this.child = this.#spare = null;
    this.hold.debug?.close(1);
  }
}

/** What is behind a scope that has ended. */
export const ENDED_SCOPE: Arena = new Arena("scope", { level: () => undefined } as unknown as Hold, null);
ENDED_SCOPE.closed = true;
