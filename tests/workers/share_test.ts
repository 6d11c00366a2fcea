import { assert, assertEquals, assertThrows } from "@std/assert";
import { BumpAlloc, type BumpHandle, ClosedError, SharedError } from "../../mod.ts";
import { fillPattern, patternHolds, randomOf } from "../support/pattern.ts";
import type { Handover } from "./handover_worker.ts";
import type { ShareRequest } from "./share_worker.ts";
import { times } from "../support/times.ts";
import { until } from "../support/until.ts";

/** A Worker that answers one request at a time. */
class Peer {
  readonly worker = new Worker(new URL("./share_worker.ts", import.meta.url), { type: "module" });

  ask<T>(request: ShareRequest): Promise<T> {
    return new Promise((resolve, reject) => {
      this.worker.onmessage = (event) => resolve(event.data);
      this.worker.onerror = (event) => reject(new Error(event.message));
      this.worker.postMessage(request);
    });
  }
}

/** Waits until this number of allocators hold the region. The end of a Worker takes a moment. */
async function untilAttached(allocator: BumpAlloc, count: number): Promise<void> {
  await until(() => allocator.stats().attached === count);
  assertEquals(allocator.stats().attached, count);
}

Deno.test("a handle is plain data and survives structuredClone and JSON", () => {
  using owner = BumpAlloc.withSize(2 ** 24);
  const handle = owner.share();
  for (const copy of [structuredClone(handle), JSON.parse(JSON.stringify(handle)) as BumpHandle]) {
    const attached = BumpAlloc.attach(copy);
    assertEquals(attached.capacity, owner.capacity);
    assertEquals(attached.address, owner.address);
    attached.close();
  }
});

Deno.test("two allocators on one region never overlap, and see each other's bytes", () => {
  using owner = BumpAlloc.withSize(2 ** 26);
  using other = BumpAlloc.attach(owner.share());
  const taken: { start: number; end: number; from: BumpAlloc; value: number }[] = [];
  for (let i = 0; i < 500; i++) {
    const from = i % 2 === 0 ? owner : other;
    const byteLength = 1 + (i * 7919) % 50_000;
    const view = from.alloc(byteLength);
    const start = Number(from.addressOf(view) - from.address);
    view.fill(i % 251);
    taken.push({ start, end: start + byteLength, from, value: i % 251 });
  }
  const sorted = taken.toSorted((a, b) => a.start - b.start);
  for (let i = 1; i < sorted.length; i++) assert(sorted[i - 1].end <= sorted[i].start);
  for (const { start, end, from, value } of taken) {
    const seen = (from === owner ? other : owner).view(start, end - start);
    assert(seen.every((byte) => byte === value));
  }
  other.close();
});

Deno.test("a mark from before the first chunk rewinds to that chunk, not to others' bytes below it", () => {
  using owner = BumpAlloc.withSize(2 ** 26);
  const handle = owner.share();
  const first = BumpAlloc.attach(handle);
  const offset = Number(first.addressOf(first.alloc(100).fill(1)) - first.address);
  first.close(); // the cursor goes back to its last byte, so the next chunk begins in the same page
  const kept = owner.view(offset, 100);
  const held = kept.slice();

  using second = BumpAlloc.attach(handle);
  const mark = second.mark();
  const taken = [second.alloc(8).fill(2)];
  second.rewind(mark); // in the window
  taken.push(second.alloc(8).fill(2), second.alloc(2 ** 21).fill(2));
  second.rewind(mark); // from another window
  taken.push(second.alloc(8).fill(2));
  assertThrows(() => second.cstringArray(["a", "\0"]), TypeError); // rewinds to an internal mark
  second.alloc(8).fill(2);
  assertEquals(kept, held);
  assertEquals(new Set(taken.map((view) => second.addressOf(view))).size, 2);
});

Deno.test("a Worker allocates, and the main thread reads without copying", async () => {
  using owner = new BumpAlloc();
  const peer = new Peer();
  assertEquals(await peer.ask<number>({ kind: "attach", handle: owner.share() }), owner.capacity);
  const offset = await peer.ask<number>({ kind: "alloc", byteLength: 100_000, value: 9 });
  const view = owner.view(offset, 100_000);
  assert(view.every((byte) => byte === 9));
  view.fill(10); // and the other way round
  assertEquals(await peer.ask<number[]>({ kind: "read", offset, byteLength: 100_000 }), [10]);
  peer.worker.terminate();
  await untilAttached(owner, 1);
});

