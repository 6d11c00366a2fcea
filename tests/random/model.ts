/**
 * A random program, and a model that knows the owner, place and contents of every block.
 *
 * It checks that no live byte ever changes, and that no two live blocks overlap. The view of an ended frame must have
 * length 0 or keep its bytes, and writes through it must reach no other block. A receiver's bytes must stay as they
 * are. `used`, `owns` and exact fill must be right immediately after an end.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import {
  BumpAlloc,
  type BumpAllocOptions,
  BumpPool,
  type BumpScope,
  ClosedError,
  DetachedError,
  type Mark,
  OutOfMemoryError,
  ScopeError,
} from "../../mod.ts";
import { fillPattern, patternHolds, randomOf } from "../support/pattern.ts";
import { gc } from "../support/until.ts";
import { bytesAt, nativeTaker } from "../support/native.ts";

const CAPACITY = 2 ** 20;
const EDGE = 2048;

/**
 * Large blocks have their pattern only at both ends. A block that overlaps one and is filled still changes the pattern.
 */
function paint(view: Uint8Array, id: number): void {
  if (view.length <= 2 * EDGE) return fillPattern(view, id);
  view.fill(id);
  fillPattern(view.subarray(0, EDGE), id);
  fillPattern(view.subarray(-EDGE), id);
}

function isPainted(view: Uint8Array, id: number): boolean {
  if (view.length <= 2 * EDGE) return patternHolds(view, id);
  const middle = view.length >> 1;
  return view[middle] === (id & 255) && view[EDGE] === (id & 255) &&
    patternHolds(view.subarray(0, EDGE), id) && patternHolds(view.subarray(-EDGE), id);
}

interface Block {
  readonly view: Uint8Array<ArrayBuffer>;
  readonly start: number;
  id: number;
}

interface Level {
  readonly arena: BumpAlloc | BumpScope;
  readonly isFrame: boolean;
  /** `used` before it was opened; -1 if others change it too. */
  readonly usedBefore: number;
  blocks: Block[];
  /** Views of blocks that `rewind` or `realloc` took back. They may alias, and must die with the level. */
  aliases: Uint8Array[];
  marks: { mark: Mark; blocks: Block[] }[];
  /** Whether there ever was a mark or an empty view; a frame then keeps its place. */
  isMarked: boolean;
  /** Whether a window of this level or of one around it was transferred away. */
  stolen: boolean;
}

interface Holder {
  readonly base: BumpAlloc;
  readonly levels: Level[];
  take: ((byteLength: number) => Deno.PointerValue) | null;
  /** Attached allocators do not have the region's options. */
  readonly options: BumpAllocOptions;
}

interface Region {
  holders: Holder[];
  /** Blocks of native callers. */
  native: Block[];
  /** Blocks of dropped allocators, kept alive by their views. */
  orphans: Block[];
  readonly leased: boolean;
  /** Whether figures are exact: only one allocator ever moved the cursor, and nothing was lost. */
  exact: boolean;
  /** Whether an allocator without the option `poison` was on it. */
  wasShared: boolean;
  /** Whether a window was lost since the region last moved. */
  lossy: boolean;
}

const UNTOUCHED = { exact: true, wasShared: false, lossy: false };

const ARRAYS = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
] as const;

function bytesOf(view: ArrayBufferView): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength);
}

type Random = (below: number) => number;

/** The likelihood of each step. */
const WEIGHTS = {
  alloc: 30,
  frame: 14,
  callFrame: 6,
  scope: 4,
  end: 18,
  realloc: 6,
  mark: 4,
  rewind: 5,
  transfer: 2,
  transferEnded: 2,
  write: 4,
  native: 2,
  share: 2,
  reset: 2,
  trim: 2,
  close: 1,
  drop: 1,
  open: 2,
  fill: 2,
  text: 4,
  view: 3,
  throwOut: 2,
  stats: 1,
} as const;

type Name = keyof typeof WEIGHTS;
const NAMES = Object.entries(WEIGHTS).flatMap(([name, weight]) => new Array(weight).fill(name)) as Name[];

export class Model {
  readonly options: BumpAllocOptions;
  readonly #random: Random;
  readonly #pool: BumpPool;
  #regions: Region[] = [];
  #received: Block[] = [];
  /** Views of ended frames, with their contents. */
  #ended: { view: Uint8Array<ArrayBuffer>; held: Uint8Array; holder: BumpAlloc }[] = [];
  #ids = 0;
  #drops = 0;
  /** The latest steps, for a failure's message. */
  readonly trace: string[] = [];

