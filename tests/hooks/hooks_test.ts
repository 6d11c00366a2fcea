import { assert, assertEquals, assertThrows } from "@std/assert";
import { BumpAlloc, BumpPool, ClosedError, SharedError } from "../../mod.ts";
import { fillPattern, patternHolds } from "../support/pattern.ts";
import { testUnless } from "../support/skip.ts";
import { untold } from "../support/process_memory.ts";
import { noGc, untilCollected } from "../support/until.ts";
import { isInside, runChild } from "./support.ts";

const MIB = 2 ** 20;

/** Calls zstd's callbacks, which are the plainest, as zstd would. */
function nativeCaller(scratch: BumpAlloc) {
  const { customAlloc, customFree, opaque } = scratch.hooks.zstd;
  const alloc = new Deno.UnsafeFnPointer(customAlloc as never, { parameters: ["pointer", "usize"], result: "pointer" });
  const free = new Deno.UnsafeFnPointer(customFree as never, { parameters: ["pointer", "pointer"], result: "void" });
  return {
    alloc: (byteLength: number) => alloc.call(opaque, BigInt(byteLength)),
    free: (block: Deno.PointerValue) => free.call(opaque, block),
  };
}

/** Bytes of native memory, which must be there. */
function bytesAt(pointer: Deno.PointerValue, byteLength: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new Deno.UnsafePointerView(pointer!).getArrayBuffer(byteLength));
}

/** The same bytes, with a pattern of their own. */
function patterned(bytes: Uint8Array<ArrayBuffer>, id: number): Uint8Array<ArrayBuffer> {
  fillPattern(bytes, id);
  return bytes;
}

Deno.test("native blocks and views never overlap in any order, and scopes do not affect native blocks", () => {
  using scratch = new BumpAlloc({ size: 64 * MIB, window: 64 * 1024 });
  const native = nativeCaller(scratch);
  const kept: [Uint8Array<ArrayBuffer>, number][] = [];
  const keep = (bytes: Uint8Array<ArrayBuffer>) => kept.push([patterned(bytes, kept.length), kept.length]);
  for (let round = 0; round < 40; round++) {
    keep(bytesAt(native.alloc(1000 + round), 1000 + round));
    keep(scratch.alloc(3000 * round + 1));
    {
      using scope = scratch.scope();
      scope.alloc(100_000).fill(0xff);
      keep(bytesAt(native.alloc(5000), 5000));
    }
    scratch.alloc(10).fill(0xff);
  }
  for (const [bytes, seed] of kept) assert(patternHolds(bytes, seed), `block ${seed}`);
});

Deno.test("used and remaining count native blocks; free of the last one gives it back", () => {
  using scratch = BumpAlloc.withSize(8 * MIB);
  const native = nativeCaller(scratch);
  const view = scratch.alloc(100);
  const first = native.alloc(1000);
  assert(isInside(scratch, first));
  assertEquals(Deno.UnsafePointer.value(first) % 16n, 0n);
  const used = scratch.used;
  assert(used >= 1100 && used < 1200, `${used}`);
  assertEquals(scratch.remaining, 8 * MIB - used);
  const second = native.alloc(MIB);
  assert(scratch.used >= used + MIB);
  native.free(first); // not the last: nothing comes back
  assert(scratch.used >= used + MIB);
  native.free(second);
  assertEquals(scratch.used, used);
  assertEquals(native.alloc(8 * MIB), null);
  assertEquals(scratch.used, used);
  view.fill(1);
});

