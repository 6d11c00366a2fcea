/**
 * Random programs of pools, allocators, nested scopes, marks, reallocs, pins, transfers and exceptions: after each end
 * every view that belonged to it is dead, and every other live view keeps its exact bytes.
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  BumpAlloc,
  BumpPool,
  type BumpScope,
  ClosedError,
  DetachedError,
  type Mark,
  OutOfMemoryError,
  PinnedError,
  PoolFullError,
  ScopeError,
} from "../../mod.ts";
import { MARKS_SINCE } from "../../src/buffers.ts";
import { TRANSFERS } from "../support/transfers.ts";
import { fillPattern, patternHolds, randomOf } from "../support/pattern.ts";
import { testSince } from "../support/skip.ts";
import { times } from "../support/times.ts";

const SIZE = 2 ** 20;
/** Leases of the pool at once. */
const LIMIT = 4;
/** Leases and other allocators together. */
const MOST = LIMIT + 2;

interface Block {
  readonly view: Uint8Array<ArrayBuffer>;
  readonly id: number;
}

/** Models I/O on a block, which overwrites the block at some time before its promise settles. */
interface Pin {
  readonly block: Block | undefined;
  readonly settled: Promise<void>;
  readonly settle: () => void;
}

/** A scope, or at the bottom the allocator itself. */
interface Level {
  readonly arena: BumpAlloc | BumpScope;
  blocks: Block[];
  /** Views that may alias after `rewind` or `realloc`. They must still die with the level. */
  readonly others: Uint8Array[];
  /**
   * Whether a window of this level or of one around it was transferred away. If it was not the current window, the
   * allocator may notice only when it needs a new one.
   */
  stolen: boolean;
  /** The current window, as known from the last allocation. */
  window: ArrayBuffer | null;
  /** Whether the current window was transferred away: every request must then be refused. */
  lost: boolean;
  /** Positions to return to, with the number of the last block before each. */
  readonly marks: { mark: Mark; lastId: number }[];
  readonly pins: Set<Pin>;
}

/** An allocator or a pool's lease, with its scopes. */
interface Tower {
  readonly base: BumpAlloc;
  readonly leased: boolean;
  readonly levels: Level[];
}

function level(arena: BumpAlloc | BumpScope): Level {
  return { arena, blocks: [], others: [], stolen: false, window: null, lost: false, marks: [], pins: new Set() };
}

/** Ways to allocate, on the fast and the slow path. */
const KINDS: readonly ((arena: BumpAlloc | BumpScope, byteLength: number) => Uint8Array<ArrayBuffer>)[] = [
  (arena, byteLength) => arena.alloc(byteLength),
  (arena, byteLength) => arena.alloc(byteLength, 64),
  (arena, byteLength) => arena.allocZeroed(byteLength),
  (arena, byteLength) => arena.view(arena.offset(byteLength), byteLength),
  (arena, byteLength) => arena.tryAlloc(byteLength) ?? arena.alloc(byteLength),
  (arena, byteLength) => {
    const array = arena.allocArray(Float64Array, byteLength >> 3);
    return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  },
];
const ZEROED = 2;
const OFFSET = 3;

class Model {
  readonly pool: BumpPool;
  readonly towers: Tower[] = [];
  /** Blocks of receivers. */
  readonly received: Block[] = [];
  readonly closed: BumpAlloc[] = [];
  readonly options: { zero: boolean; poison: boolean };
  #ids = 0;

  constructor(zero: boolean, poison: boolean) {
    this.options = { zero, poison };
    this.pool = new BumpPool({
      size: SIZE,
      limit: LIMIT,
      window: 4096,
      retain: 16384,
      whenFull: "throw",
      ...this.options,
    });
  }

  get lastId(): number {
    return this.#ids;
  }

  get leased(): number {
    return this.towers.filter(({ leased }) => leased).length;
  }

