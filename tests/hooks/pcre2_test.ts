import { assert, assertEquals } from "@std/assert";
import { BumpAlloc } from "../../mod.ts";
import { isInside, load, repositorySources, testWith } from "./support.ts";

const NO_MATCH = -1;
const NO_MEMORY = -48;
const HEAP_FAILED = 121;
const UTF = 0x00080000;
const MULTILINE = 0x00000400;

const pcre2 = load("libpcre2-8.so.0", {
  pcre2_general_context_create_8: { parameters: ["pointer", "pointer", "pointer"], result: "pointer" },
  pcre2_general_context_free_8: { parameters: ["pointer"], result: "void" },
  pcre2_compile_context_create_8: { parameters: ["pointer"], result: "pointer" },
  pcre2_compile_context_free_8: { parameters: ["pointer"], result: "void" },
  pcre2_compile_8: {
    parameters: ["buffer", "usize", "u32", "buffer", "buffer", "pointer"],
    result: "pointer",
  },
  pcre2_code_free_8: { parameters: ["pointer"], result: "void" },
  pcre2_match_data_create_from_pattern_8: { parameters: ["pointer", "pointer"], result: "pointer" },
  pcre2_match_data_free_8: { parameters: ["pointer"], result: "void" },
  pcre2_match_8: {
    parameters: ["pointer", "buffer", "usize", "usize", "u32", "pointer", "pointer"],
    result: "i32",
  },
  pcre2_get_ovector_pointer_8: { parameters: ["pointer"], result: "pointer" },
  pcre2_get_ovector_count_8: { parameters: ["pointer"], result: "u32" },
});
const native = pcre2.symbols;

/** Matches calls with their names and arguments, across lines: groups, alternatives, look-around, recursion. */
const PATTERN = String
  .raw`(?<name>\b[A-Za-z_]\w{2,})\s*(?<arguments>\((?:[^()"]|"[^"\n]*"|(?&arguments))*\))(?=\s*[;{.])`;

function generalContext(scratch: BumpAlloc): Deno.PointerValue {
  const { malloc, free, data } = scratch.hooks.pcre2;
  return native.pcre2_general_context_create_8(malloc, free, data);
}

const compileContext = (general: Deno.PointerValue) => native.pcre2_compile_context_create_8(general);

/** Compiles; the code, or the error's number. */
function compile(context: Deno.PointerValue, pattern: string): { code: Deno.PointerValue; error: number } {
  const bytes = new TextEncoder().encode(pattern);
  const error = new Int32Array(1);
  const options = UTF | MULTILINE;
  const code = native.pcre2_compile_8(bytes, BigInt(bytes.length), options, error, new BigUint64Array(1), context);
  return { code, error: error[0] };
}

/** All matches: the offsets of all groups, or the error's number at the end. */
function matchAll(
  code: Deno.PointerValue,
  general: Deno.PointerValue,
  subject: Uint8Array<ArrayBuffer>,
): { offsets: bigint[][]; result: number; data: Deno.PointerValue } {
  const data = native.pcre2_match_data_create_from_pattern_8(code, general);
  const groups = native.pcre2_get_ovector_count_8(data);
  const ovector = new Deno.UnsafePointerView(native.pcre2_get_ovector_pointer_8(data)!);
  const offsets: bigint[][] = [];
  let at = 0n;
  for (;;) {
    const result = native.pcre2_match_8(code, subject, BigInt(subject.length), at, 0, data, null);
    if (result < 0) return { offsets, result, data };
    const group = Array.from({ length: 2 * groups }, (_, i) => ovector.getBigUint64(8 * i));
    offsets.push(group);
    at = group[1];
  }
}

testWith(pcre2, "PCRE2: a recursive pattern finds the calls in this repository's sources, from an arena", () => {
  const sources = repositorySources();
  const plain = compile(null, PATTERN);
  const expected = matchAll(plain.code, null, sources);
  assertEquals(expected.result, NO_MATCH);
  assert(expected.offsets.length > 1000);
  native.pcre2_match_data_free_8(expected.data);
  native.pcre2_code_free_8(plain.code);

  using scratch = new BumpAlloc();
  const general = generalContext(scratch);
  assert(isInside(scratch, general));
  const { code } = compile(compileContext(general), PATTERN);
  assert(isInside(scratch, code));
  const before = scratch.used;
  const found = matchAll(code, general, sources);
  assert(isInside(scratch, found.data) && scratch.used > before);
  assertEquals(found.offsets, expected.offsets);
  assertEquals(found.result, NO_MATCH);
  native.pcre2_match_data_free_8(found.data);
  native.pcre2_code_free_8(code);
  native.pcre2_general_context_free_8(general);
});

testWith(pcre2, "PCRE2: a full region is its memory error, when compiling and in the middle of a match", () => {
  using scratch = BumpAlloc.withSize(2 ** 20);
  const general = generalContext(scratch);
  const backtracking = "^(?:(a)|(b))*c$"; // a frame for each character
  const context = compileContext(general);
  const { code } = compile(context, backtracking);
  const few = new TextEncoder().encode("ab".repeat(100) + "c");
  assertEquals(matchAll(code, general, few).offsets.length, 1);
  const many = new TextEncoder().encode("ab".repeat(100_000) + "c");
  assertEquals(matchAll(code, general, many).result, NO_MEMORY);
  assertEquals(matchAll(code, general, few).offsets.length, 1); // as before

  scratch.alloc(scratch.remaining);
  assertEquals(compile(context, PATTERN), { code: null, error: HEAP_FAILED });
  assertEquals([compileContext(general), generalContext(scratch)], [null, null]);
});
