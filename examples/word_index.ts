/** Finds words: runs of ASCII letters, digits and underscores. */

const IN_WORD = new Uint8Array(256);
for (const char of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") {
  IN_WORD[char.charCodeAt(0)] = 1;
}

/** The number of words that begin in the text. */
export function countWords(text: Uint8Array): number {
  let count = 0;
  let before = 0;
  for (let i = 0; i < text.length; i++) {
    const inside = IN_WORD[text[i]];
    count += inside & ~before;
    before = inside;
  }
  return count;
}

/** Writes the start of each word, as an offset in the whole text; `text` begins at offset `from` of it. */
export function indexWords(text: Uint8Array, from: number, words: Uint32Array): void {
  let count = 0;
  let before = 0;
  for (let i = 0; i < text.length; i++) {
    const inside = IN_WORD[text[i]];
    words[count] = from + i; // overwritten until a word begins; past the end it is ignored
    count += inside & ~before;
    before = inside;
  }
}
