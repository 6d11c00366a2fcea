/** Arithmetic on offsets, against exact integers. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { alignOf, alignUp, maskOf, MAX_POSITION, small, WINDOW_ALIGN, windowStep } from "../src/offsets.ts";

const POWERS = Array.from({ length: 41 }, (_, exponent) => 2 ** exponent);
/** Addresses of user space, which stay exact with an offset added. */
const address = fc.nat({ max: 2 ** 47 });
const offset = fc.oneof(fc.nat({ max: 2 ** 13 }), fc.nat({ max: 2 ** 41 }));

Deno.test("maskOf: the alignment less one if a window can serve it, else -1", () => {
  for (const align of POWERS) assertEquals(maskOf(align), align <= WINDOW_ALIGN ? align - 1 : -1);
  for (const align of [0, -1, -8, -(2 ** 31), 3, 6, 12, 4097, 0.5, 1.5, 2 ** 32 + 8, NaN, Infinity, -Infinity]) {
    assertEquals(maskOf(align), -1, String(align));
  }
  for (const align of ["8", 8n, null, undefined, true, {}, [8]] as never[]) assertEquals(maskOf(align), -1);
});

Deno.test("alignOf: the largest power of two up to a page that divides the position, small or not", () => {
  const near = fc.tuple(fc.constantFrom(0, 2 ** 12, 2 ** 31, 2 ** 32), fc.nat({ max: 64 })).map(([a, b]) => a + b);
  fc.assert(fc.property(fc.oneof(offset, near), (position) => {
    const align = POWERS.findLast((align) => align <= WINDOW_ALIGN && BigInt(position) % BigInt(align) === 0n);
    assertEquals(alignOf(position), align);
  }));
});

Deno.test("alignUp: the lowest offset whose address is a multiple", () => {
  fc.assert(fc.property(address, offset, fc.constantFrom(...POWERS), (address, offset, align) => {
    const aligned = alignUp(address, offset, align);
    assert(Number.isSafeInteger(aligned));
    assertEquals((BigInt(address) + BigInt(aligned)) % BigInt(align), 0n);
    assert(aligned >= offset && aligned - offset < align);
  }));
});

Deno.test("small returns every number unchanged", () => {
  for (const number of [0, 1, -1, 2 ** 31 - 1, 2 ** 31, 2 ** 32, -(2 ** 31), 2 ** 47 + 1, 0.5]) {
    assertEquals(small(number), number);
  }
  assert(Object.is(small(-0), 0)); // -0 is a double
});

// ---- the growth policy ---------------------------------------------------------------------------

const LARGE = 16 * 2 ** 20;
const usual = fc.integer({ min: 4096, max: 2 ** 32 });
const taken = fc.oneof(fc.nat({ max: 2 ** 30 }), fc.nat({ max: 2 ** 42 }));

Deno.test("windowStep: whole bytes, between the usual size and the policy's limit", () => {
  fc.assert(fc.property(usual, fc.nat({ max: 2 ** 32 }), taken, (usual, former, taken) => {
    const step = windowStep(usual, former, taken);
    assert(Number.isSafeInteger(step) && step >= usual);
    assert(step <= Math.max(usual, LARGE, taken / 64));
    assert(step <= Math.max(usual, MAX_POSITION));
    assertEquals(windowStep(usual, 0, taken), usual); // the first one
    assert(windowStep(usual, former + 1, taken) >= step && windowStep(usual, former, taken + 1) >= step);
  }));
});

Deno.test("windowStep: each doubles, up to 16 MiB; beyond a gigabyte up to a sixty-fourth of the bytes taken", () => {
  const steps = (taken: number) => {
    const steps = [2 ** 20];
    while (steps.length < 12) steps.push(windowStep(2 ** 20, steps.at(-1)!, taken));
    return steps.map((step) => step / 2 ** 20);
  };
  for (const taken of [0, 2 ** 20, 2 ** 30]) assertEquals(steps(taken), [1, 2, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16]);
  assertEquals(steps(3 * 2 ** 30), [1, 2, 4, 8, 16, 32, 48, 48, 48, 48, 48, 48]);
  assertEquals(steps(2 ** 40), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1024]); // positions stay small integers
  assertEquals(windowStep(2 ** 20, 2 ** 30, 2 ** 30 + 2 ** 20 + 1), LARGE + 2 ** 14);
});
