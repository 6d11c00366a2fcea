/** The chunks of one allocator, over a region that is a plain array of bytes. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Chunk, Chunks, type ChunkSource } from "../src/chunks.ts";
import { alignUp } from "../src/offsets.ts";
import { randomOf } from "./support/pattern.ts";
import { times } from "./support/times.ts";

const STEP = 1024;

class Region implements ChunkSource {
  readonly address: number;
  readonly capacity: number;
  cursor = 0;
  /** Bytes from here upwards were never used. */
  high = 0;
  /** Runs before a chunk is taken, in the place of another thread that is faster. */
  before: () => void = () => {};

  constructor(capacity = 2 ** 16, address = 2 ** 20) {
    this.capacity = capacity;
    this.address = address;
  }

  take(minimum: number, align: number): Chunk | null {
    this.before();
    const start = alignUp(this.address, this.cursor, align);
    if (start + minimum > this.capacity) return null;
    const end = Math.min(start + Math.max(minimum, STEP), this.capacity);
    this.cursor = end;
    return { start, end, dirty: Math.max(start, Math.min(this.high, end)) };
  }

  give(from: number, to: number): boolean {
    if (to !== this.cursor) return false;
    this.high = Math.max(this.high, to);
    this.cursor = from;
    return true;
  }
}

const rangesOf = ({ list }: Chunks): [number, number][] => list.map(({ start, end }) => [start, end]);

/** Two chunks, with another allocator's bytes between them. */
function inTwoPieces(): { region: Region; chunks: Chunks } {
  const region = new Region();
  const chunks = new Chunks(region);
  chunks.place(0, 10, 8);
  region.take(5, 1);
  chunks.place(10, STEP, 8);
  return { region, chunks };
}

// ---- room ----------------------------------------------------------------------------------------

Deno.test("a chunk that continues the last one extends it, by only the missing bytes if the region is nearly full", () => {
  const region = new Region(5 * STEP + 7);
  const chunks = new Chunks(region);
  assertEquals(chunks.place(0, 100, 8), 0);
  assertEquals([chunks.place(100, 100, 64), rangesOf(chunks)], [128, [[0, STEP]]]);
  assertEquals([chunks.place(228, 2 * STEP, 8), rangesOf(chunks)], [232, [[0, 2 * STEP + 232]]]);
  assertEquals([chunks.place(2280, 5 * STEP + 7 - 2280, 1), rangesOf(chunks)], [2280, [[0, region.capacity]]]);
  assertEquals([chunks.place(region.capacity, 1, 1), rangesOf(chunks)], [-1, [[0, region.capacity]]]);
  assertEquals(chunks.place(0, 10, 8), 0); // after a rewind
});

Deno.test("addresses are aligned, not offsets", () => {
  const chunks = new Chunks(new Region(2 ** 16, 2 ** 20 + 4096 + 40));
  for (const align of [1, 8, 64, 4096, 16_384]) {
    const offset = chunks.place(1, 10, align);
    assertEquals([(2 ** 20 + 4096 + 40 + offset) % align, offset - 1 < align], [0, true]);
  }
});

Deno.test("bytes of others lie between two chunks, and no block overlaps them", () => {
  const region = new Region();
  const chunks = new Chunks(region);
  chunks.place(0, 10, 8);
  region.take(5, 1);
  assertEquals(chunks.place(10, STEP - 10, 1), 10); // up to the last byte of the first one
  const next = chunks.place(10, STEP, 8);
  assert(next >= 2 * STEP);
  assertEquals(rangesOf(chunks), [[0, STEP], [next, next + STEP]]);
  assertEquals([chunks.place(STEP, 8, 8), chunks.place(10, 8, 8)], [next, 16]);
  assertEquals([chunks.startAt(5), chunks.startAt(STEP + 5), chunks.startAt(next)], [0, 0, next]);
  assertEquals([chunks.endAt(5), chunks.endAt(STEP + 5), chunks.endAt(next + 5)], [STEP, STEP, next + STEP]);
  assertEquals([chunks.above(0), chunks.above(STEP - 1), chunks.above(STEP), chunks.above(next + 24)], [
    2 * STEP,
    STEP + 1,
    STEP,
    STEP - 24,
  ]);
});

Deno.test("an allocator without chunks has no byte", () => {
  const chunks = new Chunks(new Region());
  assertEquals([chunks.startAt(9), chunks.endAt(9), chunks.above(0), chunks.used(0, 9), chunks.firstEnd], [
    9,
    0,
    0,
    0,
    0,
  ]);
  chunks.note(5);
  chunks.giveBack(0);
  chunks.cut(0, 100);
  chunks.dropEmpty();
  assertEquals([rangesOf(chunks), chunks.keepFirst()], [[], 0]);
});

Deno.test("another thread takes memory in between: the block is in one chunk, and the surplus goes back", () => {
  const region = new Region();
  const chunks = new Chunks(region);
  chunks.place(0, 10, 8);
  let others = -1;
  region.before = () => {
    region.before = () => {};
    others = region.take(5, 1)!.start;
  };
  const start = chunks.place(10, STEP, 8);
  assertEquals([others, start, rangesOf(chunks)], [STEP, 2 * STEP, [[0, STEP], [2 * STEP, 3 * STEP]]]);
  assertEquals(region.cursor, 3 * STEP);
});

