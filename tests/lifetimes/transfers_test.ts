/** Transferred memory belongs to its receiver: it is never reused, whoever ends what and whatever fails. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { BumpAlloc, BumpPool, ClosedError, DetachedError } from "../../mod.ts";
import { MARKS_SINCE } from "../../src/buffers.ts";
import { fillPattern, patternHolds } from "../support/pattern.ts";
import { takeNatively } from "../support/native.ts";
import { outputOf } from "../support/program.ts";
import { callDeep } from "../support/stack.ts";
import { transferred } from "../support/transfers.ts";
import { testSince, testUnless } from "../support/skip.ts";
import { noGc, untilCollected } from "../support/until.ts";

/** Allocates all remaining bytes, in pieces. */
function fillUp(scratch: BumpAlloc, value: number): void {
  for (let byteLength = 2 ** 20; byteLength >= 8; byteLength /= 2) {
    for (let view = scratch.tryAlloc(byteLength); view !== null; view = scratch.tryAlloc(byteLength)) view.fill(value);
  }
}

Deno.test("an attached allocator transfers a view and closes: no other holder's reset reaches the receiver's bytes", () => {
  for (const resets of ["reset", "close", "attach and reset"]) {
    const first = BumpAlloc.withSize(2 ** 23);
    const second = BumpAlloc.attach(first.share());
    const view = second.alloc(100);
    fillPattern(view, 1);
    const received = transferred(view);
    second.close();
    if (resets === "reset") first.reset();
    if (resets === "attach and reset") {
      using third = BumpAlloc.attach(first.share());
      first.reset();
      third.reset();
      fillUp(third, 3);
    }
    if (resets !== "close") fillUp(first, 2);
    first.close();
    using next = BumpAlloc.withSize(2 ** 23);
    fillUp(next, 4);
    assert(patternHolds(received, 1), resets);
  }
});

testUnless(
  noGc,
  "an attached allocator transfers a view and is dropped: no other holder's reset reaches the receiver's bytes",
  async () => {
    using first = BumpAlloc.withSize(2 ** 23);
    const handle = first.share();
    const receive = () => {
      const view = BumpAlloc.attach(handle).alloc(100);
      fillPattern(view, 1);
      return transferred(view);
    };
    const received = receive();
    await untilCollected(() => first.stats().attached === 1);
    assertEquals(first.stats().attached, 1);
    first.reset();
    fillUp(first, 2);
    assert(patternHolds(received, 1));
  },
);

Deno.test("no offset is in a receiver's bytes, whether offset or alloc came before the transfer", () => {
  for (const before of ["o", "a", "oa", "ao", "ooa", "oao", "aoo", "ooaa"]) {
    using scratch = new BumpAlloc();
    let view!: Uint8Array<ArrayBuffer>;
    for (const kind of before) {
      if (kind === "o") view = scratch.view(scratch.offset(64), 64);
      else view = scratch.alloc(64);
    }
    view.buffer.transfer();
    for (const call of [() => scratch.offset(8), () => scratch.offset(0), () => scratch.offset(2 ** 21)]) {
      assertThrows(call, DetachedError, undefined, before);
    }
    const { used } = scratch;
    assertThrows(() => scratch.scope().offset(8), DetachedError);
    assertEquals(scratch.used, used);
    scratch.reset();
    assertEquals(scratch.offset(8), 0);
  }
});

Deno.test("a view whose buffer was transferred away has no address, whatever its type", () => {
  using scratch = new BumpAlloc();
  const bytes = scratch.alloc(64);
  const struct = scratch.allocView(64);
  const views = [
    bytes,
    struct,
    scratch.allocArray(Float64Array, 8),
    bytes.subarray(8),
    new DataView(bytes.buffer, 8, 8),
  ];
  assertEquals(views.map((view) => scratch.owns(view)), [true, true, true, true, true]);
  const received = transferred(bytes);
  for (const view of [...views, received]) {
    assertEquals(scratch.owns(view), false);
    assertThrows(() => scratch.addressOf(view), TypeError, "Cannot take the address: the view");
    assertThrows(() => scratch.pointerOf(view), TypeError, "Cannot take the address: the view");
  }
  // The same holds for views whose memory was taken back.
  scratch.reset();
  const again = [scratch.alloc(64), scratch.allocView(64)];
  scratch.reset();
  for (const view of again) {
    assertEquals(scratch.owns(view), false);
    assertThrows(() => scratch.addressOf(view), TypeError, "Cannot take the address: the view");
  }
});