Deno.test("reset takes native memory back, and gives its pages above the retained bytes to the system", () => {
  using scratch = new BumpAlloc({ size: 256 * MIB });
  const native = nativeCaller(scratch);
  for (const viewFirst of [true, false]) {
    if (viewFirst) scratch.alloc(10);
    const block = native.alloc(32 * MIB);
    bytesAt(block, 32 * MIB).fill(1);
    if (!viewFirst) scratch.alloc(10);
    assert(scratch.stats().resident >= 32 * MIB);
    assert(scratch.stats().peak >= 32 * MIB);
    scratch.reset();
    assertEquals(scratch.used, 0);
    assert(scratch.stats().resident >= 32 * MIB, "all is retained");
    scratch.reset({ retain: MIB });
    assert(scratch.stats().resident <= 2 * MIB, `${scratch.stats().resident}`);
    bytesAt(native.alloc(32 * MIB), 32 * MIB).fill(1);
    scratch.reset({ retain: 0 });
    assert(scratch.stats().resident <= 64 * 1024);
    assert(scratch.allocZeroed(16 * MIB).every((byte) => byte === 0));
    scratch.reset();
  }
});

Deno.test("trim never touches native blocks in use, and gives back the pages above them", () => {
  using scratch = new BumpAlloc({ size: 256 * MIB });
  const native = nativeCaller(scratch);
  scratch.alloc(100_000).fill(1);
  const live = patterned(bytesAt(native.alloc(3 * MIB), 3 * MIB), 1);
  const last = native.alloc(32 * MIB);
  bytesAt(last, 32 * MIB).fill(1);
  {
    using scope = scratch.scope();
    scope.alloc(10 * MIB).fill(2); // behind the native blocks
  }
  scratch.trim();
  assert(scratch.stats().resident >= 35 * MIB && scratch.stats().resident < 37 * MIB, `${scratch.stats().resident}`);
  assert(patternHolds(live, 1));
  scratch.reset();
  const again = patterned(bytesAt(native.alloc(3 * MIB), 3 * MIB), 2);
  assert(scratch.stats().resident >= 35 * MIB);
  scratch.trim();
  assert(scratch.stats().resident < 6 * MIB, `${scratch.stats().resident}`);
  assert(patternHolds(again, 2));
  const next = patterned(bytesAt(native.alloc(MIB), MIB), 3);
  fillPattern(scratch.alloc(2 * MIB), 4);
  assert(patternHolds(again, 2) && patternHolds(next, 3));
});

Deno.test("with zero, views never show the contents of old native blocks", () => {
  using scratch = new BumpAlloc({ size: 64 * MIB, zero: true });
  const native = nativeCaller(scratch);
  for (const viewFirst of [true, false, true]) {
    if (viewFirst) scratch.alloc(10).fill(1);
    bytesAt(native.alloc(3 * MIB), 3 * MIB).fill(1);
    scratch.alloc(2 * MIB).fill(1);
    scratch.reset();
    for (let i = 0; i < 10; i++) assert(scratch.alloc(MIB + i).every((byte) => byte === 0));
    scratch.reset();
  }
});

Deno.test("with poison, native memory that reset took back is overwritten", () => {
  using scratch = new BumpAlloc({ size: 16 * MIB, poison: true });
  const native = nativeCaller(scratch);
  const before = bytesAt(native.alloc(1000), 1000).fill(1);
  scratch.alloc(100);
  const between = bytesAt(native.alloc(1000), 1000).fill(2);
  scratch.reset();
  assert(before.every((byte) => byte === 0xdd));
  assert(between.every((byte) => byte === 0xdd));
});

testUnless(
  noGc,
  "memory that native code still uses stays readable and writable for a while after its allocator was collected",
  async () => {
    let collected = 0;
    const registry = new FinalizationRegistry(() => collected++);
    const drop = () => {
      const scratch = BumpAlloc.withSize(64 * MIB);
      registry.register(scratch, null);
      return nativeCaller(scratch).alloc(1000);
    };
    const blocks = Array.from({ length: 8 }, drop);
    await untilCollected(() => collected === 8);
    for (const block of blocks) fillPattern(bytesAt(block, 1000), 5);
    using next = BumpAlloc.withSize(64 * MIB);
    assert(next.allocZeroed(4096).every((byte) => byte === 0));
  },
);