  open(leased: boolean): void {
    if (this.towers.length === MOST) return;
    if (leased && this.leased === LIMIT) return void assertThrows(() => this.pool.lease(), PoolFullError);
    const base = leased ? this.pool.lease() : new BumpAlloc({ size: SIZE, window: 4096, ...this.options });
    assertEquals(base.used, 0);
    this.towers.push({ base, leased, levels: [level(base)] });
  }

  pick(which: number): Tower | undefined {
    return this.towers[which % this.towers.length];
  }

  /** A new block must not show the bytes of another. */
  fresh(view: Uint8Array, zeroed = this.options.zero): void {
    const { poison } = this.options;
    if (zeroed) assert(view.every((byte) => byte === 0), "not zero");
    else if (poison) assert(view.every((byte) => byte === 0 || byte === 0xdd), "neither fresh nor poisoned");
  }

  add(level: Level, view: Uint8Array<ArrayBuffer>): void {
    if (view.length === 0) return void level.others.push(view);
    const id = ++this.#ids;
    fillPattern(view, id);
    level.blocks.push({ view, id });
  }

  alloc(level: Level, byteLength: number, kind: number): void {
    const view = orRefused(level, () => KINDS[kind](level.arena, byteLength));
    if (view === null) return;
    // A view of an offset may be in another window.
    level.window = kind === OFFSET ? null : view.buffer;
    this.fresh(view, this.options.zero || kind === ZEROED);
    this.add(level, view);
  }

  realloc(tower: Tower, which: number, block: number, byteLength: number): void {
    const top = tower.levels.at(-1)!;
    const owner = tower.levels[which % tower.levels.length];
    const index = block % owner.blocks.length;
    const old = owner.blocks[index];
    if (old === undefined) return;
    const { view, id } = old;
    const kept = Math.min(view.length, byteLength);
    const moved = orRefused(top, () => top.arena.realloc(view, byteLength));
    if (moved === null) return;
    if (byteLength > view.length) top.window = moved.buffer;
    assertEquals(moved.length, byteLength);
    assert(kept === 0 || patternHolds(moved.subarray(0, kept), id), "realloc lost bytes");
    this.fresh(moved.subarray(kept));
    if (owner === top) {
      top.blocks.splice(index, 1);
      top.others.push(view);
      this.add(top, moved);
    } else if (byteLength > view.length) this.add(top, moved); // a copy
    else owner.others.push(moved); // a shorter view of the outer block
  }

  async transfer(tower: Tower, which: number, block: number, way: number): Promise<void> {
    const ways = Object.values(TRANSFERS);
    const depth = which % tower.levels.length;
    const owner = tower.levels[depth];
    const chosen = owner.blocks[block % owner.blocks.length];
    if (chosen === undefined) return;
    const { buffer } = chosen.view;
    const together = owner.blocks.filter(({ view }) => view.buffer === buffer);
    const places = together.map(({ view, id }) => ({ start: view.byteOffset, length: view.length, id }));
    const receiving = ways[way % ways.length](chosen.view);
    for (const { view } of together) assertEquals(view.length, 0);
    owner.blocks = owner.blocks.filter((block) => !together.includes(block));
    for (const level of tower.levels.slice(depth)) level.stolen = true;
    if (buffer === owner.window) owner.lost = true;
    const received = await receiving;
    for (const { start, length, id } of places) {
      this.received.push({ view: new Uint8Array(received, start, length), id });
    }
  }

