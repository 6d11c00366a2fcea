import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  BumpAlloc,
  BumpPool,
  ClosedError,
  DetachedError,
  OutOfMemoryError,
  PinnedError,
  PoolFullError,
  ReserveError,
  ScopeError,
  SharedError,
} from "../mod.ts";
import { fillPattern, patternHolds } from "./support/pattern.ts";
import { addressSpace, untold } from "./support/process_memory.ts";
import { testUnless } from "./support/skip.ts";
import { noGc, untilCollected } from "./support/until.ts";

Deno.test("a lease is an allocator; once it is returned, it and its views are dead", () => {
  using pool = new BumpPool({ size: 2 ** 20 });
  const first = pool.lease();
  assert(first instanceof BumpAlloc);
  assertEquals(first.capacity, 2 ** 20);
  const old = first.alloc(1000).fill(7);
  first.close();
  const second = pool.lease();
  const fresh = second.alloc(1000).fill(9);
  // The memory is leased again now; the old object must not reach it.
  assertEquals(old.length, 0);
  assertEquals(first.closed, true);
  assertThrows(() => first.alloc(1), ClosedError);
  assertThrows(() => first.reset(), ClosedError);
  assertThrows(() => first.view(0, 1), ClosedError);
  assertThrows(() => first.scope(), ClosedError);
  assertThrows(() => first.trim(), ClosedError);
  assertEquals([first.used, first.remaining], [0, 0]);
  first.close();
  assertEquals(pool.stats().leased, 1);
  assertEquals(second.used, 1000);
  assert(fresh.every((byte) => byte === 9));
  second.close();
  assertEquals(pool.stats(), { ...pool.stats(), leased: 0, idle: 1, peak: 1, leases: 2, lost: 0, moved: 0 });
});

Deno.test("closing a lease ends its open scopes", () => {
  using pool = new BumpPool({ limit: 1 });
  const lease = pool.lease();
  const outer = lease.scope();
  const inner = outer.scope();
  const views = [outer, inner].map((_, i) => i === 1 ? inner.alloc(10) : new Uint8Array(0));
  lease.close();
  assertEquals(views[1].length, 0);
  assertThrows(() => inner.alloc(1), ClosedError);
  using next = pool.lease();
  assertEquals(next.used, 0);
  using scope = next.scope();
  assertEquals(scope.alloc(10).length, 10);
  assertThrows(() => next.alloc(1), ScopeError);
});

Deno.test("ten thousand leases at once, each with its own bytes", () => {
  using pool = new BumpPool({ limit: 10_000, size: 2 ** 20, window: 4096 });
  const leases = Array.from({ length: 10_000 }, () => pool.lease());
  const views = leases.map((lease, id) => {
    const view = lease.alloc(100 + id % 1000);
    fillPattern(view, id);
    return view;
  });
  assertThrows(() => pool.lease(), PoolFullError);
  views.forEach((view, id) => assert(patternHolds(view, id)));
  assertEquals(pool.stats().leased, 10_000);
  for (const lease of leases) lease.close();
  assertEquals(pool.stats().idle, 10_000);
  for (const view of views) assertEquals(view.length, 0);
});

Deno.test("a full pool: lease throws, use waits for its turn or throws", async () => {
  using pool = new BumpPool({ limit: 2 });
  const one = pool.lease();
  const two = pool.lease();
  const error = assertThrows(() => pool.lease(), PoolFullError);
  assertEquals(error.limit, 2);
  const order: number[] = [];
  const waiting = [1, 2, 3].map((n) =>
    pool.use(async (scratch) => {
      order.push(n);
      scratch.alloc(n);
      await new Promise((resolve) => setTimeout(resolve));
      return n;
    })
  );
  assertEquals(pool.stats().waiting, 3);
  await Promise.resolve();
  assertEquals(order, []);
  one.close();
  two.close();
  // The returned lease is for the waiting caller.
  assertThrows(() => pool.lease(), PoolFullError);
  assertEquals(await Promise.all(waiting), [1, 2, 3]);
  assertEquals(order, [1, 2, 3]);
  assertEquals(pool.stats().leased, 0);

  using impatient = new BumpPool({ limit: 1, whenFull: "throw" });
  using _lease = impatient.lease();
  await assertRejects(() => impatient.use(() => 1), PoolFullError);
});

