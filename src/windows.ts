import { detach, isDetached, renew } from "./buffers.ts";
import { WINDOW_ALIGN, windowStep } from "./offsets.ts";

/** One `ArrayBuffer` over part of the region. It is lost once the program has transferred `buffer` away. */
export interface Window {
  buffer: ArrayBuffer;
  /** Offset of its first byte. */
  readonly base: number;
  /** Offset past its last byte; kept, because a lost buffer has length 0. */
  readonly end: number;
  /** Whether no view of it was made yet. */
  fresh: boolean;
}

/** The hold on a region: it makes windows, and is told of lost ones. */
export interface WindowMaker {
  /** The option `window`. */
  readonly window: number;
  /** False when windows are marked untransferable, and so cannot be detached either. */
  readonly transferable: boolean;
  /** A new `ArrayBuffer` over [base, base + byteLength). */
  makeWindow(base: number, byteLength: number): ArrayBuffer;
  /** Reports that a receiver sees [base, end), which must not be handed out again. Reporting twice is fine. */
  lose(base: number, end: number): void;
}

/** Sentinel: the window of an arena that has none. */
export const NO_WINDOW: Window = { buffer: new ArrayBuffer(0), base: 0, end: 0, fresh: false };

/** Every window of one level (0 is the allocator, 1 its scope, and so on). */
export class Windows {
  /** Sorted by base, then by length. Windows may overlap. */
  readonly #list: Window[] = [];
  readonly #maker: WindowMaker;
  /** Size that the growth policy allowed for the latest window, which may have been cut shorter. */
  #step = 0;

  constructor(maker: WindowMaker) {
    this.#maker = maker;
  }

  /** Number of windows whose views may be alive. */
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

  /** A window that shows [start, end); `NO_WINDOW` if there is none. */
  showing(start: number, end: number): Window {
    const list = this.#list;
    // Overlaps are rare, so the first candidate is usually right.
    for (let i = this.#above(start) - 1; i >= 0; i--) {
      const window = list[i];
      if (end <= window.end && !isDetached(window.buffer)) {
        window.fresh = false;
        return window;
      }
    }
    return NO_WINDOW;
  }

  /** Index of the first window whose base is above `offset`. */
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

  /** Returns a window that shows [start, end). A new one extends further, up to `limit`, by the growth policy. */
  open(start: number, end: number, limit: number, former: number): Window {
    const shown = this.showing(start, end);
    if (shown !== NO_WINDOW) return shown;
    const list = this.#list;
    if (list.length === 1 && list[0].fresh) this.clear(); // it does not show [start, end)
    const base = start - start % WINDOW_ALIGN;
    // If a chunk's end cut the former window short, go by the size that it was allowed.
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

  /** The window of a buffer; `NO_WINDOW` if it is not of this level. */
  of(buffer: ArrayBufferLike): Window {
    for (const window of this.#list) if (window.buffer === buffer) return window;
    return NO_WINDOW;
  }

  /** Reports lost windows to the maker. */
  reportLost(): void {
    for (const { buffer, base, end } of this.#list) if (isDetached(buffer)) this.#maker.lose(base, end);
  }

  /**
   * Detaches every view of the level. The first window stays, fresh, for the next user of the level. After a stack
   * overflow in here it can be called again.
   */
  end(): void {
    const list = this.#list;
    if (!this.#maker.transferable) return; // the next user of the level aliases the same windows
    while (list.length > 1) {
      this.#drop(list[list.length - 1]);
      list.pop();
    }
    if (list.length === 0 || list[0].fresh) return;
    const window = list[0];
    // Renewing detaches the views, keeps the memory, and costs a third of making a window.
    const buffer = renew(window.buffer);
    if (buffer === null) {
      this.#maker.lose(window.base, window.end);
      list.pop();
    } else {
      window.buffer = buffer;
      window.fresh = true;
    }
  }

  /** Detaches every view and drops the fresh window too, because the memory goes away. */
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

  /** Empties the list and returns it, for a dropped allocator: no reference may keep a buffer from being collected. */
  release(): Window[] {
    return this.#list.splice(0);
  }
}
