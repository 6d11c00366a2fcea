import { assert, assertEquals } from "@std/assert";
import { BumpAlloc } from "../../mod.ts";
import { isInside, load, readText, repositorySources, testWith } from "./support.ts";

const MEMORY_ALLOCATION = 2;

// Not in Debian 12: hooks_test.ts calls the callbacks there, as the library would.
const yyjson = load("libyyjson.so.0", {
  yyjson_read_opts: { parameters: ["buffer", "usize", "u32", "pointer", "buffer"], result: "pointer" },
  yyjson_write_opts: { parameters: ["pointer", "u32", "pointer", "buffer", "buffer"], result: "pointer" },
});
const native = yyjson.symbols;

/** The lines of this repository's sources, each with its words: some hundred kilobytes of JSON. */
function largeDocument(): string {
  const lines = new TextDecoder().decode(repositorySources()).split("\n");
  return JSON.stringify(lines.map((line, number) => ({ number, line, words: line.split(/\W+/), part: number / 7 })));
}

function read(json: string, allocator: Deno.PointerValue): { doc: Deno.PointerValue; error: number } {
  const bytes = new TextEncoder().encode(json);
  const error = new DataView(new ArrayBuffer(24));
  const doc = native.yyjson_read_opts(bytes, BigInt(bytes.length), 0, allocator, error);
  return { doc, error: error.getUint32(0, true) };
}

testWith(yyjson, "yyjson: a large document is read and written in an arena", () => {
  const json = largeDocument();
  const plain = read(json, null).doc;
  const expected = readText(native.yyjson_write_opts(plain, 0, null, null, null));
  using scratch = new BumpAlloc();
  const { struct } = scratch.hooks.yyjson;
  const { doc, error } = read(json, struct);
  assertEquals(error, 0);
  assert(isInside(scratch, doc) && scratch.used > json.length);
  const written = native.yyjson_write_opts(doc, 0, struct, null, null);
  assert(isInside(scratch, written));
  assertEquals(readText(written), expected);
  assertEquals(JSON.parse(expected!), JSON.parse(json));
});

testWith(yyjson, "yyjson: a full region is its memory error", () => {
  using scratch = BumpAlloc.withSize(2 ** 18);
  const { struct } = scratch.hooks.yyjson;
  assertEquals(read(largeDocument(), struct), { doc: null, error: MEMORY_ALLOCATION });
  assertEquals(read("[1, 2, 3]", struct).error, 0);
});