  pin(level: Level, which: number): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    assertEquals(level.arena.pin(promise), promise);
    level.pins.add({ block: level.blocks[which % level.blocks.length], settled: promise, settle: resolve });
  }

  /** Ends the I/O. Its block must still be live, unless `rewind` took it back unchecked. */
  async settle(level: Level): Promise<void> {
    for (const pin of level.pins) {
      const index = level.blocks.indexOf(pin.block!);
      if (index >= 0) {
        const block = { view: level.blocks[index].view, id: level.blocks[index].id + 100_000 };
        assert(block.view.length > 0, "memory was taken back under a pin");
        fillPattern(block.view, block.id);
        level.blocks[index] = block;
      }
      pin.settle();
      await pin.settled;
    }
    level.pins.clear();
  }

  /** Closes a tower with all of its scopes. */
  async close(tower: Tower, waits: boolean): Promise<void> {
    if (waits) await this.#whileSettling(tower.levels, tower.base[Symbol.asyncDispose]());
    else if (isPinned(tower.levels)) return void assertThrows(() => tower.base.close(), PinnedError);
    else tower.base.close();
    for (const level of tower.levels) die(level);
    this.closed.push(tower.base);
    this.towers.splice(this.towers.indexOf(tower), 1);
  }

  async endScope({ levels }: Tower, waits: boolean): Promise<void> {
    const ended = levels.at(-1)!;
    const scope = ended.arena as BumpScope;
    if (waits) await this.#whileSettling([ended], scope[Symbol.asyncDispose]());
    else if (isPinned([ended])) return void assertThrows(() => scope.end(), PinnedError);
    else scope.end();
    levels.pop();
    // Its parent continues behind the transferred memory, in another window.
    if (ended.stolen) levels.at(-1)!.window = null;
    die(ended);
  }

  /** Waits for an end that waits for pins: until they settle, nothing may change. */
  async #whileSettling(levels: readonly Level[], ending: Promise<void>): Promise<void> {
    if (isPinned(levels)) this.check();
    for (const level of levels) await this.settle(level);
    await ending;
  }

  check(): void {
    for (const { levels } of this.towers) {
      for (const { blocks } of levels) for (const { view, id } of blocks) assert(patternHolds(view, id), "wrong bytes");
    }
    for (const { view, id } of this.received) assert(patternHolds(view, id), "a receiver's bytes are wrong");
    for (const base of this.closed) assertThrows(() => base.alloc(1), ClosedError);
    assertEquals(this.pool.stats().leased, this.leased);
  }
}

/** Checks that every view of an ended level is dead. */
function die({ blocks, others }: Level): void {
  for (const { view } of blocks) assertEquals(view.length, 0, "a stale view lives");
  for (const view of others) assertEquals(view.length, 0, "a stale view lives");
}

function isPinned(levels: readonly Level[]): boolean {
  return levels.some(({ pins }) => pins.size > 0);
}

/** Returns null if the region is full or the window was transferred. */
function orRefused<T>({ stolen, lost }: Level, call: () => T): T | null {
  if (lost) {
    assertThrows(call, DetachedError);
    return null;
  }
  try {
    return call();
  } catch (error) {
    if (error instanceof OutOfMemoryError || (stolen && error instanceof DetachedError)) return null;
    throw error;
  }
}

type Step = (model: Model) => void | Promise<void>;

const size = fc.oneof(fc.nat(64), fc.nat(5000), fc.nat(300_000));
const kind = fc.nat(KINDS.length - 1);

