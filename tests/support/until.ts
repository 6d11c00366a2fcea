/** Collects all garbage; only with `--v8-flags=--expose-gc`. */
export const gc = (globalThis as { gc?: () => void }).gc;
/** Why there is none, if so. */
export const noGc: string | null = gc === undefined ? "it needs --v8-flags=--expose-gc" : null;

/** An emulator under load needs most of a minute for what takes milliseconds elsewhere. */
const LIMIT = 60_000;

/** Waits until `done`, for a minute at most: the end of a Worker, or of work in the background, takes a moment. */
export async function until(done: () => boolean): Promise<void> {
  for (const end = Date.now() + LIMIT; !done() && Date.now() < end;) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Collects garbage and lets finalizers run until `done`, for a minute at most. Needs `--expose-gc`. */
export async function untilCollected(done: () => boolean): Promise<void> {
  await until(() => {
    if (done()) return true;
    gc!();
    return false;
  });
}
