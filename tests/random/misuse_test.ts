/**
 * Any call with any values gives a result or a documented error that changes nothing; never a crash.
 *
 * `FUZZ_RUNS=20000 deno task test tests/random/misuse_test.ts` runs longer; a failure prints its seed.
 *
 * @module
 */
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
} from "../../mod.ts";
import { ABI } from "../../src/native/symbols.ts";
import { canMarkUntransferable } from "../../src/buffers.ts";
import { isDebugDefault } from "../../src/debug.ts";

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

const RUNS = Number(Deno.env.get("FUZZ_RUNS") ?? 150);

// deno-lint-ignore no-explicit-any -- any method is called with any values
type Any = any;

/** Arguments of methods. Some are made from live views, so that some calls are nearly right. */
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
    { type: "bump-alloc", abi: ABI, control: 64, key: 8 },
    { retain: 0 },
    { retain: "0" },
    "\ud800".repeat(50_000),
    Promise.resolve(),
    { then: 5 },
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
);

type Call = (arena: Any, ...args: Any[]) => unknown;

function method(name: string): [string, Call] {
  return [name, (arena, ...args) => arena[name](...args)];
}

/** The calls, by name. */
const CALLS: Readonly<Record<string, Call>> = {
  ...Object.fromEntries([
    "alloc",
    "allocZeroed",
    "tryAlloc",
    "allocArray",
    "allocArrayZeroed",
    "allocView",
    "allocViewZeroed",
    "copy",
    "realloc",
    "free",
    "offset",
    "offsetOf",
    "view",
    "viewArray",
    "mark",
    "rewind",
    "owns",
    "addressOf",
    "pointerOf",
    "encode",
    "cstring",
    "cstring16",
    "cstringArray",
    "writer",
    "out",
    "pin",
    "trim",
    "share",
    "stats",
  ].map(method)),
  "address": (arena) => arena.address,
  "inspect": (arena) => Deno.inspect(arena),
  "out, set": (arena, type, value) => {
    const out = arena.out(type);
    const { view } = out;
    try {
      out.value = value;
    } catch (error) {
      assert(error instanceof TypeError); // the memory was taken all the same
    }
    return view.byteLength === 8 ? undefined : out.value;
  },
  "arrayFrom": (arena, type, source) => {
    try {
      return arena.arrayFrom(type, source);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error; // BigInt's error for a text
    }
  },
  "readAll": async (arena, source, options) => {
    try {
      const bytes = await arena.readAll(
        typeof source === "number" ? new Blob(["x".repeat(source & 0xfffff)]) : source,
        options,
      );
      new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength).fill(1);
    } catch (error) {
      checkError(error);
    }
  },
  "a writer": (arena, first, second, third) => {
    const writer = arena.writer();
    const wrong = (call: () => void) => {
      try {
        call();
      } catch (error) {
        checkError(error); // the bytes written before stay
      }
    };
    wrong(() => writer.bytes(first));
    wrong(() => writer.text(second));
    wrong(() => writer.reserve(third).fill(1));
    wrong(() => writer.setU32(second, third));
    wrong(() => writer.u64(first));
    return writer.finish();
  },
  "hooks": (arena, byteLength) => {
    // All hooks but `process`, which is for good.
    const { native, zlib, zstd, lua, yyjson, pcre2, freetype } = arena.hooks;
    assert([native.bump, zlib.opaque, lua.ud, yyjson.struct, pcre2.data, freetype.memory].every((it) => it !== null));
    if (typeof byteLength !== "number" || !(byteLength >= 0 && byteLength < 2 ** 53)) return;
    const type = { parameters: ["pointer", "usize"], result: "pointer" } as const;
    const allocate = new Deno.UnsafeFnPointer(zstd.customAlloc as Deno.PointerObject<typeof type>, type);
    const block = allocate.call(zstd.opaque, BigInt(Math.floor(byteLength)));
    if (block === null || byteLength < 1) return;
    new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(block, Math.floor(byteLength))).fill(1);
  },
  "a scope": (arena, byteLength, align) => {
    using scope = arena.scope();
    scope.alloc(byteLength, align).fill(1);
  },
  "a scope in a scope, out of order": (arena, byteLength) => {
    using outer = arena.scope();
    using inner = outer.scope();
    inner.tryAlloc(byteLength)?.fill(1);
    outer.end();
  },
};

/** Calls that take memory back or away, for arenas without blocks that must stay. */
const ENDS: Readonly<Record<string, Call>> = {
  ...Object.fromEntries(["reset", "close", "end"].map(method)),
  "transfer": (arena, byteLength, align) => {
    const view = arena.alloc(byteLength, align).fill(9);
    return structuredClone(view, { transfer: [view.buffer] });
  },
  "transfer of a scope's": (arena, byteLength) => {
    using scope = arena.scope();
    const view = scope.alloc(byteLength).fill(9);
    return structuredClone(view, { transfer: [view.buffer] });
  },
};