// ---- used bytes ----------------------------------------------------------------------------------

Deno.test("bytes up to the highest note in a chunk count as used; bytes behind it are zero", () => {
  const { chunks } = inTwoPieces();
  chunks.note(100);
  chunks.note(50);
  assertEquals([chunks.used(0, 200), chunks.used(90, 5), chunks.used(90, 200), chunks.used(100, 9)], [100, 5, 10, 0]);
  assertEquals([chunks.used(2 * STEP, 9), chunks.peak], [0, 100]);
  chunks.note(STEP); // all of the first chunk
  assertEquals([chunks.used(0, STEP), chunks.used(2 * STEP, 9)], [STEP, 0]);
  chunks.note(2 * STEP + 1);
  assertEquals([chunks.used(2 * STEP, 9), chunks.peak], [1, 2 * STEP + 1]);
});

Deno.test("used bytes in an extension make all bytes before them count as used", () => {
  const region = new Region();
  region.high = 5 * STEP; // others used these bytes and gave them back
  const chunks = new Chunks(region);
  chunks.place(0, 10, 8);
  assertEquals(chunks.used(0, STEP), STEP);
  const fresh = new Region();
  const others = new Chunks(fresh);
  others.place(0, 10, 8);
  fresh.high = STEP + 100;
  others.place(10, STEP, 8);
  assertEquals(others.used(20, 2 * STEP), STEP + 100 - 20);
});

Deno.test("forEach visits the used parts of the chunks within the range", () => {
  const { chunks } = inTwoPieces();
  chunks.note(300);
  chunks.note(2 * STEP + 50);
  const told = (from: number, to: number) => {
    const ranges: [number, number][] = [];
    chunks.forEach(from, to, (from, to) => ranges.push([from, to]));
    return ranges;
  };
  assertEquals(told(0, Infinity), [[0, 300], [2 * STEP, 2 * STEP + 50]]);
  assertEquals(told(100, 2 * STEP + 10), [[100, 300], [2 * STEP, 2 * STEP + 10]]);
  assertEquals([told(300, 2 * STEP), told(STEP, STEP), told(2 * STEP + 50, Infinity)], [[], [], []]);
});

// ---- lost windows --------------------------------------------------------------------------------

Deno.test("cut removes exactly the receiver's bytes from the chunks; cutting twice is fine", () => {
  const cases: { cut: [number, number]; left: [number, number][]; used: number[] }[] = [
    { cut: [100, 200], left: [[0, 100], [200, STEP], [2 * STEP, 3 * STEP]], used: [100, 300, 2 * STEP + 50] },
    { cut: [0, 200], left: [[0, 0], [200, STEP], [2 * STEP, 3 * STEP]], used: [0, 300, 2 * STEP + 50] },
    { cut: [200, STEP + 50], left: [[0, 200], [2 * STEP, 3 * STEP]], used: [200, 2 * STEP + 50] },
    { cut: [500, 700], left: [[0, 500], [700, STEP], [2 * STEP, 3 * STEP]], used: [300, 700, 2 * STEP + 50] },
    {
      cut: [200, 2 * STEP + 10],
      left: [[0, 200], [2 * STEP, 2 * STEP], [2 * STEP + 10, 3 * STEP]],
      used: [200, 2 * STEP, 2 * STEP + 50],
    },
    { cut: [0, 4 * STEP], left: [[0, 0], [2 * STEP, 2 * STEP]], used: [0, 2 * STEP] },
    { cut: [STEP, 2 * STEP], left: [[0, STEP], [2 * STEP, 3 * STEP]], used: [300, 2 * STEP + 50] },
  ];
  for (const { cut: [base, end], left, used } of cases) {
    const region = new Region();
    const chunks = new Chunks(region);
    chunks.place(0, 10, 8);
    region.take(5, 1);
    chunks.place(10, STEP, 8);
    chunks.note(300);
    chunks.note(2 * STEP + 50);
    for (let i = 0; i < 2; i++) {
      chunks.cut(base, end);
      assertEquals(rangesOf(chunks), left, `[${base}, ${end}) ${i}`);
      assertEquals(chunks.list.map(({ dirty }) => dirty), used, `[${base}, ${end}) ${i}`);
    }
    chunks.dropEmpty();
    assertEquals(rangesOf(chunks), left.filter(([start, end]) => start < end));
  }
});

// ---- giving back ---------------------------------------------------------------------------------

