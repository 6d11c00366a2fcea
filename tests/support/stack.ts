/** Stack overflows, which may happen at any call. */

/**
 * Calls `call` near the end of the stack, and at ever lower depths until it succeeds, so that each call inside
 * overflows once. A `RangeError` is expected; any other error of `call` is thrown. `padding` varies the size of stack
 * frames.
 */
export function callDeep(call: () => void, padding: number): void {
  let done = false;
  let failure: unknown;
  const down = (...values: number[]): number => {
    try {
      down(...values);
    } catch { /* the deepest frame */ }
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
  if (!done) throw new Error("no call had enough stack");
}
