/** Random programs of pools, nested scopes, resets, transfers and exceptions: stale views are dead, others intact. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import {
  type BumpAlloc,
  BumpPool,
  type BumpScope,
  ClosedError,
  DetachedError,
  type Mark,
  OutOfMemoryError,
  ScopeError,
} from "../mod.ts";
import { fillPattern, patternHolds } from "./pattern.ts";

const SIZE = 2 ** 20;
const LIMIT = 4;

interface Block {
  readonly view: Uint8Array;
  readonly id: number;
}

/** A scope, or the lease itself at the bottom. */
interface Level {
  readonly arena: BumpAlloc | BumpScope;
  blocks: Block[];
  /**
   * Whether its window was transferred away: nothing can be allocated until it ends. When it was a former window,
   * the allocator notices at the latest when it needs a new one.
   */
  stolen: boolean | "former";
  /** Positions to return to, with the number of the last block before each. */
  readonly marks: { mark: Mark; lastId: number }[];
}

function level(arena: BumpAlloc | BumpScope): Level {
  return { arena, blocks: [], stolen: false, marks: [] };
}

interface Leased {
  readonly lease: BumpAlloc;
  readonly levels: Level[];
}

class Model {
  readonly pool: BumpPool;
  readonly leased: Leased[] = [];
  /** Copies that receivers of transfers hold. */
  readonly received: Block[] = [];
  readonly closed: BumpAlloc[] = [];
  readonly zero: boolean;
  #ids = 0;

  constructor(zero: boolean, poison: boolean) {
    this.zero = zero;
    this.pool = new BumpPool({ size: SIZE, limit: LIMIT, window: 4096, retain: 16384, zero, poison });
  }

  get lastId(): number {
    return this.#ids;
  }

  pick(which: number): Leased | undefined {
    return this.leased[which % this.leased.length];
  }

  alloc(level: Level, byteLength: number): void {
    if (level.stolen === true) {
      assertThrows(() => level.arena.alloc(byteLength), DetachedError);
      return;
    }
    let view: Uint8Array;
    try {
      view = level.arena.alloc(byteLength);
    } catch (error) {
      if (level.stolen && error instanceof DetachedError) return;
      assert(error instanceof OutOfMemoryError, String(error));
      return;
    }
    if (this.zero) assert(view.every((byte) => byte === 0), "somebody's bytes");
    if (byteLength === 0) return;
    const id = ++this.#ids;
    fillPattern(view, id);
    level.blocks.push({ view, id });
  }

  /** Whole buffer away, as postMessage does it: its views die, the receiver's bytes stay. */
  transfer(level: Level, which: number): void {
    const block = level.blocks[which % level.blocks.length];
    if (block === undefined) return;
    const { byteOffset, buffer } = block.view;
    const together = level.blocks.filter(({ view }) => view.buffer === buffer);
    const places = together.map(({ view, id }) => ({ start: view.byteOffset, length: view.length, id }));
    assert(places.some(({ start }) => start === byteOffset));
    const current = level.blocks.at(-1)!.view.buffer === buffer;
    const received = structuredClone(buffer, { transfer: [buffer as ArrayBuffer] }) as ArrayBuffer;
    level.blocks = level.blocks.filter((block) => !together.includes(block));
    for (const { view } of together) assertEquals(view.length, 0);
    for (const { start, length, id } of places) {
      this.received.push({ view: new Uint8Array(received, start, length), id });
    }
    level.stolen ||= "former";
    if (current) level.stolen = true;
  }

  static die(levels: readonly Level[]): void {
    for (const { blocks } of levels) for (const { view } of blocks) assertEquals(view.length, 0, "a stale view lives");
  }

  check(): void {
    for (const { levels } of this.leased) {
      for (const { blocks } of levels) for (const { view, id } of blocks) assert(patternHolds(view, id), "wrong bytes");
    }
    for (const { view, id } of this.received) assert(patternHolds(view, id), "a receiver's bytes are wrong");
    for (const lease of this.closed) assertThrows(() => lease.alloc(1), ClosedError);
    assertEquals(this.pool.stats().leased, this.leased.length);
  }
}

type Step = (model: Model) => void;

