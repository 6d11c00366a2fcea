/** Out-parameters: the types of their views, reading and setting them. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  BumpAlloc,
  ClosedError,
  DetachedError,
  type Out,
  type OutType,
  type OutValues,
  type OutViews,
} from "../mod.ts";
import { memcpy } from "./support/libc.ts";

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

Deno.test("an out-parameter shows its value; a clone copies no window, and a log does not fail after the end", () => {
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

Deno.test("out-parameters of every type: zero at first, read and set", () => {
  const values: Record<OutType, unknown[]> = {
    i8: [-128, 127],
    u8: [255],
    i16: [-32768],
    u16: [65535],
    i32: [-(2 ** 31)],
    u32: [2 ** 32 - 1],
    i64: [-(2n ** 63n)],
    u64: [2n ** 64n - 1n],
    isize: [-1n],
    usize: [2n ** 64n - 1n],
    f32: [0.5, Infinity],
    f64: [Math.PI],
    bool: [true, false],
    pointer: [Deno.UnsafePointer.create(4096n), null],
  };
  using scratch = new BumpAlloc();
  scratch.alloc(4096).fill(255);
  scratch.reset();
  for (const [type, list] of Object.entries(values) as [OutType, unknown[]][]) {
    const out = scratch.out(type);
    const zero = type === "bool" ? false : type === "pointer" ? null : typeof list[0] === "bigint" ? 0n : 0;
    assertEquals(out.value as unknown, zero, type);
    assertEquals(scratch.addressOf(out.view) % 8n, 0n);
    for (const value of list) {
      out.value = value as never;
      if (type === "pointer") {
        assert(value === null ? out.value === null : Deno.UnsafePointer.equals(out.value as never, value as never));
      } else assertEquals(out.value as unknown, value, type);
    }
  }
  // C writes to the same memory.
  const target = scratch.out("i32");
  memcpy(scratch.pointerOf(target.view), new Int32Array([123456]), 4n);
  assertEquals(target.value, 123456);
  for (const type of ["i128", "", null, undefined, {}]) {
    const used = scratch.used;
    assertThrows(() => scratch.out(type as never), TypeError, "the type must be one of i8, u8");
    assertEquals(scratch.used, used);
  }
});

Deno.test("an out-parameter is set to a value of its type; any other is a TypeError that changes nothing", () => {
  using scratch = new BumpAlloc();
  const right = { i32: 7, f32: 0.5, u64: 7n, isize: -7n, bool: true, pointer: scratch.pointerOf(scratch.alloc(1)) };
  const needed = {
    i32: "a number",
    f32: "a number",
    u64: "a bigint",
    isize: "a bigint",
    bool: "a boolean",
    pointer: "a pointer",
  };
  for (const type of Object.keys(right) as (keyof typeof right)[]) {
    const out = scratch.out(type) as { value: unknown };
    out.value = right[type];
    for (const wrong of [undefined, "7", {}, [], type === "pointer" ? 7n : null, type === "u64" ? 7 : Symbol()]) {
      const error = assertThrows(() => out.value = wrong, TypeError);
      assert(error.message.startsWith(`Cannot set the out-parameter: ${needed[type]}`), error.message);
    }
    if (type === "pointer") assert(Deno.UnsafePointer.equals(out.value as Deno.PointerValue, right.pointer));
    else assertEquals(out.value, right[type]);
  }
});

Deno.test("an out-parameter and C strings end with their frame", () => {
  using scratch = new BumpAlloc();
  const scope = scratch.scope();
  const values = { i32: 1, u64: 1n, bool: true, pointer: null };
  const outs = Object.keys(values).map((type) => scope.out(type as OutType));
  const text = scope.cstring("gone");
  scope.end();
  assertEquals(text.length, 0);
  Object.values(values).forEach((value, i) => {
    assertThrows(() => outs[i].value, ClosedError);
    assertThrows(() => outs[i].value = value, ClosedError);
  });
  assertThrows(() => scope.cstring("x"), ClosedError);
  assertThrows(() => scope.out("i32"), ClosedError);
  assertThrows(() => scope.cstringArray([]), ClosedError);
  scratch.cstring("taken").buffer.transfer();
  assertThrows(() => scratch.cstring("x"), DetachedError);
  assertThrows(() => scratch.out("i32"), DetachedError);
  assertThrows(() => scratch.cstringArray(["x"]), DetachedError);
});
