import { assertEquals } from "@std/assert";
import { ParallelIndex } from "../../examples/parallel_index.ts";

Deno.test("the parallel index finds where each word begins, in all three ways", async () => {
  const text = new TextEncoder().encode("one two_2\n\nthree; four\n".repeat(5000) + "last");
  const expected = [...new TextDecoder().decode(text).matchAll(/[A-Za-z0-9_]+/g)].map((match) => match.index);
  using index = new ParallelIndex(text, 3);
  for (const way of ["region", "copy", "shared buffer"] as const) {
    const parts = await index.index(way);
    assertEquals(parts.length, 3);
    assertEquals(parts.flatMap((part) => [...part]), expected);
  }
});
