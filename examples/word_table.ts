/**
 * Counts words in memory that the caller provides: an arena, or the garbage-collected heap.
 *
 * @module
 */

/** The source of working memory. */
export interface Memory {
  /** Uninitialised or zero bytes. */
  bytes(byteLength: number): Uint8Array<ArrayBuffer>;
  /** 32-bit integers, all zero. */
  zeros(length: number): Uint32Array<ArrayBuffer>;
}

/** A word and the number of its occurrences. */
export interface WordCount {
  readonly word: string;
  readonly count: number;
}

/** A word is a run of ASCII letters, digits and underscores; upper and lower case differ. */
const IN_WORD = new Uint8Array(256);
for (let char = 0; char < 128; char++) {
  if (/\w/.test(String.fromCharCode(char))) IN_WORD[char] = 1;
}

/** An entry of the table is four integers. */
const ENTRY = 4;
const [START, LENGTH, HASH, COUNT] = [0, 1, 2, 3];

/** A hash table of the words of one text: open addressing, doubled when it is half full. */
export class WordTable {
  readonly #memory: Memory;
  readonly #text: Uint8Array;
  #entries: Uint32Array;
  #mask: number;
  /** Number of different words. */
  distinct = 0;
  /** Number of words. */
  words = 0;

  /** Counts the words of `text`. */
  constructor(text: Uint8Array, memory: Memory) {
    this.#text = text;
    this.#memory = memory;
    this.#mask = 1023;
    this.#entries = memory.zeros(ENTRY * 1024);
    this.#count();
  }

  #count(): void {
    const text = this.#text;
    for (let i = 0; i < text.length;) {
      if (IN_WORD[text[i]] === 0) {
        i++;
        continue;
      }
      const start = i;
      let hash = 0x811c9dc5; // FNV-1a
      while (i < text.length && IN_WORD[text[i]] === 1) hash = Math.imul(hash ^ text[i++], 0x01000193);
      this.#add(start, i - start, hash >>> 0);
    }
  }

  #add(start: number, length: number, hash: number): void {
    this.words++;
    const entries = this.#entries;
    let slot = hash & this.#mask;
    while (entries[ENTRY * slot + COUNT] !== 0) {
      const entry = ENTRY * slot;
      if (
        entries[entry + HASH] === hash && entries[entry + LENGTH] === length &&
        this.#same(entries[entry], start, length)
      ) {
        entries[entry + COUNT]++;
        return;
      }
      slot = (slot + 1) & this.#mask;
    }
    entries.set([start, length, hash, 1], ENTRY * slot);
    if (++this.distinct * 2 > this.#mask) this.#grow();
  }

  #same(a: number, b: number, length: number): boolean {
    const text = this.#text;
    for (let i = 0; i < length; i++) if (text[a + i] !== text[b + i]) return false;
    return true;
  }

  #grow(): void {
    const old = this.#entries;
    this.#mask = 2 * this.#mask + 1;
    const entries = this.#entries = this.#memory.zeros(ENTRY * (this.#mask + 1));
    for (let entry = 0; entry < old.length; entry += ENTRY) {
      if (old[entry + COUNT] === 0) continue;
      let slot = old[entry + HASH] & this.#mask;
      while (entries[ENTRY * slot + COUNT] !== 0) slot = (slot + 1) & this.#mask;
      for (let i = 0; i < ENTRY; i++) entries[ENTRY * slot + i] = old[entry + i];
    }
  }

  /** Words by falling count; words of equal count in byte order. */
  top(count: number): WordCount[] {
    const decoder = new TextDecoder();
    const all: WordCount[] = [];
    for (let entry = 0; entry < this.#entries.length; entry += ENTRY) {
      if (this.#entries[entry + COUNT] === 0) continue;
      const start = this.#entries[entry + START];
      const word = decoder.decode(this.#text.subarray(start, start + this.#entries[entry + LENGTH]));
      all.push({ word, count: this.#entries[entry + COUNT] });
    }
    all.sort((a, b) => b.count - a.count || (a.word < b.word ? -1 : 1));
    return all.slice(0, count);
  }
}
