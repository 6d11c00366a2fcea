import { assertEquals } from "@std/assert";
import { decode } from "@msgpack/msgpack";
import { encode, encodePlainly, records, type Value } from "../../examples/msgpack.ts";
import { BumpAlloc } from "../../mod.ts";

const VALUES: Value[] = [
  null,
  true,
  false,
  ...[0, 1, 127, 128, 255, 256, 65535, 65536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1],
  ...[-1, -32, -33, -128, -129, -32768, -32769, -(2 ** 31), -(2 ** 31) - 1, -(2 ** 53) + 1],
  ...[0.5, -0, NaN, Infinity, -Infinity, 1e300, 2 ** 60],
  ...[
    "",
    "a",
    "naïve 😀",
    "x".repeat(10),
    "x".repeat(11),
    "é".repeat(31),
    "é".repeat(85),
    "é".repeat(86),
    "x".repeat(70_000),
  ],
  [],
  Array.from({ length: 15 }, (_, i) => i),
  Array.from({ length: 16 }, (_, i) => i),
  Array.from({ length: 70_000 }, (_, i) => i),
  {},
  Object.fromEntries(Array.from({ length: 16 }, (_, i) => [`key ${i}`, i])),
  { deep: [{ deeper: [null, { deepest: "text" }] }] },
  ...[0, 1, 255, 256, 65536].map((length) => new Uint8Array(length).fill(7)),
  records(100),
];

Deno.test("MessagePack: both kinds of memory give the same encoding, and a library reads it", () => {
  using scratch = new BumpAlloc();
  for (const value of VALUES) {
    using scope = scratch.scope();
    const bytes = encode(scope, value).slice();
    assertEquals(bytes, encodePlainly(value));
    assertEquals(decode(bytes) as Value, value);
  }
  for (const value of [0n, 2n ** 64n - 1n, -1n, -(2n ** 63n)]) {
    const bytes = encode(scratch, value);
    assertEquals(bytes.slice(), encodePlainly(value));
    assertEquals(decode(bytes, { useBigInt64: true }), value);
  }
});
