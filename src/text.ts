/** Text in an arena's memory. */

import type { Arena } from "./arena.ts";
import { checkSize, describe } from "./check.ts";
import { cannot, OutOfMemoryError, type What } from "./errors.ts";
import { encodeInto, SHORT_TEXT, utf8Length, writeLong, writeShort } from "./utf8.ts";

// Captured once: a program may replace the globals with classes that allocate.
const { BigUint64Array: OwnBigUint64Array, Uint16Array: OwnUint16Array, Uint8Array: OwnUint8Array } = globalThis;

/** Writes `text` as UTF-8, followed by `nul` (0 or 1) zero bytes. If `nul` is 1, a NUL in the text is refused. */
export function encode(arena: Arena, text: string, nul: 0 | 1, what: What): Uint8Array<ArrayBuffer> {
  if (typeof text !== "string") throw cannot(TypeError, what, `a string is needed, not ${describe(text)}`);
  const { length } = text;
  const { cursor: start, bytes } = arena;
  if (length <= SHORT_TEXT) {
    if (start + 3 * length + nul < bytes.length) {
      const end = writeShort(text, bytes, start, nul);
      if (end >= 0) {
        if (nul === 1) bytes[end] = 0;
        const view = new OwnUint8Array(arena.buffer, start, end + nul - start);
        arena.cursor = end + nul;
        return view;
      }
    }
  } else {
    const view = writeLong(text, arena.buffer, start, bytes.length, nul);
    if (view !== null) {
      arena.cursor = start + view.length;
      return view;
    }
  }
  return encodeSlowly(arena, text, nul, what);
}

/** Encodes a text that is long, or that may not fit in the window. */
function encodeSlowly(arena: Arena, text: string, nul: 0 | 1, what: What): Uint8Array<ArrayBuffer> {
  const { length } = text;
  // A failed attempt may have written bytes behind the cursor.
  arena.high = Math.max(arena.high, Math.min(arena.cursor + 3 * length, arena.bytes.length));
  if (nul === 1) checkNoNul(text, what);
  // Most texts are ASCII. For others the missing bytes are counted, so that not a byte too many is taken.
  let start = arena.take(length + nul, 1, what);
  const { read, written } = encodeInto(text, 0, new OwnUint8Array(arena.buffer, start, length));
  let byteLength = length;
  if (read < length) {
    const rest = utf8Length(text, read);
    byteLength = written + rest;
    try {
      start = arena.resizeLast(start, byteLength + nul, what);
    } catch (error) {
      arena.resizeLast(start, 0, what);
      throw error instanceof OutOfMemoryError ? arena.full(byteLength + nul, 1, what) : error;
    }
    encodeInto(text, read, new OwnUint8Array(arena.buffer, start + written, rest));
  }
  const view = new OwnUint8Array(arena.buffer, start, byteLength + nul);
  if (nul === 1) view[byteLength] = 0;
  return view;
}

function checkNoNul(text: string, what: What): void {
  const index = text.indexOf("\0");
  if (index >= 0) throw cannot(TypeError, what, `the text has a NUL at index ${index}`);
}

/** Writes UTF-16 and a NUL, the `wchar_t*` of Windows. */
export function cstring16(arena: Arena, text: string, what: What): Uint16Array<ArrayBuffer> {
  if (typeof text !== "string") throw cannot(TypeError, what, `a string is needed, not ${describe(text)}`);
  checkNoNul(text, what);
  const { length } = text;
  const whole = text.toWellFormed(); // U+FFFD for lone surrogates
  const start = arena.take(2 * length + 2, 2, what);
  const units = new OwnUint16Array(arena.buffer, start, length + 1);
  for (let i = 0; i < length; i++) units[i] = whole.charCodeAt(i);
  units[length] = 0;
  return units;
}

/** Writes C strings and an array of their addresses with a final NULL. */
export function cstringArray(arena: Arena, texts: readonly string[], what: What): BigUint64Array<ArrayBuffer> {
  if (!Array.isArray(texts)) throw cannot(TypeError, what, `an array of strings is needed, not ${describe(texts)}`);
  // Read all texts before taking memory: a getter among them may allocate or lengthen the array.
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
      const { length } = encode(arena, strings[i], 1, what);
      array[i] = BigInt(hold.address + arena.position - length);
    }
    array[count] = 0n;
    return array;
  } catch (error) {
    arena.rewindTo(position, what);
    throw error;
  }
}
