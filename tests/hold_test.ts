/** A hold on a region: pages, shared regions, and a revoked permission. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { BumpAlloc, ScopeError } from "../mod.ts";
import { fillPattern, patternHolds } from "./support/pattern.ts";
import { takeNatively } from "./support/native.ts";
import { outputOf } from "./support/program.ts";
import { until } from "./support/until.ts";

// ---- pages ---------------------------------------------------------------------------------------

const HUGE_PAGE = 2 ** 21;

Deno.test("reset and trim give pages back down to the first byte to retain, huge pages or not", () => {
  for (const hugePages of [false, true]) {
    using scratch = new BumpAlloc({ hugePages, size: 2 ** 24 });
    for (const byteLength of [100, 5000, HUGE_PAGE, 3 * HUGE_PAGE + 5000]) {
      for (const retain of [0, 4096, 65536, HUGE_PAGE]) {
        scratch.alloc(byteLength).fill(1);
        scratch.reset({ retain });
        const kept = scratch.stats().resident;
        assert(
          kept <= retain,
          `reset({ retain: ${retain} }) after ${byteLength} bytes keeps ${kept}, hugePages: ${hugePages}`,
        );
        scratch.alloc(byteLength).fill(1);
        scratch.reset();
        scratch.trim(retain);
        const left = scratch.stats().resident;
        assert(left <= retain, `trim(${retain}) after ${byteLength} bytes keeps ${left}, hugePages: ${hugePages}`);
        assert(scratch.allocZeroed(byteLength).every((byte) => byte === 0));
        scratch.reset();
      }
    }
  }
});

Deno.test("trim keeps bytes in use, and zero bytes stay known: in scopes, frames and behind native blocks", () => {
  for (const hugePages of [false, true]) {
    using scratch = new BumpAlloc({ hugePages, size: 2 ** 24, window: 4096 });
    const kept = scratch.alloc(5000);
    fillPattern(kept, 1);
    scratch.frame((frame) => frame.alloc(100_000).fill(9));
    scratch.trim();
    takeNatively(scratch, 3000);
    using scope = scratch.scope();
    const inner = scope.alloc(7000);
    fillPattern(inner, 2);
    scope.frame((frame) => frame.alloc(500_000).fill(9));
    scratch.trim();
    assert(patternHolds(kept, 1) && patternHolds(inner, 2));
    assert(scope.allocZeroed(600_000).every((byte) => byte === 0));
    assert(scope.frame((frame) => frame.allocZeroed(100_000).every((byte) => byte === 0)));
  }
});

// ---- shared regions ------------------------------------------------------------------------------

Deno.test("a reset while a Worker attaches, allocates and closes neither throws nor touches the Worker's bytes", async () => {
  using scratch = BumpAlloc.withSize(2 ** 28);
  const handle = scratch.share();
  const source = `
    import { BumpAlloc } from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};
    onmessage = ({ data: { handle, rounds } }) => {
      let wrong = 0;
      for (let i = 0; i < rounds; i++) {
        const own = BumpAlloc.attach(handle);
        const view = own.alloc(1 + i % 3000).fill(i);
        const more = own.alloc(2000).fill(i);
        if (view.some((byte) => byte !== (i & 255)) || more.some((byte) => byte !== (i & 255))) wrong++;
        own.close();
      }
      postMessage(wrong);
    };`;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })), { type: "module" });
  const answer = new Promise<number>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
  worker.postMessage({ handle, rounds: 3000 });
  let wrong: number | undefined;
  void answer.then((value) => wrong = value);
  while (wrong === undefined) {
    for (let i = 0; i < 50; i++) {
      const views = [scratch.alloc(100), scratch.alloc(5000)];
      views.forEach(fillPattern);
      assert(views.every(patternHolds));
      scratch.reset();
      assertEquals(views.map((view) => view.length), [0, 0]);
    }
    await new Promise((resolve) => setTimeout(resolve));
  }
  assertEquals(await answer, 0);
  worker.terminate();
  await until(() => scratch.stats().attached === 1);
  scratch.reset();
  assertEquals([scratch.used, scratch.alloc(scratch.remaining).length], [0, 2 ** 28]);
});

Deno.test("using never throws because others hold the region, and a holder's reset takes back only its own memory", () => {
  let kept!: Uint8Array;
  using other = (() => {
    using first = BumpAlloc.withSize(2 ** 22);
    const other = BumpAlloc.attach(first.share());
    kept = other.alloc(1000);
    fillPattern(kept, 1);
    for (let i = 0; i < 50; i++) {
      fillPattern(first.alloc(10_000), 2);
      first.reset();
    }
    assert(first.used < 2 ** 21);
    using scope = first.scope();
    scope.alloc(10);
    assertThrows(() => first.alloc(1), ScopeError);
    return other;
  })();
  assert(patternHolds(kept, 1));
  other.reset();
  assertEquals([other.used, other.alloc(other.remaining, 1).length], [0, 2 ** 22]);
});

Deno.test("an empty view belongs to its allocator wherever it is, and is not NULL", () => {
  using scratch = new BumpAlloc({ window: 4096 });
  using other = BumpAlloc.attach(scratch.share());
  scratch.alloc(100);
  other.alloc(100_000);
  scratch.alloc(50_000);
  const scope = scratch.scope();
  scope.alloc(9000);
  const end = Number(scratch.used);
  for (const offset of [0, 50, 100, 4096, 20_000, 70_000, end - 1, end]) {
    for (const holder of [scope, other]) {
      const view = holder.view(offset, 0);
      assertEquals([view.length, holder.addressOf(view)], [0, scratch.address + BigInt(offset)], `at ${offset}`);
      assert(holder.pointerOf(view) !== null);
      assert(Deno.UnsafePointer.of(view) !== null, `NULL at ${offset}`);
    }
  }
});

Deno.test("shrinking an outer view in a scope returns the outer block itself, with its bytes", () => {
  using scratch = new BumpAlloc();
  const outer = scratch.alloc(100);
  fillPattern(outer, 1);
  {
    using scope = scratch.scope();
    const less = scope.realloc(outer, 50);
    assertEquals(scope.addressOf(less), scratch.addressOf(outer));
    assert(patternHolds(less, 1));
    const more = scope.realloc(outer, 200);
    assert(scratch.addressOf(more) !== scratch.addressOf(outer));
    assert(patternHolds(more.subarray(0, 100), 1));
  }
  assert(patternHolds(outer, 1));
});

Deno.test("bytes that others used and gave back are not taken for zero after trim", () => {
  using owner = new BumpAlloc({ window: 65536 });
  const other = BumpAlloc.attach(owner.share());
  {
    using scope = other.scope();
    scope.alloc(2 ** 20).fill(7);
  }
  other.close();
  const mark = owner.mark();
  owner.alloc(10);
  owner.rewind(mark);
  owner.trim();
  assert(owner.allocZeroed(60_000).every((byte) => byte === 0));
});

Deno.test("poison fills only used bytes: the rest of a chunk stays known to be zero", () => {
  using scratch = new BumpAlloc({ window: 8192, zero: true, poison: true });
  scratch.alloc(100);
  takeNatively(scratch, 1000);
  {
    using scope = scratch.scope();
    scope.alloc(50).fill(1);
    takeNatively(scratch, 1000); // so that the next block is in another chunk
    scope.alloc(20_000).fill(1);
  }
  assert(scratch.alloc(6000).every((byte) => byte === 0));
});

// ---- without the permission ----------------------------------------------------------------------

Deno.test("a program that revoked its permission ends without an error", async () => {
  const output = await outputOf(`
    const scratch = new BumpAlloc();
    scratch.alloc(8);
    revoke();
    console.log(attempt(() => scratch.alloc(2 ** 24)), scratch.used);`);
  assertEquals(output, "NotCapable 8");
});

Deno.test("without the permission a reset completes or changes nothing, close ends every view, and nothing leaks", async () => {
  const output = await outputOf(`
    const allocators = [{}, { poison: true }].map((options) => new BumpAlloc(options));
    const views = allocators.map((scratch) => scratch.alloc(100).fill(1));
    const pool = new BumpPool();
    const leased = pool.lease().alloc(10);
    const lease = pool.lease();
    lease.alloc(10);
    revoke();
    const { rss } = Deno.memoryUsage();
    console.log(attempt(() => new BumpAlloc({ prefault: 2 ** 28 })), Deno.memoryUsage().rss - rss < 2 ** 27);
    for (const scratch of allocators) console.log(attempt(() => scratch.reset()), scratch.used);
    console.log(views[0].length, views[1].length === 100 && views[1].every((byte) => byte === 1));
    for (const scratch of allocators) console.log(attempt(() => scratch.close()), scratch.closed);
    console.log(attempt(() => lease.close()), attempt(() => pool.close()), leased.length);
    console.log(views.map((view) => view.length));`);
  assertEquals(output.split("\n"), [
    "NotCapable true",
    "done 0",
    "NotCapable 100",
    "0 true",
    "done true",
    "done true",
    "done done 10",
    "[ 0, 0 ]",
  ]);
});

Deno.test("without the permission allocators on a shared region can close, and others keep it", async () => {
  const output = await outputOf(`
    const [alone, held] = [new BumpAlloc(), new BumpAlloc()];
    const views = [alone, held].map((scratch) => scratch.alloc(8));
    alone.share();
    const attached = BumpAlloc.attach(held.share());
    const kept = attached.alloc(100_000).fill(7);
    revoke();
    for (const scratch of [alone, held]) console.log(attempt(() => scratch.close()), scratch.closed);
    console.log(views.map((view) => view.length), kept.every((byte) => byte === 7));
    console.log(attempt(() => attached.close()), kept.length);`);
  assertEquals(output.split("\n"), ["done true", "done true", "[ 0, 0 ] true", "done 0"]);
});
