// cJSON with its own allocator, the process's arena, or one that is too small; run by process_test.ts.
import { BumpAlloc } from "../../mod.ts";
import { isInside, load, readText, text } from "./support.ts";

const { symbols: native } = load("libcjson.so.1", {
  cJSON_InitHooks: { parameters: ["buffer"], result: "void" },
  cJSON_Parse: { parameters: ["buffer"], result: "pointer" },
  cJSON_Print: { parameters: ["pointer"], result: "pointer" },
  cJSON_Duplicate: { parameters: ["pointer", "i32"], result: "pointer" },
  cJSON_Compare: { parameters: ["pointer", "pointer", "i32"], result: "i32" },
  cJSON_GetArraySize: { parameters: ["pointer"], result: "i32" },
  cJSON_Delete: { parameters: ["pointer"], result: "void" },
});

/** About two megabytes. */
const document = JSON.stringify(Array.from({ length: 12_000 }, (_, i) => ({
  id: i,
  name: `item ${i} – ${"x".repeat(i % 50)}`,
  list: [i / 3, -i, i % 2 === 0, null, { nested: [[], {}, "\u{1f600}\n"] }],
})));

const [how] = Deno.args;
const scratch = how === "plain" ? null : BumpAlloc.withSize(how === "full" ? 2 ** 20 : 2 ** 28);
if (scratch !== null) {
  const { malloc, free } = scratch.hooks.process;
  native.cJSON_InitHooks(BigUint64Array.of(Deno.UnsafePointer.value(malloc), Deno.UnsafePointer.value(free)));
}
const tree = native.cJSON_Parse(text(document));
const copy = tree === null ? null : native.cJSON_Duplicate(tree, 1);
const printed = copy === null ? null : native.cJSON_Print(copy);
console.log(JSON.stringify({
  parsed: tree !== null,
  size: tree === null ? 0 : native.cJSON_GetArraySize(tree),
  equal: copy !== null && native.cJSON_Compare(tree, copy, 1) === 1,
  // The text that cJSON printed equals its input.
  printed: JSON.stringify(JSON.parse(readText(printed) ?? "null")) === document,
  inside: scratch !== null && [tree, copy, printed].every((pointer) => isInside(scratch, pointer)),
  used: scratch?.used ?? 0,
  again: native.cJSON_GetArraySize(native.cJSON_Parse(text("[1, 2, 3]"))),
}));
if (tree !== null) native.cJSON_Delete(tree);
