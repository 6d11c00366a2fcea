/** What a caller may do to buffers, and what must hold all the same: nothing is read that is not mapped, nobody's bytes change. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { BumpAlloc, BumpPool, BumpScope, ClosedError, PinnedError, ScratchArena } from "../mod.ts";
import { MARKS_SINCE } from "../src/untransferable.ts";
import { LOADING } from "./permissions.ts";
import { testSince } from "./skip.ts";

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
  const scratch = new BumpAlloc();
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
  const { used } = scratch;
  class Throws extends Uint8Array {
    constructor() {
      super(1);
      throw new Error("mine");
    }
  }
  assertThrows(() => scratch.allocArray(Throws, 100), Error, "mine");
  for (const BYTES_PER_ELEMENT of [-8, 0, 0.1, 3, -1e9, NaN, Infinity, "8"]) {
    const type = Object.assign(class {}, { BYTES_PER_ELEMENT });
    assertThrows(() => scratch.allocArray(type as never, 10), TypeError, "typed array constructor");
  }
  assertEquals(scratch.used, used);
});

Deno.test("marks that were tampered with and views that lie lead below nothing", () => {
  using scratch = new BumpAlloc();
  const live = scratch.alloc(64).fill(1);
  const tamper = (arena: Pick<BumpAlloc, "mark" | "rewind">, offset: unknown, lease: unknown = 0) =>
    arena.rewind(Object.assign(arena.mark(), { offset, lease }));
  using scope = scratch.scope();
  scope.alloc(2 ** 21);
  for (const wrong of [NaN, 1.5, "4", undefined]) {
    assertThrows(() => tamper(scope, wrong), TypeError);
    assertThrows(() => tamper(scope, 64, wrong ?? null), TypeError);
  }
  assertThrows(() => tamper(scope, 64, -1), TypeError);
  tamper(scope, -5);
  scope.alloc(64).fill(2);
  const last = scope.alloc(8);
  const whole = new Uint8Array(last.buffer, 0, last.byteOffset + 8);
  scope.realloc(whole, 0);
  scope.alloc(64).fill(3);
  assert(live.every((byte) => byte === 1));
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
async function runProgram(body: string): Promise<string> {
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

Deno.test("an empty block of an allocator that has no byte of a full region is its own", () => {
  using scratch = BumpAlloc.withSize(65536);
  scratch.alloc(scratch.remaining);
  const handle = scratch.share();
  using attached = BumpAlloc.attach(handle);
  attached.alloc(0).buffer.transfer();
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
  assertThrows(() => scratch.realloc(Object.create(Uint8Array.prototype), 8), TypeError, "must be a Uint8Array");
});

Deno.test("copy refuses a source whose buffer was transferred away", () => {
  using scratch = new BumpAlloc();
  const buffer = new ArrayBuffer(8);
  const views = [new Uint8Array(buffer), new Float64Array(buffer), new DataView(buffer)];
  buffer.transfer();
  for (const view of views) assertThrows(() => scratch.copy(view), TypeError, "Cannot copy: the buffer of the source");
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

Deno.test("a pool that no address space can hold is a RangeError", () => {
  for (
    const [limit, size] of [[2 ** 40, 2 ** 20], [2, 2 ** 53 - 1], [1, 2 ** 53 - 1], [2 ** 53 - 1, 2 ** 53 - 1], [
      2 ** 53 - 1,
      1,
    ]]
  ) {
    assertThrows(() => new BumpPool({ limit, size }), RangeError, `Cannot make a pool: ${limit} allocators of`);
  }
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
  const view = scratch.alloc(8);
  for (const wrong of [{}, undefined, Object.create(BumpAlloc.prototype)]) {
    const calls: [string, () => unknown][] = [
      ["allocate", () => scratch.alloc.call(wrong, 8)],
      ["allocate", () => scratch.alloc.call(wrong, 8, 0)], // as map(scratch.alloc) calls it
      ["allocate", () => scratch.offset.call(wrong, 8)],
      ["allocate", () => scratch.offset.call(wrong, 8, 0)],
      ["allocate", () => scratch.allocZeroed.call(wrong, 8)],
      ["allocate", () => scratch.tryAlloc.call(wrong, 8)],
      ["allocate", () => scratch.allocView.call(wrong, 8)],
      ["allocate", () => scratch.allocArray.call(wrong, Int8Array, 8)],
      ["copy", () => scratch.copy.call(wrong, view)],
      ["reallocate", () => scratch.realloc.call(wrong, view, 8)],
      ["take the address", () => scratch.addressOf.call(wrong, view)],
      ["take the address", () => scratch.pointerOf.call(wrong, view)],
      ["make a C string", () => scratch.cstring.call(wrong, "text")],
      ["make C strings", () => scratch.cstringArray.call(wrong, ["text"])],
      ["make an out-parameter", () => scratch.out.call(wrong, "i32")],
    ];
    for (const [what, call] of calls) assertThrows(call, TypeError, `Cannot ${what}: this is no allocator or scope`);
  }
  assertEquals(scratch.used, 16);
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

declare const process: {
  getBuiltinModule(id: string): { markAsUntransferable(object: object): void };
};
