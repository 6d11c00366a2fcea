// The picture of a live allocator, drawn by the program itself.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { BumpAlloc } from "../../mod.ts";
import { formatBytes } from "../../src/format.ts";
import { renderMap } from "../../tools/inspect/map.ts";
import { residentPages } from "../../tools/inspect/pages.ts";
import { watch } from "../../tools/inspect/record.ts";
import { testSince } from "../support/skip.ts";

/** Sum of the bytes that are drawn as this type. */
function drawn(svg: string, type: string): number {
  return [...svg.matchAll(new RegExp(`class="${type}"[^>]*data-bytes="(\\d+)"`, "g"))]
    .reduce((sum, [, bytes]) => sum + Number(bytes), 0);
}

/** The text elements, as they are read. */
function texts(svg: string): string[] {
  return [...svg.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map(([, text]) =>
    text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&")
  );
}

let watching = false;

/** A test with the recorder on. It stays on for every later allocator of this realm. */
function watchedTest(name: string, fn: () => void): void {
  testSince("2.4.0", "all tests share one realm, and the others must not be recorded", name, () => {
    if (!watching) watch();
    watching = true;
    fn();
  });
}

testSince(
  "2.4.0",
  "all tests share one realm",
  "an allocator that was not recorded shows only bytes, chunks and pages",
  () => {
    using scratch = new BumpAlloc();
    scratch.alloc(3000).fill(1);
    const svg = renderMap(scratch);
    assertStringIncludes(texts(svg)[0], "2.93 KiB used of 1 GiB");
    assertStringIncludes(texts(svg)[1], "0 allocations");
    assert(drawn(svg, "taken") >= 3000);
  },
);

watchedTest("used bytes, padding, chunks and committed bytes", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(10);
  scratch.alloc(1000, 512);
  scratch.offset(8);
  const { committed } = scratch.stats();
  const svg = renderMap(scratch);
  assertEquals(drawn(svg, "used"), 10 + 1000 + 8);
  assertEquals(drawn(svg, "padding"), 502);
  assertEquals(drawn(svg, "taken"), committed);
  assertStringIncludes(texts(svg)[1], "3 allocations · 502 B padding · 1 MiB committed");
});

watchedTest("pages in RAM are those that were written", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(1 << 20).subarray(0, 1 << 17).fill(1);
  const svg = renderMap(scratch);
  const known = residentPages(Number(scratch.address), 1) !== null;
  if (!known) return assertStringIncludes(svg, "resident: not known here");
  const { committed } = scratch.stats();
  const inRam = drawn(svg, "resident");
  // More than was written, if the system uses larger pages.
  assert(inRam >= 1 << 17 && inRam <= committed, `${inRam}`);
  assertStringIncludes(texts(svg)[1], `${formatBytes(inRam)} resident`);
});

watchedTest("scopes by the functions that opened them, the innermost last; closed ones are gone", () => {
  using scratch = new BumpAlloc();
  scratch.alloc(100);
  function parse() {
    using scope = scratch.scope();
    scope.alloc(2000);
    function attributes() {
      using inner = scope.scope();
      inner.alloc(300);
      return renderMap(scratch);
    }
    return attributes();
  }
  const names = texts(parse()).filter((text) => text.startsWith("scope "));
  assertEquals(names.length, 2);
  assert(/^scope 1: parse \(map_test\.ts:\d+\), 2\.\d+ KiB from 10[04] B$/.test(names[0]), names[0]);
  assert(/^scope 2: attributes \(map_test\.ts:\d+\), 30[0-9] B from 2\.\d+ KiB$/.test(names[1]), names[1]);
  assertEquals(texts(renderMap(scratch)).filter((text) => text.startsWith("scope ")), []);
});

watchedTest("a name with markup in it is text, and every element ends", () => {
  using scratch = new BumpAlloc();
  const tricky = { ["<b>&"]: () => scratch.scope() };
  using scope = tricky["<b>&"]();
  scope.alloc(1);
  const svg = renderMap(scratch);
  assert(texts(svg).some((text) => text.includes("<b>&")), svg);
  assert(!svg.includes("<b>"));
  const opened = [...svg.matchAll(/<(\w+)\b(?:[^>]*[^/>])?>/g)].map(([, name]) => name);
  for (const name of new Set(opened)) {
    assertEquals(svg.split(`</${name}>`).length - 1, opened.filter((other) => other === name).length, name);
  }
});

watchedTest("a long name loses its beginning, and still fits", () => {
  using scratch = new BumpAlloc();
  const long = { ["x".repeat(500)]: () => scratch.scope() };
  using scope = long["x".repeat(500)]();
  scope.alloc(1000);
  const name = texts(renderMap(scratch)).find((text) => text.startsWith("scope 1"))!;
  assert(/^scope 1: …x+ \(map_test\.ts:\d+\), 1000 B from 0 B$/.test(name), name);
  assert(name.length < 100, name);
});
