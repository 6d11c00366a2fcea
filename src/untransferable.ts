/**
 * Marks a buffer so that a transfer of it throws where it is made, if {@linkcode canMarkUntransferable}. V8 has
 * this as the buffer's detach key; Node's `markAsUntransferable` is the public way to set one.
 */
export function markUntransferable(buffer: ArrayBuffer): void {
  mark ??= process.getBuiltinModule("node:worker_threads").markAsUntransferable;
  mark(buffer);
}

// Kept: a program may replace `process` later, and then windows could neither be kept nor, when they are collected, be given up.
let mark: ((object: object) => void) | undefined;

/**
 * Whether the mark keeps a buffer from every transfer: before Deno 2.9.4 there is none, or a `structuredClone` that
 * lists a marked buffer gives another one over the same memory.
 */
export function canMarkUntransferable(): boolean {
  return works ??= tryMark();
}

/** {@linkcode canMarkUntransferable} became true with this version of Deno. */
export const MARKS_SINCE = "2.9.4";

function tryMark(): boolean {
  const buffer = new ArrayBuffer(8);
  try {
    markUntransferable(buffer);
  } catch {
    return false;
  }
  try {
    structuredClone(buffer, { transfer: [buffer] });
    return false;
  } catch {
    return buffer.byteLength === 8;
  }
}

// Found out at first use: most programs never need Node's module.
let works: boolean | undefined;

declare const process: {
  getBuiltinModule(id: string): { markAsUntransferable(object: object): void };
};
