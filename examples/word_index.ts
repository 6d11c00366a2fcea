/** Finding words: runs of ASCII letters, digits and underscores. */

const IN_WORD = new Uint8Array(256);
for (const char of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") {
  IN_WORD[char.charCodeAt(0)] = 1;
}

/** How many words begin in the text. */
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

/** Writes where each word begins, counted from the whole text, of which `text` begins at `from`. */
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
