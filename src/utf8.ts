/** Writes strings as UTF-8 into existing memory. Lone surrogates become U+FFFD, as in `TextEncoder`. */

/** Number of code units up to which the loop below beats the fixed cost of `encodeInto`. */
export const SHORT_TEXT = 40;

/** Whether the latest long text went beyond ASCII; the next one then probably does as well. */
let wide = false;

/**
 * Writes `text` at `start` of `bytes`, which must have room for three bytes per code unit. Returns the position behind
 * the last byte, or -1 when `nul` is 1 and the text has a NUL. Kept small so that V8 inlines it and can fold constant
 * texts.
 */
export function writeShort(text: string, bytes: Uint8Array, start: number, nul: 0 | 1): number {
  const { length } = text;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    // One comparison excludes both NUL and code units beyond ASCII.
    if (code - 1 >>> 0 >= 0x7f) return writeRest(text, i, bytes, start + i, nul);
    bytes[start + i] = code;
  }
  return start + length;
}

/** Like `writeShort`, but from code unit `i` and for all of Unicode. */
function writeRest(text: string, i: number, bytes: Uint8Array, end: number, nul: 0 | 1): number {
  const { length } = text;
  for (; i < length; i++) {
    let code = text.charCodeAt(i);
    if (code < 0x80) {
      if (code < nul) return -1;
      bytes[end++] = code;
    } else if (code < 0x800) {
      bytes[end++] = 0xc0 | code >> 6;
      bytes[end++] = 0x80 | code & 0x3f;
    } else {
      if ((code & 0xf800) === 0xd800) {
        const next = i + 1 < length ? text.charCodeAt(i + 1) : 0;
        if (code < 0xdc00 && (next & 0xfc00) === 0xdc00) {
          const point = 0x10000 + ((code & 0x3ff) << 10 | next & 0x3ff);
          bytes[end++] = 0xf0 | point >> 18;
          bytes[end++] = 0x80 | point >> 12 & 0x3f;
          bytes[end++] = 0x80 | point >> 6 & 0x3f;
          bytes[end++] = 0x80 | point & 0x3f;
          i++;
          continue;
        }
        code = 0xfffd;
      }
      bytes[end++] = 0xe0 | code >> 12;
      bytes[end++] = 0x80 | code >> 6 & 0x3f;
      bytes[end++] = 0x80 | code & 0x3f;
    }
  }
  return end;
}

/**
 * Writes `text` at `start` of `buffer`, below `limit`, with `encodeInto`, followed by `nul` (0 or 1) zero bytes.
 * Returns a view of both. Returns null when it might not fit, or when `nul` is 1 and the text has a NUL; bytes from
 * `start` upwards may have been written then.
 */
export function writeLong(
  text: string,
  buffer: ArrayBuffer,
  start: number,
  limit: number,
  nul: 0 | 1,
): Uint8Array<ArrayBuffer> | null {
  const { length } = text;
  if (start + length + nul > limit || (nul === 1 && text.includes("\0"))) return null;
  if (wide || !IS_READ_RIGHT) return writeWide(text, buffer, start, limit, nul);
  // One byte per code unit: for ASCII the destination is the result, and no second view is needed.
  const view = new Uint8Array(buffer, start, length + nul);
  const { read, written } = encoder.encodeInto(text, view);
  if (read !== length || written !== length) return writeWide(text, buffer, start, limit, nul);
  if (nul === 1) view[length] = 0;
  return view;
}

/** Like `writeLong`, for a text that probably goes beyond ASCII. */
function writeWide(
  text: string,
  buffer: ArrayBuffer,
  start: number,
  limit: number,
  nul: 0 | 1,
): Uint8Array<ArrayBuffer> | null {
  const widest = 3 * text.length + nul;
  wide = true;
  if (start + widest > limit) return null;
  const { written } = encoder.encodeInto(text, new Uint8Array(buffer, start, widest));
  wide = written > text.length;
  const view = new Uint8Array(buffer, start, written + nul);
  if (nul === 1) view[written] = 0;
  return view;
}

/** Length in UTF-8 bytes of `text` from code unit `from`. */
export function utf8Length(text: string, from: number): number {
  const length = text.length;
  let bytes = length - from;
  for (let i = from; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    if (code < 0x800) bytes++;
    else {
      bytes += 2;
      // A surrogate pair takes four bytes: two more than its number of code units.
      if ((code & 0xfc00) === 0xd800 && i + 1 < length && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) i++;
    }
  }
  return bytes;
}

const encoder = new TextEncoder();

/**
 * Before Deno 2.8, `encodeInto` in optimised code reports a wrong `read` for Latin-1 text that is cut off: the number
 * of bytes written.
 */
const [major, minor] = Deno.version.deno.split(".").map(Number);
const IS_READ_RIGHT = major > 2 || minor >= 8;

/** Writes as much of `text`, from code unit `from`, as fits. Returns how far it came. */
export function encodeInto(text: string, from: number, bytes: Uint8Array): { read: number; written: number } {
  const { read, written } = encoder.encodeInto(from === 0 ? text : text.substring(from), bytes);
  return { read: IS_READ_RIGHT ? read : unitsIn(bytes, written), written };
}

/** Number of code units in that many bytes of UTF-8: one per character, two for a character of four bytes. */
function unitsIn(bytes: Uint8Array, byteLength: number): number {
  let units = 0;
  for (let i = 0; i < byteLength; i++) {
    if ((bytes[i] & 0xc0) !== 0x80) units += bytes[i] >= 0xf0 ? 2 : 1;
  }
  return units;
}