const size = fc.oneof(fc.nat(64), fc.nat(5000), fc.nat(300_000));

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.constant<Step>((model) => {
    if (model.leased.length === LIMIT) return;
    const lease = model.pool.lease();
    model.leased.push({ lease, levels: [level(lease)] });
  }),
  {
    weight: 4,
    arbitrary: fc.tuple(fc.nat(), size).map(([which, n]): Step => (model) => {
      const leased = model.pick(which);
      if (leased !== undefined) model.alloc(leased.levels.at(-1)!, n);
    }),
  },
  fc.nat().map((which): Step => (model) => {
    const leased = model.pick(which);
    if (leased === undefined || leased.levels.length > 4) return;
    const parent = leased.levels.at(-1)!;
    if (parent.stolen === true) return void assertThrows(() => parent.arena.scope(), DetachedError);
    if (parent.stolen) return;
    leased.levels.push(level(parent.arena.scope()));
    assertThrows(() => parent.arena.alloc(1), ScopeError);
  }),
  fc.nat().map((which): Step => (model) => {
    const leased = model.pick(which);
    if (leased === undefined || leased.levels.length === 1) return;
    const outer = leased.levels.at(-2)!.arena;
    if (leased.levels.length > 2) assertThrows(() => (outer as BumpScope).end(), ScopeError);
    else assertThrows(() => leased.lease.reset(), ScopeError);
    const ended = leased.levels.pop()!;
    (ended.arena as BumpScope).end();
    Model.die([ended]);
  }),
  // An exception that leaves nested `using` blocks.
  fc.tuple(fc.nat(), fc.array(size, { maxLength: 4 })).map(([which, sizes]): Step => (model) => {
    const leased = model.pick(which);
    if (leased === undefined) return;
    const { arena, stolen } = leased.levels.at(-1)!;
    if (stolen) return;
    const inside: Level[] = [];
    assertThrows(
      () => {
        using outer = arena.scope();
        inside.push(level(outer));
        for (const n of sizes) model.alloc(inside[0], n);
        using inner = outer.scope();
        inside.push(level(inner));
        for (const n of sizes) model.alloc(inside[1], n);
        throw new RangeError("leaves");
      },
      RangeError,
      "leaves",
    );
    Model.die(inside);
  }),
  fc.nat().map((which): Step => (model) => {
    const leased = model.pick(which);
    if (leased === undefined || leased.levels.length > 1) return;
    leased.lease.reset();
    Model.die(leased.levels);
    leased.levels[0] = level(leased.lease);
    assertEquals(leased.lease.used, 0);
  }),
  fc.tuple(fc.nat(), fc.nat()).map(([which, block]): Step => (model) => {
    const leased = model.pick(which);
    if (leased !== undefined && model.received.length < 40) model.transfer(leased.levels.at(-1)!, block);
  }),
  fc.nat().map((which): Step => (model) => {
    const leased = model.pick(which);
    if (leased === undefined) return;
    leased.lease.close();
    Model.die(leased.levels);
    model.closed.push(leased.lease);
    model.leased.splice(model.leased.indexOf(leased), 1);
  }),
  fc.nat().map((which): Step => (model) => {
    const top = model.pick(which)?.levels.at(-1);
    if (top === undefined || top.stolen) return;
    top.marks.push({ mark: top.arena.mark(), lastId: model.lastId });
  }),
  fc.nat().map((which): Step => (model) => {
    const top = model.pick(which)?.levels.at(-1);
    const last = top?.marks.pop();
    if (top === undefined || last === undefined) return;
    if (top.stolen) {
      // Whether it is refused or not: nothing may be handed out again.
      try {
        top.arena.rewind(last.mark);
      } catch (error) {
        assert(error instanceof DetachedError);
      }
      return;
    }
    top.arena.rewind(last.mark);
    top.blocks = top.blocks.filter(({ id }) => id <= last.lastId);
  }),
  fc.nat(SIZE).map((retain): Step => (model) => model.pool.trim(retain)),
);

Deno.test("random programs of leases, scopes, transfers and exceptions: stale views are dead, all others intact", () => {
  fc.assert(
    fc.property(fc.boolean(), fc.boolean(), fc.array(step, { maxLength: 60 }), (zero, poison, steps) => {
      const model = new Model(zero, poison);
      try {
        for (const run of steps) {
          run(model);
          model.check();
        }
      } finally {
        for (const { lease, levels } of model.leased.splice(0)) {
          lease.close();
          Model.die(levels);
        }
        model.pool.close();
      }
      for (const { view, id } of model.received) assert(patternHolds(view, id));
    }),
    { numRuns: 1000 },
  );
});

Deno.test("concurrent requests, each with its own pattern over random awaits: no byte is ever wrong", async () => {
  using pool = new BumpPool({ limit: 32, size: 2 ** 22, window: 65536, retain: 65536 });
  let wrong = 0;
  let requests = 0;
  const pause = (random: number) =>
    random % 3 === 0 ? Promise.resolve() : new Promise<void>((resolve) => setTimeout(resolve, random % 3 - 1));
  const request = (id: number) =>
    pool.use(async (scratch) => {
      let state = id * 7919 + 1;
      const random = () => (state = (state * 1103515245 + 12345) % 2147483648) >> 8;
      const blocks: Block[] = [];
      for (let round = 0; round < 4; round++) {
        const view = scratch.alloc(1 + random() % (round === 3 ? 200_000 : 3000));
        fillPattern(view, id + round);
        blocks.push({ view, id: id + round });
        await pause(random());
        {
          await using scope = scratch.scope();
          const inner = scope.alloc(1 + random() % 5000);
          fillPattern(inner, id + 99);
          await scope.pin(pause(random()));
          if (!patternHolds(inner, id + 99)) wrong++;
        }
        for (const { view, id } of blocks) if (!patternHolds(view, id)) wrong++;
      }
      requests++;
    });
  // 200 clients over 32 leases.
  await Promise.all(Array.from({ length: 200 }, async (_, client) => {
    for (let i = 0; i < 10; i++) await request(client * 1000 + i * 10);
  }));
  assertEquals([requests, wrong], [2000, 0]);
  assertEquals(pool.stats(), { ...pool.stats(), leased: 0, waiting: 0, lost: 0 });
});