Deno.test("a scope's transferred window stays its receiver's after a stack overflow in the scope's end", () => {
  for (let padding = 0; padding < 12; padding++) {
    using scratch = new BumpAlloc({ window: 4096, size: 2 ** 20 });
    const kept = scratch.alloc(100);
    fillPattern(kept, 1);
    const scope = scratch.scope();
    const views = [10, 5000, 9000].map((byteLength) => scope.alloc(byteLength));
    views.forEach(fillPattern);
    const received = [views[0], views[2]].map(transferred);
    callDeep(() => scope.end(), padding);
    assertEquals(views.map((view) => view.length), [0, 0, 0]);
    fillUp(scratch, 9);
    assert(patternHolds(received[0], 0) && patternHolds(received[1], 2) && patternHolds(kept, 1));
  }
});

Deno.test("a transferred window stays its receiver's after a stack overflow in a reset or a frame's end", () => {
  for (let padding = 0; padding < 12; padding++) {
    using scratch = new BumpAlloc({ window: 4096, size: 2 ** 20 });
    const first = scratch.alloc(100);
    fillPattern(first, 1);
    const received = [transferred(first)];
    callDeep(() => scratch.reset(), padding);
    const frame = scratch.frame();
    const second = frame.alloc(100);
    fillPattern(second, 2);
    received.push(transferred(second));
    callDeep(() => frame.end(), padding);
    fillUp(scratch, 9);
    received.forEach((view, i) => assert(patternHolds(view, i + 1)));
  }
});

Deno.test("a transferred window over several chunks stays whole, over reset and close", () => {
  const scratch = new BumpAlloc({ window: 65536 });
  scratch.alloc(60_000);
  takeNatively(scratch, 1000);
  const last = scratch.alloc(60_000).fill(9);
  const end = Number(scratch.addressOf(last) - scratch.address) + last.length;
  const received = transferred(scratch.view(0, end));
  scratch.reset();
  assertEquals([received.length, received[end - 1]], [end, 9]);
  scratch.alloc(2 ** 20).fill(1);
  scratch.close();
  assertEquals(received[end - 1], 9);
});

Deno.test("a transferred window over others' chunks stays whole when the last of them closes", () => {
  const scratch = new BumpAlloc({ window: 65536 });
  const other = BumpAlloc.attach(scratch.share());
  scratch.alloc(60_000);
  other.alloc(1000);
  const last = scratch.alloc(600_000).fill(9);
  const end = Number(scratch.addressOf(last) - scratch.address) + last.length;
  const received = transferred(scratch.view(0, end));
  other.close();
  scratch.close();
  assertEquals(received[end - 1], 9);
});

Deno.test("a transferred window that begins in the page where another chunk ends is never handed out again", () => {
  using scratch = new BumpAlloc({ window: 5000 });
  scratch.alloc(4000, 1);
  const scope = scratch.scope();
  scope.alloc(900, 1);
  takeNatively(scratch, 16);
  const received = transferred(scope.alloc(3000).fill(5));
  scope.end();
  scratch.alloc(20_000).fill(7);
  assert(received.every((byte) => byte === 5));
});

const REFUSALS: Record<string, string> = {
  "permission for the FFI was revoked": "revoke();",
};

for (const [why, refuse] of Object.entries(REFUSALS)) {
  Deno.test(`a reset after a transfer that fails, because the ${why}, changes nothing: no request shows the receiver's bytes`, async () => {
    const output = await outputOf(`
      const scratch = new BumpAlloc();
      const view = scratch.alloc(100).fill(7);
      const { used } = scratch;
      const received = structuredClone(view, { transfer: [view.buffer] });
      ${refuse}
      console.log(attempt(() => scratch.reset()), scratch.used === used);
      console.log(attempt(() => scratch.alloc(8).fill(1)), attempt(() => scratch.offset(8)),
        attempt(() => scratch.scope().alloc(8).fill(1)), attempt(() => scratch.frame().alloc(8).fill(1)),
        attempt(() => scratch.cstring("x")), attempt(() => scratch.view(0, 100).fill(1)));
      console.log(received.every((byte) => byte === 7), attempt(() => scratch.close()));`);
    assertEquals(output.split("\n"), [
      "NotCapable true",
      Array(6).fill("DetachedError").join(" "),
      "true done",
    ]);
  });
}

const notLinux = Deno.build.os === "linux" ? null : "it needs /proc";

