/** Scopes, frames and marks, and everything that ends them. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { BumpAlloc, type BumpScope, ClosedError, DetachedError, PinnedError, ScopeError } from "../mod.ts";
import { fillPattern, patternHolds } from "./support/pattern.ts";
import { gc, noGc } from "./support/until.ts";
import { callDeep } from "./support/stack.ts";
import { takeNatively } from "./support/native.ts";
import { testUnless } from "./support/skip.ts";

// ---- marks ---------------------------------------------------------------------------------------

Deno.test("a mark is valid until the memory below it is taken back; older marks are refused and cut nothing", () => {
  using scratch = new BumpAlloc();
  const first = scratch.mark();
  scratch.alloc(100);
  const second = scratch.mark();
  scratch.reset();
  const view = scratch.alloc(200);
  fillPattern(view, 1);
  for (const mark of [first, second]) {
    assertThrows(() => scratch.rewind(mark), RangeError, "Cannot rewind: the mark is from before a reset");
  }
  scratch.alloc(100).fill(9);
  assert(patternHolds(view, 1));
  // A mark of an ended scope is no mark of the next scope at the same offset.
  let old!: ReturnType<BumpScope["mark"]>;
  {
    using scope = scratch.scope();
    old = scope.mark();
  }
  using scope = scratch.scope();
  const inner = scope.alloc(200);
  fillPattern(inner, 2);
  assertThrows(() => scope.rewind(old), TypeError, "the mark is not from this allocator or scope");
  // A mark above a later rewind is void, even after new allocations reach beyond it.
  const low = scope.mark();
  scope.alloc(100);
  const high = scope.mark();
  scope.rewind(low);
  const after = scope.alloc(300);
  fillPattern(after, 3);
  assertThrows(() => scope.rewind(high), RangeError, "above the cursor");
  scope.alloc(100).fill(9);
  assert(patternHolds(inner, 2) && patternHolds(after, 3));
});

Deno.test("a mark in a scope that moved to another chunk never rewinds into others' bytes", () => {
  using scratch = new BumpAlloc({ window: 4096, size: 2 ** 20 });
  for (const native of [0, 5000, 70_000]) {
    scratch.reset();
    const kept = scratch.alloc(100);
    fillPattern(kept, 1);
    const before = scratch.mark();
    if (native > 0) takeNatively(scratch, native);
    const views = [9000, 20_000, 100].map((byteLength) => scratch.alloc(byteLength));
    views.forEach(fillPattern);
    scratch.rewind(before);
    const again = [9000, 20_000, 100].map((byteLength) => scratch.alloc(byteLength));
    again.forEach((view, i) => fillPattern(view, i + 10));
    assert(again.every((view, i) => patternHolds(view, i + 10)) && patternHolds(kept, 1));
  }
});

// ---- scopes that no code can end any more ---------------------------------------------------------

Deno.test("reset ends scopes that were left behind: by an error with a pin, by a generator, or forgotten", async () => {
  using scratch = new BumpAlloc();
  const { promise, resolve } = Promise.withResolvers<void>();
  assertThrows(() => {
    using scope = scratch.scope();
    void scope.pin(promise);
    throw new Error("mine");
  });
  assertThrows(() => scratch.alloc(8), ScopeError, "reset() of the allocator ends all scopes");
  assertThrows(() => scratch.reset(), PinnedError);
  resolve();
  await promise;
  await Promise.resolve();
  scratch.reset();
  assertEquals(scratch.alloc(8).length, 8);

  function* blocks(): Generator<Uint8Array> {
    using scope = scratch.scope();
    for (;;) yield scope.alloc(100);
  }
  const view = blocks().next().value!;
  assertThrows(() => scratch.alloc(8), ScopeError, "BumpPool");
  scratch.reset();
  assertEquals([view.length, scratch.alloc(8).length, scratch.used], [0, 8, 8]);
});

testUnless(noGc, "reset ends a scope that was dropped", async () => {
  using scratch = new BumpAlloc();
  (() => scratch.scope().scope().alloc(8))();
  for (let i = 0; i < 5; i++) {
    gc!();
    await new Promise((resolve) => setTimeout(resolve));
  }
  assertThrows(() => scratch.alloc(8), ScopeError);
  scratch.reset();
  assertEquals(scratch.alloc(8).length, 8);
});

Deno.test("a scope that a reset ended stays closed, even after others were opened at its offset", () => {
  using scratch = new BumpAlloc();
  const old = [scratch.scope()];
  old.push(old[0].frame());
  old.push(old[1].scope());
  scratch.reset();
  using scope = scratch.scope();
  using frame = scope.frame();
  const view = frame.alloc(100);
  fillPattern(view, 1);
  for (const gone of old) {
    for (const call of [() => gone.alloc(8), () => gone.mark(), () => gone.scope(), () => gone.frame()]) {
      assertThrows(call, ClosedError);
    }
    gone.end();
  }
  assertEquals(frame.alloc(8).length, 8);
  assert(patternHolds(view, 1));
});

// ---- frames --------------------------------------------------------------------------------------

Deno.test("a frame's memory is free at its end, and is not reused before its views are detached", () => {
  using scratch = new BumpAlloc({ window: 4096 });
  const kept = scratch.alloc(100);
  fillPattern(kept, 0);
  const { used } = scratch;
  const ended: { view: Uint8Array; id: number }[] = [];
  for (let i = 1; i < 300; i++) {
    const frame = scratch.frame();
    const view = frame.alloc(1 + i * 7 % 500);
    fillPattern(view, i);
    frame.end();
    ended.push({ view, id: i });
    assertEquals([scratch.used, scratch.remaining], [used, scratch.capacity - used]);
    // Writes through an ended frame's view reach no other block; this writes to the latest one.
    for (const { view, id } of ended) assert(view.length === 0 || patternHolds(view, id));
    assertEquals(ended.map(({ view }) => scratch.owns(view)), ended.map(() => false));
  }
  assert(ended.some(({ view }) => view.length === 0));
  const next = scratch.alloc(4000);
  assertEquals(ended.map(({ view }) => view.length), ended.map(() => 0));
  fillPattern(next, 7);
  assert(patternHolds(kept, 0) && patternHolds(next, 7));
});

Deno.test("views of ended frames end by an allocation around them, a scope, reset, trim, rewind, close, or a full window", () => {
  const ENDS: Record<string, (scratch: BumpAlloc) => unknown> = {
    alloc: (scratch) => scratch.alloc(8),
    "offset": (scratch) => scratch.offset(8),
    "a larger frame": (scratch) => scratch.frame((frame) => frame.alloc(2 ** 21).length),
    "an allocation in a scope": (scratch) => {
      using scope = scratch.scope();
      scope.alloc(8);
    },
    reset: (scratch) => scratch.reset(),
    trim: (scratch) => scratch.trim(),
    close: (scratch) => scratch.close(),
    "exactly what remains": (scratch) => assertEquals(scratch.alloc(scratch.remaining, 1).length > 0, true),
    cstring: (scratch) => scratch.cstring("text"),
    "attach and give it up": (scratch) => {
      const other = BumpAlloc.attach(scratch.share());
      other.alloc(8);
      other.close();
      scratch.alloc(8);
    },
  };
  for (const [name, end] of Object.entries(ENDS)) {
    using scratch = new BumpAlloc();
    scratch.alloc(10);
    const before = scratch.mark();
    const views = [100, 2000, 2 ** 20].map((byteLength) => scratch.frame((frame) => frame.alloc(byteLength)));
    void before;
    end(scratch);
    assertEquals(views.map((view) => view.length), [0, 0, 0], name);
  }
  using scratch = new BumpAlloc();
  const mark = scratch.mark();
  scratch.alloc(8);
  const view = scratch.frame((frame) => frame.alloc(8));
  scratch.rewind(mark);
  scratch.alloc(64);
  assertEquals(view.length, 0);
});

Deno.test("frame(fn) returns the result, ends even if fn throws, and refuses a promise", () => {
  using scratch = new BumpAlloc();
  let frame!: BumpScope;
  assertEquals(scratch.frame((its) => (frame = its).alloc(8).fill(3)[0]), 3);
  assertThrows(() => frame.alloc(8), ClosedError);
  assertThrows(
    () =>
      scratch.frame((its) => {
        frame = its;
        its.alloc(8);
        throw new Error("mine");
      }),
    Error,
    "mine",
  );
  assertThrows(() => frame.alloc(8), ClosedError);
  assertEquals(scratch.used, 0);
  const error = assertThrows(
    () => scratch.frame((its) => (frame = its, Promise.resolve(1))),
    TypeError,
    "Cannot open a frame: the function returned a promise",
  );
  assert(error.message.includes("scope()") && error.message.includes("pin()"));
  assertThrows(() => frame.alloc(8), ClosedError);
  assertThrows(() => scratch.frame(5 as never), TypeError);
  assertEquals([scratch.used, scratch.alloc(8).length], [0, 8]);
});

Deno.test("frames nest, in frames and scopes, and end last in first out", () => {
  using scratch = new BumpAlloc({ window: 4096 });
  for (let round = 0; round < 20; round++) {
    const outer = scratch.frame();
    const first = outer.alloc(300);
    fillPattern(first, 1);
    const inner = outer.frame();
    assertThrows(() => scratch.alloc(8), ScopeError);
    assertThrows(() => outer.alloc(8), ScopeError);
    assertThrows(() => outer.end(), ScopeError);
    const second = inner.alloc(300);
    fillPattern(second, 2);
    const scope = inner.scope();
    const third = scope.alloc(3000);
    fillPattern(third, 3);
    scope.end();
    assertEquals(third.length, 0);
    inner.end();
    inner.end();
    const fourth = outer.alloc(500);
    fillPattern(fourth, 4);
    assertEquals(second.length, 0);
    assert(patternHolds(first, 1) && patternHolds(fourth, 4));
    outer.end();
    assertEquals(scratch.used, 0);
    assert([first, fourth].every((view, i) => view.length === 0 || patternHolds(view, [1, 4][i])));
  }
});

Deno.test("the window of an ended frame is transferred: its receiver keeps it, and later frames use other memory", () => {
  // In debug mode a frame's views end with it: there is nothing to transfer.
  using scratch = new BumpAlloc({ window: 4096, size: 2 ** 20, debug: false });
  const received: Uint8Array[] = [];
  for (let i = 0; i < 8; i++) {
    const view = scratch.frame((frame) => frame.alloc(500));
    fillPattern(view, i);
    received.push(structuredClone(view, { transfer: [view.buffer] }));
    const next = scratch.frame((frame) => {
      const view = frame.alloc(3000);
      fillPattern(view, 50);
      assert(patternHolds(view, 50));
      return view;
    });
    assert(next.length === 0 || patternHolds(next, 50));
    if (i % 2 === 0) fillPattern(scratch.alloc(1000), 60);
  }
  while (scratch.tryAlloc(1000)?.fill(255)) { /* all that is left */ }
  received.forEach((view, i) => assert(patternHolds(view, i)));
});

