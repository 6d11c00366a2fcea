import { alignUp } from "./offsets.ts";

/** A run of committed bytes that an allocator took from the native cursor. All fields are offsets. */
export interface Chunk {
  start: number;
  end: number;
  /** Bytes from here to `end` were never used and are zero. */
  dirty: number;
}

/** The native region, from which chunks are taken. */
export interface ChunkSource {
  /** Address of offset 0. */
  readonly address: number;
  /** Offset of the native cursor. */
  readonly cursor: number;
  /** Takes at least `minimum` bytes, or more by the growth policy; null when fewer are left. */
  take(minimum: number, align: number): Chunk | null;
  /** Gives [from, to) back if `to` is the native cursor. Returns whether it was. */
  give(from: number, to: number): boolean;
}

/** The chunks of one allocator, in ascending order. A chunk that continues the last one extends it. */
export class Chunks {
  readonly list: Chunk[] = [];
  /** Highest offset in use so far. */
  peak = 0;
  readonly #source: ChunkSource;

  constructor(source: ChunkSource) {
    this.#source = source;
  }

  /** Index of the last chunk that starts at or below an offset; -1 if there is none. */
  #at(offset: number): number {
    const list = this.list;
    let i = list.length - 1;
    while (i >= 0 && list[i].start > offset) i--;
    return i;
  }

  /** Start of the last chunk that starts at or below `offset`; `offset` itself if there is none. */
  startAt(offset: number): number {
    const i = this.#at(offset);
    return i < 0 ? offset : this.list[i].start;
  }

  /** End of the chunk that contains `offset`; `offset` or less if none does. */
  endAt(offset: number): number {
    const i = this.#at(offset);
    return i < 0 ? 0 : this.list[i].end;
  }

  /**
   * Finds room for `byteLength` bytes at `position` or above, and takes more of the region if necessary. Returns the
   * offset; or -1 when the region is full, and then nothing has changed.
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
      // Ask only for the missing bytes, so that the region can be filled to its last byte.
      const offset = alignUp(source.address, Math.max(position, last.start), align);
      const more = source.take(offset + byteLength - last.end, 1);
      if (more === null) return -1;
      if (more.start === last.end) {
        // A chunk has one `dirty` mark, so used bytes in the added part make all bytes before them count as used.
        if (more.dirty > more.start) last.dirty = more.dirty;
        last.end = more.end;
        return offset;
      }
      source.give(more.start, more.end); // another thread took bytes in between
    }
    const chunk = source.take(byteLength, align);
    if (chunk === null) return -1;
    this.list.push(chunk);
    return chunk.start;
  }

  /** Records that everything below `offset` in its chunk was used. */
  note(offset: number): void {
    if (offset > this.peak) this.peak = offset;
    const i = this.#at(offset - 1);
    if (i < 0) return;
    const chunk = this.list[i];
    if (offset > chunk.dirty) chunk.dirty = Math.min(offset, chunk.end);
  }

  /** Number of leading bytes, of `byteLength` at `offset`, that may not be zero. */
  used(offset: number, byteLength: number): number {
    const i = this.#at(offset);
    return i < 0 ? 0 : Math.max(0, Math.min(this.list[i].dirty - offset, byteLength));
  }

  /** Bytes of the chunks at `offset` and above. */
  above(offset: number): number {
    let bytes = 0;
    for (const { start, end } of this.list) bytes += Math.max(0, end - Math.max(offset, start));
    return bytes;
  }

  /** Calls `each` with the parts of [from, to) that lie in these chunks and were used. */
  forEach(from: number, to: number, each: (from: number, to: number) => void): void {
    for (const { start, dirty } of this.list) {
      const low = Math.max(from, start);
      const high = Math.min(to, dirty);
      if (low < high) each(low, high);
    }
  }

  /**
   * Cuts [base, end) out of the chunks, because a receiver sees it for ever: it is not handed out again until the
   * region moves. Cutting twice is fine.
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

  /** Gives back the bytes above `position`, up to the point where another caller took some since. */
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

  /** Forgets all chunks but one that begins at offset 0. Returns where that one ends, else 0. */
  keepFirst(): number {
    const { list } = this;
    const end = this.firstEnd;
    list.length = end > 0 ? 1 : 0;
    return end;
  }

  /** End of the first chunk if it begins at offset 0, else 0. */
  get firstEnd(): number {
    const first = this.list.at(0);
    return first !== undefined && first.start === 0 ? first.end : 0;
  }

  /** Forgets chunks that were cut to nothing. */
  dropEmpty(): void {
    const { list } = this;
    for (let i = list.length - 1; i >= 0; i--) if (list[i].start === list[i].end) list.splice(i, 1);
  }
}