Deno.test("Atomics work on shared memory: a hand-over and a hand-back", async () => {
  using owner = new BumpAlloc();
  const flags = owner.allocArray(Int32Array, 1);
  flags[0] = 0;
  const peer = new Peer();
  await peer.ask({ kind: "attach", handle: owner.share() });
  const offset = await peer.ask<number>({ kind: "alloc", byteLength: 8, value: 0 });
  const theirs = owner.view(offset, 8);
  const cell = new Int32Array(theirs.buffer, theirs.byteOffset, 1);
  assertEquals(Atomics.add(cell, 0, 257), 0);
  assertEquals(Atomics.load(cell, 0), 257);
  assertEquals((await peer.ask<number[]>({ kind: "read", offset, byteLength: 4 })).sort(), [0, 1]);
  assertThrows(() => Atomics.wait(cell, 0, 257), TypeError); // as documented: not for such memory
  peer.worker.terminate();
  await untilAttached(owner, 1);
});

Deno.test("one block is handed over and back a thousand times: a flag in the region, and a bell to sleep on", async () => {
  const FREE = 0, FULL = 1;
  const rounds = 1000;
  using owner = new BumpAlloc();
  const block = { offset: owner.offset(4096), byteLength: 4096 };
  const state = owner.allocArray(Int32Array, 1).fill(FREE);
  const flag = Number(owner.addressOf(state) - owner.address);
  const bells = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(new URL("./handover_worker.ts", import.meta.url), { type: "module" });
  const answer = new Promise<number[]>((resolve, reject) => {
    worker.onmessage = (event) => resolve(event.data);
    worker.onerror = (event) => reject(new Error(event.message));
  });
  worker.postMessage({ handle: owner.share(), block, flag, bells, rounds } satisfies Handover);
  const { used } = owner;
  const view = owner.view(block.offset, block.byteLength);
  // Before 2.8, Deno does not wake for waitAsync alone.
  const timer = setInterval(() => {}, 1);
  for (let round = 0; round < rounds; round++) {
    assertEquals(Atomics.load(state, 0), FREE);
    if (round > 0) assert(view.every((byte) => byte === 255 - (round - 1) % 200)); // the reader's bytes
    fillPattern(view, round);
    Atomics.store(state, 0, FULL);
    Atomics.add(bells, 0, 1);
    Atomics.notify(bells, 0);
    // A main thread that must stay responsive waits without blocking.
    const waiting = Atomics.waitAsync(bells, 1, round);
    if (waiting.async) await waiting.value;
  }
  assertEquals(await answer, []);
  clearInterval(timer);
  assertEquals(owner.used, used); // the same block each time
  worker.terminate();
  await untilAttached(owner, 1);
});

Deno.test("a forged or stale handle is refused", () => {
  const owner = new BumpAlloc();
  const handle = owner.share();
  const forged: BumpHandle[] = [
    { ...handle, key: handle.key ^ 1 },
    { ...handle, key: 0 },
    { ...handle, control: handle.control + 64 },
    { ...handle, control: 0 },
    { ...handle, control: 8 },
    { ...handle, control: 4096 },
    { ...handle, control: 2 ** 46 },
    { ...handle, control: Number(owner.address) },
    { ...handle, control: Number(owner.address) + owner.capacity },
    { ...handle, control: -4096 },
    { ...handle, abi: handle.abi + 1 },
  ];
  for (const copy of forged) assertThrows(() => BumpAlloc.attach(copy), SharedError);
  for (const wrong of [null, undefined, {}, 5, "x", { ...handle, type: "x" }, { ...handle, control: 1.5 }]) {
    assertThrows(() => BumpAlloc.attach(wrong as BumpHandle), TypeError);
  }
  owner.close();
  assertThrows(() => BumpAlloc.attach(handle), SharedError);
  assertThrows(() => owner.share(), ClosedError);
  // The control block is reused, and the old handle stays dead.
  using next = new BumpAlloc();
  const fresh = next.share();
  assertThrows(() => BumpAlloc.attach(handle), SharedError);
  assert(fresh.key !== handle.key);
});

