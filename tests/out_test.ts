/** Out-parameters: the types of their views, and what they show. How they are read and set is in `frames_test.ts`. */
import { assert, assertEquals } from "@std/assert";
import { BumpAlloc, type Out, type OutType, type OutValues, type OutViews } from "../mod.ts";

/** Whether two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;

Deno.test("the view of each type is its exact array, of one element", () => {
  using scratch = new BumpAlloc();
  const i32 = scratch.out("i32").view;
  const types: [
    Same<typeof i32, Int32Array<ArrayBuffer>>,
    Same<Out<"pointer">["view"], BigUint64Array<ArrayBuffer>>,
    Same<Out<"i32" | "f64">["view"], Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer>>,
    Same<keyof OutViews, keyof OutValues>,
  ] = [true, true, true, true];
  assertEquals(types.length, 4);
  const arrays: Record<OutType, unknown> = {
    i8: Int8Array,
    u8: Uint8Array,
    i16: Int16Array,
    u16: Uint16Array,
    i32: Int32Array,
    u32: Uint32Array,
    i64: BigInt64Array,
    u64: BigUint64Array,
    isize: BigInt64Array,
    usize: BigUint64Array,
    f32: Float32Array,
    f64: Float64Array,
    bool: Uint8Array,
    pointer: BigUint64Array,
  };
  for (const [type, array] of Object.entries(arrays)) {
    const { view } = scratch.out(type as OutType);
    assertEquals([view.constructor, view.length], [array, 1]);
  }
});

Deno.test("an out-parameter shows its value; a clone of it copies no window, and a log does not fail after the end", () => {
  using scratch = new BumpAlloc();
  const scope = scratch.scope();
  const set = <T extends OutType>(type: T, value: OutValues[T]): Out<T> => {
    const out = scope.out(type);
    out.value = value;
    return out;
  };
  const pointer = scope.pointerOf(scope.alloc(8));
  const cases: [Out<OutType>, inspected: string, json: string][] = [
    [set("i32", -7), "Out { -7 }", "-7"],
    [set("f64", 0.5), "Out { 0.5 }", "0.5"],
    [set("u64", 2n ** 64n - 1n), "Out { 18446744073709551615n }", '"18446744073709551615"'],
    [set("bool", true), "Out { true }", "true"],
    [set("pointer", null), "Out { null }", "null"],
    [set("pointer", pointer), `Out { ${Deno.inspect(pointer)} }`, `"${Deno.UnsafePointer.value(pointer)}"`],
  ];
  for (const [out, inspected, json] of cases) {
    assertEquals([Deno.inspect(out), JSON.stringify(out)], [inspected, json]);
    assertEquals(structuredClone(out) as unknown, {});
  }
  scope.end();
  for (const [out] of cases) {
    assertEquals([Deno.inspect(out), JSON.stringify({ out })], ["Out { memory taken back }", '{"out":null}']);
  }
  assert(cases.length > 5);
});