Deno.test("use puts the lease back when the function throws, and waits for pins", async () => {
  using pool = new BumpPool({ limit: 1 });
  await assertRejects(() => pool.use(() => Promise.reject(new Error("mine"))), Error, "mine");
  await assertRejects(
    () =>
      pool.use(() => {
        throw new Error("mine too");
      }),
    Error,
    "mine too",
  );
  assertEquals(pool.stats().leased, 0);
  let done = false;
  let view!: Uint8Array;
  await pool.use((scratch) => {
    view = scratch.alloc(8);
    scratch.pin(
      new Promise((resolve) => setTimeout(resolve, 5)).then(() => {
        assertEquals(view.length, 8);
        done = true;
      }),
    );
  });
  assert(done);
  assertEquals(view.length, 0);
  const lease = pool.lease();
  let settle!: () => void;
  const pinned = lease.pin(new Promise<void>((resolve) => settle = resolve));
  assertThrows(() => lease.close(), PinnedError);
  assertEquals(pool.stats().leased, 1);
  assertEquals(lease.alloc(8).length, 8);
  settle();
  await pinned;
  await lease[Symbol.asyncDispose]();
  assertEquals(pool.stats().leased, 0);
});

Deno.test("closing a pool: waiting callers get an error, and leases that are out keep working", async () => {
  const pool = new BumpPool({ limit: 1 });
  const lease = pool.lease();
  const waiting = assertRejects(() => pool.use(() => 1), ClosedError);
  pool.close();
  pool.close();
  await waiting;
  assertEquals(pool.closed, true);
  assertThrows(() => pool.lease(), ClosedError);
  await assertRejects(() => pool.use(() => 1), ClosedError);
  const view = lease.alloc(100_000).fill(5);
  assert(view.every((byte) => byte === 5));
  lease.reset();
  lease.alloc(8).fill(1);
  lease.close();
  assertEquals(pool.stats(), { ...pool.stats(), leased: 0, idle: 0, reserved: 0 });
});

Deno.test("a lease whose window was transferred: the receiver's bytes stay, the next lease has others", () => {
  using pool = new BumpPool({ limit: 4, size: 2 ** 16 });
  const addresses = new Set<bigint>();
  const received: Uint8Array[] = [];
  // Several leases, one after the other.
  for (let id = 0; id < 20; id++) {
    using lease = pool.lease();
    assert(!addresses.has(lease.address));
    addresses.add(lease.address);
    const view = lease.alloc(1000);
    fillPattern(view, id);
    received.push(structuredClone(view, { transfer: [view.buffer] }));
    assertThrows(() => lease.alloc(1), DetachedError);
  }
  received.forEach((view, id) => assert(patternHolds(view, id)));
  assertEquals(pool.stats(), { ...pool.stats(), leased: 0, idle: 1, moved: 20 });
  using lease = pool.lease();
  const gone = lease.alloc(10);
  gone.buffer.transfer();
  const before = lease.address;
  lease.reset();
  assert(lease.address !== before);
  lease.alloc(2 ** 16).fill(255);
  received.forEach((view, id) => assert(patternHolds(view, id)));
});

Deno.test("a lease that a transfer moves after its pool was closed gets its own memory", () => {
  const pool = new BumpPool({ limit: 32, size: 2 ** 16 });
  const lease = pool.lease();
  // Until there is a second reservation, which is then released with the pool.
  for (let i = 0; i < 31; i++) {
    using other = pool.lease();
    other.alloc(8).buffer.transfer();
  }
  pool.close();
  // Control blocks are reused once all of a chunk were used.
  for (let i = 0; i < 300; i++) new BumpAlloc().close();
  const others = Array.from({ length: 260 }, () => new BumpAlloc());
  const views = others.map((scratch) => scratch.alloc(2 ** 18).fill(1));
  lease.alloc(8).buffer.transfer();
  lease.reset();
  lease.alloc(2 ** 16).fill(9);
  assert(views.every((view) => view.every((byte) => byte === 1)));
  lease.close();
  for (const scratch of others) scratch.close();
  assertEquals(pool.stats().reserved, 0);
});

Deno.test("a lease is not shared: a handle would outlive it", () => {
  using pool = new BumpPool();
  using lease = pool.lease();
  assertThrows(() => lease.share(), SharedError, "stays in its own Worker");
});

