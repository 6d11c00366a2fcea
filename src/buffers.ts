/** Operations on an `ArrayBuffer`: its length, detaching it, and marking it untransferable. */

// Captured once, so that neither a patched prototype nor a buffer's own property prevents a detach.
const { apply } = Reflect;
const transfer = ArrayBuffer.prototype.transfer;
const detachedGetter = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "detached")!.get!;
const lengthGetter = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "byteLength")!.get!;
const NOTHING: never[] = [];
const ZERO_LENGTH = [0];

/** Whether the buffer is detached, by a transfer or by us. */
export function isDetached(buffer: ArrayBuffer): boolean {
  return apply(detachedGetter, buffer, NOTHING);
}

/** Bytes of a buffer; 0 when it is detached. */
export function lengthOf(buffer: ArrayBuffer): number {
  return apply(lengthGetter, buffer, NOTHING);
}

/**
 * Moves the memory to a new buffer, which detaches all views of the old one. Returns null if the buffer was transferred
 * or marked untransferable.
 */
export function renew(buffer: ArrayBuffer): ArrayBuffer | null {
  try {
    return apply(transfer, buffer, NOTHING);
  } catch (error) {
    return ignoreRefusal(error);
  }
}

/**
 * Detaches a buffer, so that all its views have length 0. Returns false if it was transferred or marked untransferable.
 */
export function detach(buffer: ArrayBuffer): boolean {
  try {
    apply(transfer, buffer, ZERO_LENGTH);
    return true;
  } catch (error) {
    ignoreRefusal(error);
    return false;
  }
}

/**
 * A refused transfer throws a `TypeError`. A `RangeError` means that the stack is full, and the caller can try again.
 */
function ignoreRefusal(error: unknown): null {
  if (error instanceof RangeError) throw error;
  return null;
}

/**
 * Marks a buffer so that transferring it throws at the call, if {@linkcode canMarkUntransferable}. V8 calls this the
 * buffer's detach key; Node's `markAsUntransferable` is the public way to set it.
 */
export function markUntransferable(buffer: ArrayBuffer): void {
  mark ??= process.getBuiltinModule("node:worker_threads").markAsUntransferable;
  mark(buffer);
}

let mark: ((object: object) => void) | undefined;

/**
 * Whether the mark prevents every transfer. Before Deno 2.9.4 there is no mark, or `structuredClone` of a marked buffer
 * with a transfer list returns a second buffer over the same memory.
 */
export function canMarkUntransferable(): boolean {
  return works ??= tryMark();
}

/** First version of Deno in which {@linkcode canMarkUntransferable} is true. */
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

// Determined at first use: most programs never need Node's module.
let works: boolean | undefined;

declare const process: {
  getBuiltinModule(id: string): { markAsUntransferable(object: object): void };
};
