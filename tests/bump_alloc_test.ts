import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import {
  BumpAlloc,
  ClosedError,
  DetachedError,
  OutOfMemoryError,
  PinnedError,
  ReserveError,
  ScopeError,
} from "../mod.ts";
import { canMarkUntransferable, MARKS_SINCE } from "../src/buffers.ts";
import { fillPattern, patternHolds } from "./support/pattern.ts";
import { addressSpace, untold } from "./support/process_memory.ts";
import { testUnless } from "./support/skip.ts";
import { times } from "./support/times.ts";
import { gc, noGc, untilCollected } from "./support/until.ts";

const marks = canMarkUntransferable();
const noMarks = marks ? null : `it needs Deno ${MARKS_SINCE}`;

Deno.test("invalid sizes and alignments throw the right type, and nothing moves", () => {
  using scratch = BumpAlloc.withSize(2 ** 20);
  scratch.alloc(8);
  const calls: ((n: unknown) => unknown)[] = [
    (n) => scratch.alloc(n as number),
    (n) => scratch.allocZeroed(n as number),
    (n) => scratch.tryAlloc(n as number),
    (n) => scratch.allocView(n as number),
    (n) => scratch.offset(n as number),
    (n) => scratch.allocArray(Float64Array, n as number),
    (n) => scratch.realloc(scratch.alloc(0), n as number),
    (n) => scratch.view(n as number, 1),
    (n) => scratch.view(0, n as number),
    (n) => scratch.trim(n === undefined ? null as never : n as number),
    (n) => BumpAlloc.withSize(n as number),
  ];
  for (const call of calls) {
    for (const size of [-1, -0.5, 0.5, 1.5, NaN, Infinity, -Infinity, 2 ** 53, 1e300]) {
      assertThrows(() => call(size), RangeError);
    }
    for (const size of ["8", null, undefined, {}, [], true, 8n, Symbol("8")]) assertThrows(() => call(size), TypeError);
  }
  for (const align of [0, -8, 3, 12, 1.5, 2 ** 21, 2 ** 53, NaN, Infinity, 2 ** 31 + 1, 0.5]) {
    assertThrows(() => scratch.alloc(8, align), RangeError, "power of two");
    assertThrows(() => scratch.offset(8, align), RangeError);
    assertThrows(() => scratch.tryAlloc(0, align), RangeError);
  }
  for (const align of ["8", null, {}, 8n]) assertThrows(() => scratch.alloc(8, align as number), TypeError);
  for (const type of [null, undefined, Array, {}, "Uint8Array"]) {
    assertThrows(() => scratch.allocArray(type as never, 4), TypeError);
  }
  assertEquals(scratch.used, 8);
});

Deno.test("a request that does not fit throws, and a smaller one then succeeds", () => {
  using scratch = BumpAlloc.withSize(2 ** 16);
  const error = assertThrows(() => scratch.alloc(2 ** 16 + 1), OutOfMemoryError, "Cannot allocate 64 KiB");
  assertEquals([error.requested, error.align, error.used, error.capacity], [65537, 8, 0, 65536]);
  assertThrows(() => scratch.alloc(Number.MAX_SAFE_INTEGER), OutOfMemoryError);
  assertThrows(() => scratch.alloc(3 * 2 ** 30), OutOfMemoryError, "Cannot allocate 3 GiB");
  assertEquals(scratch.used, 0);
  scratch.alloc(1);
  // It fits by its size, but not with its padding.
  assertThrows(() => scratch.alloc(2 ** 16 - 4, 4096), OutOfMemoryError);
  assertEquals(scratch.tryAlloc(2 ** 16 - 7), null);
  assertEquals(scratch.used, 1);
  // Exactly the remaining bytes, with alignment 1; after that only empty views.
  assertEquals(scratch.alloc(scratch.remaining, 1).length, 2 ** 16 - 1);
  assertEquals(scratch.remaining, 0);
  assertThrows(() => scratch.alloc(1), OutOfMemoryError);
  const empty = scratch.alloc(0);
  assertEquals(empty.length, 0);
  assert(scratch.addressOf(empty) !== 0n);
  assertEquals(scratch.used, 2 ** 16);
});

