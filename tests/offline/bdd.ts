/** The functions of `@std/testing/bdd` that the tests use, over `Deno.test`, for machines that cannot reach JSR. */

const groups: string[] = [];

/** Names a group of tests. */
export function describe(name: string, body: () => void): void {
  groups.push(name);
  body();
  groups.pop();
}

/** One test. */
export function it(name: string, body: () => void | Promise<void>): void {
  Deno.test([...groups, name].join(": "), body);
}
