// curl with its own allocator, the process's arena, or one that is too small; run by process_test.ts. It reads a file and
// URLs, so no network is needed.
import { BumpAlloc } from "../../mod.ts";
import { isInside, load, readText, text } from "./support.ts";

const GLOBAL_DEFAULT = 3;
const OPTION = { WRITEDATA: 10001, URL: 10002, WRITEFUNCTION: 20011 } as const;
const URL_PART = { URL: 0, HOST: 5, PATH: 7, QUERY: 8 } as const;

const { symbols: native } = load("libcurl.so.4", {
  curl_global_init_mem: {
    parameters: ["isize", "pointer", "pointer", "pointer", "pointer", "pointer"],
    result: "i32",
  },
  curl_easy_init: { parameters: [], result: "pointer" },
  curl_easy_setopt: { parameters: ["pointer", "i32", "buffer"], result: "i32" },
  curl_easy_perform: { parameters: ["pointer"], result: "i32" },
  curl_easy_cleanup: { parameters: ["pointer"], result: "void" },
  curl_easy_escape: { parameters: ["pointer", "buffer", "i32"], result: "pointer" },
  curl_url: { parameters: [], result: "pointer" },
  curl_url_set: { parameters: ["pointer", "i32", "buffer", "u32"], result: "i32" },
  curl_url_get: { parameters: ["pointer", "i32", "buffer", "u32"], result: "i32" },
});
const { symbols: variadic } = load("libcurl.so.4", {
  curl_easy_setopt: { parameters: ["pointer", "i32", "pointer"], result: "i32" },
});

const [how] = Deno.args;
const scratch = how === "plain" ? null : BumpAlloc.withSize(how === "full" ? 2 ** 20 : 2 ** 28);
let setup = 0;
if (scratch !== null) {
  const { malloc, free, realloc, strdup, calloc } = scratch.hooks.process;
  setup = native.curl_global_init_mem(BigInt(GLOBAL_DEFAULT), malloc, free, realloc, strdup, calloc);
}
// Full from here on: in the middle of the work.
const easy = native.curl_easy_init();
if (how === "full") scratch!.alloc(scratch!.remaining);

let received = 0, sum = 0;
const write = new Deno.UnsafeCallback(
  { parameters: ["pointer", "usize", "usize", "pointer"], result: "usize" },
  (bytes, _one, length) => {
    for (const byte of new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(bytes!, Number(length)))) {
      sum = (sum * 31 + byte) % 2147483647;
    }
    received += Number(length);
    return length;
  },
);
const source = new URL("../../src/arena.ts", import.meta.url);
const options = [
  native.curl_easy_setopt(easy, OPTION.URL, text(source.href)),
  variadic.curl_easy_setopt(easy, OPTION.WRITEFUNCTION, write.pointer),
];
const performed = native.curl_easy_perform(easy);
const escaped = native.curl_easy_escape(easy, text("a b&c/ü"), 0);
const url = native.curl_url();
const parts: (string | null)[] = [];
let urlError = 0;
if (url !== null) {
  urlError = native.curl_url_set(url, URL_PART.URL, text(`https://example.org/${"folder/".repeat(500)}../x?q=1`), 0);
  for (const part of [URL_PART.HOST, URL_PART.PATH, URL_PART.QUERY]) {
    const out = new BigUint64Array(1);
    if (native.curl_url_get(url, part, out, 0) === 0) parts.push(readText(Deno.UnsafePointer.create(out[0])));
  }
}
console.log(JSON.stringify({
  setup,
  options,
  performed,
  received,
  sum,
  escaped: readText(escaped),
  parts,
  urlError,
  inside: scratch !== null && [easy, escaped, url].every((pointer) => pointer === null || isInside(scratch, pointer)),
  used: scratch?.used ?? 0,
}));
native.curl_easy_cleanup(easy);
write.close();