Deno.test("addresses are multiples of every alignment up to the capacity", () => {
  using scratch = BumpAlloc.withSize(2 ** 24);
  for (let align = 1; align <= 2 ** 23; align *= 2) {
    scratch.reset();
    scratch.alloc(3, 1);
    const view = scratch.tryAlloc(5, align);
    if (view !== null) assertEquals(scratch.addressOf(view) % BigInt(align), 0n);
    else assert(align > 2 ** 20, `no room for alignment ${align}`);
    assertEquals(scratch.addressOf(scratch.alloc(0, Math.min(align, 4096))) % BigInt(Math.min(align, 4096)), 0n);
  }
});

Deno.test("reserving more than any system has is a ReserveError", () => {
  for (const size of [2 ** 52, Number.MAX_SAFE_INTEGER - 2 ** 20]) {
    const error = assertThrows(() => BumpAlloc.withSize(size), ReserveError, "Cannot reserve");
    assert(error.code !== 0);
  }
});

testUnless(
  Deno.build.os === "linux" ? null : "ulimit sets the limits, on Linux",
  "the system refuses to reserve or to commit: an error, and the allocator goes on",
  async () => {
    const program = `
      import { BumpAlloc, CommitError, ReserveError } from ${
      JSON.stringify(new URL("../mod.ts", import.meta.url).href)
    };
      const [kind] = Deno.args;
      if (kind === "reserve") {
        try { BumpAlloc.withSize(2 ** 42); } catch (error) { console.log(error instanceof ReserveError, error.code); }
      } else {
        const scratch = BumpAlloc.withSize(2 ** 34);
        scratch.alloc(1000);
        try { scratch.alloc(2 ** 33); } catch (error) { console.log(error instanceof CommitError, error.code); }
        console.log(scratch.used, scratch.alloc(1000).length);
      }`;
    const file = await Deno.makeTempFile({ suffix: ".ts" });
    await Deno.writeTextFile(file, program);
    const run = async (limit: string, kind: string) => {
      const { stdout } = await new Deno.Command("sh", {
        args: [
          "-c",
          `${limit}; exec "$0" run --quiet --no-check --no-config --allow-ffi "$1" "$2"`,
          Deno.execPath(),
          file,
          kind,
        ],
      }).output();
      return new TextDecoder().decode(stdout).trim();
    };
    // V8 reserves address space too: the limit leaves room for that, but not for these terabytes.
    assertEquals(await run("ulimit -v 1000000000", "reserve"), "true 12");
    assertEquals(await run("ulimit -d 4000000", "commit"), "true 12\n1000 1000");
    await Deno.remove(file);
  },
);

Deno.test("every method after close is refused, and closing twice is fine", () => {
  const scratch = new BumpAlloc();
  const view = scratch.alloc(8);
  const mark = scratch.mark();
  const scope = scratch.scope();
  const inner = scope.alloc(8);
  scratch.close();
  scratch.close();
  assertEquals([view.length, inner.length, scratch.closed, scratch.used, scratch.remaining], [0, 0, true, 0, 0]);
  const calls: (() => unknown)[] = [
    () => scratch.alloc(8),
    () => scratch.alloc(0),
    () => scratch.allocZeroed(8),
    () => scratch.tryAlloc(8),
    () => scratch.allocArray(Int8Array, 8),
    () => scratch.allocView(8),
    () => scratch.copy(new Uint8Array(8)),
    () => scratch.realloc(view, 8),
    () => scratch.offset(8),
    () => scratch.view(0, 0),
    () => scratch.mark(),
    () => scratch.rewind(mark),
    () => scratch.addressOf(view),
    () => scratch.pointerOf(view),
    () => scratch.scope(),
    () => scratch.reset(),
    () => scratch.trim(),
    () => scratch.share(),
    () => scratch.address,
    () => scratch.pin(Promise.resolve()),
    () => scope.alloc(8),
    () => scope.scope(),
  ];
  for (const call of calls) assertThrows(call, ClosedError);
  scratch.free(view);
  scope.end();
  assertEquals(scratch.owns(view), false);
  assertStringIncludes(Deno.inspect(scratch), "closed");
});

