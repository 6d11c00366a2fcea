/** What a caller may do to buffers, and what must hold all the same: nothing is read that is not mapped, nobody's bytes change. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  BumpAlloc,
  BumpPool,
  BumpScope,
  ClosedError,
  DetachedError,
  OutOfMemoryError,
  PinnedError,
  ScratchArena,
} from "../mod.ts";
import { canMarkUntransferable, MARKS_SINCE } from "../src/buffers.ts";
import { LOADING } from "./permissions.ts";
import { addressSpace, untold } from "./process_memory.ts";
import { testSince, testUnless } from "./skip.ts";
import { noGc, untilCollected } from "./until.ts";

/** Bytes of the region that native code takes, so that the next lease does not continue the last one. */
function takeNatively(scratch: BumpAlloc, byteLength: number): void {
  const { customAlloc, opaque } = scratch.hooks.zstd;
  const type = { parameters: ["pointer", "usize"], result: "pointer" } as const;
  new Deno.UnsafeFnPointer(customAlloc as Deno.PointerObject<typeof type>, type).call(opaque, BigInt(byteLength));
}

function transferred(view: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return structuredClone(view, { transfer: [view.buffer] });
}

Deno.test("a transferred window over several leases stays whole, over reset and close", () => {
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

Deno.test("a transferred window over others' leases stays whole when the last of them closes", () => {
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

Deno.test("a transferred window that begins in the page where another lease ends is never handed out again", () => {
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

Deno.test("neither a buffer's own property nor a patched prototype keeps a view alive", () => {
  const scratch = new BumpAlloc();
  const view = scratch.alloc(10);
  Object.defineProperty(view.buffer, "transfer", { value: () => new ArrayBuffer(1) });
  Object.defineProperty(view.buffer, "detached", { value: true });
  scratch.close();
  assertEquals(view.length, 0);
  const other = new BumpAlloc();
  const alive = other.alloc(10);
  const { transfer } = ArrayBuffer.prototype;
  ArrayBuffer.prototype.transfer = function () {
    return this;
  };
  try {
    other.close();
  } finally {
    ArrayBuffer.prototype.transfer = transfer;
  }
  assertEquals(alive.length, 0);
});

Deno.test("a class whose constructor allocates or throws, or lies about its element's size, overlaps nothing", () => {
  using scratch = new BumpAlloc();
  const live = scratch.alloc(64).fill(1);
  class Nested {
    static readonly BYTES_PER_ELEMENT = 1;
    readonly own: Uint8Array;
    readonly nested: Uint8Array;
    constructor(buffer: ArrayBuffer, offset: number, length: number) {
      this.own = new Uint8Array(buffer, offset, length).fill(2);
      this.nested = scratch.alloc(100).fill(3);
    }
  }
  const { own, nested } = scratch.allocArray(Nested, 10);
  scratch.alloc(200).fill(4);
  assert(live.every((b) => b === 1) && own.every((b) => b === 2) && nested.every((b) => b === 3));
  class Throws extends Uint8Array {
    constructor() {
      super(1);
      throw new Error("mine");
    }
  }
  assertThrows(() => scratch.allocArray(Throws, 100), Error, "mine");
  const other = new BumpAlloc();
  other.alloc(64);
  let after!: Uint8Array;
  class ThrowsAfterReset extends Throws {
    constructor() {
      other.reset();
      after = other.alloc(164).fill(6); // up to where this one's memory ended
      super();
    }
  }
  assertThrows(() => other.allocArray(ThrowsAfterReset, 100), Error, "mine");
  other.alloc(100).fill(7);
  assert(after.every((byte) => byte === 6));
  other.close();
  const { used } = scratch;
  for (const BYTES_PER_ELEMENT of [-8, 0, 0.1, 3, -1e9, NaN, Infinity, "8"]) {
    const type = Object.assign(class {}, { BYTES_PER_ELEMENT });
    assertThrows(() => scratch.allocArray(type as never, 10), TypeError, "typed array constructor");
  }
  assertEquals(scratch.used, used);
});

Deno.test("texts that change while they are written still end with NULL", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(4096).fill(255);
  scratch.reset();
  const texts = ["a", "b"];
  Object.defineProperty(texts, 0, {
    get() {
      texts.push("more");
      return "a";
    },
  });
  assertEquals(scratch.cstringArray(texts).at(-1), 0n);
});

Deno.test("an empty view's buffer is nobody else's", () => {
  using scratch = new BumpAlloc();
  scratch.view(0, 0).buffer.transfer();
  using other = new BumpAlloc();
  assertEquals(other.view(0, 0).length, 0);
});

Deno.test("a thenable that settles at once does not stay pinned", async () => {
  const scratch = new BumpAlloc();
  const thenable = { then: (settle: (value: number) => void) => settle(1) };
  scratch.pin(thenable as unknown as Promise<number>);
  assertThrows(() => scratch.close(), PinnedError);
  await new Promise((resolve) => setTimeout(resolve));
  scratch.close();
  assertThrows(() => scratch.alloc(1), ClosedError);
});

Deno.test("options must be an object", () => {
  using scratch = new BumpAlloc({ size: 65536 });
  for (const wrong of [null, 5, "x"] as never[]) {
    assertThrows(() => new BumpPool(wrong), TypeError, "Cannot make a pool: options must be an object");
    assertThrows(() => new BumpAlloc(wrong), TypeError, "Cannot make an allocator: options must be an object");
    assertThrows(() => BumpAlloc.withSize(1, wrong), TypeError, "Cannot make an allocator: options must be an object");
    assertThrows(() => scratch.reset(wrong), TypeError, "Cannot reset: options must be an object");
  }
});

/** Runs a program that may give its permission up; what it wrote. */
async function runProgram(body: string, ...permissions: string[]): Promise<string> {
  const program = `
    import { BumpAlloc, BumpPool } from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};
    const revoke = () => Deno.permissions.revokeSync({ name: "ffi" });
    const attempt = (call) => { try { return call() ?? "done"; } catch (error) { return error.name; } };
    ${body}`;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-check",
      "--no-config",
      ...LOADING,
      ...permissions,
      "--v8-flags=--expose-gc",
      `data:text/javascript,${encodeURIComponent(program)}`,
    ],
  }).output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("a program that gave its permission up ends well", async () => {
  const output = await runProgram(`
    const scratch = new BumpAlloc();
    scratch.alloc(8);
    revoke();
    console.log(attempt(() => scratch.alloc(2 ** 24)), scratch.used);`);
  assertEquals(output, "NotCapable 8");
});

Deno.test("without the permission a reset is whole or changes nothing, close ends every view, and nothing leaks", async () => {
  const output = await runProgram(`
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

Deno.test("without the permission the owner of a shared region closes, attached or not, and others keep it", async () => {
  const output = await runProgram(`
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

Deno.test("a lost lease whose memory cannot be had again does not end the program", async () => {
  const output = await runProgram(`
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

Deno.test("what a Worker transfers after an unload event of its own making stays readable", async () => {
  const worker = `
    import { BumpAlloc } from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};
    const view = new BumpAlloc().alloc(500_000).fill(5);
    dispatchEvent(new Event("unload"));
    postMessage(view.buffer, [view.buffer]);
    self.close();`;
  const output = await runProgram(
    `
    const worker = new Worker("data:text/javascript," + encodeURIComponent(${
      JSON.stringify(worker)
    }), { type: "module" });
    const received = new Uint8Array(await new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data)));
    await new Promise((resolve) => setTimeout(resolve, 300)); // the Worker has ended
    console.log(received.length, received.every((byte) => byte === received[0]));`,
    "--allow-read",
  );
  assert(/^\d+ (true|false)$/.test(output), output);
});

Deno.test("an empty block of an allocator that has no byte of a full region is its own", () => {
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

Deno.test("copy and realloc see a view's bytes, not what it says of itself", () => {
  using scratch = new BumpAlloc();
  const lying = { byteLength: { value: 2 ** 20 }, byteOffset: { value: 0 }, buffer: { value: new ArrayBuffer(3) } };
  const source = Object.defineProperties(new Uint16Array([1, 2, 3]), lying);
  assertEquals([...scratch.copy(source)], [1, 2, 3]);
  const view = Object.defineProperties(new DataView(new Uint8Array([4, 5]).buffer, 1), lying);
  Object.setPrototypeOf(view, Uint8Array.prototype);
  assertEquals(DataView.prototype.getUint8.call(scratch.copy(view), 0), 5);
  const live = scratch.alloc(64).fill(1);
  const last = Object.defineProperties(scratch.alloc(16).fill(2), {
    byteOffset: { value: live.byteOffset },
    byteLength: { value: 80 },
    subarray: { value: () => new Uint8Array(9) },
    fill: { value: () => live.fill(0) },
  });
  assertEquals([...scratch.realloc(last, 2 ** 21).subarray(0, 16)], new Array(16).fill(2));
  scratch.alloc(64).fill(3);
  assert(live.every((byte) => byte === 1));
  assertThrows(() => scratch.realloc(Object.create(Uint8Array.prototype), 8), TypeError, "a typed array is needed");
});

Deno.test("copy refuses a source whose buffer was transferred away", () => {
  using scratch = new BumpAlloc();
  const buffer = new ArrayBuffer(8);
  const views = [new Uint8Array(buffer), new Float64Array(buffer), new DataView(buffer)];
  buffer.transfer();
  for (const view of views) {
    assertThrows(() => scratch.copy(view), TypeError, "Cannot copy: the view's buffer was transferred away");
  }
  assertEquals(scratch.used, 0);
});

Deno.test("flags are true or false, and messages name the unit only where there is one", () => {
  for (const name of ["hugePages", "zero", "poison", "transferable"]) {
    for (const wrong of [1, 0, "yes", null, {}]) {
      const options = { [name]: wrong };
      assertThrows(() => new BumpAlloc(options), TypeError, `Cannot make an allocator: ${name} must be true or false`);
      assertThrows(() => new BumpPool(options), TypeError, `${name} must be true or false`);
    }
    new BumpAlloc({ [name]: undefined }).close();
  }
  assertThrows(() => new BumpPool({ limit: "5" as never }), TypeError, "the limit must be a number, not a string");
  using scratch = new BumpAlloc();
  assertThrows(
    () => scratch.allocArray(Int8Array, "5" as never),
    TypeError,
    "the length must be a number, not a string",
  );
});

Deno.test("what is no number, and what is no allocator, is a TypeError that says so", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(8);
  const throwing = {
    valueOf() {
      throw new Error("mine");
    },
  };
  for (const wrong of [8n, Symbol(), throwing, null, "8", {}] as never[]) {
    for (const call of ["alloc", "offset", "allocZeroed", "tryAlloc", "allocView"] as const) {
      assertThrows(() => scratch[call](wrong), TypeError, "Cannot allocate: the size must be a number");
      assertThrows(() => scratch[call](8, wrong), TypeError, "Cannot allocate: the alignment must be a number");
    }
    assertThrows(() => scratch.allocArray(Int8Array, wrong), TypeError, "Cannot allocate: the length must be a number");
    assertThrows(() => scratch.view(wrong, 1), TypeError, "Cannot view: the offset must be a number");
    assertThrows(() => scratch.view(0, wrong), TypeError, "Cannot view: the size must be a number");
  }
  assertEquals(scratch.used, 8);
});

Deno.test("only a view has an address", () => {
  using scratch = new BumpAlloc();
  const { buffer } = scratch.alloc(8);
  for (const byteOffset of ["5", 5, -1e9, {}, undefined]) {
    const forged = { buffer, byteOffset, byteLength: 8 } as never;
    assertThrows(() => scratch.addressOf(forged), TypeError, "Cannot take the address: a typed array or DataView");
    assertThrows(() => scratch.pointerOf(forged), TypeError, "Cannot take the address: a typed array or DataView");
  }
});

Deno.test("only a BumpAlloc is constructed, and its subclasses work", () => {
  type Constructible = new (key?: unknown) => ScratchArena;
  const bases = [ScratchArena, BumpScope] as unknown as Constructible[];
  for (const type of [...bases, ...bases.map((base) => class extends base {})]) {
    for (const key of [undefined, null, {}, Symbol()]) assertThrows(() => new type(key), TypeError, "make a BumpAlloc");
  }
  class Counted extends BumpAlloc {
    count = 0;
    override alloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer> {
      this.count++;
      return super.alloc(byteLength, align);
    }
  }
  using counted = new Counted({ size: 65536 });
  using scope = counted.scope();
  assertEquals([counted.capacity, scope.alloc(8).length, scope instanceof BumpScope], [65536, 8, true]);
  scope.end();
  assertEquals([counted.alloc(8).length, counted.count, counted.used], [8, 1, 8]);
});

Deno.test("any method of any class on a wrong receiver throws or has no effect", async () => {
  using scratch = new BumpAlloc();
  const live = scratch.alloc(64).fill(1);
  using scope = scratch.scope();
  const view = scope.alloc(8).fill(1);
  using pool = new BumpPool();
  const classes = [ScratchArena, BumpScope, BumpAlloc, BumpPool];
  const wrong: unknown[] = [undefined, null, 5, "text", {}, [], () => {}, view, Symbol(), 5n];
  for (const { prototype } of classes) wrong.push(prototype, Object.create(prototype));
  const others = new Map<object, unknown[]>([
    [ScratchArena.prototype, [pool]],
    [BumpScope.prototype, [pool]],
    [BumpAlloc.prototype, [scope, pool]],
    [BumpPool.prototype, [scope]],
  ]);
  for (const { prototype } of classes) {
    for (const key of Reflect.ownKeys(prototype)) {
      if (key === "constructor") continue;
      const { value, get } = Object.getOwnPropertyDescriptor(prototype, key)!;
      for (const receiver of [...wrong, ...others.get(prototype)!]) {
        for (const args of [[], [8], [view, 8], [view], [() => {}]]) {
          try {
            await (get ?? value).apply(receiver, args);
          } catch (error) {
            // A duck that has what the method reads gets as far as its own errors.
            assert(error instanceof TypeError || error instanceof RangeError, `${String(key)}: ${error}`);
          }
        }
      }
    }
  }
  assertEquals([scratch.used, pool.stats().leased, view.length, scope.alloc(8).length], [72, 0, 8, 8]);
  assert([...live, ...view].every((byte) => byte === 1));
});

Deno.test("copy goes on when a program replaces or deletes the global typed arrays", () => {
  using scratch = new BumpAlloc();
  const globals = globalThis as Record<string, unknown>;
  const sources = [new Uint16Array([1, 2]), new Float64Array([3]), new Uint8ClampedArray([4])];
  const { Uint16Array: saved, Float64Array: other } = globalThis;
  try {
    globals.Uint16Array = class Mine {};
    delete globals.Float64Array;
    for (const source of sources) {
      const copy = scratch.copy(source);
      assertEquals([Object.getPrototypeOf(copy), ...copy], [Object.getPrototypeOf(source), ...source]);
    }
  } finally {
    Object.assign(globalThis, { Uint16Array: saved, Float64Array: other });
  }
});

Deno.test("a forged mark does not lead from a lease into others' bytes", () => {
  using scratch = new BumpAlloc({ window: 65536, poison: true });
  using other = BumpAlloc.attach(scratch.share());
  const own = scratch.alloc(60_000).fill(1);
  const others = other.alloc(40_000).fill(2);
  scratch.alloc(60_000);
  scratch.rewind(Object.assign(scratch.mark(), { lease: 0, offset: 65536 + 40_000 }));
  scratch.rewind(Object.assign(scratch.mark(), { lease: 0, offset: 60_000 }));
  assert(own.every((byte) => byte === 1) && others.every((byte) => byte === 2));
});

Deno.test("a text that allocates when it is read, beside one that is none, keeps what it got", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(8);
  let live!: Uint8Array;
  const texts = ["a", "b"];
  Object.defineProperty(texts, 1, { get: () => (live = scratch.alloc(64).fill(1), 5) });
  assertThrows(() => scratch.cstringArray(texts), TypeError, "a string is needed");
  scratch.alloc(64).fill(2);
  assert(live.every((byte) => byte === 1));
});

Deno.test("a program that is asked for prepareStackTrace while a request fails allocates nothing twice", () => {
  using scratch = BumpAlloc.withSize(65536);
  const block = scratch.alloc(64).fill(1);
  const between: Uint8Array[] = [];
  Object.defineProperty(Error, "prepareStackTrace", {
    configurable: true,
    get: () => void between.push(scratch.alloc(8).fill(2)),
    set() {},
  });
  try {
    assertThrows(() => scratch.realloc(block, 2 ** 20), OutOfMemoryError);
  } finally {
    delete (Error as { prepareStackTrace?: unknown }).prepareStackTrace;
  }
  assert(block.every((byte) => byte === 1) && between.every((view) => view.every((byte) => byte === 2)));
});

Deno.test("a global Uint8Array that allocates when it is constructed is not used", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(8);
  const saved = Uint8Array;
  let constructed = 0;
  globalThis.Uint8Array = class extends saved {
    constructor(...args: unknown[]) {
      super(...args as [number]);
      constructed++;
    }
  } as unknown as typeof Uint8Array;
  try {
    scratch.alloc(8);
    scratch.allocZeroed(8);
    scratch.realloc(scratch.alloc(8, 8192), 2 ** 21);
    scratch.cstring("text");
  } finally {
    globalThis.Uint8Array = saved;
  }
  assertEquals(constructed, 0);
});

Deno.test("realloc to less does not lead below one's own lease, into others' bytes", () => {
  using owner = BumpAlloc.withSize(2 ** 26);
  const handle = owner.share();
  const first = BumpAlloc.attach(handle);
  const offset = Number(first.addressOf(first.alloc(100).fill(1)) - first.address);
  first.close(); // the next lease begins in the same page
  const kept = owner.view(offset, 100);
  using second = BumpAlloc.attach(handle);
  const last = second.alloc(8);
  second.realloc(new Uint8Array(last.buffer, 0, last.byteOffset + 8), 0);
  second.alloc(64).fill(2);
  assert(kept.every((byte) => byte !== 2));
});

Deno.test("a subclass that allocates elsewhere changes nothing about C strings", () => {
  class Elsewhere extends BumpAlloc {
    override alloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer> {
      return byteLength > 1000 ? new Uint8Array(byteLength) : super.alloc(byteLength, align);
    }
    override cstring(text: string): Uint8Array<ArrayBuffer> {
      return text === "elsewhere" ? new Uint8Array(10) : super.cstring(text);
    }
  }
  using scratch = new Elsewhere();
  const live = scratch.alloc(64).fill(1);
  assertEquals(scratch.cstring("\u00e9".repeat(2000)).length, 4001);
  assertEquals(scratch.cstringArray(["elsewhere"]).length, 2);
  scratch.alloc(64).fill(2);
  assert(live.every((byte) => byte === 1));
});

Deno.test("a block that begins at 2 GiB of its window can be reallocated", () => {
  using scratch = BumpAlloc.withSize(2 ** 34);
  const { buffer } = scratch.alloc(2 ** 31 + 4096);
  assertEquals(scratch.realloc(new Uint8Array(buffer, 2 ** 31, 4096), 10).length, 10);
  assertEquals(scratch.used, 2 ** 31 + 10);
});

Deno.test("an empty block after a rewind to the end of a lease", () => {
  using scratch = new BumpAlloc({ window: 65536 });
  scratch.alloc(65536);
  const mark = scratch.mark();
  takeNatively(scratch, 10_000);
  scratch.alloc(3 * 65536);
  scratch.rewind(mark);
  assertEquals(scratch.alloc(0).length, 0);
});

Deno.test("what others used and gave back is not taken for zero after trim", () => {
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

testUnless(
  (canMarkUntransferable() ? null : `it needs Deno ${MARKS_SINCE}`) ?? untold ?? noGc,
  "allocators that are dropped with scopes open, one of them unused, give their addresses back",
  async () => {
    const before = addressSpace();
    const drop = () => new BumpAlloc().scope().scope().alloc(8).length;
    for (let i = 0; i < 60; i++) drop();
    // A few retired regions wait for the next one of their size; the others go when they have waited for a second.
    const left = () => {
      BumpAlloc.withSize(65536).close();
      return addressSpace() - before;
    };
    await untilCollected(() => left() <= 20 * 2 ** 30);
    assert(left() <= 20 * 2 ** 30, `${left()} bytes of addresses are left`);
  },
);

Deno.test("where the stack ends, an end of memory can be tried again, and then no view is alive", () => {
  /** Calls as deep in the stack as it succeeds: every call in it was the one too many once. */
  function callDeep(call: () => void, ...padding: number[]): void {
    let done = false;
    const down = (...padding: number[]): number => {
      try {
        down(...padding);
      } catch { /* as deep as can be */ }
      if (!done) {
        try {
          call();
          done = true;
        } catch (error) {
          assert(error instanceof RangeError, String(error));
        }
      }
      return padding.length;
    };
    down(...padding);
    assert(done);
  }
  using pool = new BumpPool({ window: 4096 });
  for (let i = 0; i < 24; i++) {
    const padding = new Array(i % 8).fill(1);
    const scratch = i % 4 === 3 ? pool.lease() : new BumpAlloc({ window: 4096, poison: i % 2 === 0 });
    const views = [100, 5000, 20_000].map((byteLength) => scratch.alloc(byteLength));
    const scope = scratch.scope();
    const inner = [10, 9000, 50_000].map((byteLength) => scope.alloc(byteLength));
    callDeep(() => scope.end(), ...padding);
    assertEquals(inner.map((view) => view.length), [0, 0, 0]);
    const live = scratch.alloc(3000).fill(3);
    callDeep(() => scratch.alloc(6000).fill(4), ...padding);
    callDeep(() => scratch.cstring("\u00e9".repeat(500)).fill(5), ...padding);
    assert(live.every((byte) => byte === 3));
    callDeep(() => scratch.close(), ...padding);
    assertEquals([...views, live].map((view) => view.length), [0, 0, 0, 0]);
  }
});

declare const process: {
  getBuiltinModule(id: string): { markAsUntransferable(object: object): void };
};
