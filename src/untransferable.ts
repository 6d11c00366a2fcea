/**
 * Marks a buffer so that a transfer of it throws where it is made. V8 has this as the
 * buffer's detach key; Node's `markAsUntransferable` is the public way to set one.
 */
export function markUntransferable(buffer: ArrayBuffer): void {
  mark ??= process.getBuiltinModule("node:worker_threads").markAsUntransferable;
  mark(buffer);
}

declare const process: {
  getBuiltinModule(id: string): { markAsUntransferable(object: object): void };
};

// Loaded at first use: most programs never need Node's module.
let mark: ((object: object) => void) | undefined;