Deno.test("an OutOfMemoryError has the numbers of the request itself, not of an internal attempt", () => {
  using scratch = BumpAlloc.withSize(65536);
  scratch.alloc(8);
  const first = scratch.alloc(8);
  const last = scratch.alloc(16);
  const requests: [requested: number, align: number, () => unknown][] = [
    [70_000, 8, () => scratch.alloc(70_000)],
    [80_000, 8, () => scratch.allocArray(Float64Array, 10_000)],
    [70_000, 8, () => scratch.copy(new Uint8Array(70_000))],
    [70_000, 8, () => scratch.realloc(first, 70_000)],
    [70_000, 8, () => scratch.realloc(last, 70_000)], // tried in place first
    [80_001, 1, () => scratch.cstring("\u00e9".repeat(40_000))], // tried as ASCII first
  ];
  for (const [requested, align, request] of requests) {
    const error = assertThrows(request, OutOfMemoryError);
    assertEquals([error.requested, error.align, error.used, error.capacity], [requested, align, 32, 65536]);
    assertEquals(scratch.used, 32);
  }
  // The request would fit if the free bytes were in one piece.
  using owner = BumpAlloc.withSize(2 ** 20, { window: 4096 });
  owner.alloc(8);
  using other = BumpAlloc.attach(owner.share());
  other.alloc(8);
  const { message } = assertThrows(() => owner.alloc(owner.remaining), OutOfMemoryError);
  assert(message.includes("of 1 MiB are used, and no free piece is large enough"), message);
  other.close();
});

// Where these blocks end debug mode would fill them, and they take RAM then: it is off.
const commits = Deno.build.os === "windows" ? "Windows counts committed memory against RAM and page file" : null;

testUnless(commits, "the used bytes of a block of two gigabytes that was cut are not taken for zero", () => {
  using scratch = BumpAlloc.withSize(2 ** 34, { debug: false });
  const block = scratch.alloc(2 ** 31 + 4096);
  block.subarray(2 ** 31).fill(9);
  scratch.realloc(block, 10);
  scratch.alloc(2 ** 31);
  assert(scratch.allocZeroed(8000).every((byte) => byte === 0));
});

testUnless(
  commits,
  "behind a block of more than two gigabytes offsets, views and marks are right",
  () => {
    using scratch = BumpAlloc.withSize(5 * 2 ** 30, { debug: false });
    for (const byteLength of [2 ** 30 + 24, 2 ** 31 + 24, 2 ** 32 + 24]) {
      scratch.reset();
      scratch.offset(8);
      assertEquals(scratch.offset(byteLength), 8);
      const mark = scratch.mark();
      const next = 8 + byteLength;
      assertEquals(scratch.offset(8), next);
      assertEquals(scratch.addressOf(scratch.alloc(8).fill(1)), scratch.address + BigInt(next + 8));
      scratch.rewind(mark);
      assertEquals(scratch.offset(8), next);
      assertEquals(scratch.view(next, 8).fill(2).length, 8);
      const views = [scratch.allocArray(Int32Array, 2), scratch.out("i32").view, scratch.cstring("text")];
      assertEquals(
        views.map((view) => scratch.addressOf(view) - scratch.address),
        [8, 16, 24].map((more) => BigInt(next + more)),
      );
      using scope = scratch.scope();
      assertEquals(scope.offset(8), next + 32);
    }
  },
);

Deno.test("stale views have length 0 after reset, and allocZeroed is zero again", () => {
  using scratch = new BumpAlloc();
  for (const byteLength of [10, 5000, 3 * 2 ** 20]) {
    const stale = scratch.alloc(byteLength).fill(255);
    scratch.reset();
    assertEquals(stale.length, 0);
    assertEquals(scratch.owns(stale), false);
    assertThrows(() => scratch.realloc(stale, 5), TypeError);
    assert(scratch.allocZeroed(byteLength + 100).every((byte) => byte === 0));
    scratch.reset({ retain: 4096 });
    assert(scratch.allocZeroed(byteLength).every((byte) => byte === 0));
    const mark = scratch.mark();
    scratch.alloc(9000).fill(255);
    scratch.rewind(mark);
    assert(scratch.allocZeroed(9000).every((byte) => byte === 0));
    scratch.reset();
    scratch.trim();
    assert(scratch.allocZeroed(byteLength).every((byte) => byte === 0));
  }
});

