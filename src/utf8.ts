/** Writing strings as UTF-8 into memory that is there already. Lone surrogates become U+FFFD, as everywhere on the web. */

/** Code units up to which the loop below beats `encodeInto`, whose call alone costs as much. */
export const SHORT_TEXT = 40;

/** Whether the latest long text went beyond ASCII: the next one then probably does, too. */
let wide = false;

/**
 * Writes `text` at `start` of `bytes`, which has room for three bytes per code unit. Returns the position behind the last byte, or
 * -1 when `nul` is 1 and the text has a NUL. Small, so that the engine inlines it: a constant text is then looked through once.
 */
export function writeShort(text: string, bytes: Uint8Array, start: number, nul: 0 | 1): number {
  const { length } = text;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    // Neither NUL nor beyond ASCII: one comparison.
    if (code - 1 >>> 0 >= 0x7f) return writeRest(text, i, bytes, start + i, nul);
    bytes[start + i] = code;
  }
  return start + length;
}

/** As `writeShort`, from code unit `i` on, and for all of Unicode. */
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
 * Writes `text` at `start` of `buffer`, below `limit`, by `encodeInto`, with `nul` (0 or 1) zero bytes behind it; returns a view of both.
 * Null when it might not fit, or when `nul` is 1 and the text has a NUL; bytes from `start` on may have been written then.
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
  // One byte for each code unit: of ASCII the destination is the result, and one view is enough.
  const view = new Uint8Array(buffer, start, length + nul);
  const { read, written } = encoder.encodeInto(text, view);
  if (read !== length || written !== length) return writeWide(text, buffer, start, limit, nul);
  if (nul === 1) view[length] = 0;
  return view;
}

/** As `writeLong`, for a text that is probably more than ASCII. */
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

/** Bytes that `text` takes from code unit `from` on. */
export function utf8Length(text: string, from: number): number {
  const length = text.length;
  let bytes = length - from;
  for (let i = from; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    if (code < 0x800) bytes++;
    else {
      bytes += 2;
      // A pair takes four bytes: two more than its two code units.
      if ((code & 0xfc00) === 0xd800 && i + 1 < length && (text.charCodeAt(i + 1) & 0xfc00) === 0xdc00) i++;
    }
  }
  return bytes;
}

const encoder = new TextEncoder();

/** Before Deno 2.8 a compiled call says of a Latin-1 text that was cut off that as many code units were read as bytes written. */
const [major, minor] = Deno.version.deno.split(".").map(Number);
const IS_READ_RIGHT = major > 2 || minor >= 8;

/** Writes what fits of `text` from code unit `from` on; how far it came. */
export function encodeInto(text: string, from: number, bytes: Uint8Array): { read: number; written: number } {
  const { read, written } = encoder.encodeInto(from === 0 ? text : text.substring(from), bytes);
  return { read: IS_READ_RIGHT ? read : unitsIn(bytes, written), written };
}

/** Code units that so many bytes of UTF-8 are: one for each character, two for one of four bytes. */
function unitsIn(bytes: Uint8Array, byteLength: number): number {
  let units = 0;
  for (let i = 0; i < byteLength; i++) {
    if ((bytes[i] & 0xc0) !== 0x80) units += bytes[i] >= 0xf0 ? 2 : 1;
  }
  return units;
}
