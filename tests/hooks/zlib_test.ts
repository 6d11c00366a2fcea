import { assert, assertEquals, assertThrows } from "@std/assert";
import { BumpAlloc, ClosedError } from "../../mod.ts";
import { isInside, load, readText, repositorySources, testWith } from "./support.ts";

const Z_FINISH = 4;
const Z_STREAM_END = 1;
const Z_MEM_ERROR = -4;

// z_stream has unsigned longs, which have 32 bits on Windows.
const windows = Deno.build.os === "windows";
const AT = windows
  ? { output: 16, room: 24, produced: 28, message: 32, state: 40, zalloc: 48, size: 88 }
  : { output: 24, room: 32, produced: 40, message: 48, state: 56, zalloc: 64, size: 112 };

const zlib = load(windows ? "zlib1.dll" : "libz.so.1", {
  zlibVersion: { parameters: [], result: "pointer" },
  deflateInit2_: { parameters: ["buffer", "i32", "i32", "i32", "i32", "i32", "pointer", "i32"], result: "i32" },
  deflate: { parameters: ["buffer", "i32"], result: "i32" },
  deflateEnd: { parameters: ["buffer"], result: "i32" },
  inflateInit2_: { parameters: ["buffer", "i32", "pointer", "i32"], result: "i32" },
  inflate: { parameters: ["buffer", "i32"], result: "i32" },
  inflateEnd: { parameters: ["buffer"], result: "i32" },
});
const { deflateInit2_, deflate, deflateEnd, inflateInit2_, inflate, inflateEnd } = zlib.symbols;

/** A z_stream, with the allocator's hooks if there is one. */
function stream(scratch: BumpAlloc | null): DataView<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(AT.size));
  if (scratch === null) return view;
  const { zalloc, zfree, opaque } = scratch.hooks.zlib;
  [zalloc, zfree, opaque].forEach((pointer, i) =>
    view.setBigUint64(AT.zalloc + 8 * i, Deno.UnsafePointer.value(pointer), true)
  );
  return view;
}

function initDeflate(view: DataView<ArrayBuffer>, level = 6): number {
  return deflateInit2_(view, level, 8, 15, 8, 0, zlib.symbols.zlibVersion(), AT.size);
}

function initInflate(view: DataView<ArrayBuffer>): number {
  return inflateInit2_(view, 15, zlib.symbols.zlibVersion(), AT.size);
}

function setBuffers(view: DataView, input: Uint8Array<ArrayBuffer>, output: Uint8Array<ArrayBuffer>): void {
  view.setBigUint64(0, Deno.UnsafePointer.value(Deno.UnsafePointer.of(input)), true);
  view.setUint32(8, input.length, true);
  view.setBigUint64(AT.output, Deno.UnsafePointer.value(Deno.UnsafePointer.of(output)), true);
  view.setUint32(AT.room, output.length, true);
}

const produced = (view: DataView) => view.getUint32(AT.produced, true);
const state = (view: DataView) => view.getBigUint64(AT.state, true);
const message = (view: DataView) => readText(Deno.UnsafePointer.create(view.getBigUint64(AT.message, true)));

function compress(view: DataView<ArrayBuffer>, input: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const output = new Uint8Array(input.length + 1024);
  setBuffers(view, input, output);
  assertEquals(deflate(view, Z_FINISH), Z_STREAM_END);
  return output.subarray(0, produced(view));
}

function restore(view: DataView<ArrayBuffer>, input: Uint8Array<ArrayBuffer>, byteLength: number): Uint8Array {
  const output = new Uint8Array(byteLength);
  setBuffers(view, input, output);
  assertEquals(inflate(view, Z_FINISH), Z_STREAM_END, message(view) ?? undefined);
  return output.subarray(0, produced(view));
}

testWith(zlib, "zlib: this repository's sources are compressed and restored in an arena", () => {
  const sources = repositorySources();
  const plain = stream(null);
  assertEquals(initDeflate(plain), 0);
  const expected = compress(plain, sources);
  deflateEnd(plain);

  using scratch = new BumpAlloc();
  scratch.alloc(100);
  const before = scratch.used;
  const packing = stream(scratch);
  assertEquals(initDeflate(packing), 0);
  assert(isInside(scratch, state(packing)));
  assert(scratch.used - before > 256 * 1024, "the window and the hash tables are from the arena");
  assertEquals(compress(packing, sources), expected);

  const unpacking = stream(scratch);
  const packed = scratch.used;
  assertEquals(initInflate(unpacking), 0);
  assert(isInside(scratch, state(unpacking)) && scratch.used > packed);
  assertEquals(restore(unpacking, expected, sources.length), sources);
  assertEquals(inflateEnd(unpacking), 0);
  assertEquals(deflateEnd(packing), 0);
});

testWith(zlib, "zlib: streams that end in reverse order give all of their memory back", () => {
  using scratch = new BumpAlloc();
  const packing = stream(scratch);
  assertEquals(initDeflate(packing), 0);
  const used = scratch.used;
  const unpacking = stream(scratch);
  assertEquals(initInflate(unpacking), 0);
  inflateEnd(unpacking);
  assertEquals(scratch.used, used); // one block, and it was the last
  deflateEnd(packing);
  assertEquals(scratch.used, 0); // zlib frees in reverse order
});

testWith(zlib, "zlib: a full region is Z_MEM_ERROR, at the start and in the middle", () => {
  const sources = repositorySources();
  const plain = stream(null);
  initDeflate(plain);
  const packed = compress(plain, sources);
  deflateEnd(plain);

  using scratch = BumpAlloc.withSize(128 * 1024);
  const packing = stream(scratch);
  assertEquals(initDeflate(packing), Z_MEM_ERROR);
  assertEquals(scratch.used, 0); // zlib freed its blocks in reverse order

  const unpacking = stream(scratch);
  assertEquals(initInflate(unpacking), 0);
  scratch.alloc(scratch.remaining - 4096);
  // inflate allocates its window when output is left for the next call: there is no room for it now.
  const output = new Uint8Array(100_000);
  setBuffers(unpacking, packed, output);
  assertEquals(inflate(unpacking, 0), Z_MEM_ERROR);
  assertEquals(output, sources.subarray(0, output.length));
  inflateEnd(unpacking);
});

testWith(
  zlib,
  "zlib: reset takes the memory of dropped streams back, and a closed allocator's hooks return NULL",
  () => {
    const scratch = new BumpAlloc();
    const sample = repositorySources().subarray(0, 1024);
    const results = new Set<string>();
    let used = 0;
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 10; i++) {
        const packing = stream(scratch);
        assertEquals(initDeflate(packing), 0);
        results.add(compress(packing, sample).join());
      }
      if (round > 0) assertEquals(scratch.used, used);
      used = scratch.used;
      scratch.reset();
      assertEquals(scratch.used, 0);
    }
    assertEquals(results.size, 1);
    const late = stream(scratch);
    const { hooks } = scratch;
    scratch.close();
    assertEquals(initDeflate(late), Z_MEM_ERROR);
    assertThrows(() => hooks.zlib, ClosedError);
    assertThrows(() => scratch.hooks, ClosedError);
  },
);
