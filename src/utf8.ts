/** Writing strings as UTF-8 into memory that is there already. Lone surrogates become U+FFFD, as everywhere on the web. */

/**
 * Writes `text` at `start` of `bytes`, which has room for three bytes per code unit. Returns the position behind the
 * last byte, or `~index` when the text has a NUL at `index`.
 *
 * For short texts: a call of `encodeInto` costs as much as a hundred turns of this loop.
 */
export function writeShort(text: string, bytes: Uint8Array, start: number): number {
  const length = text.length;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    // Neither NUL nor beyond ASCII: one comparison.
    if (code - 1 >>> 0 >= 0x7f) return code === 0 ? ~i : writeRest(text, i, bytes, start + i);
    bytes[start + i] = code;
  }
  return start + length;
}

/** As `writeShort`, from code unit `i` on, and for all of Unicode. */
function writeRest(text: string, i: number, bytes: Uint8Array, end: number): number {
  const length = text.length;
  for (; i < length; i++) {
    let code = text.charCodeAt(i);
    if (code < 0x80) {
      if (code === 0) return ~i;
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

/** Writes what fits of `text` from code unit `from` on; how far it came. */
export function writeLong(text: string, from: number, bytes: Uint8Array): { read: number; written: number } {
  return encoder.encodeInto(from === 0 ? text : text.substring(from), bytes);
}
