import { isDetached, lengthOf } from "./buffers.ts";
import { checkAlign, checkSize } from "./check.ts";
import { cannot, ClosedError, DetachedError, OutOfMemoryError, PinnedError, ScopeError, type What } from "./errors.ts";
import { formatBytes } from "./format.ts";
import { type Hold, ignoreRevocation } from "./hold.ts";
import { alignOf, alignUp, maskOf, MAX_POSITION } from "./offsets.ts";
import { NO_WINDOW, type Windows } from "./windows.ts";

// Captured once: a program may replace the globals with classes that allocate.
const { Uint8Array: OwnUint8Array } = globalThis;

const DEFAULT_ALIGN = 8;

/** Above every position, so that each rewind takes the slow path. */
const NO_FLOOR = MAX_POSITION + 1;

/** Sentinel for `bytes` while the fast path is locked: no request fits. */
const NO_BYTES = new OwnUint8Array(NO_WINDOW.buffer);

/** What the user calls this arena in errors. */
type Kind = "allocator" | "lease" | "scope";

/**
 * The state behind a {@linkcode BumpAlloc} or {@linkcode BumpScope}: the bump and its one slow path. Its fields are
 * public because the files that write text, copies and out-parameters work on it directly.
 *
 * The arena's position is `base + cursor + beyond`. Everything from `start` up to it is allocated. Bytes of the window
 * above `base + max(high, cursor)` were never used.
 */
export class Arena {
  /** Position in the window. */
  cursor = 0;
  /**
   * The bytes of the window that the fast path may hand out; the length is its limit. `NO_BYTES` while another arena
   * has the memory or every request needs the slow path. A transferred window has length 0 too, so the same check
   * notices it.
   */
  bytes: Uint8Array<ArrayBuffer> = NO_BYTES;
  /** The window, over which views are made. */
  buffer: ArrayBuffer = NO_WINDOW.buffer;
  /** Offset of the window. */
  base = 0;
  /**
   * Lowest position to which the fast path rewinds: blocks below may have been shown by another window, which may have
   * been transferred away. `NO_FLOOR` while every rewind needs the slow path.
   */
  floor = NO_FLOOR;
  /** Highest cursor in this window before it moved back; bytes above were never used. */
  high = 0;
  /**
   * Length of a last block that ends beyond `MAX_POSITION`, else 0. The cursor then stands at the start of that block.
   */
  beyond = 0;
  /** Offset of the latest valid mark; marks above it are void. Negative when there is none. */
  top = 0;
  /** Counts resets: a mark is good only until the next one. */
  life = 0;
  /** Offset where this arena began. */
  start = 0;
  /** The open scope, if any. */
  child: Arena | null = null;
  /** Closed, ended or returned: every call is refused. */
  closed = false;
  /** A scope whose views may outlive it until the window is needed. */
  isFrame = false;
  /** The `BumpAlloc` of a root arena. Scopes refer to it here, so that it is not collected while they are in use. */
  user: object | null = null;
  /**
   * Frames that used this arena have ended, and their views are not detached yet. Those views show bytes from the
   * parent's position upwards.
   */
  ended = false;
  readonly kind: Kind;
  readonly hold: Hold;
  readonly parent: Arena | null;
  readonly windows: Windows;
  readonly depth: number;
  #pins: Set<Promise<unknown>> | null = null;
  /** The latest `bytes` other than `NO_BYTES`, reused while the limit stays the same. */
  #shown: Uint8Array<ArrayBuffer> = NO_BYTES;
  #shownBuffer: ArrayBuffer = NO_WINDOW.buffer;
  /** Offset where the cursor came into the current window, or up to which another one was used for a view. */
  #entered = 0;
  /** The arena of the last scope that ended; the next scope reuses it. */
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
   * Takes `byteLength` bytes and returns their position in the window. When the region is full it throws, or returns -1
   * for `tryAlloc`.
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

  /** The error for a request that does not fit. */
  full(requested: number, align: number = DEFAULT_ALIGN, what: What): OutOfMemoryError {
    return new OutOfMemoryError({ requested, align, used: this.used, capacity: this.hold.capacity }, what);
  }

  /** Runs when the window has no room, is lost or is locked, and for invalid, empty or largely aligned requests. */
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

