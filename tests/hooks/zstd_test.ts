import { assert, assertEquals } from "@std/assert";
import { BumpAlloc } from "../../mod.ts";
import { assertSameBytes, fillPattern, patternHolds } from "../support/pattern.ts";
import { isInside, load, readText, repositorySources, testWith } from "./support.ts";

const NB_WORKERS = 400;
const MEMORY_ALLOCATION = 64;

const customMem = { struct: ["pointer", "pointer", "pointer"] } as const;
const zstd = load("libzstd.so.1", {
  ZSTD_createCCtx: { parameters: [], result: "pointer" },
  ZSTD_createCCtx_advanced: { parameters: [customMem], result: "pointer" },
  ZSTD_freeCCtx: { parameters: ["pointer"], result: "usize" },
  ZSTD_CCtx_setParameter: { parameters: ["pointer", "i32", "i32"], result: "usize" },
  ZSTD_compress2: { parameters: ["pointer", "buffer", "usize", "buffer", "usize"], result: "usize" },
  ZSTD_createDCtx_advanced: { parameters: [customMem], result: "pointer" },
  ZSTD_freeDCtx: { parameters: ["pointer"], result: "usize" },
  ZSTD_decompressDCtx: { parameters: ["pointer", "buffer", "usize", "buffer", "usize"], result: "usize" },
  ZSTD_isError: { parameters: ["usize"], result: "u32" },
  ZSTD_getErrorCode: { parameters: ["usize"], result: "i32" },
  ZSTD_getErrorName: { parameters: ["usize"], result: "pointer" },
});
const native = zstd.symbols;

/** A ZSTD_customMem. */
function memory(scratch: BumpAlloc): BigUint64Array<ArrayBuffer> {
  const { customAlloc, customFree, opaque } = scratch.hooks.zstd;
  return BigUint64Array.of(...[customAlloc, customFree, opaque].map((pointer) => Deno.UnsafePointer.value(pointer)));
}

function checked(result: bigint): number {
  if (native.ZSTD_isError(result)) throw new Error(readText(native.ZSTD_getErrorName(result))!);
  return Number(result);
}

function compress(context: Deno.PointerValue, input: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const output = new Uint8Array(input.length + 1024);
  const length = native.ZSTD_compress2(context, output, BigInt(output.length), input, BigInt(input.length));
  return output.subarray(0, checked(length));
}

function restore(context: Deno.PointerValue, input: Uint8Array<ArrayBuffer>, byteLength: number): Uint8Array {
  const output = new Uint8Array(byteLength);
  const length = native.ZSTD_decompressDCtx(context, output, BigInt(byteLength), input, BigInt(input.length));
  return output.subarray(0, checked(length));
}

testWith(zstd, "zstd: this repository's sources are compressed and restored in an arena", () => {
  const sources = repositorySources();
  const plain = native.ZSTD_createCCtx();
  const expected = compress(plain, sources);
  native.ZSTD_freeCCtx(plain);

  using scratch = new BumpAlloc();
  const packing = native.ZSTD_createCCtx_advanced(memory(scratch));
  assert(isInside(scratch, packing));
  const before = scratch.used;
  assertSameBytes(compress(packing, sources), expected);
  assert(scratch.used > before + 100_000, "the workspace is from the arena");
  const unpacking = native.ZSTD_createDCtx_advanced(memory(scratch));
  assert(isInside(scratch, unpacking));
  assertSameBytes(restore(unpacking, expected, sources.length), sources);
  checked(native.ZSTD_freeDCtx(unpacking));
  checked(native.ZSTD_freeCCtx(packing));
});

testWith(zstd, "zstd: its own threads allocate from the arena", () => {
  const sources = repositorySources();
  const much = new Uint8Array(8 * 2 ** 20);
  for (let i = 0; i < much.length; i += sources.length) {
    much.set(sources.subarray(0, Math.min(sources.length, much.length - i)), i);
  }
  const compressWithThreads = (context: Deno.PointerValue) => {
    checked(native.ZSTD_CCtx_setParameter(context, NB_WORKERS, 3));
    return compress(context, much);
  };
  const plain = native.ZSTD_createCCtx();
  const expected = compressWithThreads(plain);
  native.ZSTD_freeCCtx(plain);
  using scratch = new BumpAlloc();
  const packing = native.ZSTD_createCCtx_advanced(memory(scratch));
  assertSameBytes(compressWithThreads(packing), expected);
  checked(native.ZSTD_freeCCtx(packing)); // ends the threads
  const unpacking = native.ZSTD_createDCtx_advanced(memory(scratch));
  assertSameBytes(restore(unpacking, expected, much.length), much);
});

testWith(zstd, "zstd: its threads and JavaScript allocate from one region at the same time", async () => {
  const library = Deno.dlopen(zstd.file, {
    ZSTD_compress2: {
      parameters: ["pointer", "buffer", "usize", "buffer", "usize"],
      result: "usize",
      nonblocking: true,
    },
  });
  const { ZSTD_compress2 } = library.symbols;
  const sources = repositorySources();
  await using scratch = new BumpAlloc({ window: 4096 }); // small leases: many meetings
  const output = Array.from({ length: 4 }, () => new Uint8Array(sources.length + 1024));
  let running = 0;
  const calls = output.map(async (bytes) => {
    running++;
    const context = native.ZSTD_createCCtx_advanced(memory(scratch));
    checked(native.ZSTD_CCtx_setParameter(context, NB_WORKERS, 2));
    const call = ZSTD_compress2(context, bytes, BigInt(bytes.length), sources, BigInt(sources.length));
    const length = checked(await scratch.pin(call));
    native.ZSTD_freeCCtx(context);
    running--;
    return length;
  });
  const views: Uint8Array[] = [];
  while (running > 0) {
    for (let i = 0; i < 100; i++) {
      const view = scratch.alloc(1 + (views.length * 7919) % 3000);
      fillPattern(view, views.length);
      views.push(view);
    }
    await new Promise((resolve) => setTimeout(resolve));
  }
  const lengths = await Promise.all(calls);
  assert(views.length >= 100);
  views.forEach((view, i) => assert(patternHolds(view, i), `view ${i}`));
  const unpacking = native.ZSTD_createDCtx_advanced(memory(scratch));
  output.forEach((bytes, i) =>
    assertSameBytes(restore(unpacking, bytes.subarray(0, lengths[i]), sources.length), sources)
  );
  library.close();
});

testWith(zstd, "zstd: a full region is its memory error", () => {
  const sources = repositorySources();
  using scratch = BumpAlloc.withSize(16 * 2 ** 20);
  const packing = native.ZSTD_createCCtx_advanced(memory(scratch));
  const output = new Uint8Array(sources.length);
  scratch.alloc(scratch.remaining - 2 ** 20);
  const result = native.ZSTD_compress2(packing, output, BigInt(output.length), sources, BigInt(sources.length));
  assertEquals(native.ZSTD_isError(result), 1);
  assertEquals(native.ZSTD_getErrorCode(result), MEMORY_ALLOCATION);
  assertEquals(readText(native.ZSTD_getErrorName(result)), "Allocation error : not enough memory");

  using full = BumpAlloc.withSize(4096);
  full.alloc(full.remaining);
  assertEquals(native.ZSTD_createCCtx_advanced(memory(full)), null);
});
