import { alignUp } from "./offsets.ts";

/** A run of committed bytes that an allocator took from the native cursor. All are offsets. */
export interface Chunk {
  start: number;
  end: number;
  /** Bytes from here to `end` were never used, so they are zero. */
  dirty: number;
}

/** Where chunks come from: the native region. */
export interface ChunkSource {
  /** Address of offset 0. */
  readonly address: number;
  /** Offset of the native cursor. */
  readonly cursor: number;
  /** Takes at least `minimum` bytes, or more as the growth policy says; null when the region has not that many left. */
  take(minimum: number, align: number): Chunk | null;
  /** Gives [from, to) back if `to` is the native cursor, and says whether it was. */
  give(from: number, to: number): boolean;
}

/** The chunks of one allocator. They ascend; a chunk that continues the last one extends it. */
export class Chunks {
  readonly list: Chunk[] = [];
  /** Highest offset in use so far. */
  peak = 0;
  readonly #source: ChunkSource;

  constructor(source: ChunkSource) {
    this.#source = source;
  }

  /** Index of the chunk that an offset is in or behind; -1 when it is before all. */
  #at(offset: number): number {
    const list = this.list;
    let i = list.length - 1;
    while (i >= 0 && list[i].start > offset) i--;
    return i;
  }

  /** Where the chunk begins that `offset` is in or behind; `offset` itself when it is before all. */
  startAt(offset: number): number {
    const i = this.#at(offset);
    return i < 0 ? offset : this.list[i].start;
  }

  /** Where the chunk ends that `offset` is in; `offset` itself, or less, when it is in none. */
  endAt(offset: number): number {
    const i = this.#at(offset);
    return i < 0 ? 0 : this.list[i].end;
  }

  /**
   * Finds room for `byteLength` bytes at `position` or above, and takes more of the region when there is none. Returns
   * the offset, or -1 when the region is full. Until then nothing has changed.
   */
  place(position: number, byteLength: number, align: number): number {
    const { list } = this;
    const { address } = this.#source;
    for (let i = Math.max(this.#at(position), 0); i < list.length; i++) {
      const { start, end } = list[i];
      const offset = alignUp(address, Math.max(position, start), align);
      if (offset + byteLength <= end) return offset;
    }
    return this.#extend(position, byteLength, align);
  }

  #extend(position: number, byteLength: number, align: number): number {
    const source = this.#source;
    const last = this.list.at(-1);
    if (last !== undefined && source.cursor === last.end) {
      // Only what is missing is asked for, so that the last byte of the region can be had.
      const offset = alignUp(source.address, Math.max(position, last.start), align);
      const more = source.take(offset + byteLength - last.end, 1);
      if (more === null) return -1;
      if (more.start === last.end) {
        // One mark for the whole chunk: used bytes in what was added make all before them count as used.
        if (more.dirty > more.start) last.dirty = more.dirty;
        last.end = more.end;
        return offset;
      }
      source.give(more.start, more.end); // somebody else was faster
    }
    const chunk = source.take(byteLength, align);
    if (chunk === null) return -1;
    this.list.push(chunk);
    return chunk.start;
  }

  /** Remembers that everything below `offset` in its chunk was used. */
  note(offset: number): void {
    if (offset > this.peak) this.peak = offset;
    const i = this.#at(offset - 1);
    if (i < 0) return;
    const chunk = this.list[i];
    if (offset > chunk.dirty) chunk.dirty = Math.min(offset, chunk.end);
  }

  /** Of `byteLength` bytes at `offset`, how many from the first on may not be zero. */
  used(offset: number, byteLength: number): number {
    const i = this.#at(offset);
    return i < 0 ? 0 : Math.max(0, Math.min(this.list[i].dirty - offset, byteLength));
  }

  /** Own bytes from `offset` on. */
  above(offset: number): number {
    let bytes = 0;
    for (const { start, end } of this.list) bytes += Math.max(0, end - Math.max(offset, start));
    return bytes;
  }

  /** Calls `each` with the parts of [from, to) that are one's own and were used. */
  forEach(from: number, to: number, each: (from: number, to: number) => void): void {
    for (const { start, dirty } of this.list) {
      const low = Math.max(from, start);
      const high = Math.min(to, dirty);
      if (low < high) each(low, high);
    }
  }

  /**
   * Somebody else sees [base, end) for ever: nobody hands that out again until the region moves. Telling it twice changes
   * nothing more.
   */
  cut(base: number, end: number): void {
    const { list } = this;
    for (let i = list.length - 1; i >= 0; i--) {
      const chunk = list[i];
      if (chunk.end <= base || chunk.start >= end) continue;
      if (chunk.end > end) list.splice(i + 1, 0, { start: end, end: chunk.end, dirty: Math.max(chunk.dirty, end) });
      chunk.end = Math.max(chunk.start, base);
      chunk.dirty = Math.min(chunk.dirty, chunk.end);
    }
  }

  /** Gives what is above `position` back, as far as nobody took more since. */
  giveBack(position: number): void {
    const { list } = this;
    for (let last = list.at(-1); last !== undefined && last.end > position; last = list.at(-1)) {
      const from = Math.max(position, last.start);
      if (!this.#source.give(from, last.end)) return;
      last.end = from;
      last.dirty = Math.min(last.dirty, from);
      if (from > last.start) return;
      list.pop();
    }
  }

  /** Keeps the first chunk, if it begins at offset 0, and forgets the others. Returns where it ends. */
  keepFirst(): number {
    const { list } = this;
    const end = this.firstEnd;
    list.length = end > 0 ? 1 : 0;
    return end;
  }

  /** Where the first chunk ends if it begins at offset 0, else 0. */
  get firstEnd(): number {
    const first = this.list.at(0);
    return first !== undefined && first.start === 0 ? first.end : 0;
  }

  /** Forgets those that transfers have used up. */
  dropEmpty(): void {
    const { list } = this;
    for (let i = list.length - 1; i >= 0; i--) if (list[i].start === list[i].end) list.splice(i, 1);
  }
}