Deno.test("a pool's leases have hooks, which end with the lease", () => {
  using pool = new BumpPool({ size: 4 * MIB, limit: 2 });
  let hooks;
  const addresses = new Set<bigint>();
  for (let i = 0; i < 3; i++) {
    using lease = pool.lease();
    hooks = lease.hooks;
    const block = nativeCaller(lease).alloc(2 * MIB);
    bytesAt(block, 2 * MIB).fill(1);
    addresses.add(Deno.UnsafePointer.value(block));
    assertThrows(() => lease.hooks.process, SharedError, "a pool's");
  }
  assertEquals(addresses.size, 1); // the memory came back each time
  assertThrows(() => hooks!.zlib, ClosedError);
});

testUnless(noGc, "a pool's lease that was lost with its hooks in use comes back", async () => {
  using pool = new BumpPool({ size: 4 * MIB, limit: 2 });
  const lose = () => nativeCaller(pool.lease()).alloc(1000);
  const block = lose();
  await untilCollected(() => pool.stats().lost > 0);
  assertEquals(pool.stats().lost, 1);
  fillPattern(bytesAt(block, 1000), 7);
  using one = pool.lease();
  using other = pool.lease();
  assert([one, other].every((lease) => lease.allocZeroed(1000).every((byte) => byte === 0)));
});

Deno.test("a callback that a library keeps beyond the end of its lease returns NULL", () => {
  using pool = new BumpPool({ size: 4 * MIB, limit: 1 });
  const lease = pool.lease();
  const native = nativeCaller(lease);
  const block = native.alloc(1000);
  assert(block !== null);
  lease.close();
  using next = pool.lease();
  next.alloc(8);
  assertEquals(native.alloc(1000), null);
});

Deno.test("an attached allocator has its own hooks on the same region", () => {
  using scratch = BumpAlloc.withSize(16 * MIB);
  using attached = BumpAlloc.attach(scratch.share());
  const block = nativeCaller(attached).alloc(1000);
  assert(isInside(scratch, block));
  assert(scratch.used >= 1000);
});

Deno.test("yyjson: the callbacks of the struct allocate, grow and free", () => {
  const scratch = BumpAlloc.withSize(MIB);
  const struct = new Deno.UnsafePointerView(scratch.hooks.yyjson.struct);
  assertEquals(scratch.hooks.yyjson.struct, scratch.hooks.yyjson.struct);
  const context = struct.getPointer(24);
  const malloc = new Deno.UnsafeFnPointer(struct.getPointer(0) as never, {
    parameters: ["pointer", "usize"],
    result: "pointer",
  });
  const realloc = new Deno.UnsafeFnPointer(struct.getPointer(8) as never, {
    parameters: ["pointer", "pointer", "usize", "usize"],
    result: "pointer",
  });
  const free = new Deno.UnsafeFnPointer(struct.getPointer(16) as never, {
    parameters: ["pointer", "pointer"],
    result: "void",
  });
  const block = malloc.call(context, 1000n);
  assert(isInside(scratch, block));
  fillPattern(bytesAt(block, 1000), 1);
  const grown = realloc.call(context, block, 1000n, 100_000n);
  assertEquals(grown, block); // the last block stays where it is
  assert(patternHolds(bytesAt(grown, 1000), 1));
  malloc.call(context, 10n);
  const moved = realloc.call(context, grown, 100_000n, 200_000n);
  assert(Deno.UnsafePointer.value(moved) > Deno.UnsafePointer.value(grown));
  assert(patternHolds(bytesAt(moved, 1000), 1));
  assertEquals(realloc.call(context, moved, 200_000n, BigInt(MIB)), null);
  const used = scratch.used;
  free.call(context, moved);
  assert(scratch.used < used - 200_000);
  scratch.close();
  // A library that is used for too long gets NULL and does not crash.
  assertEquals(malloc.call(context, 10n), null);
  assertEquals(realloc.call(context, null, 0n, 10n), null);
});

