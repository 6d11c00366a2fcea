/** Patterns that identify the owner of bytes. */
import { assertEquals } from "@std/assert";

/** A small, fast generator of integers in [0, below): xorshift32, the same sequence for the same seed. */
export function randomOf(seed: number): (below: number) => number {
  let state = (seed * 2654435761) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Fills a block with the pattern of its number. */
export function fillPattern(view: Uint8Array, id: number): void {
  for (let i = 0; i < view.length; i++) view[i] = (id * 31 + i * 7) & 255;
}

/** Whether the block still has its pattern. */
export function patternHolds(view: Uint8Array, id: number): boolean {
  for (let i = 0; i < view.length; i++) if (view[i] !== ((id * 31 + i * 7) & 255)) return false;
  return view.length > 0;
}

/** Fails unless both have the same bytes. Before Deno 2.6, deep equality of 8 MiB takes half a minute. */
export function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < actual.length; i++) {
    if (actual[i] !== expected[i]) assertEquals(actual[i], expected[i], `byte ${i}`);
  }
}