/** A step that works on one of the towers. */
function onTower<T extends unknown[]>(
  arguments_: fc.Arbitrary<T>,
  run: (model: Model, tower: Tower, ...values: T) => void | Promise<void>,
): fc.Arbitrary<Step> {
  return fc.tuple(fc.nat(), arguments_).map(([which, values]): Step => (model) => {
    const tower = model.pick(which);
    return tower === undefined ? undefined : run(model, tower, ...values);
  });
}

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.boolean().map((leased): Step => (model) => model.open(leased)) },
  {
    weight: 5,
    arbitrary: onTower(
      fc.tuple(size, kind),
      (model, { levels }, byteLength, kind) => model.alloc(levels.at(-1)!, byteLength, kind),
    ),
  },
  onTower(fc.tuple(fc.nat(), fc.nat(), size), (model, ...rest) => model.realloc(...rest)),
  // Scopes: nested, last in first out.
  {
    weight: 2,
    arbitrary: onTower(fc.constant([]), (_, { levels }) => {
      const parent = levels.at(-1)!;
      if (levels.length > 4) return;
      const scope = orRefused(parent, () => parent.arena.scope());
      if (scope === null) return;
      levels.push({ ...level(scope), stolen: parent.stolen });
      assertThrows(() => parent.arena.alloc(1), ScopeError);
    }),
  },
  onTower(fc.tuple(fc.boolean()), (model, tower, waits) => {
    const { levels } = tower;
    if (levels.length === 1) return;
    if (levels.length > 2) assertThrows(() => (levels.at(-2)!.arena as BumpScope).end(), ScopeError);
    return model.endScope(tower, waits);
  }),
  // An exception that leaves nested `using` blocks.
  onTower(fc.tuple(fc.array(size, { maxLength: 4 })), (model, { levels }, sizes) => {
    const { arena, stolen } = levels.at(-1)!;
    if (stolen) return;
    const inside: Level[] = [];
    assertThrows(
      () => {
        using outer = arena.scope();
        inside.push(level(outer));
        for (const n of sizes) model.alloc(inside[0], n, 0);
        using inner = outer.scope();
        inside.push(level(inner));
        for (const n of sizes) model.alloc(inside[1], n, 0);
        for (const n of sizes) inner.alloc(n * SIZE); // the region is full at some time
        throw new RangeError("leaves");
      },
      RangeError, // an OutOfMemoryError is one
    );
    for (const level of inside) die(level);
  }),
  // An exception that leaves a request of the pool after a wait.
  fc.array(size, { maxLength: 4 }).map((sizes): Step => async (model) => {
    if (model.leased === LIMIT) {
      await assertRejects(() => model.pool.use(() => {}), PoolFullError);
      return;
    }
    let used: Level | undefined;
    const request = model.pool.use(async (scratch) => {
      used = level(scratch);
      for (const n of sizes) {
        model.alloc(used, n, 0);
        await Promise.resolve();
      }
      for (const { view, id } of used.blocks) assert(patternHolds(view, id));
      throw new TypeError("leaves");
    });
    await assertRejects(() => request, TypeError, "leaves");
    die(used!);
  }),
  onTower(fc.tuple(fc.option(fc.nat(SIZE))), (_, { base, levels }, retain) => {
    if (isPinned(levels)) return void assertThrows(() => base.reset(), PinnedError);
    base.reset(retain === null ? undefined : { retain });
    for (const level of levels) die(level);
    for (const { arena } of levels.splice(1)) assertThrows(() => arena.alloc(1), ClosedError);
    levels[0] = level(base);
    assertEquals(base.used, 0);
  }),
  onTower(fc.tuple(fc.nat(), fc.nat(), fc.nat()), (model, tower, which, block, way) => {
    if (model.received.length < 40) return model.transfer(tower, which, block, way);
  }),
  onTower(fc.tuple(fc.boolean()), (model, tower, waits) => model.close(tower, waits)),
  onTower(
    fc.tuple(fc.nat(), fc.nat()),
    (model, { levels }, which, block) => model.pin(levels[which % levels.length], block),
  ),
  onTower(fc.constant([]), async (model, { levels }) => {
    for (const level of levels) await model.settle(level);
  }),
  onTower(fc.constant([]), (model, { levels }) => {
    const top = levels.at(-1)!;
    if (!top.stolen) top.marks.push({ mark: top.arena.mark(), lastId: model.lastId });
  }),
  onTower(fc.constant([]), (_, { levels }) => {
    const top = levels.at(-1)!;
    const last = top.marks.pop();
    if (last === undefined) return;
    try {
      top.arena.rewind(last.mark);
    } catch (error) {
      // The window was transferred, or a realloc has taken bytes below the mark back.
      if (top.stolen && error instanceof DetachedError) return;
      assert(error instanceof RangeError && error.message.includes("above the cursor"));
      return;
    }
    for (const block of top.blocks) if (block.id % 100_000 > last.lastId) top.others.push(block.view);
    top.blocks = top.blocks.filter(({ id }) => id % 100_000 <= last.lastId);
    top.window = null; // another window may be current now,
    top.lost = false; // one that was not transferred
  }),
  fc.nat(SIZE).map((retain): Step => (model) => model.pool.trim(retain)),
  onTower(fc.tuple(fc.nat(SIZE)), (_, { base }, retain) => base.trim(retain)),
);