Deno.test("zero and poison hold in scopes, over resets and rewinds", () => {
  using zeroed = new BumpAlloc({ zero: true });
  zeroed.alloc(1000).fill(1);
  zeroed.reset();
  assert(zeroed.alloc(1000).every((byte) => byte === 0));
  {
    using scope = zeroed.scope();
    scope.alloc(500).fill(1);
  }
  assert(zeroed.view(zeroed.offset(500), 500).every((byte) => byte === 0));
  let grown = zeroed.alloc(16).fill(1);
  grown = zeroed.realloc(grown, 8);
  grown = zeroed.realloc(grown, 32);
  assertEquals([...grown.subarray(8)], new Array(24).fill(0));

  using poisoned = new BumpAlloc({ poison: true });
  {
    using scope = poisoned.scope();
    scope.alloc(100).fill(1);
  }
  assert(poisoned.alloc(100).every((byte) => byte === 0xdd));
  const mark = poisoned.mark();
  const alias = poisoned.alloc(50).fill(1);
  poisoned.rewind(mark);
  assert(alias.every((byte) => byte === 0xdd));
  poisoned.realloc(poisoned.alloc(100).fill(1), 40);
  assert(poisoned.alloc(60, 1).every((byte) => byte === 0xdd));
});

Deno.test("a transferred window: DetachedError, the receiver's bytes stay, reset repairs", () => {
  using scratch = new BumpAlloc();
  const view = scratch.alloc(64);
  fillPattern(view, 9);
  const received = structuredClone(view, { transfer: [view.buffer] });
  assertEquals(view.length, 0);
  assertThrows(() => scratch.alloc(8), DetachedError, "repairs this");
  assertThrows(() => scratch.allocArray(Int8Array, 8), DetachedError);
  assertThrows(() => scratch.view(0, 8), DetachedError);
  scratch.reset();
  assertEquals(scratch.used, 0);
  // The allocator never reuses the receiver's memory.
  scratch.alloc(2 ** 20).fill(255);
  assert(patternHolds(received, 9));
  received.fill(7);
  assert(scratch.alloc(scratch.remaining).length > 0);
  assert(scratch.stats().orphaned > 0);
  scratch.close();
  assert(received.every((byte) => byte === 7));
});

Deno.test("a scope's window that was transferred is never handed out again", () => {
  using scratch = new BumpAlloc();
  const kept = scratch.alloc(100).fill(1);
  const scope = scratch.scope();
  const received = scope.alloc(100).fill(5).buffer.transfer();
  assertThrows(() => scope.alloc(8), DetachedError);
  scope.end();
  const next = scratch.alloc(2 ** 20).fill(3);
  assert(new Uint8Array(received).every((byte, i) => byte !== 3 || i < 0));
  assert(next.every((byte) => byte === 3) && kept.every((byte) => byte === 1));
  scratch.close();
  assertEquals(new Uint8Array(received)[104], 5);
});

testUnless(noMarks, "with transferable: false the transfer itself throws", () => {
  using scratch = new BumpAlloc({ transferable: false, debug: false });
  const view = scratch.alloc(8).fill(3);
  assertThrows(() => structuredClone(view, { transfer: [view.buffer] }));
  assertThrows(() => view.buffer.transfer(), TypeError);
  assertEquals(view[0], 3);
  scratch.reset();
  assertEquals(scratch.alloc(8)[0], 3); // old views alias, as documented
});

testUnless(
  marks ? "this version is newer" : null,
  `before Deno ${MARKS_SINCE}, transferable: false is refused, and says which version it needs`,
  () => {
    const refused = () => new BumpAlloc({ transferable: false });
    assertThrows(refused, Deno.errors.NotSupported, MARKS_SINCE);
  },
);

Deno.test("structuredClone of a small view copies no more than its window", () => {
  using scratch = new BumpAlloc();
  assert(structuredClone(scratch.alloc(16)).buffer.byteLength <= 2 ** 20);
});

Deno.test("scopes end last in, first out, and their parents cannot allocate meanwhile", () => {
  using scratch = new BumpAlloc();
  const outer = scratch.scope();
  const view = outer.alloc(100).fill(1);
  const inner = outer.scope();
  assertThrows(() => scratch.alloc(1), ScopeError);
  assertThrows(() => outer.alloc(1), ScopeError);
  assertThrows(() => outer.end(), ScopeError);
  assertThrows(() => outer.scope(), ScopeError);
  const deep = inner.alloc(5 * 2 ** 20).fill(2);
  assert(view.every((byte) => byte === 1));
  inner.end();
  inner.end();
  assertThrows(() => inner.alloc(1), ClosedError);
  assertEquals([deep.length, view.length], [0, 100]);
  assertThrows(
    () => {
      using doomed = outer.scope();
      doomed.alloc(8);
      throw new Error("out of the block");
    },
    Error,
    "out of the block",
  );
  const after = outer.alloc(8);
  assertEquals(after.length, 8);
  outer.end();
  assertEquals([view.length, scratch.used], [0, 0]);
});

