/** Texts in an arena's memory. */

import type { Arena } from "./arena.ts";
import { checkSize, describe } from "./check.ts";
import { cannot, OutOfMemoryError, type What } from "./errors.ts";
import { utf8Length, writeLong, writeShort } from "./utf8.ts";

// Taken once: a program may replace the global ones, by classes that allocate.
const { BigUint64Array: OwnBigUint64Array, Uint8Array: OwnUint8Array } = globalThis;

/** Code units up to which a C string is written by a loop of our own. */
const SHORT_TEXT = 100;

/** Writes a C string and gives its position; the cursor is behind it. */
export function cstring(arena: Arena, text: string, what: What): number {
  if (typeof text !== "string") throw cannot(TypeError, what, `a string is needed, not ${describe(text)}`);
  const { length } = text;
  const { cursor: start, bytes } = arena;
  if (length > SHORT_TEXT || start + 3 * length >= bytes.length) return longCstring(arena, text, what);
  const end = writeShort(text, bytes, start);
  if (end < 0) {
    arena.high = Math.max(arena.high, start + 3 * length); // bytes in front of the NUL were written
    throw hasNul(~end, what);
  }
  bytes[end] = 0;
  arena.cursor = end + 1;
  return start;
}

/** A C string of any length, or one that the window has no room for. */
function longCstring(arena: Arena, text: string, what: What): number {
  const nul = text.indexOf("\0");
  if (nul >= 0) throw hasNul(nul, what);
  // Most texts are ASCII. For others what is missing is counted, so that no byte more is asked for.
  const { length } = text;
  let start = arena.take(length + 1, 1, what);
  const { read, written } = writeLong(text, 0, new OwnUint8Array(arena.buffer, start, length));
  if (read < length) {
    const rest = utf8Length(text, read);
    try {
      start = arena.resizeLast(start, written + rest + 1, what);
    } catch (error) {
      arena.resizeLast(start, 0, what);
      throw error instanceof OutOfMemoryError ? arena.full(written + rest + 1, 1, what) : error;
    }
    writeLong(text, read, new OwnUint8Array(arena.buffer, start + written, rest));
  }
  new OwnUint8Array(arena.buffer)[arena.cursor - 1] = 0;
  return start;
}

function hasNul(index: number, what: What): TypeError {
  return cannot(TypeError, what, `the text has a NUL at index ${index}`);
}

/** Writes C strings, and an array of their addresses with a NULL at the end. */
export function cstringArray(arena: Arena, texts: readonly string[], what: What): BigUint64Array<ArrayBuffer> {
  if (!Array.isArray(texts)) throw cannot(TypeError, what, `an array of strings is needed, not ${describe(texts)}`);
  // All are read before anything is taken: a getter among them may allocate, or make more of them.
  const count = texts.length;
  checkSize(count, what, "length");
  const strings: string[] = [];
  for (let i = 0; i < count; i++) strings.push(texts[i]);
  arena.checkUsable(what);
  const { position, hold } = arena;
  try {
    const start = arena.take(8 * (count + 1), undefined, what);
    const array = new OwnBigUint64Array(arena.buffer, start, count + 1);
    for (let i = 0; i < count; i++) {
      const at = cstring(arena, strings[i], what);
      array[i] = BigInt(hold.address + arena.base + at);
    }
    array[count] = 0n;
    return array;
  } catch (error) {
    arena.rewindTo(position, what);
    throw error;
  }
}
