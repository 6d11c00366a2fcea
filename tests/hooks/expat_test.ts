import { assert, assertEquals } from "@std/assert";
import { BumpAlloc } from "../../mod.ts";
import { isInside, load, readText, testWith } from "./support.ts";

const NO_MEMORY = 1;

const expat = load("libexpat.so.1", {
  XML_ParserCreate: { parameters: ["pointer"], result: "pointer" },
  XML_ParserCreate_MM: { parameters: ["pointer", "pointer", "pointer"], result: "pointer" },
  XML_ParserFree: { parameters: ["pointer"], result: "void" },
  XML_SetElementHandler: { parameters: ["pointer", "pointer", "pointer"], result: "void" },
  XML_SetCharacterDataHandler: { parameters: ["pointer", "pointer"], result: "void" },
  XML_Parse: { parameters: ["pointer", "buffer", "i32", "i32"], result: "i32" },
  XML_GetErrorCode: { parameters: ["pointer"], result: "i32" },
  XML_ErrorString: { parameters: ["i32"], result: "pointer" },
});
const native = expat.symbols;

/** A document of about two megabytes: depth, many names, attributes, entities, long texts, other scripts. */
function largeDocument(): Uint8Array<ArrayBuffer> {
  const parts = [`<?xml version="1.0"?><!DOCTYPE list [<!ENTITY who "the &#x442;&#x435;&#x441;&#x442;">]><list>`];
  for (let i = 0; i < 10_000; i++) {
    const name = `item-${i % 500}`;
    parts.push(`<${name} id="${i}" note="&lt;${"n".repeat(i % 90)}&who;">`);
    parts.push(`<a><b><c>${"text und Wörter ".repeat(i % 8)}</c>&who;</b></a>`);
    parts.push(`<!-- ${i} --></${name}>\n`);
  }
  return new TextEncoder().encode(parts.join("") + "</list>");
}

interface Events {
  elements: number;
  depth: number;
  attributes: number;
  characters: number;
  names: Set<string>;
}

/** Parses in pieces of some kilobytes, as from a stream, and returns the events of the handlers. */
function parse(parser: Deno.PointerValue, document: Uint8Array<ArrayBuffer>): { events: Events; error: number } {
  const events: Events = { elements: 0, depth: 0, attributes: 0, characters: 0, names: new Set() };
  let depth = 0;
  const start = new Deno.UnsafeCallback(
    { parameters: ["pointer", "pointer", "pointer"], result: "void" },
    (_user, name, attributes) => {
      events.elements++;
      events.depth = Math.max(events.depth, ++depth);
      events.names.add(readText(name)!);
      const list = new Deno.UnsafePointerView(attributes!);
      for (let i = 0;; i += 2) {
        const value = list.getPointer(8 * (i + 1));
        if (list.getPointer(8 * i) === null) break;
        events.attributes += readText(value)!.length;
      }
    },
  );
  const end = new Deno.UnsafeCallback({ parameters: ["pointer", "pointer"], result: "void" }, () => void depth--);
  const data = new Deno.UnsafeCallback(
    { parameters: ["pointer", "pointer", "i32"], result: "void" },
    (_user, _text, length) => void (events.characters += length),
  );
  native.XML_SetElementHandler(parser, start.pointer, end.pointer);
  native.XML_SetCharacterDataHandler(parser, data.pointer);
  let error = 0;
  for (let at = 0; at < document.length && error === 0;) {
    const piece = document.subarray(at, at + 5000);
    at += piece.length;
    if (native.XML_Parse(parser, piece, piece.length, at === document.length ? 1 : 0) !== 1) {
      error = native.XML_GetErrorCode(parser);
    }
  }
  for (const callback of [start, end, data]) callback.close();
  return { events, error };
}

function create(scratch: BumpAlloc): Deno.PointerValue {
  return native.XML_ParserCreate_MM(null, scratch.hooks.expat.suite, null);
}

testWith(expat, "expat: a large document is parsed in an arena", () => {
  const document = largeDocument();
  const plain = native.XML_ParserCreate(null);
  const expected = parse(plain, document);
  native.XML_ParserFree(plain);
  assertEquals(expected.error, 0);
  assertEquals([expected.events.elements, expected.events.depth], [40_001, 5]);

  using scratch = new BumpAlloc();
  using other = new BumpAlloc();
  const parser = create(scratch);
  const untouched = create(other);
  assert(isInside(scratch, parser) && isInside(other, untouched));
  const [before, beforeOther] = [scratch.used, other.used];
  assertEquals(parse(parser, document), expected);
  assert(scratch.used > before + 10_000);
  assertEquals(other.used, beforeOther); // each suite belongs to one region
  native.XML_ParserFree(parser);
  native.XML_ParserFree(untouched);
});

testWith(expat, "expat: a full region is its memory error", () => {
  using scratch = BumpAlloc.withSize(256 * 1024);
  const parser = create(scratch);
  const long = new TextEncoder().encode(`<list><a>1</a><b long="${"x".repeat(2 ** 20)}"/></list>`);
  const { events, error } = parse(parser, long);
  assertEquals(error, NO_MEMORY);
  assertEquals(readText(native.XML_ErrorString(error)), "out of memory");
  assertEquals([...events.names], ["list", "a"]); // up to there all is well
  native.XML_ParserFree(parser);
  scratch.alloc(scratch.remaining);
  assert(create(scratch) !== null); // from the blocks of the first
  while (create(scratch) !== null);
});