Deno.test("the region outlives its first allocator while others are attached", async () => {
  const peer = new Peer();
  const { handle, offset } = await peer.ask<{ handle: BumpHandle; offset: number }>(
    { kind: "own", byteLength: 5000 },
  );
  using mine = BumpAlloc.attach(handle);
  const theirs = mine.view(offset, 5000);
  peer.worker.terminate();
  await untilAttached(mine, 1);
  assert(theirs.every((byte) => byte === 42));
  const more = mine.alloc(100_000);
  more.fill(1);
  assert(theirs.every((byte) => byte === 42));
});

Deno.test("a Worker that throws gives up its hold", async () => {
  using owner = new BumpAlloc();
  const peer = new Peer();
  await peer.ask({ kind: "attach", handle: owner.share() });
  await untilAttached(owner, 2);
  peer.worker.onerror = (event) => event.preventDefault();
  peer.worker.postMessage({ kind: "throw" } satisfies ShareRequest);
  await untilAttached(owner, 1);
});

Deno.test("bytes that an attached allocator leaves unused come back", () => {
  using owner = BumpAlloc.withSize(2 ** 26);
  const other = BumpAlloc.attach(owner.share());
  other.alloc(100);
  assert(other.stats().unused > 0);
  assert(other.stats().unused <= 2 ** 20);
  other.close();
  // No other took more in between, so the rest of the chunk is back.
  assertEquals(owner.used, 100);
});

Deno.test("chunks grow with use up to a window, and a large request gets its own", () => {
  using owner = BumpAlloc.withSize(2 ** 28);
  using other = BumpAlloc.attach(owner.share());
  const sizes: number[] = [];
  for (let i = 0; i < 100_000; i++) {
    const cursor = owner.stats().used;
    other.alloc(512);
    const grown = owner.stats().used - cursor;
    if (grown > 0) sizes.push(grown);
    if (sizes.length === 8) break;
  }
  assertEquals(sizes, [65536, 131072, 262144, 524288, 2 ** 20, 2 ** 20, 2 ** 20, 2 ** 20]);
  const cursor = owner.stats().used;
  other.alloc(5 * 2 ** 20);
  const grown = owner.stats().used - cursor;
  assert(grown <= 5 * 2 ** 20 && grown > 4 * 2 ** 20 - 2 ** 19, `${grown} bytes`);
  other.close();
});

Deno.test("a request that fits only behind others' bytes, because of its alignment, succeeds", () => {
  using scratch = BumpAlloc.withSize(196_608, { window: 65536 });
  using other = BumpAlloc.attach(scratch.share());
  scratch.alloc(70_000);
  other.alloc(118_416);
  // 8 KiB are left. Continuing the first chunk would need padding, and so more.
  const offset = Number(scratch.addressOf(scratch.alloc(8192, 4096)) - scratch.address);
  assertEquals([offset, scratch.remaining], [188_416, 0]);
});

Deno.test("a scope takes the first chunk, behind others' bytes: only that chunk is the allocator's", () => {
  using owner = new BumpAlloc({ window: 65536 });
  const live = owner.alloc(100);
  fillPattern(live, 1);
  const attach = () => {
    const attached = BumpAlloc.attach(owner.share());
    using scope = attached.scope();
    scope.alloc(8);
    return attached;
  };
  const { used } = owner;
  const attached = attach();
  assertEquals([attached.used, attached.stats().unused], [65536, 65536]); // used counts the first allocator's chunk
  attached.close();
  assertEquals(owner.used, used); // it gave its chunk back, but not the bytes before it
  using other = BumpAlloc.attach(owner.share());
  other.alloc(2 ** 20).fill(3);
  assert(patternHolds(live, 1));
  // A request that fits into a continuation of the chunk succeeds, whatever lies before it.
  using large = attach();
  const { unused } = large.stats();
  assertEquals(large.alloc(unused + 20, 1).fill(4).length, unused + 20);
  assert(patternHolds(live, 1));
});

