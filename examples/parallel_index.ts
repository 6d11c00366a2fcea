/**
 * Indexes the words of a large text on several Workers in three ways: in one shared region, with messages that copy,
 * and with `SharedArrayBuffer`s.
 *
 * `deno run -A examples/parallel_index.ts [FILE]`: the default text is the output of `deno types`, repeated.
 *
 * @module
 */
import { BumpAlloc } from "../mod.ts";
import type { IndexRequest, Span } from "./parallel_index_worker.ts";

/** The way in which the Workers get the text and return their results. */
export type Way = IndexRequest["way"];

/** A text, and Workers to index it. */
export class ParallelIndex implements Disposable {
  readonly #workers: Worker[];
  readonly #plain: Uint8Array;
  readonly #shared: SharedArrayBuffer;
  readonly #region: BumpAlloc;
  readonly #text: Uint8Array;

  /** Copies the text into the region, and into the buffers of the other two ways. */
  constructor(text: Uint8Array, workers = 2) {
    this.#plain = text;
    this.#shared = new SharedArrayBuffer(text.length);
    new Uint8Array(this.#shared).set(text);
    this.#region = BumpAlloc.withSize(8 * text.length + 2 ** 30);
    this.#text = this.#region.copy(text);
    this.#workers = Array.from(
      { length: workers },
      () => new Worker(new URL("./parallel_index_worker.ts", import.meta.url), { type: "module" }),
    );
  }

  /** The places where words begin: one array for each Worker, in the order of the text. */
  index(way: Way): Promise<Uint32Array[]> {
    const handle = this.#region.share();
    const base = Number(this.#region.addressOf(this.#text) - this.#region.address);
    const cuts = this.#cuts();
    return Promise.all(this.#workers.map(async (worker, i) => {
      const [start, end] = [cuts[i], cuts[i + 1]];
      switch (way) {
        case "region": {
          const text = { offset: base + start, byteLength: end - start };
          const { offset, byteLength } = await ask<Span>(worker, { way, handle, text, from: start });
          const words = this.#region.view(offset, byteLength);
          return new Uint32Array(words.buffer, words.byteOffset, byteLength / 4);
        }
        case "copy":
          return await ask<Uint32Array>(worker, { way, text: this.#plain.subarray(start, end).slice(), from: start });
        case "shared buffer":
          return await ask<Uint32Array>(worker, { way, text: this.#shared, start, end });
      }
    }));
  }

  /** Offsets that divide the text evenly, but not within a word. */
  #cuts(): number[] {
    const parts = this.#workers.length;
    const cuts = [0];
    for (let i = 1; i < parts; i++) {
      let cut = Math.max(cuts[i - 1], Math.floor(this.#plain.length * i / parts));
      while (cut < this.#plain.length && this.#plain[cut] !== 0x0a) cut++;
      cuts.push(cut);
    }
    return [...cuts, this.#plain.length];
  }

  /** Ends the Workers. */
  [Symbol.dispose](): void {
    for (const worker of this.#workers) worker.terminate();
  }
}

function ask<T>(worker: Worker, request: IndexRequest): Promise<T> {
  return new Promise((resolve, reject) => {
    worker.onmessage = (event) => resolve(event.data);
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(request);
  });
}

/** The text of a file, or that of `deno types`, repeated up to `byteLength`. */
export function textOf(file: string | undefined, byteLength: number): Uint8Array<ArrayBuffer> {
  const once = file === undefined
    ? new Deno.Command(Deno.execPath(), { args: ["types"] }).outputSync().stdout
    : Deno.readFileSync(file);
  const text = new Uint8Array(Math.max(byteLength, once.length));
  for (let at = 0; at < text.length; at += once.length) {
    text.set(once.subarray(0, Math.min(once.length, text.length - at)), at);
  }
  return text;
}

if (import.meta.main) {
  const text = textOf(Deno.args[0], 64 * 2 ** 20);
  using index = new ParallelIndex(text);
  const times = new Map<Way, number[]>();
  for (let round = 0; round < 9; round++) {
    for (const way of ["region", "copy", "shared buffer"] as const) {
      const start = performance.now();
      const words = await index.index(way);
      const time = performance.now() - start;
      if (round > 1) times.set(way, [...times.get(way) ?? [], time]);
      else console.log(`${way}: ${words.reduce((sum, part) => sum + part.length, 0)} words`);
    }
  }
  for (const [way, all] of times) {
    console.log(`${way.padEnd(14)} ${all.sort((a, b) => a - b)[all.length >> 1].toFixed(1)} ms (median)`);
  }
  Deno.exit();
}
