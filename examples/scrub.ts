/**
 * Hides e-mail addresses and long numbers (telephone, card) in a text, byte by byte, in memory that the caller
 * provides. This is the work of server.ts.
 *
 * @module
 */

/** The source of working memory: a `BumpAlloc`, a `BumpScope`, or a stand-in that makes plain arrays. */
export interface Memory {
  /** Uninitialised or zero bytes. */
  alloc(byteLength: number): Uint8Array<ArrayBuffer>;
  /** A typed array of `length` elements. */
  allocArray(type: Uint32ArrayConstructor, length: number): Uint32Array<ArrayBuffer>;
}

const OTHER = 0;
const WORD = 1;
const DIGIT = 2;
const AT = 3;
const DOT = 4;

/** The kind of each byte. Bytes above 127 are letters: parts of UTF-8 characters. */
const KINDS = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x30 && byte <= 0x39) return DIGIT;
  if (byte === 0x40) return AT;
  if (byte === 0x2e || byte === 0x2d || byte === 0x2b) return DOT; // and "-" and "+"
  const letter = (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a;
  return letter || byte === 0x5f || byte > 127 ? WORD : OTHER;
});

/** Shortest run of digits that is hidden. */
const LONG_NUMBER = 7;

const MASK = new TextEncoder().encode("***");

/**
 * Returns `text` with e-mail addresses and long numbers replaced by `***`.
 *
 * @param memory The source of the working memory and of the result.
 * @param text UTF-8.
 * @param limit Bytes of each of the three buffers: at least `text.length`.
 */
export function scrub(memory: Memory, text: Uint8Array, limit: number): Uint8Array<ArrayBuffer> {
  const kinds = memory.alloc(limit);
  // The shortest secret takes four bytes, with the space behind it.
  const starts = memory.allocArray(Uint32Array, (limit + 1) >> 2);
  const output = memory.alloc(limit);
  const length = text.length;
  for (let i = 0; i < length; i++) kinds[i] = KINDS[text[i]];
  const count = findSecrets(kinds, length, starts);
  let from = 0;
  let end = 0;
  for (let i = 0; i < count; i++) {
    // Byte by byte: the pieces are short, and `set` needs a view of each.
    for (const start = starts[i]; from < start;) output[end++] = text[from++];
    for (let j = 0; j < MASK.length; j++) output[end++] = MASK[j];
    while (from < length && kinds[from] !== OTHER) from++;
  }
  while (from < length) output[end++] = text[from++];
  return output.subarray(0, end);
}

/** Writes the starts of all secrets to `starts`. Returns their number. */
function findSecrets(kinds: Uint8Array, length: number, starts: Uint32Array): number {
  let count = 0;
  for (let end = 0; end < length; end++) {
    // A run without spaces and signs. An address contains an "@", a number has only digits.
    const start = end;
    let at = -1;
    let digits = 0;
    for (; end < length && kinds[end] !== OTHER; end++) {
      if (kinds[end] === AT) at = end;
      else if (kinds[end] === DIGIT) digits++;
    }
    const address = at > start && at < end - 1;
    if (address || (digits >= LONG_NUMBER && digits === end - start)) starts[count++] = start;
  }
  return count;
}