Deno.test("mark and rewind stay within their own arena", () => {
  using scratch = new BumpAlloc();
  const start = scratch.mark();
  scratch.alloc(100);
  using scope = scratch.scope();
  assertThrows(() => scope.rewind(start), TypeError);
  const inner = scope.mark();
  scope.alloc(3 * 2 ** 20);
  const above = scope.mark();
  scope.rewind(inner);
  assertThrows(() => scope.rewind(above), RangeError);
  scope.alloc(8);
  const justAbove = scope.mark();
  scope.rewind(inner);
  assertThrows(() => scope.rewind(justAbove), RangeError, "above the cursor");
  assertEquals(scratch.used, 100);
  for (const wrong of [null, undefined, {}, 5, { offset: 0 }]) {
    assertThrows(() => scope.rewind(wrong as never), TypeError);
  }
  const view = scope.alloc(10);
  assertEquals(scratch.addressOf(view), scratch.address + 104n);
});

Deno.test("a scope owns only its own memory, in every window", () => {
  using scratch = new BumpAlloc({ window: 4096 });
  const outer = [1000, 100_000, 1000].map((byteLength) => scratch.alloc(byteLength));
  using scope = scratch.scope();
  const own = [1000, 200_000, 1000].map((byteLength) => scope.alloc(byteLength));
  assertEquals(own.map((view) => scope.owns(view)), [true, true, true]);
  assertEquals(outer.map((view) => scope.owns(view)), [false, false, false]);
  // While a scope is open, the allocator owns the scope's memory too.
  assertEquals([...outer, ...own].map((view) => scratch.owns(view)), new Array(6).fill(true));
});