Deno.test("a frame refuses to end while a pin is outstanding, and another frame or scope waits", async () => {
  using scratch = new BumpAlloc();
  const frame = scratch.frame();
  const view = frame.alloc(8);
  const { promise, resolve } = Promise.withResolvers<void>();
  void frame.pin(promise);
  assertThrows(() => frame.end(), PinnedError);
  assertThrows(() => scratch.frame(), ScopeError);
  assertThrows(() => scratch.reset(), PinnedError);
  assertEquals(view.length, 8);
  const ending = frame[Symbol.asyncDispose]();
  resolve();
  await ending;
  assertEquals([scratch.used, scratch.alloc(8).length, view.length], [0, 8, 0]);
});

Deno.test("exactly the remaining bytes can be allocated in a frame and after it, after any number of frames", () => {
  using scratch = BumpAlloc.withSize(2 ** 16, { window: 4096 });
  scratch.alloc(100, 1);
  for (let i = 0; i < 50; i++) {
    const { remaining } = scratch;
    assertEquals(remaining, 2 ** 16 - 100);
    scratch.frame((frame) => frame.alloc(1 + i * 97 % 3000, 1));
    assertEquals(scratch.remaining, remaining);
    if (i % 5 === 0) assertEquals(scratch.frame((frame) => frame.alloc(remaining, 1).length), remaining);
    if (i % 5 === 1) {
      using scope = scratch.scope();
      assertEquals(scope.alloc(remaining, 1).length, remaining);
    }
    if (i % 5 === 2) {
      using frame = scratch.frame();
      using inner = frame.frame();
      assertEquals(inner.alloc(remaining, 1).length, remaining);
    }
  }
  assertEquals(scratch.alloc(scratch.remaining, 1).length, 2 ** 16 - 100);
});

