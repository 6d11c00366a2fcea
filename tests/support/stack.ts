/** The end of the stack, where any call may be the one too many. */

/**
 * Calls `call` as deep in the stack as it succeeds, so that once every call in it was the one too many. It may throw a
 * `RangeError` where the stack ends; any other error is `call`'s own, and thrown. `padding` varies the frames' sizes.
 */
export function callDeep(call: () => void, padding: number): void {
  let done = false;
  let failure: unknown;
  const down = (...values: number[]): number => {
    try {
      down(...values);
    } catch { /* as deep as can be */ }
    if (!done) {
      try {
        call();
        done = true;
      } catch (error) {
        if (!(error instanceof RangeError)) {
          failure ??= error;
          done = true;
        }
      }
    }
    return values.length;
  };
  down(...new Array(padding).fill(1));
  if (failure !== undefined) throw failure;
  if (!done) throw new Error("there was never enough of the stack");
}
