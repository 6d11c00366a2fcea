/**
 * Records every allocator of a program: its blocks and scopes, and the state at its peak.
 *
 * It wraps the methods of the classes from outside, so that recording costs the allocator nothing when it is off.
 *
 * @module
 */

import { BumpAlloc } from "../../src/bump_alloc.ts";
import type { Hold } from "../../src/hold.ts";
import { arenaOf, BumpScope, ScratchArena } from "../../src/scratch_arena.ts";
import { PAGE_SIZE, residentPages } from "./pages.ts";

/** A run of bytes; offsets from the region's first one. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** An open scope. */
export interface ScopeRange extends Range {
  /** The function that opened it, with its file and line. */
  readonly name: string;
}

/** A region at one moment. Sizes are bytes. */
export interface Snapshot {
  readonly capacity: number;
  readonly used: number;
  readonly committed: number;
  /** Allocations in the order of their addresses. Bytes between two in one chunk are padding. */
  readonly blocks: readonly Range[];
  readonly padding: readonly Range[];
  readonly chunks: readonly Range[];
  /** Outermost first. */
  readonly scopes: readonly ScopeRange[];
  /** For each page from offset 0, 1 if it is in RAM; null if the system does not report it. */
  readonly resident: Uint8Array | null;
  readonly pageSize: number;
}

interface Entry {
  readonly blocks: Range[];
  readonly scopes: { readonly scope: BumpScope; readonly name: string; readonly start: number }[];
  peak: Snapshot | null;
}

const entries = new Map<Hold, Entry>();

function entryOf(hold: Hold): Entry {
  let entry = entries.get(hold);
  if (entry === undefined) entries.set(hold, entry = { blocks: [], scopes: [], peak: null });
  return entry;
}

/** The present state of an allocator. */
export function snapshot(allocator: ScratchArena): Snapshot {
  const { hold, used, innermost: { position } } = arenaOf(allocator);
  const { blocks, scopes } = entryOf(hold);
  const chunks = hold.chunks.list.map(({ start, end }) => ({ start, end }));
  const padding: Range[] = [];
  let chunk = 0;
  let last = chunks[0]?.start ?? 0;
  for (const { start, end } of blocks) {
    while (chunk < chunks.length - 1 && start >= chunks[chunk].end) last = chunks[++chunk].start;
    if (start > last) padding.push({ start: last, end: start });
    last = Math.max(last, end);
  }
  return {
    capacity: hold.capacity,
    used,
    committed: hold.committed,
    blocks: blocks.slice(),
    padding,
    chunks,
    scopes: scopes.map(({ name, start }) => ({ name, start, end: position })),
    resident: residentPages(hold.address, hold.committed),
    pageSize: PAGE_SIZE,
  };
}

/** Allocators and scopes that may be open. Dropped ones stay here, so that they are drawn too. */
const known = new Set<ScratchArena>();

/** The states of all allocators at their peaks so far, the largest first. */
export function peaks(): Snapshot[] {
  // Memory that was never taken back is recorded now.
  for (const arena of known) beforeRelease(arena);
  return [...entries.values()].flatMap(({ peak }) => peak ?? []).sort((a, b) => b.used - a.used);
}

function note(arena: ScratchArena, start: number, byteLength: number): void {
  if (byteLength === 0) return;
  const { blocks } = entryOf(arenaOf(arena).hold);
  const last = blocks.at(-1);
  // A block below the last one is one that realloc left in place.
  if (last !== undefined && start < last.start) return;
  if (last?.start === start) blocks.pop();
  blocks.push({ start, end: start + byteLength });
}

function noteView(arena: ScratchArena, view: ArrayBufferView | null): void {
  if (view === null || view.byteLength === 0) return;
  note(arena, Number(arena.addressOf(view)) - arenaOf(arena).hold.address, view.byteLength);
}

/** Records the state before memory is taken back. In between, used bytes only grow, so no peak is missed. */
function beforeRelease(arena: ScratchArena): void {
  const { closed, hold, used } = arenaOf(arena);
  if (closed) return;
  const entry = entryOf(hold);
  if (used > (entry.peak?.used ?? 0)) entry.peak = snapshot(arena);
}

function forget(hold: Hold, from: number): void {
  const { blocks } = entryOf(hold);
  while (blocks.length > 0 && blocks[blocks.length - 1].start >= from) blocks.pop();
}