Deno.test("frames with zero and poison show no bytes of others", () => {
  for (const options of [{ zero: true }, { poison: true }]) {
    using scratch = new BumpAlloc({ window: 4096, ...options });
    for (let i = 0; i < 50; i++) {
      const stale = scratch.frame((frame) => {
        const view = frame.alloc(200 + i * 30);
        assert(view.every((byte) => byte === 0 || (!("zero" in options) && byte === 0xdd)));
        return view.fill(7);
      });
      if ("poison" in options) assertEquals(stale.length, 0);
      const zeroed = scratch.frame((frame) => frame.allocZeroed(500).every((byte) => byte === 0));
      assert(zeroed);
    }
  }
});

Deno.test("a mark in an empty frame is the frame's beginning, even if its memory is then taken elsewhere", () => {
  for (const byteLength of [8, 200, 3000, 5000, 100_000]) {
    using scratch = new BumpAlloc({ window: 4096 });
    const kept = scratch.alloc(100);
    fillPattern(kept, 1);
    for (let i = 0; i < 60; i++) {
      scratch.frame((frame) => frame.alloc(90));
      using frame = scratch.frame();
      const mark = frame.mark();
      for (let j = 0; j < 3; j++) {
        const view = frame.alloc(byteLength);
        fillPattern(view, 2);
        frame.rewind(mark);
        assertEquals(scratch.used, 100);
      }
      using inner = frame.frame();
      const innerMark = inner.mark();
      inner.alloc(byteLength);
      inner.rewind(innerMark);
      assertEquals(scratch.used, 100);
    }
    assert(patternHolds(kept, 1));
  }
});

