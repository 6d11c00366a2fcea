import { detach, isDetached, renew } from "./buffers.ts";
import { WINDOW_ALIGN, windowStep } from "./offsets.ts";

/** One `ArrayBuffer` over a part of the region. It is lost when the program transferred `buffer` away. */
export interface Window {
  buffer: ArrayBuffer;
  /** Offset of its first byte. */
  readonly base: number;
  /** Offset past its last byte. A lost buffer does not tell its length any more. */
  readonly end: number;
  /** Nobody has a view of it yet. */
  fresh: boolean;
}

/** Where windows come from and lost ones are reported: the hold on a region. */
export interface WindowMaker {
  /** The option `window`. */
  readonly window: number;
  /** False when windows cannot be detached, because nobody may transfer them. */
  readonly transferable: boolean;
  /** A new `ArrayBuffer` over [base, base + byteLength). */
  makeWindow(base: number, byteLength: number): ArrayBuffer;
  /** Somebody else sees [base, end) now and later: nothing of it may be handed out again. May be told twice. */
  lose(base: number, end: number): void;
}

/** Stands for the window of an arena that has none. */
export const NO_WINDOW: Window = { buffer: new ArrayBuffer(0), base: 0, end: 0, fresh: false };

/** The ledger of one level (0 is the allocator, 1 its scope, and so on): every `ArrayBuffer` of the level that has views. */
export class Windows {
  /** By base, ascending; of those with the same base the shorter ones first. Windows may overlap. */
  readonly #list: Window[] = [];
  readonly #maker: WindowMaker;
  /** What the policy allowed to the latest window that followed another one. */
  #step = 0;

  constructor(maker: WindowMaker) {
    this.#maker = maker;
  }

  /** Windows whose views may be alive. */
  get count(): number {
    const list = this.#list;
    return list.length > 0 && list[0].fresh ? list.length - 1 : list.length;
  }

  /** Whether a window of the level was transferred away. */
  get hasLost(): boolean {
    for (const { buffer } of this.#list) if (isDetached(buffer)) return true;
    return false;
  }

  /** Windows of the level that were transferred away. */
  get lost(): Window[] {
    return this.#list.filter(({ buffer }) => isDetached(buffer));
  }

  /** The window that shows [start, end); `NO_WINDOW` when there is none. */
  showing(start: number, end: number): Window {
    const list = this.#list;
    // Windows that overlap are rare: the first one that is looked at is usually right.
    for (let i = this.#above(start) - 1; i >= 0; i--) {
      const window = list[i];
      if (end <= window.end && !isDetached(window.buffer)) {
        window.fresh = false;
        return window;
      }
    }
    return NO_WINDOW;
  }

  /** Index of the first window that begins above `offset`. */
  #above(offset: number): number {
    const list = this.#list;
    let low = 0;
    let high = list.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (list[middle].base <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** A window that shows [start, end) and, if it is a new one, more: up to `limit`, as far as the growth policy goes. */
  open(start: number, end: number, limit: number, former: number): Window {
    const shown = this.showing(start, end);
    if (shown !== NO_WINDOW) return shown;
    const list = this.#list;
    if (list.length === 1 && list[0].fresh) this.clear(); // it is of no use
    const base = start - start % WINDOW_ALIGN;
    // Where a chunk ended before it, the former window is shorter than it might have been.
    const step = windowStep(this.#maker.window, former > 0 ? Math.max(former, this.#step) : 0, start);
    this.#step = former > 0 ? step : 0;
    const windowEnd = Math.min(Math.max(end, base + step), limit);
    const buffer = this.#maker.makeWindow(base, windowEnd - base);
    const window: Window = { buffer, base, end: windowEnd, fresh: false };
    let index = this.#above(base);
    while (index > 0 && list[index - 1].base === base && list[index - 1].end > windowEnd) index--;
    list.splice(index, 0, window);
    return window;
  }

  /** The window of a buffer; `NO_WINDOW` when it is none of this level. */
  of(buffer: ArrayBufferLike): Window {
    for (const window of this.#list) if (window.buffer === buffer) return window;
    return NO_WINDOW;
  }

  /** Tells the maker which windows are lost. */
  reportLost(): void {
    for (const { base, end } of this.lost) this.#maker.lose(base, end);
  }

  /**
   * Ends every view of the level: it has length 0 from now on. The first window stays, fresh, for the next user of the
   * level. If the stack overflows in here, it can be called again.
   */
  end(): void {
    const list = this.#list;
    if (!this.#maker.transferable) return; // nothing can be detached: the next user of the level aliases the same windows
    while (list.length > 1) {
      this.#drop(list[list.length - 1]);
      list.pop();
    }
    if (list.length === 0 || list[0].fresh) return;
    const window = list[0];
    // Renewing keeps the memory, detaches the views and costs a third of a new window.
    const buffer = renew(window.buffer);
    if (buffer === null) {
      this.#maker.lose(window.base, window.end);
      list.pop();
    } else {
      window.buffer = buffer;
      window.fresh = true;
    }
  }

  /** Ends every view, and drops the fresh window, too: its memory goes away. */
  clear(): void {
    const list = this.#list;
    if (!this.#maker.transferable) return;
    while (list.length > 0) {
      this.#drop(list[list.length - 1]);
      list.pop();
    }
  }

  #drop({ buffer, base, end }: Window): void {
    if (!detach(buffer)) this.#maker.lose(base, end);
  }

  /** Gives the windows out of the ledger, for an allocator that was dropped: nothing must refer to a buffer then. */
  release(): Window[] {
    return this.#list.splice(0);
  }
}
