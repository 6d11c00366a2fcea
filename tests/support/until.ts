/** Collects all garbage; defined only with `--v8-flags=--expose-gc`. */
export const gc = (globalThis as { gc?: () => void }).gc;
/** The reason why `gc` is missing, or null. */
export const noGc: string | null = gc === undefined ? "it needs --v8-flags=--expose-gc" : null;

/** Long enough for an emulator under load, which needs most of a minute for work of milliseconds. */
const LIMIT = 60_000;

/** Waits until `done`, for at most a minute. The end of a Worker or of background work takes a moment. */
export async function until(done: () => boolean): Promise<void> {
  for (const end = Date.now() + LIMIT; !done() && Date.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Collects garbage and lets finalizers run until `done`, for at most a minute. Needs `--expose-gc`. */
export async function untilCollected(done: () => boolean): Promise<void> {
  await until(() => {
    if (done()) return true;
    gc!();
    return false;
  });
}