Deno.test("giveBack gives back the bytes above the position, in several chunks, and records that they were used", () => {
  const region = new Region();
  const chunks = new Chunks(region);
  chunks.place(0, 10, 8);
  chunks.note(STEP);
  chunks.giveBack(100);
  assertEquals([rangesOf(chunks), chunks.list[0].dirty, region.cursor, region.high], [[[0, 100]], 100, 100, STEP]);
  const aligned = chunks.place(100, 5000, 4096); // a chunk of its own, or the same one
  chunks.note(aligned + 5000);
  chunks.giveBack(aligned + 8);
  assertEquals([region.cursor, chunks.endAt(aligned)], [aligned + 8, aligned + 8]);
  assertEquals(chunks.place(aligned + 8, 100, 8), aligned + 8);
  assertEquals(chunks.used(aligned + 8, 100), 100);
  chunks.giveBack(0);
  assertEquals([rangesOf(chunks), region.cursor], [[], 0]);
});

Deno.test("giveBack gives back nothing below bytes of others, and handles adjacent chunks", () => {
  const region = new Region();
  const chunks = new Chunks(region);
  chunks.place(0, 10, 8);
  const others = region.take(5, 1)!;
  chunks.place(10, STEP, 8);
  chunks.giveBack(0);
  assertEquals([rangesOf(chunks), region.cursor], [[[0, STEP]], others.end]);
  region.give(others.start, others.end);
  chunks.giveBack(0);
  assertEquals([rangesOf(chunks), region.cursor], [[], 0]);
  // A cut leaves two chunks and a hole; bytes below the hole stay.
  chunks.place(0, STEP, 8);
  chunks.cut(100, 200);
  chunks.giveBack(0);
  assertEquals([rangesOf(chunks), region.cursor], [[[0, 100]], 200]);
});

Deno.test("keepFirst keeps the chunk at offset 0, and nothing else", () => {
  const { region, chunks } = inTwoPieces();
  assertEquals([chunks.firstEnd, chunks.keepFirst(), rangesOf(chunks)], [STEP, STEP, [[0, STEP]]]);
  const behind = new Chunks(region);
  behind.place(0, 10, 8);
  assertEquals([behind.firstEnd, behind.keepFirst(), rangesOf(behind)], [0, 0, []]);
  chunks.cut(0, 10);
  assertEquals([chunks.firstEnd, chunks.keepFirst(), rangesOf(chunks)], [0, 0, []]);
});

// ---- all of it at random -------------------------------------------------------------------------

/**
 * Plays two allocators on one region. `bytes` holds 0 for a byte that was never used, else the number of its writer.
 * Receivers keep their bytes.
 */
function play(seed: number): void {
  const random = randomOf(seed);
  const region = new Region(2 ** 14, 2 ** 20 + 8 * random(600));
  const bytes = new Uint8Array(region.capacity);
  /** Owner of each byte: 0 none, 1 and 2 the allocators, 3 others, 4 a receiver. */
  const owners = new Uint8Array(region.capacity);
  const all = [1, 2].map((owner) => ({ owner, chunks: new Chunks(region), position: 0, marks: [0] }));
  for (let i = 0; i < 60; i++) {
    const user = all[random(2)];
    const { owner, chunks } = user;
    switch (random(7)) {
      case 0: { // others take bytes for ever
        const chunk = region.take(1 + random(100), 1);
        if (chunk !== null) owners.fill(3, chunk.start, chunk.end), bytes.fill(3, chunk.start, chunk.end);
        break;
      }
      case 1: { // a window is transferred away
        if (user.position === 0) break;
        const base = random(user.position);
        const end = Math.min(base + 1 + random(2000), chunks.endAt(base));
        if (chunks.startAt(base) > base || end <= base) break;
        for (const each of all) each.chunks.cut(base, end);
        owners.fill(4, base, end);
        break;
      }
      case 2: { // back to a mark
        const to = user.marks[random(user.marks.length)];
        user.marks = user.marks.filter((mark) => mark <= to);
        for (let at = to; at < owners.length; at++) if (owners[at] === owner) owners[at] = 0;
        user.position = to;
        break;
      }
      case 3:
        chunks.giveBack(user.position);
        assert(region.cursor >= owners.findLastIndex((owner) => owner > 0) + 1);
        break;
      default: {
        const byteLength = 1 + random([10, 300, 3000][random(3)]);
        const start = chunks.place(user.position, byteLength, 2 ** random(9));
        if (start < 0) break;
        const end = start + byteLength;
        assert(start >= user.position && end <= region.cursor);
        assert(owners.subarray(start, end).every((owner) => owner === 0), "overlaps");
        const used = chunks.used(start, byteLength);
        assert(bytes.subarray(start + used, end).every((byte) => byte === 0), "is not zero");
        owners.fill(owner, start, end);
        bytes.fill(owner, start, end);
        chunks.note(end);
        user.position = end;
        user.marks.push(end);
      }
    }
    for (const { chunks } of all) {
      let last = 0;
      for (const { start, end, dirty } of chunks.list) {
        assert(last <= start && start <= dirty && dirty <= end && end <= region.cursor, "chunks ascend");
        last = end;
      }
    }
  }
}

Deno.test("random programs of two allocators: no byte has two owners, a receiver's byte is never reused, zero is zero", () => {
  fc.assert(fc.property(fc.nat(), play), { numRuns: times(1000) });
});
