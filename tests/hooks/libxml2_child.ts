// libxml2 with its own allocator, the process's arena, or one that is too small; run by process_test.ts.
import { BumpAlloc } from "../../mod.ts";
import { isInside, load, readText, text } from "./support.ts";

const NO_ERROR_OUTPUT = 32 | 64;

const { symbols: native } = load("libxml2.so.2", {
  xmlMemSetup: { parameters: ["pointer", "pointer", "pointer", "pointer"], result: "i32" },
  xmlReadMemory: { parameters: ["buffer", "i32", "pointer", "pointer", "i32"], result: "pointer" },
  xmlDocDumpMemory: { parameters: ["pointer", "buffer", "buffer"], result: "void" },
  xmlXPathNewContext: { parameters: ["pointer"], result: "pointer" },
  xmlXPathEvalExpression: { parameters: ["buffer", "pointer"], result: "pointer" },
  xmlXPathCastToString: { parameters: ["pointer"], result: "pointer" },
  xmlGetLastError: { parameters: [], result: "pointer" },
  xmlFreeDoc: { parameters: ["pointer"], result: "void" },
});

const document = new TextEncoder().encode(
  `<?xml version="1.0"?>\n<list>${
    Array.from({ length: 8_000 }, (_, i) => `<item id="${i}"><name>n${i % 97}</name>${"ä ".repeat(i % 30)}</item>`)
      .join("")
  }</list>\n`,
);

const [how] = Deno.args;
const scratch = how === "plain" ? null : BumpAlloc.withSize(how === "full" ? 2 ** 20 : 2 ** 28);
let setup = 0;
if (scratch !== null) {
  const { free, malloc, realloc, strdup } = scratch.hooks.process;
  setup = native.xmlMemSetup(free, malloc, realloc, strdup);
}
const doc = native.xmlReadMemory(document, document.length, null, null, NO_ERROR_OUTPUT);
const answers: (string | null)[] = [];
let dumped = "";
if (doc !== null) {
  const context = native.xmlXPathNewContext(doc);
  for (const path of ["count(//item)", "sum(//item[name = 'n5']/@id)", "string(//item[last()]/name)"]) {
    answers.push(readText(native.xmlXPathCastToString(native.xmlXPathEvalExpression(text(path), context))));
  }
  const out = new BigUint64Array(1);
  native.xmlDocDumpMemory(doc, out, new Int32Array(1));
  dumped = readText(Deno.UnsafePointer.create(out[0])) ?? "";
}
const failure = native.xmlGetLastError();
console.log(JSON.stringify({
  setup,
  parsed: doc !== null,
  answers,
  dumped: dumped.length,
  inside: scratch !== null && isInside(scratch, doc),
  used: scratch?.used ?? 0,
  error: failure === null ? 0 : new Deno.UnsafePointerView(failure).getInt32(4),
}));
if (doc !== null) native.xmlFreeDoc(doc);