Deno.test("callbacks taken before a reset work after it; after close each returns NULL and frees nothing", () => {
  const scratch = BumpAlloc.withSize(MIB);
  const { zlib, zstd, lua, yyjson, pcre2, freetype, expat } = scratch.hooks;
  const record = new Deno.UnsafePointerView(yyjson.struct);
  const memory = new Deno.UnsafePointerView(freetype.memory);
  const suite = new Deno.UnsafePointerView(expat.suite);
  type Argument = bigint | number | Deno.PointerValue;
  const call = (callback: Deno.PointerValue, ...args: Argument[]) =>
    new Deno.UnsafeFnPointer(callback as never, {
      parameters: args.map((arg) => ({ bigint: "usize", number: "u32" } as const)[typeof arg as "bigint"] ?? "pointer"),
      result: "pointer",
    }).call(...args as never[]) as Deno.PointerValue;
  const alloc: Record<string, () => Deno.PointerValue> = {
    zlib: () => call(zlib.zalloc, zlib.opaque, 10, 10),
    zstd: () => call(zstd.customAlloc, zstd.opaque, 100n),
    lua: () => call(lua.alloc, lua.ud, null, 0n, 100n),
    yyjson: () => call(record.getPointer(0), record.getPointer(24), 100n),
    pcre2: () => call(pcre2.malloc, 100n, pcre2.data),
    freetype: () => call(memory.getPointer(8), freetype.memory, 100n),
    expat: () => call(suite.getPointer(0), 100n),
  };
  const free: Record<string, (block: Deno.PointerValue) => void> = {
    zlib: (block) => call(zlib.zfree, zlib.opaque, block),
    zstd: (block) => call(zstd.customFree, zstd.opaque, block),
    lua: (block) => call(lua.alloc, lua.ud, block, 100n, 0n),
    yyjson: (block) => call(record.getPointer(16), record.getPointer(24), block),
    pcre2: (block) => call(pcre2.free, block, pcre2.data),
    freetype: (block) => call(memory.getPointer(16), freetype.memory, block),
    expat: (block) => call(suite.getPointer(16), block),
  };
  const blocks: Record<string, Deno.PointerValue> = {};
  for (let round = 0; round < 2; round++) {
    for (const name in alloc) {
      blocks[name] = alloc[name]();
      assert(isInside(scratch, blocks[name]), name);
      patterned(bytesAt(blocks[name], 100), 1);
    }
    scratch.reset();
    assertEquals(scratch.used, 0);
  }
  // Blocks from before the reset are dead: freeing them late does not affect the present blocks.
  const later = patterned(scratch.alloc(10_000), 2);
  const used = scratch.used;
  for (const name in free) if (name !== "lua") free[name](blocks[name]);
  assertEquals(scratch.used, used);
  assert(patternHolds(later, 2));
  scratch.close();
  for (const name in alloc) {
    assertEquals(alloc[name](), null, name);
    free[name](blocks[name]);
    free[name](null);
  }
});

Deno.test("expat: 16 regions of a Worker have a suite; closing one makes room for another", () => {
  const open = Array.from({ length: 16 }, () => BumpAlloc.withSize(4096));
  const suites = open.map((scratch) => Deno.UnsafePointer.value(scratch.hooks.expat.suite));
  assertEquals(new Set(suites).size, 16);
  assertEquals(Deno.UnsafePointer.value(open[5].hooks.expat.suite), suites[5]);
  using further = BumpAlloc.withSize(4096);
  assertThrows(() => further.hooks.expat, RangeError, "16");
  open.pop()!.close();
  assertEquals(Deno.UnsafePointer.value(further.hooks.expat.suite), suites[15]);
  for (const scratch of open) scratch.close();
});

Deno.test("the process's own allocator is named once, and stays until the end", async () => {
  assertEquals(await runChild("process_child.ts"), "as documented");
});

testUnless(untold, "the process's own allocator outlives the Worker that named it", async () => {
  assertEquals(await runChild("process_worker_child.ts"), "as documented");
});

testUnless(
  untold,
  "a program may exit while a nonblocking call works on the memory, as with any other memory",
  async () => {
    for (let i = 0; i < (Deno.build.os === "windows" ? 2 : 5); i++) {
      assertEquals(await runChild("exit_child.ts"), "exits");
    }
  },
);