testUnless(
  notLinux,
  "a lost window costs its own size in addresses and about one mapping, also in a pool",
  async () => {
    const space = () => 1024 * Number(/VmSize:\s+(\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))![1]);
    const mappings = () => Deno.readTextFileSync("/proc/self/maps").split("\n").length;
    using pool = new BumpPool({ window: 65536 });
    const kept: Uint8Array[] = [];
    const request = () =>
      pool.use(async (scratch) => {
        const source = new ReadableStream({ type: "bytes", pull: ({ byobRequest }) => byobRequest!.respond(1) });
        const { value } = await source.getReader({ mode: "byob" }).read(scratch.alloc(100));
        kept.push(value!);
      });
    // The regions left behind wait for a while, like all closed ones.
    const COUNT = 300;
    for (let i = 0; i < 20; i++) await request();
    const before = { space: space(), mappings: mappings() };
    for (let i = 0; i < COUNT; i++) await request();
    const settle = async () => {
      for (let i = 0; i < 130; i++) {
        new BumpAlloc({ size: 65536 }).close();
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    };
    await settle();
    const grown = { space: space() - before.space, mappings: mappings() - before.mappings };
    assert(grown.space < COUNT * 3 * 65536 + 20 * 2 ** 26, `${grown.space / COUNT} bytes of addresses each`);
    assert(grown.mappings <= 2 * COUNT, `${grown.mappings / COUNT} mappings each`);
  },
);

Deno.test("transferred memory stays its receiver's after the lease went back and after the pool was closed", () => {
  const pool = new BumpPool({ limit: 2, size: 2 ** 18, window: 4096 });
  const received: Uint8Array[] = [];
  for (let id = 0; id < 20; id++) {
    using lease = pool.lease();
    lease.alloc(10_000);
    using scope = lease.scope();
    const view = id % 2 === 0 ? lease.view(0, 100) : scope.alloc(3000);
    fillPattern(view, id);
    received.push(transferred(view));
  }
  for (let i = 0; i < 4; i++) {
    using lease = pool.lease();
    fillUp(lease, 255);
  }
  pool.close();
  received.forEach((view, id) => assert(patternHolds(view, id)));
  assertThrows(() => pool.lease(), ClosedError);
});
Deno.test("errors after a transfer name it: out-parameters, C strings, views of scopes", () => {
  using scratch = new BumpAlloc();
  const out = scratch.out("i32");
  out.view.buffer.transfer();
  for (const call of [() => out.value, () => out.value = 5]) {
    const { message } = assertThrows(call, Error);
    assert(!/is closed$/.test(message), message);
  }
});

Deno.test("a rewind from another window to below a transferred one: its receiver keeps it, and allocating works", () => {
  for (const opens of ["allocator", "scope", "frame"] as const) {
    using scratch = new BumpAlloc({ window: 4096 });
    const arena = opens === "allocator" ? scratch : scratch[opens]();
    arena.alloc(100);
    const mark = arena.mark();
    const view = arena.alloc(9000);
    fillPattern(view, 1);
    const far = arena.alloc(100_000);
    assert(far.buffer !== view.buffer);
    const received = transferred(view);
    arena.rewind(mark);
    const next = [8, 5000, 60_000].map((byteLength) => arena.alloc(byteLength).fill(9));
    assertEquals(next.map((view) => view.length), [8, 5000, 60_000]);
    assert(patternHolds(received, 1), opens);
  }
});

Deno.test("a rewind within a window that overlaps a transferred one: its receiver keeps it, and allocating works", () => {
  for (const returns of [false, true]) {
    for (const opens of ["allocator", "scope", "frame"] as const) {
      using scratch = new BumpAlloc({ window: 4096 });
      const arena = opens === "allocator" ? scratch : scratch[opens]();
      const mark = arena.mark();
      const view = arena.alloc(100);
      const behind = arena.mark();
      fillPattern(view, 1);
      const far = arena.alloc(4090); // begins in the window's first page, and does not fit into the window
      assert(far.buffer !== view.buffer);
      if (returns) arena.rewind(behind);
      const received = transferred(view);
      arena.rewind(mark);
      const next = [8, 5000, 60_000].map((byteLength) => arena.alloc(byteLength).fill(9));
      assertEquals(next.map((view) => view.length), [8, 5000, 60_000]);
      assert(patternHolds(received, 1), `${opens}, ${returns}`);
    }
  }
});

Deno.test("a rewind within a window from behind to below what a scope's receiver has: it keeps it", () => {
  using scratch = new BumpAlloc({ window: 4096 });
  const mark = scratch.mark();
  scratch.alloc(200_000);
  scratch.rewind(mark); // the window now shows more than the scope's
  scratch.alloc(50);
  const below = scratch.mark();
  scratch.alloc(50);
  let received: Uint8Array<ArrayBuffer>;
  {
    using scope = scratch.scope();
    const view = scope.alloc(100);
    fillPattern(view, 1);
    received = transferred(view);
  }
  assertEquals(scratch.alloc(8).byteOffset, 4096); // behind it, in the same window
  scratch.rewind(below);
  for (const byteLength of [8, 200, 8000]) scratch.alloc(byteLength).fill(9);
  assert(patternHolds(received, 1));
});