Deno.test("with zero no lease reads another one's bytes; with poison stale bytes are recognised", () => {
  using zeroed = new BumpPool({ zero: true, size: 2 ** 18 });
  for (let i = 0; i < 50; i++) {
    using lease = zeroed.lease();
    for (const n of [10, 5000, 100_000]) {
      const view = lease.alloc(n);
      assert(view.every((byte) => byte === 0));
      view.fill(i + 1);
    }
  }
  using poisoned = new BumpPool({ poison: true, size: 2 ** 18 });
  {
    using lease = poisoned.lease();
    lease.alloc(100).fill(1);
  }
  using lease = poisoned.lease();
  assert(lease.alloc(100).every((byte) => byte === 0xdd));
});

Deno.test("after a burst idle allocators shrink to the retained bytes; steady use keeps its pages", () => {
  const MIB = 2 ** 20;
  using pool = new BumpPool({ retain: 64 * 1024, limit: 500 });
  const request = () => {
    const lease = pool.lease();
    lease.alloc(MIB).fill(1);
    return lease;
  };
  const burst = Array.from({ length: 500 }, request);
  for (const lease of burst) lease.close();
  // Traffic continues with few leases at once.
  for (let i = 0; i < 1000; i++) {
    const few = [request(), request(), request()];
    for (const lease of few) lease.close();
  }
  const { idle, idleResident } = pool.stats();
  assertEquals(idle, 500);
  assert(idleResident < 500 * 64 * 1024 + 8 * MIB, `${idleResident} bytes stay`);
  assert(idleResident >= 3 * MIB, "pages in steady use were given back");
  pool.trim(0);
  assertEquals(pool.stats().idleResident, 0);
  using lease = pool.lease();
  assert(lease.allocZeroed(MIB).every((byte) => byte === 0));
});

Deno.test("one large request does not stay resident for ever", () => {
  const MIB = 2 ** 20;
  using pool = new BumpPool({ retain: 64 * 1024, limit: 1 });
  {
    using lease = pool.lease();
    lease.alloc(32 * MIB).fill(1);
  }
  assert(pool.stats().idleResident >= 32 * MIB);
  for (let i = 0; i < 100; i++) {
    using lease = pool.lease();
    lease.alloc(1000).fill(1);
  }
  // At most twice the needed pages are kept; none stay from the steps in between.
  const { idleResident } = pool.stats();
  assert(idleResident <= 2 * 64 * 1024, `${idleResident} bytes stay`);
});

testUnless(noGc, "a dropped lease is collected and counted, and its memory is reused", async () => {
  using pool = new BumpPool({ limit: 3, size: 2 ** 20 });
  {
    // The hooks of a lease end when it comes back.
    using lease = pool.lease();
    void lease.hooks.native;
  }
  const kept = (() => {
    pool.lease();
    pool.lease().alloc(1000).fill(1);
    const view = pool.lease().alloc(1000);
    fillPattern(view, 3);
    return view;
  })();
  const waiting = pool.use((scratch) => scratch.alloc(10).length);
  await untilCollected(() => pool.stats().lost === 3 && pool.stats().idle === 3);
  assertEquals(await waiting, 10);
  // A view keeps the memory of a lost lease from being reused.
  assertEquals(pool.stats(), { ...pool.stats(), lost: 3, leased: 0, idle: 3 });
  for (let i = 0; i < 3; i++) pool.lease().alloc(2 ** 20).fill(255);
  assertThrows(() => pool.lease(), PoolFullError);
  assert(patternHolds(kept, 3));
});

testUnless(noGc ?? untold, "pools that are dropped or closed give their address space back", async () => {
  const before = addressSpace();
  for (let i = 0; i < 20; i++) {
    const pool = new BumpPool({ limit: 64 });
    const leases = [pool.lease(), pool.lease()];
    leases[0].alloc(1000).fill(1);
    leases[0].close();
    if (i % 2 === 0) pool.close();
    leases[1].alloc(1000).fill(1);
    if (i % 4 < 2) leases[1].close();
  }
  await untilCollected(() => addressSpace() - before < 2 ** 37);
  assert(addressSpace() - before < 2 ** 37, "more than two pools are left");
});

Deno.test("bad options are refused", () => {
  for (const size of [-1, 1.5, NaN]) assertThrows(() => new BumpPool({ size }), RangeError);
  for (const limit of [0, -1, 1.5, Infinity]) assertThrows(() => new BumpPool({ limit }), RangeError);
  assertThrows(() => new BumpPool({ limit: "9" as never }), TypeError);
  assertThrows(() => new BumpPool({ whenFull: "hope" as never }), TypeError);
  assertThrows(() => new BumpPool(null as never), TypeError);
  assertThrows(() => new BumpPool({ retain: -1 }), RangeError);
  assertThrows(() => new BumpPool({ size: 2 ** 52 }).lease(), ReserveError);
  using pool = new BumpPool({ limit: undefined, size: undefined });
  assertEquals(pool.stats().limit, 10_000);
  assertThrows(() => pool.trim(-1), RangeError);
  using small = new BumpPool({ size: 1 });
  using lease = small.lease();
  assert(lease.capacity >= 4096);
  assertThrows(() => lease.alloc(lease.capacity + 1), OutOfMemoryError);
  assertEquals(lease.alloc(lease.capacity).length, lease.capacity);
});

