/** The functions of `@std/assert` that the tests use, over `node:assert`, for machines that cannot reach JSR. */
import assertion from "node:assert";

// deno-lint-ignore no-explicit-any
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

/** Fails unless `value` is truthy. */
export function assert(value: unknown, message = ""): asserts value {
  assertion.ok(value, message || "assertion failed");
}

/** Fails unless both are deeply equal. */
export function assertEquals<T>(actual: T, expected: T, message?: string): void {
  assertion.deepStrictEqual(actual, expected, message);
}

/** Fails when both are deeply equal. */
export function assertNotEquals<T>(actual: T, expected: T, message?: string): void {
  assertion.notDeepStrictEqual(actual, expected, message);
}

/** Fails unless the text contains `part`. */
export function assertStringIncludes(actual: string, part: string, message?: string): void {
  assertion.ok(actual.includes(part), message ?? `${JSON.stringify(part)} is not in ${JSON.stringify(actual)}`);
}

/** Fails unless the text matches. */
export function assertMatch(actual: string, pattern: RegExp, message?: string): void {
  assertion.match(actual, pattern, message);
}

function check<E extends Error>(error: unknown, type?: ErrorClass<E>, part?: string, message?: string): E {
  if (type !== undefined) {
    assertion.ok(error instanceof type, message ?? `expected ${type.name}, got ${String(error)}`);
  }
  if (part !== undefined) assertStringIncludes((error as Error).message, part, message);
  return error as E;
}

/** Fails unless `call` throws an error of the type whose message contains `part`. */
export function assertThrows<E extends Error = Error>(
  call: () => unknown,
  type?: ErrorClass<E>,
  part?: string,
  message?: string,
): E {
  try {
    call();
  } catch (error) {
    return check(error, type, part, message);
  }
  return assertion.fail(message ?? "nothing was thrown");
}

/** Like `assertThrows`, for a promise. */
export async function assertRejects<E extends Error = Error>(
  call: () => PromiseLike<unknown>,
  type?: ErrorClass<E>,
  part?: string,
  message?: string,
): Promise<E> {
  try {
    await call();
  } catch (error) {
    return check(error, type, part, message);
  }
  return assertion.fail(message ?? "nothing was rejected");
}