  /**
   * Places a block at offset `position` or above, and the cursor behind it. Returns the block's position, or -1 when
   * the region is full.
   */
  #place(byteLength: number, align: number, position: number): number {
    const { hold } = this;
    if (byteLength > hold.capacity) return -1;
    const start = hold.chunks.place(position, byteLength, align);
    if (start < 0) return -1;
    hold.debug?.leave(position, start + byteLength);
    this.#enter(start, start + byteLength);
    return start - this.base;
  }

  /** Switches to a window that shows [start, end), and puts the cursor at `end`. */
  #enter(start: number, end: number): void {
    const { base } = this;
    const length = lengthOf(this.buffer);
    if (length === 0 || start < base || end > base + length || start - base > MAX_POSITION) {
      this.note();
      const window = this.windows.open(start, end, this.hold.chunks.endAt(start), length);
      this.high = 0;
      this.buffer = window.buffer;
      this.base = window.base;
      this.#entered = start;
    }
    this.#seek(start, end);
  }

  /** Puts the cursor at offset `end`, behind a block at `start`, within the current window. */
  #seek(start: number, end: number): void {
    const isBeyond = end - this.base > MAX_POSITION;
    this.cursor = (isBeyond ? start : end) - this.base;
    this.beyond = isBeyond ? end - start : 0;
    this.#unlock();
  }

  /** Sets the limits of the fast path; to none where every request needs the slow path. */
  #unlock(): void {
    const { hold, base, buffer } = this;
    this.floor = hold.poison || this.beyond > 0 ? NO_FLOOR : Math.max(this.#lowest, this.#entered - base);
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

  /** Position in the window where this arena's own chunk begins. */
  get #lowest(): number {
    return Math.max(0, this.hold.chunks.startAt(this.position) - this.base);
  }

  /** Whether the current window has room for a block at the cursor. */
  #hasRoom(byteLength: number, align: number): boolean {
    const { position } = this;
    const end = alignUp(this.hold.address, position, align) + byteLength;
    return end <= Math.min(this.base + lengthOf(this.buffer), this.hold.chunks.endAt(position));
  }

  /** Drops the window and keeps only an offset; the next request opens a window. */
  #leave(offset: number): void {
    this.#lock();
    this.buffer = NO_WINDOW.buffer;
    this.base = offset;
    this.cursor = this.beyond = this.high = 0;
  }

  /** Places an empty block: the cursor aligned downwards, so that it takes no space. */
  #takeNothing(align: number): number {
    if (lengthOf(this.buffer) === 0 || this.beyond > 0) {
      const { chunks, knownCursor } = this.hold;
      const start = chunks.place(this.position, 1, 1);
      // If others have taken everything, it goes behind the last byte: a view of no bytes shows nothing of theirs.
      if (start < 0) this.windows.open(knownCursor - 1, knownCursor, knownCursor, 0);
      const at = start < 0 ? knownCursor : start;
      this.#enter(Math.max(at - 1, start), at);
    }
    this.top = Math.max(this.top, this.position); // as a mark: no frame starts over below this view
    const past = (this.hold.address + this.position) % align;
    return Math.max(0, Math.min(this.cursor, lengthOf(this.buffer)) - past);
  }

  /** Throws unless this arena may allocate now. */
  checkUsable(what: What): void {
    this.checkOpen(what);
    if (this.child !== null) throw this.#scopeError(what);
    // deno-lint-ignore no-this-alias -- a walk that starts here
    for (let arena: Arena | null = this; arena !== null; arena = arena.parent) {
      if (arena.isLost) throw new DetachedError(what);
    }
    this.settle();
  }

  /** Throws unless the cursor may be marked. Ended frames need not be settled for that. */
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
    if (this.kind === "scope") throw new ClosedError(what, "scope", "has ended");
    throw new ClosedError(what, this.kind);
  }

  /** Whether the current window was transferred away. */
  get isLost(): boolean {
    return this.buffer !== NO_WINDOW.buffer && isDetached(this.buffer);
  }

  // ---- used bytes ------------------------------------------------------------------------------

  /** Records in the chunk how much of this window was used. */
  note(): void {
    if (this.buffer === NO_WINDOW.buffer) return;
    this.hold.chunks.note(this.base + Math.max(this.high, this.cursor) + this.beyond);
  }

  /** Zeroes those bytes of a newly taken block that were used before. */
  clear(start: number, byteLength: number): void {
    const used = Math.max(this.hold.chunks.used(this.base + start, byteLength), this.high - start);
    if (used > 0) new OwnUint8Array(this.buffer, start, Math.min(used, byteLength)).fill(0);
  }

  /** Records the bytes from offset `from` upwards as used, and poisons them if asked to. */
  #reclaim(from: number): void {
    this.note();
    if (!this.hold.poison) return;
    this.windows.reportLost(); // transferred bytes belong to their receiver and stay as they are
    this.hold.reclaim(from, this.position);
  }

  /** Bytes of the region that anyone has taken. */
  get used(): number {
    if (this.closed) return 0;
    const { chunks, knownCursor } = this.hold;
    // Bytes of ended frames, between an arena's position and the frame open in it, count as free.
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
   * Resizes the last block, which spans `start` to the cursor: in place where there is room, else by copying. Returns
   * its position.
   */
  resizeLast(start: number, byteLength: number, what: What): number {
    const { base, buffer, hold } = this;
    const offset = base + start;
    const end = this.cursor + this.beyond;
    const kept = Math.min(byteLength, end - start);
    this.windows.reportLost(); // what another window's receiver sees is not reused
    this.note();
    // Place the block again from its own start: it stays there if there is room behind it.
    const moved = this.#place(byteLength, alignOf(start), offset);
    if (moved < 0) throw this.full(byteLength, DEFAULT_ALIGN, what);
    // It may have moved to behind a lost window, within its own bytes.
    if (hold.poison) hold.reclaim(Math.max(offset + kept, this.position), base + end);
    if (this.base + moved !== offset) {
      new OwnUint8Array(this.buffer, moved, kept).set(new OwnUint8Array(buffer, start, kept));
    }
    if (hold.zero) new OwnUint8Array(this.buffer, moved + kept, byteLength - kept).fill(0);
    this.top = Math.min(this.top, this.position); // marks behind a block that was cut are void
    return moved;
  }

  // ---- marks -----------------------------------------------------------------------------------

  /** Takes back everything from an offset of this arena upwards. */
  rewindTo(offset: number, what: What): void {
    this.checkOpen(what);
    if (this.child !== null) throw this.#scopeError(what);
    this.settle();
    this.windows.reportLost(); // cut transferred windows out of the chunks before the cursor moves below them
    this.#reclaim(offset);
    this.top = offset;
    if (this.isLost && offset >= this.base) {
      this.cursor = offset - this.base; // the next request reports the lost window
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
    this.#entered = offset;
    this.#seek(offset, offset);
  }

  // ---- views -----------------------------------------------------------------------------------

  /** Finds the buffer for a view that the fast path cannot make: in another window, or with an invalid range. */
  viewElsewhere(offset: number, byteLength: number, what: What): { buffer: ArrayBuffer; start: number } {
    checkSize(offset, what, "offset");
    checkSize(byteLength, what);
    this.checkOpen(what);
    const { hold, windows } = this;
    // The native cursor costs an FFI call; a window that shows the bytes proves the same.
    let window = hold.isShared ? windows.showing(offset, offset + byteLength) : NO_WINDOW;
    if (window === NO_WINDOW) {
      const end = hold.isShared ? hold.cursor : this.position;
      if (offset + byteLength > end) {
        const bytes = `${formatBytes(byteLength)} at offset ${offset}`;
        throw cannot(RangeError, what, `the ${bytes} are not all allocated: the region is used up to offset ${end}`);
      }
      if (end === 0) {
        const start = this.take(0, undefined, what);
        return { buffer: this.buffer, start };
      }
      // An empty view needs a window as well, so that its address is not NULL.
      const first = byteLength > 0 ? offset : Math.min(offset, end - 1);
      const last = Math.max(offset + byteLength, first + 1);
      window = windows.showing(first, last);
      if (window === NO_WINDOW) {
        if (this.isLost || windows.hasLost) throw new DetachedError(what);
        window = windows.open(first, last, end, 0);
      }
    }
    if (window.buffer !== this.buffer) {
      this.#entered = Math.max(this.#entered, window.end);
      this.floor = Math.max(this.floor, window.end - this.base);
    }
    return { buffer: window.buffer, start: offset - window.base };
  }

  /**
   * The offset of a buffer's window, if the byte at `start` of it is live memory of this arena, of a scope inside, or
   * of an arena around it down to level `depth`; else -1. Memory taken back by `rewind` counts as live, because its
   * views are.
   */
  baseOf(buffer: ArrayBufferLike, start: number, depth: number): number {
    for (let arena: Arena | null = this.innermost; arena !== null && arena.depth >= depth; arena = arena.parent) {
      const { base, end } = arena.windows.of(buffer);
      if (end === 0) continue;
      const offset = base + start;
      // Bytes between the parent's position and this frame's start belong to frames that have ended.
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
    return child;
  }

  /** Opens a frame. If frames have ended before it, it begins behind their bytes in the same window. */
  openFrame(what: What): Arena {
    const spare = this.#spare;
    if (spare === null || !spare.ended || this.child !== null || spare.bytes.length === 0) {
      const child = this.open(what);
      child.isFrame = !this.hold.poison; // with poison, memory must be detached at once: such a frame is a scope
      return child;
    }
    spare.start = spare.base + spare.cursor;
    spare.top = -1;
    this.child = spare;
    return spare;
  }

  /**
   * Takes a scope's memory back. Views of a frame are detached later: when the window is full, or when the parent
   * allocates. After a stack overflow in here it can be called again.
   */
  end(what: What): void {
    if (this.child !== null) throw this.#scopeError(what);
    if (this.#pins !== null) this.checkPins(what);
    this.settle();
    const parent = this.parent!;
    if (this.isFrame) {
      this.ended = true;
      parent.child = null; // the parent's fast path stays locked until the views are detached
    } else {
      this.#detach();
      this.hold.debug?.close(this.depth);
      parent.child = null;
      parent.#unlock();
    }
  }

  /** Detaches every view of this level. */
  #detach(): void {
    if (this.buffer !== NO_WINDOW.buffer) this.#reclaim(this.start);
    this.windows.end();
    this.ended = false;
    this.#leave(this.start);
  }

  /** Detaches the views of ended frames, and unlocks the fast path. */
  settle(): void {
    const spare = this.#spare;
    if (spare === null || !spare.ended || this.child !== null) return;
    spare.#detach();
    this.#unlock();
  }

  /** Whether nothing is allocated here yet and no mark is set. */
  get #isEmpty(): boolean {
    return this.top < 0 && this.position === this.start;
  }

  /**
   * Moves an empty arena back to its parent's position, over the bytes of ended frames; first the arenas around it, if
   * they are empty too.
   */
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

  /** Until a promise settles: refuses to take the memory back, and keeps `user` from being collected. */
  pin(promise: PromiseLike<unknown>, user: object): void {
    const pins = this.#pins ??= new Set();
    const { hold } = this;
    hold.pins++;
    const unpin = async () => {
      try {
        await promise; // `await` always yields, even for a thenable that settles at once
      } catch { /* the caller has the promise and handles its error */ }
      hold.pins--;
      hold.debug?.unpin(settled);
      if (user !== null) pins.delete(settled);
    };
    const settled: Promise<void> = unpin();
    pins.add(settled);
    hold.debug?.pin(settled, this.depth);
  }

  /** Number of pinned promises of this arena and its open scopes. */
  get pins(): number {
    let count = 0;
    // deno-lint-ignore no-this-alias -- a walk that starts here
    for (let arena: Arena | null = this; arena !== null; arena = arena.child) count += arena.#pins?.size ?? 0;
    return count;
  }

  /** Throws when a pinned promise uses this arena or a scope inside. */
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

  /** Takes all memory of an allocator back and ends its scopes, or throws and changes nothing. */
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

  /** Gives unused pages above `retain` bytes back to the system. */
  trim(retain: number): void {
    const { innermost } = this;
    innermost.settle();
    this.hold.reportLost(); // transferred windows keep their pages, and are cut out of the chunks
    innermost.#unlock();
    innermost.#noteAll();
    this.hold.discard(Math.max(retain, innermost.position));
    for (let arena: Arena | null = innermost; arena !== null; arena = arena.parent) arena.high = 0;
  }

  /** Closes an allocator's arena and its scopes, but not its hold. */
  close(): void {
    const { hold } = this;
    try {
      this.#reclaimAll();
      if (hold.isShared) hold.giveBack(this.innermost.position);
    } catch (error) {
      ignoreRevocation(error); // without the permission the bytes stay unpoisoned; no view of them is left
    }
    this.#closeScopes();
    this.#leave(0);
    this.closed = true;
    hold.debug?.close(0);
  }

  /** Records what this arena, those around it and ended frames in it have used. */
  #noteAll(): void {
    this.#spare?.note();
    // deno-lint-ignore no-this-alias -- a walk that starts here
    for (let arena: Arena | null = this; arena !== null; arena = arena.parent) arena.note();
  }

  #reclaimAll(): void {
    this.innermost.#noteAll();
    if (!this.hold.poison) return;
    this.hold.reportLost(); // before poisoning: transferred bytes belong to their receiver
    this.hold.reclaim(0, this.innermost.position);
  }

  /** Closes all open scopes. */
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

/** Sentinel: the arena of every scope that has ended. */
export const ENDED_SCOPE: Arena = new Arena("scope", { level: () => undefined } as unknown as Hold, null);
ENDED_SCOPE.closed = true;
