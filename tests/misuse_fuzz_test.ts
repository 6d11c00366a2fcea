/** Any call with any values: an error of the documented kinds, after which nothing has changed; never a crash. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  BumpAlloc,
  BumpPool,
  ClosedError,
  CommitError,
  DetachedError,
  OutOfMemoryError,
  PinnedError,
  PoolFullError,
  ReserveError,
  ScopeError,
  SharedError,
} from "../mod.ts";

const ERRORS = [
  TypeError,
  RangeError,
  ClosedError,
  CommitError,
  DetachedError,
  OutOfMemoryError,
  PinnedError,
  PoolFullError,
  ReserveError,
  ScopeError,
  SharedError,
];

// deno-lint-ignore no-explicit-any -- what is called with what is the point
type Any = any;

/** What methods are given: `make` gets views that are alive, so that some calls are nearly right. */
const values: fc.Arbitrary<(live: Uint8Array, mark: unknown) => unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    NaN,
    Infinity,
    -1,
    0,
    -0,
    1.5,
    2 ** 31,
    2 ** 32 + 8,
    2 ** 53,
    Number.MAX_SAFE_INTEGER,
    8n,
    Symbol("s"),
    "5",
    true,
    {},
    [],
    ["a", 5],
    ["a\0"],
    () => 0,
    Int32Array,
    BigInt64Array,
    Proxy,
    "i32",
    "nothing",
    {
      valueOf() {
        throw new Error("valueOf was called");
      },
    },
    { offset: 0, lease: 0 },
    { type: "bump-alloc", abi: 5, control: 8, key: 8 },
  ).map((value) => () => value),
  fc.nat(200_000).map((value) => () => value),
  fc.nat(17).map((bits) => () => 2 ** bits),
  fc.constant(() => {
    const view = new Float64Array(4);
    view.buffer.transfer();
    return view;
  }),
  fc.constant(() => new DataView(new SharedArrayBuffer(8), 3)),
  fc.constant((live: Uint8Array) => live.subarray(1, 5)),
  fc.constant((live: Uint8Array) => ({ buffer: live.buffer, byteOffset: "5", byteLength: 8 })),
  fc.constant((live: Uint8Array) => Object.defineProperty(live.subarray(0, 8), "byteOffset", { value: -1e9 })),
  fc.constant((_: Uint8Array, mark: unknown) => mark),
  fc.constant((_: Uint8Array, mark: unknown) => ({ ...mark as object, offset: "1", lease: NaN })),
);

const methods = [
  "alloc",
  "allocZeroed",
  "tryAlloc",
  "allocArray",
  "allocView",
  "copy",
  "realloc",
  "free",
  "offset",
  "view",
  "rewind",
  "owns",
  "addressOf",
  "pointerOf",
  "cstring",
  "cstringArray",
  "out",
  "pin",
  "trim",
] as const;

/** Who is called: an allocator, its scope, closed ones, a lease, and an allocator while its scope is open. */
const receivers = ["allocator", "scope", "parent", "lease", "closed", "ended"] as const;

const call = fc.record({
  method: fc.constantFrom(...methods),
  receiver: fc.constantFrom(...receivers),
  args: fc.array(values, { maxLength: 3 }),
});

function checkError(error: unknown): void {
  assert(ERRORS.some((type) => error instanceof type), `no documented error: ${String(error)}`);
  assert((error as Error).message.startsWith("Cannot "), `message: ${(error as Error).message}`);
}

Deno.test("any call with any values gives a documented error or a result, and no live block changes", () => {
  fc.assert(
    fc.property(fc.array(call, { maxLength: 60, size: "max" }), (calls) => {
      using allocator = new BumpAlloc({ size: 2 ** 20, window: 65536 });
      using outer = new BumpAlloc({ size: 2 ** 20, window: 65536 });
      using pool = new BumpPool({ limit: 2, size: 2 ** 20 });
      using lease = pool.lease();
      const kept = [allocator, outer, lease].map((arena) => arena.alloc(64).fill(7));
      const before = allocator.mark();
      using scope = outer.scope();
      const ended = new BumpAlloc();
      const endedScope = ended.scope();
      endedScope.end();
      ended.close();
      const arenas: Record<typeof receivers[number], Any> = {
        allocator,
        scope,
        parent: outer,
        lease,
        closed: ended,
        ended: endedScope,
      };
      const foreign = [...kept, new Uint8Array(64)];
      for (const { method, receiver, args } of calls) {
        const arena = arenas[receiver];
        if (arena[method] === undefined) continue; // a scope has no `trim`
        const used = [allocator.used, outer.used, lease.used];
        const given = args.map((make, index) => make(foreign[index], before));
        try {
          const result = arena[method](...given);
          if (method.startsWith("alloc") && ArrayBuffer.isView(result)) {
            new Uint8Array(result.buffer, result.byteOffset, result.byteLength).fill(1);
          }
        } catch (error) {
          checkError(error);
          assertEquals([allocator.used, outer.used, lease.used], used, `${method} failed and took memory`);
        }
        assert(kept.every((view) => view.every((byte) => byte === 7)), `${receiver}.${method} changed a live block`);
      }
    }),
    { numRuns: 150 },
  );
});

Deno.test("any options give a documented error or an allocator", () => {
  const value = values.map((make) => make(new Uint8Array(8), null));
  const names = [
    "size",
    "window",
    "retain",
    "prefault",
    "hugePages",
    "zero",
    "poison",
    "transferable",
    "limit",
    "whenFull",
  ];
  const options = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 3 });
  fc.assert(
    fc.property(options, (given) => {
      if (Number(given.prefault === undefined || typeof given.prefault !== "number" ? 0 : given.prefault) > 2 ** 20) {
        return;
      }
      for (const type of [BumpAlloc, BumpPool]) {
        try {
          new type(given as Any).close();
        } catch (error) {
          checkError(error);
        }
      }
    }),
    { numRuns: 150 },
  );
});
