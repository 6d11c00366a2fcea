/**
 * Counts the words of a text in scratch memory, and again with plain typed arrays:
 *
 * ```sh
 * deno run --allow-ffi --allow-read --allow-write --allow-run examples/word_count.ts [FILE] [--top N] [--rounds N]
 * ```
 *
 * Without FILE the text is the output of `deno types`, over a megabyte.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { BumpAlloc, type Scratch } from "../mod.ts";
import { type Memory, WordTable } from "./word_table.ts";

/** Working memory from an arena. */
export function scratchMemory(scratch: Scratch): Memory {
  return {
    bytes: (byteLength) => scratch.alloc(byteLength),
    zeros: (length) => {
      const bytes = scratch.allocZeroed(4 * length);
      return new Uint32Array(bytes.buffer, bytes.byteOffset, length);
    },
  };
}

/** Working memory from the garbage-collected heap. */
export const heapMemory: Memory = {
  bytes: (byteLength) => new Uint8Array(byteLength),
  zeros: (length) => new Uint32Array(length),
};

/** Reads a whole file into working memory. */
export function readText(path: string, memory: Memory): Uint8Array {
  using file = Deno.openSync(path);
  const text = memory.bytes(file.statSync().size);
  let length = 0;
  for (let read: number | null; length < text.length && (read = file.readSync(text.subarray(length))) !== null;) {
    length += read;
  }
  return text.subarray(0, length);
}

/** The default file. */
function typesFile(): string {
  const path = Deno.makeTempFileSync({ prefix: "deno_types_" });
  const { stdout } = new Deno.Command(Deno.execPath(), { args: ["types"], env: { NO_COLOR: "1" } }).outputSync();
  Deno.writeFileSync(path, stdout);
  return path;
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

function wholeNumber(name: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new TypeError(`--${name} must be a whole number, not ${text}`);
  return Number(text);
}

function main(): void {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: { top: { type: "string", default: "20" }, rounds: { type: "string", default: "15" } },
  });
  const top = wholeNumber("top", values.top);
  const rounds = Math.max(1, wholeNumber("rounds", values.rounds));
  const path = positionals[0] ?? typesFile();
  using scratch = new BumpAlloc();
  const times: Record<"scratch" | "heap", number[]> = { scratch: [], heap: [] };
  const timed = (name: keyof typeof times, count: () => void) => {
    const start = performance.now();
    count();
    times[name].push(performance.now() - start);
  };
  let used = 0;
  for (let round = 0; round < rounds; round++) {
    timed("scratch", () => {
      using scope = scratch.scope();
      const memory = scratchMemory(scope);
      const table = new WordTable(readText(path, memory), memory);
      used = scratch.used;
      if (round > 0) return;
      for (const { word, count } of table.top(top)) console.log(`${String(count).padStart(8)} ${word}`);
      console.log(`\n${table.words} words, ${table.distinct} of them different\n`);
    });
    timed("heap", () => void new WordTable(readText(path, heapMemory), heapMemory));
  }
  if (positionals.length === 0) Deno.removeSync(path);
  // The first round compiles the code.
  const [own, plain] = [times.scratch, times.heap].map((all) => median(all.length > 2 ? all.slice(2) : all));
  console.log(
    `in scratch memory  ${own.toFixed(2).padStart(8)} ms   ${(used / 1024).toFixed(0)} KiB used, all of it back`,
  );
  console.log(`in plain arrays    ${plain.toFixed(2).padStart(8)} ms   ${(plain / own).toFixed(2)} times as long`);
  console.log(`\n${Deno.inspect(scratch)}`);
}

if (import.meta.main) main();
