/**
 * How often a test repeats what it does many times: `count`, or the share of it that TEST_REPETITIONS names, where
 * another processor is emulated and each is twenty times as slow.
 */
export function times(count: number): number {
  return Math.ceil(count * Number(Deno.env.get("TEST_REPETITIONS") ?? 1));
}