Deno.test("random programs of pools, scopes, pins, transfers and exceptions: stale views are dead, all others intact", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.boolean(),
      fc.array(step, { maxLength: 60, size: "max" }),
      async (zero, poison, steps) => {
        const model = new Model(zero, poison);
        try {
          for (const run of steps) {
            await run(model);
            model.check();
          }
        } finally {
          for (const tower of [...model.towers]) await model.close(tower, true);
          model.pool.close();
        }
        for (const { view, id } of model.received) assert(patternHolds(view, id));
      },
    ),
    { numRuns: times(200) },
  );
});

Deno.test("concurrent requests, each with its own pattern over random awaits: no byte is ever wrong", async () => {
  using pool = new BumpPool({ limit: 32, size: 2 ** 22, window: 65536, retain: 65536 });
  let wrong = 0;
  let requests = 0;
  const pause = (random: number) =>
    random % 3 === 0 ? Promise.resolve() : new Promise<void>((resolve) => setTimeout(resolve, random % 3 - 1));
  const work = async (scratch: BumpAlloc, id: number) => {
    const random = randomOf(id + 1);
    const blocks: Block[] = [];
    for (let round = 0; round < 4; round++) {
      const view = scratch.alloc(1 + random(round === 3 ? 200_000 : 3000));
      fillPattern(view, id + round);
      blocks.push({ view, id: id + round });
      await pause(random(9));
      {
        await using scope = scratch.scope();
        const inner = scope.alloc(1 + random(5000));
        // Like a read from a file, it writes late, while others run and the block is about to end.
        const written = pause(random(9)).then(() => fillPattern(inner, id + 99)).then(() => pause(random(9)));
        void scope.pin(written.then(() => void (patternHolds(inner, id + 99) || wrong++)));
      }
      for (const { view, id } of blocks) if (!patternHolds(view, id)) wrong++;
    }
    requests++;
  };
  const request = async (id: number) => {
    // Every other client calls lease(), if one is free.
    const { leased, waiting, limit } = pool.stats();
    if (id % 20 !== 0 || leased === limit || waiting > 0) return await pool.use((scratch) => work(scratch, id));
    await using scratch = pool.lease();
    await work(scratch, id);
  };
  // 200 clients over 32 leases.
  await Promise.all(Array.from({ length: 200 }, async (_, client) => {
    for (let i = 0; i < 10; i++) await request(client * 1000 + i * 10);
  }));
  assertEquals([requests, wrong], [2000, 0]);
  assertEquals(pool.stats(), { ...pool.stats(), leased: 0, waiting: 0, lost: 0 });
});

for (const [name, transfer] of Object.entries(TRANSFERS)) {
  Deno.test(`${name} takes the window: DetachedError names it and the ways out`, async () => {
    using scratch = new BumpAlloc();
    const view = scratch.alloc(64);
    fillPattern(view, 5);
    const { byteOffset } = view;
    const receiving = transfer(view);
    assertEquals(view.length, 0);
    const error = assertThrows(() => scratch.alloc(8), DetachedError, name.split(" ")[0]);
    const ways = ["view.slice()", "transferable: false", "reset()", "the end of the view's scope"];
    for (const way of ways) assert(error.message.includes(way), way);
    const received = new Uint8Array(await receiving, byteOffset, 64);
    scratch.reset();
    scratch.alloc(2 ** 20).fill(255);
    assert(patternHolds(received, 5));

    const scope = scratch.scope();
    const scoped = transfer(scope.alloc(64));
    assertThrows(() => scope.alloc(8), DetachedError);
    scope.end();
    assertEquals(scratch.alloc(8).length, 8);
    await scoped;
  });

  testSince(MARKS_SINCE, "no buffer can be kept", `${name} of an untransferable window throws`, async () => {
    using fixed = new BumpAlloc({ transferable: false });
    const kept = fixed.alloc(64);
    fillPattern(kept, 6);
    await assertRejects(async () => await transfer(kept));
    assert(patternHolds(kept, 6));
    assertEquals(fixed.alloc(8).length, 8);
  });
}
