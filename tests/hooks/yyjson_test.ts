import { assert, assertEquals } from "@std/assert";
import { fileURLToPath } from "node:url";
import { BumpAlloc } from "../../mod.ts";
import { isInside, load, readText, repositorySources, testWith, YYJSON_BUILT } from "./support.ts";

const MEMORY_ALLOCATION = 2;

const symbols = {
  yyjson_read_opts: { parameters: ["buffer", "usize", "u32", "pointer", "buffer"], result: "pointer" },
  yyjson_write_opts: { parameters: ["pointer", "u32", "pointer", "buffer", "buffer"], result: "pointer" },
  yyjson_doc_mut_copy: { parameters: ["pointer", "pointer"], result: "pointer" },
  yyjson_mut_write_opts: { parameters: ["pointer", "u32", "pointer", "buffer", "buffer"], result: "pointer" },
} as const;

/** The system's, or the one that build_yyjson.ts builds. */
function loadYyjson() {
  const installed = load("libyyjson.so.0", symbols);
  if (installed.missing === null) return installed;
  const built = load(fileURLToPath(YYJSON_BUILT), symbols);
  return built.missing === null ? built : { ...installed, missing: "libyyjson.so.0 is neither installed nor built" };
}

const yyjson = loadYyjson();
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

  // A document that can be changed takes its memory in pieces.
  const before = scratch.used;
  const copy = native.yyjson_doc_mut_copy(doc, struct);
  assert(isInside(scratch, copy) && scratch.used > before + json.length);
  assertEquals(readText(native.yyjson_mut_write_opts(copy, 0, struct, null, null)), expected);
});

testWith(yyjson, "yyjson: a full region is its memory error", () => {
  using scratch = BumpAlloc.withSize(2 ** 18);
  const { struct } = scratch.hooks.yyjson;
  assertEquals(read(largeDocument(), struct), { doc: null, error: MEMORY_ALLOCATION });
  const { doc, error } = read("[1, 2, 3]", struct);
  assertEquals(error, 0);
  scratch.alloc(scratch.remaining);
  const failure = new DataView(new ArrayBuffer(16));
  assertEquals(native.yyjson_write_opts(doc, 0, struct, null, failure), null);
  assertEquals(failure.getUint32(0, true), MEMORY_ALLOCATION);
  assertEquals(native.yyjson_doc_mut_copy(doc, struct), null);
});
