// Finds the words of its part of a text: one Worker of examples/parallel_index.ts.
import { BumpAlloc, type BumpHandle } from "../mod.ts";
import { countWords, indexWords } from "./word_index.ts";

/** Where memory lies in a shared region. */
export interface Span {
  offset: number;
  byteLength: number;
}

/** A request of the main thread: the words of one part, which begins at `from` in the whole text. */
export type IndexRequest =
  | { way: "region"; handle: BumpHandle; text: Span; from: number }
  | { way: "copy"; text: Uint8Array; from: number }
  | { way: "shared buffer"; text: SharedArrayBuffer; start: number; end: number };

let scratch: BumpAlloc | undefined;

globalThis.addEventListener("message", (event) => {
  const request = (event as MessageEvent<IndexRequest>).data;
  const post = (answer: unknown) => (globalThis as unknown as Worker).postMessage(answer);
  switch (request.way) {
    case "region": {
      scratch?.close();
      scratch = BumpAlloc.attach(request.handle);
      const text = scratch.view(request.text.offset, request.text.byteLength);
      const words = scratch.allocArray(Uint32Array, countWords(text));
      indexWords(text, request.from, words);
      const offset = Number(scratch.addressOf(words) - scratch.address);
      return post({ offset, byteLength: words.byteLength } satisfies Span);
    }
    case "copy": {
      const words = new Uint32Array(countWords(request.text));
      indexWords(request.text, request.from, words);
      return post(words);
    }
    case "shared buffer": {
      const text = new Uint8Array(request.text, request.start, request.end - request.start);
      const count = countWords(text);
      const words = new Uint32Array(new SharedArrayBuffer(4 * count));
      indexWords(text, request.start, words);
      return post(words);
    }
  }
});