/** Calls that need no arena. */
const OTHERS: Readonly<Record<string, Call>> = {
  "attach": (arena, handle) => {
    BumpAlloc.attach(handle).close();
    void arena;
  },
  "attach to a shared one": (arena, byteLength) => {
    using attached = BumpAlloc.attach(arena.share());
    attached.alloc(byteLength).fill(1);
  },
};

const ALLOCATORS_ONLY = new Set([
  "trim",
  "share",
  "stats",
  "address",
  "hooks",
  "reset",
  "close",
  "attach to a shared one",
]);

/**
 * The receivers of calls: an allocator, its scope, closed ones, a lease, an allocator while its scope is open, and ones
 * that may lose all their memory.
 */
const receivers = ["allocator", "scope", "parent", "lease", "closed", "ended", "spare", "spareLease"] as const;

const kinds = { ...CALLS, ...ENDS, ...OTHERS };

const call = fc.record({
  name: fc.constantFrom(...Object.keys(kinds)),
  receiver: fc.constantFrom(...receivers),
  args: fc.array(values, { maxLength: 3 }),
});

const settings = fc.record({
  zero: fc.boolean(),
  poison: fc.boolean(),
  transferable: canMarkUntransferable() ? fc.boolean() : fc.constant(true),
  window: fc.constantFrom(4096, 65536),
});

function checkError(error: unknown): void {
  assert(ERRORS.some((type) => error instanceof type), `no documented error: ${String(error)}`);
  assert((error as Error).message.startsWith("Cannot "), `message: ${(error as Error).message}`);
}

function isFull(view: Uint8Array, byte: number): boolean {
  return view.every((it) => it === byte);
}

Deno.test("any call with any values gives a documented error or a result, and no live block changes", async () => {
  await fc.assert(
    fc.asyncProperty(settings, fc.array(call, { maxLength: 60, size: "max" }), async (settings, calls) => {
      const options = { size: 2 ** 20, ...settings };
      await using allocator = new BumpAlloc(options);
      await using outer = new BumpAlloc(options);
      await using spare = new BumpAlloc(options);
      using pool = new BumpPool({ limit: 3, ...options });
      await using lease = pool.lease();
      await using spareLease = pool.lease();
      const kept = [allocator, outer, lease].map((arena) => arena.alloc(64).fill(7));
      const before = allocator.mark();
      await using scope = outer.scope();
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
        spare,
        spareLease,
      };
      const used = () => [allocator, outer, lease, spare, spareLease].map((arena) => arena.used);
      const foreign = [...kept, new Uint8Array(64)];
      const received: Uint8Array[] = [];
      for (const { name, receiver, args } of calls) {
        const arena = arenas[receiver];
        if (name in ENDS && !["spare", "spareLease", "closed", "ended"].includes(receiver)) continue;
        if (name.startsWith("transfer") && !settings.transferable) continue;
        const isScope = receiver === "scope" || receiver === "ended";
        if (isScope ? ALLOCATORS_ONLY.has(name) : name === "end") continue;
        const formerly = used();
        const given = args.map((make, index) => make(foreign[index], before));
        try {
          const result = kinds[name](arena, ...given);
          // Debug mode finds a read that goes on while a later call takes its memory back: there it is awaited.
          if (isDebugDefault()) await result;
          if (name.startsWith("transfer")) received.push(result as Uint8Array);
          else if ((name.startsWith("alloc") || name === "tryAlloc") && ArrayBuffer.isView(result)) {
            const bytes = new Uint8Array(result.buffer, result.byteOffset, result.byteLength);
            if (settings.zero || name.endsWith("Zeroed")) assert(isFull(bytes, 0), `${receiver}.${name} gave no zeros`);
            bytes.fill(1);
          }
        } catch (error) {
          checkError(error);
          // The padding before a chunk that a scope took counts from then on.
          if (name in CALLS && !name.includes("scope")) {
            assertEquals(used(), formerly, `${receiver}.${name} failed and took memory`);
          }
        }
        assert(kept.every((view) => isFull(view, 7)), `${receiver}.${name} changed a live block`);
        assert(received.every((view) => isFull(view, 9)), `${receiver}.${name} changed what a receiver sees`);
      }
    }),
    { numRuns: RUNS },
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
          if (type === BumpPool) new BumpPool(given as Any)[Symbol.dispose]();
        } catch (error) {
          checkError(error);
        }
      }
    }),
    { numRuns: RUNS },
  );
});