Deno.test("pins: a synchronous end is refused, await using waits", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const expected = new Uint8Array(2 ** 20).map((_, i) => i * 7);
    {
      await using scratch = new BumpAlloc();
      const bytes = scratch.copy(expected);
      const writing = scratch.pin(Deno.writeFile(`${folder}/a`, bytes));
      const digest = scratch.pin(crypto.subtle.digest("SHA-256", bytes));
      assertThrows(() => scratch.close(), PinnedError, "pinned");
      assertThrows(() => scratch.reset(), PinnedError);
      assertEquals(bytes.length, 2 ** 20);
      assertEquals(new Uint8Array(await digest), new Uint8Array(await crypto.subtle.digest("SHA-256", expected)));
      void writing;
    }
    assertEquals(await Deno.readFile(`${folder}/a`), expected);
    const scratch = new BumpAlloc();
    {
      // The file is closed after the scope: to close it rejects the read, while a thread goes on reading.
      using file = await Deno.open(`${folder}/a`);
      await using scope = scratch.scope();
      const target = scope.alloc(1000);
      assertThrows(() => {
        void scope.pin(file.read(target));
        scope.end();
      }, PinnedError);
    }
    await assertRejects(() => scratch.pin(Promise.reject(new Error("mine"))), Error, "mine");
    scratch.close();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

// Wine keeps a byte for each page of reserved address space.
const COUNT = times(Deno.build.os === "windows" ? 20_000 : 200_000);

testUnless(untold, `${COUNT.toLocaleString("en")} allocators made and closed leave nothing`, async () => {
  const cycle = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const scratch = new BumpAlloc({ debug: false }); // closed regions wait in debug mode
      scratch.alloc(64);
      scratch.close();
      // Older engines free collected buffers only between tasks.
      if (i % 10_000 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    gc?.();
  };
  await cycle(COUNT / 10 * 4); // older engines' heaps grow so long
  const size = addressSpace();
  const { rss } = Deno.memoryUsage();
  await cycle(COUNT);
  // Up to a thousand retired regions may wait; the number depends on how fast they are made.
  assert(addressSpace() - size < 1100 * 2 ** 30, "address space leaks");
  assert(Deno.memoryUsage().rss - rss < 2 ** 26, "memory leaks");
});

testUnless(
  noMarks ?? untold ?? noGc,
  `${(COUNT / 10).toLocaleString("en")} allocators dropped without closing are collected`,
  async () => {
    const drop = async (count: number) => {
      for (let i = 0; i < count; i++) {
        new BumpAlloc({ debug: false }).alloc(8192).fill(1); // as above
        if (i % 1000 === 0) {
          gc!();
          await new Promise((resolve) => setTimeout(resolve));
        }
      }
      await untilCollected(() => left() <= 20 * 2 ** 30);
    };
    // Sixteen retired regions stay for reuse. The others are unmapped after a second, a few at each close.
    const left = () => {
      for (let i = 0; i < 20; i++) BumpAlloc.withSize(65536).close();
      return addressSpace() - size;
    };
    const size = addressSpace();
    for (let i = 0; i < 2; i++) await drop(2000); // for so long wine's own record of pages grows
    const { rss } = Deno.memoryUsage();
    await drop(COUNT / 10); // they touch 164 MB
    assert(left() <= 20 * 2 ** 30, "more than twenty regions are left");
    const grown = Deno.memoryUsage().rss - rss;
    assert(grown < 2 ** 26, `${grown} bytes of memory are left`);
  },
);

testUnless(noGc, "a view keeps its memory when its allocator was dropped and collected", async () => {
  const views = Array.from({ length: 50 }, (_, i) => {
    const view = new BumpAlloc().alloc(10_000);
    fillPattern(view, i);
    return view;
  });
  for (let i = 0; i < 20; i++) {
    gc!();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  for (let i = 0; i < 50; i++) assert(patternHolds(views[i], i));
  // A transfer could not be noticed any more, so it is refused, or the memory stays mapped for good.
  if (marks) return void assertThrows(() => views[0].buffer.transfer(), TypeError);
  const received = views.map((view, i) => ({
    view: new Uint8Array(structuredClone(view.buffer, { transfer: [view.buffer] }), view.byteOffset, 10_000),
    id: i,
  }));
  views.length = 0;
  for (let i = 0; i < 20; i++) {
    gc!();
    new BumpAlloc().alloc(10_000).fill(0);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  for (const { view, id } of received) assert(patternHolds(view, id));
});

Deno.test("only pages that are touched use memory; trim gives them back", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(2 ** 26);
  assert(scratch.stats().resident < 2 ** 20);
  scratch.view(0, 2 ** 25).fill(1);
  assert(scratch.stats().resident >= 2 ** 25);
  scratch.reset({ retain: 2 ** 20 });
  assert(scratch.stats().resident <= 2 ** 21);
  using frugal = new BumpAlloc({ retain: 65536 });
  frugal.alloc(2 ** 24).fill(1);
  frugal.reset();
  assert(frugal.stats().resident <= 65536);
  frugal.alloc(2 ** 24).fill(1);
  frugal.reset({ retain: Infinity }); // the argument overrides the allocator's option
  assert(frugal.stats().resident >= 2 ** 24);
});

Deno.test("allocZeroed is zero behind a mark from before a trim", () => {
  using scratch = new BumpAlloc();
  const mark = scratch.mark();
  for (const byteLength of [2 ** 20, 1000]) {
    scratch.alloc(byteLength).fill(1);
    scratch.rewind(mark);
    if (byteLength > 1000) scratch.trim();
  }
  assert(scratch.allocZeroed(2 ** 20).every((byte) => byte === 0));
});

Deno.test("after a transfer and a rewind no offset is in the receiver's bytes", () => {
  using scratch = new BumpAlloc();
  const mark = scratch.mark();
  scratch.offset(8);
  const view = scratch.alloc(64);
  structuredClone(view, { transfer: [view.buffer] });
  scratch.rewind(mark);
  assertThrows(() => scratch.offset(8), DetachedError);
  scratch.reset();
  assertEquals(scratch.offset(8), 0);
  // A transferred window of a scope: no earlier mark leads below it.
  const before = scratch.mark();
  {
    using outer = scratch.scope();
    outer.alloc(8);
    using inner = outer.scope();
    inner.alloc(8).buffer.transfer();
  }
  scratch.rewind(before);
  assert(scratch.offset(8) >= 2 ** 20); // behind the window
  assertEquals(scratch.alloc(8).length, 8);
});