Deno.test("a view over two windows is transferred: neither rewind nor realloc leads into the receiver's bytes", () => {
  for (const opens of ["allocator", "scope", "frame"] as const) {
    for (const size of [4096, 2 ** 20]) {
      for (const way of ["rewind", "realloc"]) {
        using scratch = new BumpAlloc({ window: size });
        const arena = opens === "allocator" ? scratch : scratch[opens]();
        const first = arena.alloc(size).fill(1);
        const mark = arena.mark();
        const last = arena.alloc(size).fill(1);
        assert(first.buffer !== last.buffer);
        const received = transferred(arena.view(arena.offsetOf(first), 2 * size));
        assert(received.every((byte) => byte === 1));
        if (way === "rewind") arena.rewind(mark);
        else arena.realloc(last, 10);
        arena.alloc(100).fill(9);
        assert(received.every((byte) => byte === 1), `${opens}, ${way}`);
      }
    }
  }
});

Deno.test("a block that was transferred by one of its views: realloc of another view does not give its bytes away", () => {
  using scratch = new BumpAlloc({ window: 4096 });
  const block = scratch.alloc(100).fill(1);
  const mark = scratch.mark();
  scratch.alloc(4090);
  scratch.rewind(mark);
  const view = scratch.view(0, 100);
  assert(view.buffer !== block.buffer);
  const received = transferred(block);
  scratch.realloc(view, 10);
  scratch.alloc(50).fill(9);
  assert(received.every((byte) => byte === 1));
});

Deno.test("a reset by the only holder does not hand out what another one's receiver sees, also where it lies in own bytes", () => {
  // Debug mode would poison the bytes: they are this allocator's own.
  using scratch = new BumpAlloc({ debug: false });
  scratch.alloc(100).fill(1);
  const other = BumpAlloc.attach(scratch.share());
  const received = transferred(other.view(0, 100));
  other.close();
  scratch.reset();
  scratch.alloc(100).fill(9);
  assert(received.every((byte) => byte === 1));
});

Deno.test("trim does not touch receivers' bytes, below or above the cursor", () => {
  for (const opens of ["scope", "frame", "nothing"] as const) {
    // Debug mode poisons what is rewound, and the receiver would see that.
    using scratch = new BumpAlloc({ window: 65536, debug: false });
    scratch.alloc(100);
    const mark = scratch.mark();
    const view = scratch.alloc(20_000);
    fillPattern(view, 1);
    const far = scratch.alloc(100_000);
    scratch.rewind(mark);
    const inner = opens === "nothing" ? null : scratch[opens]();
    inner?.alloc(100);
    const received = transferred(view);
    assert(far.length > 0 && patternHolds(received, 1));
    scratch.trim(0);
    assert(patternHolds(received, 1), opens);
  }
});

const stays =
  "transferable: false: a region from which another allocator's window was transferred stays at its addresses";
testSince(MARKS_SINCE, "there is no such option", stays, () => {
  using scratch = new BumpAlloc({ transferable: false, window: 4096, debug: false });
  const old = scratch.alloc(100);
  const other = BumpAlloc.attach(scratch.share());
  const view = other.alloc(100);
  fillPattern(view, 1);
  const received = transferred(view);
  other.close();
  const { address } = scratch;
  for (let i = 0; i < 3; i++) {
    scratch.reset();
    assertEquals(scratch.address, address);
    const blocks = [100, 5000, 200_000].map((byteLength) => scratch.alloc(byteLength).fill(9));
    for (const block of blocks) {
      assertEquals(Deno.UnsafePointer.value(Deno.UnsafePointer.of(block)), scratch.addressOf(block));
      assert(scratch.owns(block));
    }
    assert(old.every((byte) => byte === 9)); // it aliases
    assert(patternHolds(received, 1));
  }
});

const marked = "a buffer that the caller marked untransferable is never handed out again, and outlives the allocator";
testSince(MARKS_SINCE, "there is no such mark that holds", marked, () => {
  const { markAsUntransferable } = process.getBuiltinModule("node:worker_threads");
  const scratch = new BumpAlloc({ debug: false });
  const first = scratch.alloc(10).fill(3);
  markAsUntransferable(first.buffer);
  scratch.reset();
  scratch.alloc(2 ** 20).fill(4);
  const scope = scratch.scope();
  const second = scope.alloc(10).fill(5);
  markAsUntransferable(second.buffer);
  scope.end();
  scratch.alloc(2 ** 20).fill(6);
  scratch.close();
  assert(first.every((byte) => byte === 3) && second.every((byte) => byte === 5));
});

declare const process: {
  getBuiltinModule(id: string): { markAsUntransferable(object: object): void };
};
