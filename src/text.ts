/** Strings for native code, on the public methods. Those that are written byte by byte are in `utf8.ts`. */
import { checkSize, describe } from "./check.ts";
import { typeError } from "./errors.ts";
import type { Scratch } from "./scratch.ts";

/** `text` as UTF-16 with a NUL: what `wchar_t*` is on Windows. */
export function cstring16(scratch: Scratch, text: string): Uint16Array<ArrayBuffer> {
  if (typeof text !== "string") throw typeError(`Cannot make a wide string: a string is needed, not ${describe(text)}`);
  const nul = text.indexOf("\0");
  if (nul >= 0) throw typeError(`Cannot make a wide string: the text has a NUL at index ${nul}`);
  const { length } = text;
  const whole = text.toWellFormed(); // U+FFFD for lone surrogates
  const units = scratch.allocArray(Uint16Array, length + 1) as Uint16Array<ArrayBuffer>;
  for (let i = 0; i < length; i++) units[i] = whole.charCodeAt(i);
  units[length] = 0;
  return units;
}

/** The addresses of C strings, with a NULL at the end. On an error nothing has changed. */
export function cstringArray(scratch: Scratch, texts: readonly string[]): BigUint64Array<ArrayBuffer> {
  if (!Array.isArray(texts)) {
    throw typeError(`Cannot make C strings: an array of strings is needed, not ${describe(texts)}`);
  }
  // All are read before anything is taken: a getter among them may allocate, or make more of them.
  const count = texts.length;
  checkSize(count, "make C strings", "length");
  const strings: string[] = [];
  for (let i = 0; i < count; i++) strings.push(texts[i]);
  const before = scratch.mark();
  try {
    const array = scratch.allocArray(BigUint64Array, count + 1) as BigUint64Array<ArrayBuffer>;
    for (let i = 0; i < count; i++) array[i] = scratch.addressOf(scratch.cstring(strings[i]));
    array[count] = 0n;
    return array;
  } catch (error) {
    scratch.rewind(before);
    throw error;
  }
}