// ---- stack overflows -----------------------------------------------------------------------------

Deno.test("after a stack overflow in an end of memory it can be tried again, and then no view is alive", () => {
  for (let i = 0; i < 24; i++) {
    const padding = i % 8;
    const scratch = new BumpAlloc({ window: 4096, poison: i % 2 === 0 });
    const views = [100, 5000, 20_000].map((byteLength) => scratch.alloc(byteLength));
    const scope = i % 3 === 0 ? scratch.frame() : scratch.scope();
    const inner = [10, 9000, 50_000].map((byteLength) => scope.alloc(byteLength));
    callDeep(() => scope.end(), padding);
    const live = scratch.alloc(3000).fill(3);
    assertEquals(inner.map((view) => view.length), [0, 0, 0]);
    callDeep(() => scratch.alloc(6000).fill(4), padding);
    callDeep(() => scratch.cstring("\u00e9".repeat(500)).fill(5), padding);
    assert(live.every((byte) => byte === 3));
    callDeep(() => scratch.close(), padding);
    assertEquals([...views, live].map((view) => view.length), [0, 0, 0, 0]);
  }
});

Deno.test("after a stack overflow in a reset with open scopes it can be tried again, and then nothing is left", () => {
  for (let i = 0; i < 16; i++) {
    using scratch = new BumpAlloc({ window: 4096, poison: i % 2 === 0, size: 2 ** 20 });
    const views = [scratch.alloc(5000), scratch.alloc(100)];
    const scope = scratch.scope();
    views.push(scope.alloc(9000));
    const frame = scope.frame();
    views.push(frame.alloc(100));
    callDeep(() => scratch.reset(), i % 8);
    assertEquals([...views.map((view) => view.length), scratch.used], [0, 0, 0, 0, 0]);
    assertThrows(() => frame.alloc(8), ClosedError);
    assertEquals(scratch.alloc(scratch.remaining, 1).length, 2 ** 20);
  }
});

Deno.test("an empty view of a frame lives as long as the frame, whatever happens inside", () => {
  using scratch = new BumpAlloc({ window: 4096 });
  scratch.frame((frame) => frame.alloc(4000));
  using frame = scratch.frame();
  const empty = frame.alloc(0);
  frame.frame((inner) => inner.alloc(4000));
  frame.scope().end();
  assertEquals(empty.slice().length, 0);
  assertEquals(empty.buffer.detached, false);
});

