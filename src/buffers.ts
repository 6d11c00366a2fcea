/** What is done to an `ArrayBuffer`: its length, detaching it, and marking it untransferable. */

// Taken once: neither a patched prototype nor a buffer's own property keeps a view from being detached.
const { apply } = Reflect;
const transfer = ArrayBuffer.prototype.transfer;
const detachedGetter = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "detached")!.get!;
const lengthGetter = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "byteLength")!.get!;
const NOTHING: never[] = [];
const ZERO_LENGTH = [0];

/** Whether the program transferred the buffer, or we detached it. */
export function isDetached(buffer: ArrayBuffer): boolean {
  return apply(detachedGetter, buffer, NOTHING);
}

/** Bytes of a buffer; 0 when it is detached. */
export function lengthOf(buffer: ArrayBuffer): number {
  return apply(lengthGetter, buffer, NOTHING);
}

/** The same memory in a new buffer, the views of the old one detached; null when somebody took it or marked it untransferable. */
export function renew(buffer: ArrayBuffer): ArrayBuffer | null {
  try {
    return apply(transfer, buffer, NOTHING);
  } catch (error) {
    return ignoreRefusal(error);
  }
}

/** Ends all views of a buffer; false when somebody took it or marked it untransferable. */
export function detach(buffer: ArrayBuffer): boolean {
  try {
    apply(transfer, buffer, ZERO_LENGTH);
    return true;
  } catch (error) {
    ignoreRefusal(error);
    return false;
  }
}

/** A refused transfer is a `TypeError`. A `RangeError` says that the stack is full: the caller can try again. */
function ignoreRefusal(error: unknown): null {
  if (error instanceof RangeError) throw error;
  return null;
}

/**
 * Marks a buffer so that a transfer of it throws where it is made, if {@linkcode canMarkUntransferable}. V8 has
 * this as the buffer's detach key; Node's `markAsUntransferable` is the public way to set one.
 */
export function markUntransferable(buffer: ArrayBuffer): void {
  mark ??= process.getBuiltinModule("node:worker_threads").markAsUntransferable;
  mark(buffer);
}

let mark: ((object: object) => void) | undefined;

/**
 * Whether the mark keeps a buffer from every transfer. Before Deno 2.9.4 there is none, or a `structuredClone` that
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
