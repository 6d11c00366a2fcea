/**
 * The number of repetitions in a test: `count`, or the fraction of it that TEST_REPETITIONS gives. An emulator is
 * twenty times as slow.
 */
export function times(count: number): number {
  return Math.ceil(count * Number(Deno.env.get("TEST_REPETITIONS") ?? 1));
}