function afterEnd(scope: BumpScope, hold: Hold): void {
  const { scopes } = entryOf(hold);
  const index = scopes.findIndex((entry) => entry.scope === scope);
  if (index < 0) return;
  forget(hold, scopes[index].start);
  scopes.length = index;
}

/** The caller's function and line, from a stack. */
function callSite(): string {
  const line = (new Error().stack ?? "").split("\n").slice(1).find((line) =>
    !/tools\/inspect|\/src\/\w+\.ts/.test(line)
  );
  const found = /at (?:(?:async )?(.+?) \()?.*?([^/\\]+:\d+):\d+\)?$/.exec(line ?? "");
  if (found === null) return "scope";
  return found[1] === undefined ? found[2] : `${found[1]} (${found[2]})`;
}

// deno-lint-ignore no-explicit-any -- methods of any shape
type Method = (...args: any[]) => any;

function wrap(type: { prototype: object }, name: string | symbol, around: (original: Method) => Method): void {
  const prototype = type.prototype as Record<string | symbol, Method>;
  prototype[name] = around(prototype[name]);
}

/** Starts recording. Call it before the program makes its first allocator. */
export function watch(): void {
  for (
    const name of ["alloc", "allocZeroed", "tryAlloc", "allocArray", "allocView", "copy", "realloc", "cstring"] as const
  ) {
    wrap(ScratchArena, name, (original) =>
      function (this: ScratchArena, ...args) {
        const view = original.apply(this, args);
        noteView(this, view);
        return view;
      });
  }
  wrap(ScratchArena, "out", (original) =>
    function (this: ScratchArena, ...args) {
      const out = original.apply(this, args);
      noteView(this, out.view);
      return out;
    });
  wrap(ScratchArena, "cstringArray", (original) =>
    function (this: ScratchArena, texts: string[]) {
      const array = original.call(this, texts) as BigUint64Array<ArrayBuffer>;
      noteView(this, array);
      const { hold } = arenaOf(this);
      texts.forEach((text, i) => {
        note(this, Number(array[i]) - hold.address, new TextEncoder().encode(text).length + 1);
      });
      return array;
    });
  wrap(ScratchArena, "offset", (original) =>
    function (this: ScratchArena, byteLength, align) {
      const offset = original.call(this, byteLength, align);
      note(this, offset, byteLength);
      return offset;
    });
  const opened = (scope: BumpScope) => {
    const { hold, position } = arenaOf(scope);
    entryOf(hold).scopes.push({ scope, name: callSite(), start: position });
    return scope;
  };
  wrap(ScratchArena, "scope", (original) =>
    function (this: ScratchArena) {
      return opened(original.call(this));
    });
  wrap(ScratchArena, "frame", (original) =>
    function (this: ScratchArena, fn?: (frame: BumpScope) => unknown) {
      if (fn === undefined) return opened(original.call(this));
      return original.call(this, (frame: BumpScope) => fn(opened(frame)));
    });
  wrap(ScratchArena, "rewind", (original) =>
    function (this: ScratchArena, mark) {
      beforeRelease(this);
      original.call(this, mark);
      forget(arenaOf(this).hold, mark.offset);
    });
  for (const name of ["end", Symbol.dispose] as const) {
    wrap(BumpScope, name, (original) =>
      function (this: BumpScope) {
        const { hold } = arenaOf(this);
        beforeRelease(this);
        original.call(this);
        afterEnd(this, hold);
        known.delete(this);
      });
  }
  wrap(BumpScope, Symbol.asyncDispose, (original) =>
    async function (this: BumpScope) {
      const { hold } = arenaOf(this);
      beforeRelease(this);
      await original.call(this);
      afterEnd(this, hold);
    });
  for (const name of ["reset", "close"] as const) {
    wrap(BumpAlloc, name, (original) =>
      function (this: BumpAlloc, ...args) {
        const { hold, closed } = arenaOf(this);
        beforeRelease(this);
        original.apply(this, args);
        if (closed) return;
        forget(hold, 0);
        entryOf(hold).scopes.length = 0;
        if (name === "close") known.delete(this);
      });
  }
  for (
    const name of [
      "alloc",
      "allocZeroed",
      "tryAlloc",
      "allocArray",
      "allocView",
      "copy",
      "cstring",
      "cstringArray",
      "offset",
    ]
  ) {
    wrap(ScratchArena, name, (original) =>
      function (this: ScratchArena, ...args) {
        known.add(this);
        return original.apply(this, args);
      });
  }
}