Deno.test("a receiver's bytes of an attached allocator's window are not reused after that allocator closes", () => {
  using scratch = new BumpAlloc({ window: 65536 });
  const attached = BumpAlloc.attach(scratch.share());
  const received = new Uint8Array(attached.alloc(8).buffer.transfer()).fill(5);
  attached.close();
  scratch.alloc(2 ** 20).fill(1);
  using other = BumpAlloc.attach(scratch.share());
  other.alloc(2 ** 20).fill(2);
  assert(received.length > 8 && received.every((byte) => byte === 5));
});

Deno.test("random handles are refused: numbers, all kinds of addresses, freed regions", () => {
  const random = randomOf(11);
  const dead: BumpHandle[] = [];
  for (let i = 0; i < 100; i++) {
    const gone = BumpAlloc.withSize(65536);
    dead.push(gone.share());
    gone.close();
  }
  using owner = BumpAlloc.withSize(2 ** 20);
  const handle = owner.share();
  const word = () => random(2 ** 31) * 2 ** 22 + random(2 ** 22);
  const controls = [
    () => handle.control,
    () => handle.control + 64 * (random(2048) - 1024),
    () => handle.control + random(256),
    () => Number(owner.address) + 64 * random(20_000),
    () => dead[random(dead.length)].control,
    () => 64 * random(2 ** 20),
    () => 2 ** 47 + 64 * random(2 ** 20),
    () => Number.MAX_SAFE_INTEGER - random(2 ** 20),
    () => -word(),
    word,
    () => NaN,
    () => Infinity,
    () => 0.5 + random(1000),
    () => "1" as unknown as number,
  ];
  const keys = [() => handle.key + 1, () => 0, () => -1, word, () => NaN, () => dead[random(dead.length)].key];
  const count = times(20_000);
  let refused = 0;
  for (let i = 0; i < count; i++) {
    const control = controls[random(controls.length)]();
    const key = keys[random(keys.length)]();
    try {
      BumpAlloc.attach({ ...handle, control, key });
    } catch (error) {
      assert(error instanceof SharedError || error instanceof TypeError, String(error));
      refused++;
    }
  }
  for (const old of dead) assertThrows(() => BumpAlloc.attach(old), SharedError);
  assertEquals(refused, count);
  assertEquals(owner.stats().attached, 1);
});

Deno.test("all holders of a shared region are equal: reset takes back the own memory, and the last hold keeps the region", async () => {
  const first = new BumpAlloc();
  const kept = first.alloc(100);
  const peer = new Peer();
  await peer.ask({ kind: "attach", handle: first.share() });
  const offset = await peer.ask<number>({ kind: "alloc", byteLength: 1000, value: 9 });
  const theirs = first.view(offset, 1000);
  const own = first.alloc(5000);
  first.trim();
  assertEquals(kept.length, 100);
  first.reset();
  assertEquals([kept.length, own.length, theirs.length], [0, 0, 0]);
  // The other allocator's bytes are unchanged and not handed out.
  for (let i = 0; i < 100; i++) first.alloc(4000).fill(1);
  assert(first.view(offset, 1000).every((byte) => byte === 9));
  first.reset();
  const other = BumpAlloc.attach(first.share());
  first.close();
  assert(other.view(offset, 1000).every((byte) => byte === 9));
  // A sole holder's reset takes the whole region back.
  peer.worker.terminate();
  await untilAttached(other, 1);
  other.reset();
  assertEquals(other.used, 0);
  other.alloc(other.remaining);
  other.close();
});

Deno.test("a Worker that loops over job, answer and reset takes no further memory of the region", async () => {
  using owner = new BumpAlloc();
  const peer = new Peer();
  await peer.ask({ kind: "attach", handle: owner.share() });
  const offsets = new Set<number>();
  for (let i = 0; i < 50; i++) {
    offsets.add(await peer.ask<number>({ kind: "alloc", byteLength: 10_000, value: i }));
    await peer.ask({ kind: "reset" });
  }
  assertEquals(offsets.size, 1);
  peer.worker.terminate();
  await untilAttached(owner, 1);
});
