/** Leases come back whatever was done with them, and share nothing with the next lease. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { BumpAlloc, BumpPool, ClosedError, PoolFullError } from "../mod.ts";
import { fillPattern, patternHolds } from "./support/pattern.ts";
import { bytesAt, nativeTaker, takeNatively } from "./support/native.ts";
import { outputOf } from "./support/program.ts";
import { callDeep } from "./support/stack.ts";
import { canMarkUntransferable } from "../src/buffers.ts";
import { transferred } from "./support/transfers.ts";
import { testUnless } from "./support/skip.ts";
import { noGc, untilCollected } from "./support/until.ts";

const OPTIONS = [
  {},
  { zero: true },
  { poison: true },
  ...(canMarkUntransferable() ? [{ transferable: false }] : []),
];

/** States of a lease when a program drops or closes it. */
const STATES: Record<string, (lease: BumpAlloc) => void> = {
  nothing: () => {},
  "one block": (lease) => lease.alloc(1000).fill(1),
  "several windows": (lease) => void [1000, 10_000, 100_000].map((byteLength) => lease.alloc(byteLength).fill(1)),
  "a rewind to an older window": (lease) => {
    lease.alloc(100);
    const mark = lease.mark();
    lease.alloc(10_000);
    lease.alloc(100_000).fill(1);
    lease.rewind(mark);
  },
  "hooks, and a native block": (lease) => void takeNatively(lease, 5000),
  "hooks, not used": (lease) => void lease.hooks.native,
  "a transfer": (lease) => void lease.alloc(1000).buffer.transfer(),
  "a transfer and a reset": (lease) => {
    lease.alloc(1000).buffer.transfer();
    lease.reset();
    lease.alloc(1000);
  },
  "open scopes and frames": (lease) => void lease.scope().frame().scope().alloc(10_000).fill(1),
  "frames that have ended": (lease) => void lease.frame((frame) => frame.alloc(1000).fill(1)),
  "a transfer of an ended frame's view": (lease) => {
    const { buffer } = lease.frame((frame) => frame.alloc(1000));
    if (buffer.byteLength > 0) buffer.transfer(); // with poison it is dead at once
  },
};

testUnless(noGc, "a dropped lease comes back, whatever was done with it", async () => {
  for (const options of OPTIONS) {
    using pool = new BumpPool({ limit: 100, size: 2 ** 20, window: 4096, ...options });
    let dropped = 0;
    for (const [name, state] of Object.entries(STATES)) {
      if ("transferable" in options && name.includes("transfer")) continue;
      state(pool.lease());
      dropped++;
    }
    await untilCollected(() => pool.stats().lost === dropped);
    assertEquals([pool.stats().lost, pool.stats().leased], [dropped, 0]);
    assertEquals(Array.from({ length: 100 }, () => pool.lease().alloc(8).length), new Array(100).fill(8));
    assertThrows(() => pool.lease(), PoolFullError);
  }
});

Deno.test("a closed lease comes back, whatever was done with it, also after a stack overflow", () => {
  for (const options of OPTIONS) {
    using pool = new BumpPool({ limit: 2, size: 2 ** 20, window: 4096, ...options });
    for (const [name, state] of Object.entries(STATES)) {
      if ("transferable" in options && name.includes("transfer")) continue;
      for (let padding = 0; padding < 8; padding++) {
        const lease = pool.lease();
        state(lease);
        callDeep(() => lease.close(), padding);
        assertEquals([pool.stats().leased, pool.stats().idle, lease.closed], [0, 1, true], `${name} ${padding}`);
        using next = pool.lease();
        assertEquals(next.used, 0);
        const all = next.alloc(next.remaining, 1);
        if ("zero" in options) assert(!all.includes(1));
      }
    }
  }
});

Deno.test("a callback of a returned lease gives NULL, and the next lease's callback gives its own blocks", () => {
  using pool = new BumpPool({ limit: 1, size: 2 ** 20 });
  const first = pool.lease();
  const take = nativeTaker(first);
  assert(take(1000) !== null);
  first.close();
  assertEquals(take(1000), null);
  using second = pool.lease();
  assertEquals(take(1000), null);
  const block = bytesAt(nativeTaker(second)(1000)!, 1000);
  fillPattern(block, 1);
  assertEquals(take(1000), null);
  const view = second.alloc(10_000);
  fillPattern(view, 2);
  assert(patternHolds(block, 1) && patternHolds(view, 2));
});

Deno.test("idle leases keep none of expat's suites", () => {
  const COUNT = 16; // as many as there are
  using pool = new BumpPool({ size: 65536 });
  for (let round = 0; round < 3; round++) {
    const leases = Array.from({ length: COUNT }, () => pool.lease());
    for (const lease of leases) assert(lease.hooks.expat.suite !== null);
    for (const lease of leases) lease.close();
  }
  const others = Array.from({ length: COUNT }, () => new BumpAlloc({ size: 65536 }));
  for (const scratch of others) assert(scratch.hooks.expat.suite !== null);
  for (const scratch of others) scratch.close();
});

Deno.test("idle leases with huge pages keep the retained bytes", () => {
  using pool = new BumpPool({ hugePages: true, size: 2 ** 23, retain: 65536 });
  const leases = Array.from({ length: 20 }, () => pool.lease());
  for (const lease of leases) lease.alloc(5000).fill(1);
  for (const lease of leases) lease.close();
  pool.trim(0);
  assertEquals(pool.stats().idleResident, 0);
  using lease = pool.lease();
  lease.alloc(5000).fill(1);
  lease.reset({ retain: 4096 });
  assert(lease.stats().resident <= 4096, `${lease.stats().resident} bytes stay`);
});

Deno.test("closing a pool rejects waiting calls, with stacks that begin at their own lines", async () => {
  const pool = new BumpPool({ limit: 1 });
  const lease = pool.lease();
  async function waiter(): Promise<unknown> {
    return await pool.use(() => 1);
  }
  const waiting = [assertRejects(waiter, ClosedError), assertRejects(() => pool.use(() => 2), ClosedError)];
  function closer(): void {
    pool.close();
  }
  closer();
  const [error] = await Promise.all(waiting);
  assertStringIncludes(error.message, "the pool is closed");
  assert(!error.stack!.includes("closer"), error.stack);
  lease.close();
  assertEquals(pool.stats(), { ...pool.stats(), leased: 0, idle: 0, waiting: 0, reserved: 0 });
});

Deno.test("a waiting use gets a lease that comes back after a transfer, by close, or by a new region", async () => {
  using pool = new BumpPool({ limit: 1, size: 65536 });
  const lease = pool.lease();
  const received = transferred(lease.alloc(100).fill(7));
  const waiting = [1, 2, 3].map((value) =>
    pool.use((scratch) => {
      scratch.alloc(60_000).fill(value).buffer.transfer();
      return value;
    })
  );
  lease.close();
  assertEquals(await Promise.all(waiting), [1, 2, 3]);
  assert(received.every((byte) => byte === 7));
  assertEquals(pool.stats(), { ...pool.stats(), leased: 0, waiting: 0, moved: 4 });
});

Deno.test("a lost lease whose memory cannot be reused does not end the program", async () => {
  const output = await outputOf(`
    const pool = new BumpPool();
    (() => pool.lease().alloc(10))();
    (() => new BumpAlloc().alloc(10))();
    await new Promise((resolve) => setTimeout(resolve));
    revoke();
    for (let i = 0; i < 20; i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    console.log("alive");`);
  assertEquals(output, "alive");
});