Deno.test("use with a signal: an abort ends the wait, and the others keep their order", async () => {
  using pool = new BumpPool({ limit: 1 });
  const reason = new Error("gone");
  await assertRejects(() => pool.use(() => {}, { signal: AbortSignal.abort(reason) }), Error, "gone");
  const lease = pool.lease();
  const controller = new AbortController();
  const order: number[] = [];
  const uses = [0, 1, 2].map((id) =>
    pool.use(() => void order.push(id), id === 1 ? { signal: controller.signal } : undefined)
  );
  assertEquals(pool.stats().waiting, 3);
  controller.abort(reason);
  assertEquals(await assertRejects(() => uses[1]), reason);
  assertEquals(pool.stats().waiting, 2);
  lease.close();
  await Promise.all([uses[0], uses[2]]);
  assertEquals(order, [0, 2]);
  // Once its turn has come, the signal no longer matters to `use`.
  const later = new AbortController();
  const result = await pool.use(() => {
    later.abort();
    return 7;
  }, { signal: later.signal });
  assertEquals([result, pool.stats().leased, pool.stats().waiting], [7, 0, 0]);
  for (const options of [null, 7, { signal: 7 }, { signal: null }]) {
    await assertRejects(() => pool.use(() => {}, options as never), TypeError, "Cannot use the pool");
  }
});

Deno.test("use rejects every kind of view of its lease, and takes the lease back; copies and other views pass", async () => {
  using pool = new BumpPool({ limit: 1 });
  const view = (make: (scratch: BumpAlloc) => unknown) => pool.use(make);
  for (
    const make of [
      (scratch: BumpAlloc) => scratch.alloc(8),
      (scratch: BumpAlloc) => Promise.resolve(scratch.alloc(8).subarray(2, 3)),
      (scratch: BumpAlloc) => scratch.allocView(8),
      (scratch: BumpAlloc) => scratch.scope().arrayFrom(Float64Array, [1]),
      (scratch: BumpAlloc) => scratch.readAll(new Blob(["text"])),
      (scratch: BumpAlloc) => scratch.alloc(0),
    ]
  ) {
    await assertRejects(() => view(make), TypeError, "return a copy");
    assertEquals(pool.stats().leased, 0);
  }
  assertEquals(await pool.use((scratch) => scratch.encode("text").slice()), new TextEncoder().encode("text"));
  using other = new BumpAlloc();
  assertEquals((await pool.use(() => other.alloc(3))).length, 3);
  assertEquals(await pool.use((scratch) => ({ length: scratch.alloc(4).length })), { length: 4 });
});

Deno.test("stats distinguish a pool that waits for pins from one with nested calls of use", async () => {
  using pool = new BumpPool({ limit: 2 });
  const { promise, resolve } = Promise.withResolvers<void>();
  const slow = [0, 1].map(() =>
    pool.use(async (scratch) => {
      using scope = scratch.scope();
      await scope.pin(promise);
    })
  );
  const waiting = pool.use(() => {});
  assertEquals([pool.stats().leased, pool.stats().waiting, pool.stats().pins], [2, 1, 2]);
  assertEquals(Deno.inspect(pool).includes("waiting: 1, pins: 2, limit: 2"), true);
  resolve();
  await Promise.all([...slow, waiting]);
  assertEquals([pool.stats().leased, pool.stats().waiting, pool.stats().pins], [0, 0, 0]);
  const controller = new AbortController();
  const nested = [0, 1].map(() =>
    pool.use(async () => {
      await Promise.resolve(); // until both have a lease
      await pool.use(() => {}, { signal: controller.signal });
    })
  );
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals([pool.stats().leased, pool.stats().waiting, pool.stats().pins], [2, 2, 0]);
  controller.abort(new Error("it would wait for ever"));
  await Promise.all(nested.map((use) => assertRejects(() => use, Error, "for ever")));
  assertEquals(pool.stats().leased, 0);
});