// ---- checks on the fast paths --------------------------------------------------------------------

Deno.test("the end of a scope, or of a frame, ends the views of frames that have ended in it", () => {
  for (const opens of ["scope", "frame"] as const) {
    using scratch = new BumpAlloc();
    const outer = scratch[opens]();
    const inner = outer.frame((frame) => frame.alloc(100).fill(1));
    outer.end();
    scratch.alloc(5000).fill(2);
    assertEquals(inner.length, 0, opens);
  }
});

Deno.test("a rewind while a scope or a frame is open, or after close, is refused and moves nothing", () => {
  const scratch = new BumpAlloc();
  const mark = scratch.mark();
  const view = scratch.alloc(100);
  fillPattern(view, 1);
  for (const opens of ["scope", "frame", "frame", "scope"] as const) {
    using inner = scratch[opens]();
    assertThrows(() => scratch.rewind(mark), ScopeError, "Cannot rewind");
    inner.alloc(100).fill(9);
    assert(patternHolds(view, 1) && scratch.used === 204);
  }
  scratch.close();
  assertThrows(() => scratch.rewind(mark), ClosedError);
});

Deno.test("while a frame is open behind ended ones, no further frame can be opened", () => {
  using scratch = new BumpAlloc();
  scratch.frame((frame) => frame.alloc(100));
  using frame = scratch.frame();
  const view = frame.alloc(100);
  fillPattern(view, 1);
  for (const opens of ["frame", "scope"] as const) assertThrows(() => scratch[opens](), ScopeError);
  frame.alloc(100).fill(9);
  assert(patternHolds(view, 1));
});

Deno.test("a mark behind a block that was cut is void: it never rewinds into another block", () => {
  using scratch = new BumpAlloc();
  const block = scratch.alloc(100);
  const mark = scratch.mark();
  scratch.realloc(block, 10);
  const live = scratch.alloc(300);
  fillPattern(live, 1);
  assertThrows(() => scratch.rewind(mark), RangeError, "above the cursor");
  scratch.alloc(300).fill(9);
  assert(patternHolds(live, 1));
});

Deno.test("bytes used before a rewind are not taken for zero in a scope or a frame", () => {
  for (const opens of ["scope", "frame"] as const) {
    using scratch = new BumpAlloc();
    const mark = scratch.mark();
    scratch.alloc(1000).fill(9);
    scratch.rewind(mark);
    using inner = scratch[opens]();
    assert(inner.allocZeroed(2000).every((byte) => byte === 0), opens);
  }
});

// ---- empty blocks --------------------------------------------------------------------------------

Deno.test("an empty view's buffer belongs to its own allocator", () => {
  using scratch = new BumpAlloc();
  scratch.view(0, 0).buffer.transfer();
  using other = new BumpAlloc();
  assertEquals(other.view(0, 0).length, 0);
});

Deno.test("an allocator without a byte of a full region still gets an empty block of its own", () => {
  using scratch = BumpAlloc.withSize(65536);
  scratch.alloc(scratch.remaining);
  const handle = scratch.share();
  using attached = BumpAlloc.attach(handle);
  attached.alloc(0).buffer.transfer();
  assertThrows(() => attached.alloc(0), DetachedError);
  attached.reset();
  assertEquals(attached.alloc(0).length, 0);
  using scope = attached.scope();
  assertEquals(scope.alloc(0).length, 0);
  using other = BumpAlloc.attach(handle);
  assertEquals(other.alloc(0).length, 0);
  using unrelated = new BumpAlloc();
  assertEquals([unrelated.alloc(8).length, other.used], [8, 65536]);
});

Deno.test("an empty block after a rewind to the end of a chunk", () => {
  using scratch = new BumpAlloc({ window: 65536 });
  scratch.alloc(65536);
  const mark = scratch.mark();
  takeNatively(scratch, 10_000);
  scratch.alloc(3 * 65536);
  scratch.rewind(mark);
  assertEquals(scratch.alloc(0).length, 0);
});