  constructor(seed: number, canMark: boolean) {
    const random = this.#random = randomOf(seed);
    this.options = {
      size: CAPACITY,
      window: [4096, 4096, 8192, 65536, 2 ** 20][random(5)],
      zero: random(4) === 0,
      poison: random(4) === 0,
      hugePages: random(8) === 0,
      transferable: !canMark || random(6) !== 0,
    };
    this.#pool = new BumpPool({ limit: 3, ...this.options });
  }

  /** Takes one step and checks everything. */
  step(): void {
    if (this.#regions.length === 0) this.open();
    const name = NAMES[this.#random(NAMES.length)];
    this.trace.push(name);
    this[name]();
    this.#check();
  }

  /** Ends all. */
  finish(): void {
    for (const region of [...this.#regions]) for (const holder of [...region.holders]) this.#close(region, holder);
    this.#pool.close();
    this.#check();
  }

  // ---- choosing ----------------------------------------------------------------------------------

  #pick(): [Region, Holder, Level] {
    const region = this.#regions[this.#random(this.#regions.length)];
    const holder = region.holders[this.#random(region.holders.length)];
    return [region, holder, holder.levels.at(-1)!];
  }

  #size(): number {
    const random = this.#random;
    const most = [16, 64, 300, 300, 3000, 5000, 20_000, 200_000][random(8)];
    return random(most);
  }

  // ---- what must hold ----------------------------------------------------------------------------

  *#live(region: Region): Generator<Block> {
    for (const { levels } of region.holders) for (const { blocks } of levels) yield* blocks;
    yield* region.native;
    yield* region.orphans;
  }

  #check(): void {
    for (const region of this.#regions) {
      for (const { view, id } of this.#live(region)) assert(isPainted(view, id), "a live block changed");
      for (const { base, levels } of region.holders) {
        const { used, capacity } = base;
        assert(used >= 0 && used <= capacity, `used is ${used}`);
        for (const { blocks } of levels) if (blocks.length > 0) assert(base.owns(blocks.at(-1)!.view), "not owned");
      }
    }
    for (const { view, id } of this.#received) assert(isPainted(view, id), "a receiver's bytes changed");
    this.#ended = this.#ended.filter(({ view }) => view.length > 0);
    for (const { view, held, holder } of this.#ended) {
      for (let i = 0; i < held.length; i += 1 + (held.length >> 8)) {
        assert(view[i] === held[i], "an ended frame's view shows others' bytes");
      }
      assert(!holder.owns(view), "an ended frame's view is owned");
    }
    if (this.#received.length > 60) this.#received.splice(0, 20);
    if (this.#ended.length > 60) this.#ended.splice(0, 20);
  }

  /** Records and checks a new block. */
  #add(region: Region, holder: Holder, level: Level, view: Uint8Array<ArrayBuffer>, kept = 0): void {
    if (view.length === 0) {
      level.isMarked = true; // it keeps its place, as a mark does
      return;
    }
    const start = Number(level.arena.addressOf(view) - holder.base.address);
    this.#checkPlace(region, start, view.length);
    if (kept < view.length && holder.options.zero) {
      const wrong = view.findIndex((byte, i) => i >= kept && byte !== 0);
      assert(wrong < 0, `not zero: ${view[wrong]} at ${start} + ${wrong}`);
    } else if (kept < view.length && holder.options.poison && region.exact && !region.wasShared) {
      assert(!view.subarray(kept).some((byte) => byte !== 0 && byte !== 0xdd), "neither fresh nor poisoned");
    }
    const id = ++this.#ids;
    paint(view, id);
    level.blocks.push({ view, start, id });
  }

  #checkPlace(region: Region, start: number, byteLength: number): void {
    assert(start >= 0 && start + byteLength <= CAPACITY + 2 ** 21, "outside of the region");
    for (const block of this.#live(region)) {
      assert(
        start + byteLength <= block.start || block.start + block.view.length <= start,
        `[${start}, ${start + byteLength}) overlaps [${block.start}, ${block.start + block.view.length})`,
      );
    }
  }

  /** The result of `call`; null if the region is full or the window is lost. */
  #orRefused<T>(level: Level, call: () => T): T | null {
    try {
      return call();
    } catch (error) {
      if (error instanceof OutOfMemoryError || (level.stolen && error instanceof DetachedError)) return null;
      throw error;
    }
  }

  // ---- steps -------------------------------------------------------------------------------------

  open(): void {
    if (this.#regions.length > 4) return;
    const leased = this.#random(3) === 0 && this.#regions.filter(({ leased }) => leased).length < 3;
    const base = leased ? this.#pool.lease() : new BumpAlloc(this.options);
    assertEquals(base.used, 0);
    this.#regions.push({ holders: [holder(base, this.options)], native: [], orphans: [], leased, ...UNTOUCHED });
  }

  alloc(): void {
    const [region, holder, level] = this.#pick();
    const { arena } = level;
    const byteLength = this.#size();
    const align = 2 ** this.#random(8);
    const view = this.#orRefused(level, () => {
      switch (this.#random(6)) {
        case 0:
          return arena.alloc(byteLength, align);
        case 1: {
          const view = arena.allocZeroed(byteLength, align);
          assert(!view.some((byte) => byte !== 0), "not zero");
          return view;
        }
        case 2:
          return arena.view(arena.offset(byteLength, align), byteLength);
        case 3:
          return bytesOf(arena.allocArray(ARRAYS[this.#random(ARRAYS.length)] as typeof Uint8Array, byteLength >> 3));
        case 4:
          return bytesOf(arena.allocView(byteLength, align));
        default:
          return arena.alloc(byteLength);
      }
    });
    if (view !== null) this.#add(region, holder, level, view);
  }

  text(): void {
    const [region, holder, level] = this.#pick();
    const text = ["x", "é", "中"][this.#random(3)].repeat(this.#random([5, 60, 150, 3000][this.#random(4)]));
    const view = this.#orRefused(level, () => level.arena.cstring(text));
    if (view === null) return;
    const kept = view.slice();
    const block = { view, start: Number(level.arena.addressOf(view) - holder.base.address), id: ++this.#ids };
    this.#checkPlace(region, block.start, view.length);
    assertEquals(kept.length, new TextEncoder().encode(text).length + 1);
    assertEquals(kept.at(-1), 0);
    paint(view, block.id);
    level.blocks.push(block);
  }

  view(): void {
    const [, holder, level] = this.#pick();
    const all = holder.levels.flatMap(({ blocks }) => blocks);
    if (all.length === 0) return;
    const { start, view, id } = all[this.#random(all.length)];
    const from = this.#random(view.length);
    const again = this.#orRefused(level, () => level.arena.view(start + from, view.length - from));
    if (again === null) return;
    for (let i = 0; i < again.length; i += 1 + (again.length >> 6)) {
      assertEquals(again[i], view[from + i], `block ${id}`);
    }
    level.aliases.push(again);
  }

  realloc(): void {
    const [region, holder, level] = this.#pick();
    if (level.blocks.length === 0) return;
    const index = this.#random(3) > 0 ? level.blocks.length - 1 : this.#random(level.blocks.length);
    const [block] = level.blocks.splice(index, 1);
    const { view, id } = block;
    const type = ARRAYS[this.#random(ARRAYS.length)];
    const size = type.BYTES_PER_ELEMENT;
    const fits = view.byteOffset % size === 0 && view.length % size === 0;
    const old = fits ? new type(view.buffer, view.byteOffset, view.length / size) : view;
    const length = Math.floor(this.#size() / (fits ? size : 1));
    const expected = view.slice();
    const moved = this.#orRefused(level, () => level.arena.realloc(old as Uint8Array<ArrayBuffer>, length));
    if (moved === null) {
      assert(isPainted(view, id), "a refused realloc changed the block");
      return void level.blocks.splice(index, 0, block);
    }
    assertEquals(Object.getPrototypeOf(moved), Object.getPrototypeOf(old));
    const bytes = bytesOf(moved);
    const kept = Math.min(bytes.length, expected.length);
    for (let i = 0; i < kept; i++) {
      if (bytes[i] !== expected[i]) assertEquals(bytes[i], expected[i], "realloc lost bytes");
    }
    level.aliases.push(view);
    // If the block moved, its old bytes stay unused until the level ends.
    this.#add(region, holder, level, bytes, kept);
  }

  frame(): void {
    this.#open(true);
  }

  scope(): void {
    this.#open(false);
  }

  #open(isFrame: boolean): void {
    const [region, holder, level] = this.#pick();
    if (holder.levels.length > 5) return;
    const usedBefore = region.exact ? holder.base.used : -1;
    const arena = this.#orRefused(level, () => isFrame ? level.arena.frame() : level.arena.scope());
    if (arena === null) return;
    holder.levels.push({ ...newLevel(arena), isFrame, usedBefore, stolen: level.stolen });
    assertThrown(() => level.arena.alloc(1), ScopeError);
  }

  callFrame(): void {
    const [region, holder, level] = this.#pick();
    const usedBefore = region.exact ? holder.base.used : -1;
    const inside: { current: Level | null } = { current: null };
    const count = this.#random(4);
    this.#orRefused(level, () =>
      level.arena.frame((arena) => {
        const own = inside.current = { ...newLevel(arena), isFrame: true, usedBefore, stolen: level.stolen };
        holder.levels.push(own);
        for (let i = 0; i < count; i++) this.#allocIn(region, holder, own);
        if (count === 3) throw new OutOfMemoryError({ requested: 1, align: 1, used: 1, capacity: 1 });
      }));
    if (inside.current === null) return;
    holder.levels.pop();
    this.#leave(region, holder, inside.current);
  }

  #allocIn(region: Region, holder: Holder, level: Level): void {
    const view = this.#orRefused(level, () => level.arena.alloc(this.#size()));
    if (view !== null) this.#add(region, holder, level, view);
  }

  end(): void {
    const [region, holder] = this.#pick();
    if (holder.levels.length === 1) return;
    const ended = holder.levels.pop()!;
    if (holder.levels.length > 1 && this.#random(4) === 0) {
      assertThrown(() => (holder.levels.at(-1)!.arena as BumpScope).end(), ScopeError);
    }
    (ended.arena as BumpScope).end();
    this.#leave(region, holder, ended);
  }

  /** An exception that leaves nested `using` blocks. */
  throwOut(): void {
    const [region, holder, level] = this.#pick();
    const left: Level[] = [];
    const usedBefore = region.exact ? holder.base.used : -1;
    try {
      using outer = this.#random(2) === 0 ? level.arena.frame() : level.arena.scope();
      left.push({ ...newLevel(outer), isFrame: true, usedBefore, stolen: level.stolen });
      holder.levels.push(left[0]);
      this.#allocIn(region, holder, left[0]);
      using inner = this.#random(2) === 0 ? outer.frame() : outer.scope();
      left.push({ ...newLevel(inner), isFrame: true, usedBefore: -1, stolen: level.stolen });
      holder.levels.push(left[1]);
      this.#allocIn(region, holder, left[1]);
      inner.alloc(2 * CAPACITY + 2 ** 22);
    } catch (error) {
      if (!(error instanceof OutOfMemoryError || (level.stolen && error instanceof DetachedError))) throw error;
    }
    for (let i = left.length - 1; i >= 0; i--) {
      holder.levels.pop();
      this.#leave(region, holder, left[i]);
    }
  }

  /** Checks everything that must hold immediately after a level's end. */
  #leave(region: Region, holder: Holder, { arena, isFrame, blocks, aliases, usedBefore, stolen }: Level): void {
    const { transferable = true, poison } = holder.options;
    assertThrown(() => arena.alloc(1), ClosedError);
    if (usedBefore >= 0 && region.exact && !stolen) assertEquals(holder.base.used, usedBefore, "used after an end");
    if (!transferable) return; // old views alias
    for (const { view, id } of blocks) {
      if (!isFrame || poison) assertEquals(view.length, 0, "a view outlives its scope");
      else if (view.length > 0) {
        assert(isPainted(view, id), "the end of a frame changed its bytes");
        this.#ended.push({ view, held: view.slice(), holder: holder.base });
      }
    }
    if (!isFrame || poison) { for (const view of aliases) assertEquals(view.length, 0, "a view outlives its scope"); }
  }

  mark(): void {
    const [, , level] = this.#pick();
    const mark = this.#orRefused(level, () => level.arena.mark());
    if (mark === null) return;
    level.isMarked = true;
    level.marks.push({ mark, blocks: [...level.blocks] });
  }

  rewind(): void {
    const [, , level] = this.#pick();
    const last = level.marks.pop();
    if (last === undefined) return;
    try {
      level.arena.rewind(last.mark);
    } catch (error) {
      // A realloc has taken bytes below the mark back, or the memory has another owner now.
      const known = error instanceof RangeError && error.message.includes("above the cursor");
      assert(known || (level.stolen && error instanceof DetachedError), String(error));
      return;
    }
    const kept = new Set(last.blocks);
    for (const block of level.blocks) if (!kept.has(block)) level.aliases.push(block.view);
    level.blocks = level.blocks.filter((block) => kept.has(block));
    if (this.#random(2) === 0) level.marks.push(last);
  }

  transfer(): void {
    const [region, holder] = this.#pick();
    if (holder.options.transferable === false) return;
    const level = holder.levels[this.#random(holder.levels.length)];
    if (level.blocks.length > 0) {
      this.#take(region, holder, level.blocks[this.#random(level.blocks.length)].view.buffer);
    }
  }

  transferEnded(): void {
    if (this.#ended.length === 0) return;
    const { view, holder } = this.#ended[this.#random(this.#ended.length)];
    if (view.length === 0) return;
    for (const region of this.#regions) {
      for (const owner of region.holders) if (owner.base === holder) return this.#take(region, owner, view.buffer);
    }
  }

  /** Transfers a window away, with all its blocks. */
  #take(region: Region, holder: Holder, buffer: ArrayBuffer): void {
    const together: { start: number; length: number; id: number; held?: Uint8Array }[] = [];
    for (const level of holder.levels) {
      for (const { view, id } of level.blocks) {
        if (view.buffer === buffer) together.push({ start: view.byteOffset, length: view.length, id });
      }
    }
    const ended = this.#ended.filter(({ view }) => view.buffer === buffer);
    const places = ended.map(({ view, held }) => ({ start: view.byteOffset, held }));
    const received = this.#random(2) === 0 ? buffer.transfer() : structuredClone(buffer, { transfer: [buffer] });
    for (const { view } of ended) assertEquals(view.length, 0);
    for (const level of holder.levels) {
      const lost = level.blocks.some(({ view }) => view.length === 0);
      if (lost) level.blocks = level.blocks.filter(({ view }) => view.length > 0);
      level.stolen = true;
    }
    region.exact = false;
    region.lossy = true;
    for (const { start, length, id } of together) {
      this.#received.push({ view: new Uint8Array(received, start, length), start, id });
    }
    for (const { start, held } of places) {
      assertEquals(new Uint8Array(received, start, held.length), held, "a receiver of an ended frame's view");
      const view = new Uint8Array(received, start, held.length);
      const id = ++this.#ids;
      paint(view, id); // the receiver may write there too
      this.#received.push({ view, start, id });
    }
  }

  /** Writes through the view of an ended frame. */
  write(): void {
    if (this.#ended.length === 0) return;
    const chosen = this.#ended[this.#random(this.#ended.length)];
    if (chosen.view.length === 0) return;
    chosen.view.fill(this.#random(256));
    chosen.held = chosen.view.slice();
  }

  native(): void {
    const [region, holder] = this.#pick();
    const take = holder.take ??= nativeTaker(holder.base);
    region.exact = false;
    const byteLength = 1 + this.#size();
    const pointer = take(byteLength);
    if (pointer === null) return;
    const start = Number(Deno.UnsafePointer.value(pointer) - holder.base.address);
    this.#checkPlace(region, start, byteLength);
    const id = ++this.#ids;
    const view = bytesAt(pointer, byteLength);
    paint(view, id);
    region.native.push({ view, start, id });
  }

  share(): void {
    const [region, owner] = this.#pick();
    if (region.leased || region.holders.length > 3) return;
    region.exact = false;
    region.wasShared = true;
    region.holders.push(holder(BumpAlloc.attach(owner.base.share()), {}));
  }

  reset(): void {
    const [region, holder] = this.#pick();
    // Where windows cannot be detached the region does not move, so what others lost stays taken.
    const stays = region.lossy && holder.options.transferable === false;
    const sole = region.holders.length === 1 && region.orphans.length === 0 && this.#drops === 0 && !stays;
    holder.base.reset(this.#random(2) === 0 ? { retain: this.#random(CAPACITY) } : undefined);
    for (const level of holder.levels) this.#die(holder, level);
    holder.levels.splice(0, Infinity, newLevel(holder.base));
    for (const { view, holder: its } of this.#ended) if (its === holder.base) assertEquals(view.length, 0);
    if (holder.base.stats().attached > 1) return;
    region.native = [];
    if (!sole) return;
    assertEquals(holder.base.used, 0);
    region.exact = holder.take === null;
    region.lossy = false;
  }

  /** Checks that all views of a level are dead. */
  #die({ options }: Holder, { arena, blocks, aliases }: Level): void {
    if (arena instanceof BumpAlloc === false) assertThrown(() => arena.alloc(1), ClosedError);
    if (options.transferable === false) return;
    for (const { view } of blocks) assertEquals(view.length, 0, "a stale view lives");
    for (const view of aliases) assertEquals(view.length, 0, "a stale view lives");
  }

  trim(): void {
    const [, holder] = this.#pick();
    holder.base.trim(this.#random(2) === 0 ? 0 : this.#random(CAPACITY));
  }

  stats(): void {
    const [, holder] = this.#pick();
    const { used, remaining, capacity, peak, unused, committed, scopes } = holder.base.stats();
    assertEquals([used + remaining, scopes], [capacity, holder.levels.length - 1]);
    assert(peak >= used && unused >= 0 && committed <= capacity);
  }

  close(): void {
    const [region, holder] = this.#pick();
    this.#close(region, holder);
  }

  #close(region: Region, holder: Holder): void {
    holder.base.close();
    for (const level of holder.levels) this.#die(holder, level);
    if (holder.options.transferable !== false) {
      for (const { view, holder: its } of this.#ended) if (its === holder.base) assertEquals(view.length, 0);
    }
    this.#forget(region, holder);
  }

  #forget(region: Region, holder: Holder): void {
    region.holders = region.holders.filter((other) => other !== holder);
    region.exact = false;
    if (region.holders.length === 0) this.#regions = this.#regions.filter((other) => other !== region);
  }

  /** Drops an allocator; some of its views are kept and live on. */
  drop(): void {
    if (gc === undefined) return;
    const [region, holder] = this.#pick();
    if (region.leased) return; // the pool would be full
    const kept = holder.levels.flatMap(({ blocks }) => blocks).filter(() => this.#random(2) === 0);
    this.#ended = this.#ended.filter(({ holder: its }) => its !== holder.base);
    this.#forget(region, holder);
    this.#drops++;
    if (region.holders.length > 0) region.orphans.push(...kept);
    else this.#received.push(...kept);
  }

  /** Allocates exactly the remaining bytes, if figures are exact. */
  fill(): void {
    const [region, holder, level] = this.#pick();
    if (!region.exact || level.stolen || holder.base.remaining === 0) return;
    // A frame keeps its place once it, or a level in it, has a mark or blocks. Bytes of ended frames below it are free, but
    // separate from the rest.
    const frame = holder.levels.findIndex(({ isFrame }) => isFrame);
    const keepsPlace = ({ blocks, aliases, isMarked }: Level) => isMarked || blocks.length + aliases.length > 0;
    if (frame >= 0 && holder.levels.slice(frame).some(keepsPlace)) return;
    const { used, remaining } = holder.base;
    const way = this.#random(3);
    const fill = (arena: BumpAlloc | BumpScope) => {
      const view = arena.alloc(remaining, 1);
      assertEquals([view.length, holder.base.remaining], [remaining, 0]);
      this.#checkPlace(region, Number(arena.addressOf(view) - holder.base.address), remaining);
      view.fill(0xee);
    };
    if (way === 0) level.arena.frame(fill);
    else if (way === 1) {
      using scope = level.arena.scope();
      fill(scope);
    } else {
      using outer = level.arena.frame();
      using inner = outer.frame();
      fill(inner);
    }
    assertEquals([holder.base.used, holder.base.remaining], [used, remaining]);
  }
}

function newLevel(arena: BumpAlloc | BumpScope): Level {
  return { arena, isFrame: false, usedBefore: -1, blocks: [], aliases: [], marks: [], isMarked: false, stolen: false };
}

function holder(base: BumpAlloc, options: BumpAllocOptions): Holder {
  return { base, levels: [newLevel(base)], take: null, options };
}

function assertThrown(call: () => unknown, type: new (...args: never[]) => Error): void {
  try {
    call();
  } catch (error) {
    assert(error instanceof type, String(error));
    return;
  }
  assert(false, `no ${type.name} was thrown`);
}

/** Runs one program. A failure names its seed, its options and its latest steps. */
export async function runModel(seed: number, steps: number, canMark: boolean): Promise<void> {
  const model = new Model(seed, canMark);
  try {
    for (let i = 0; i < steps; i++) {
      model.step();
      if (i % 50 === 49 && gc !== undefined && seed % 8 === 0) {
        gc();
        await new Promise((resolve) => setTimeout(resolve)); // finalizers
      }
    }
    model.finish();
  } catch (error) {
    const { options, trace } = model;
    const how = `seed ${seed}, ${JSON.stringify(options)}, step ${trace.length}: ${trace.slice(-12).join(", ")}`;
    throw new Error(`${how}\n${(error as Error).stack}`);
  }
}
