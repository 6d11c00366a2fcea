/** A bad call's error begins at the line that made the call, whichever public method it was. */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { BumpAlloc, type BumpHooks, BumpPool, BumpScope, OutOfMemoryError, ScratchArena } from "../mod.ts";
import { LOADING } from "./permissions.ts";
import { RegionHooks } from "../src/hooks.ts";

const HERE = import.meta.url;

// deno-lint-ignore no-explicit-any -- bad calls are the point
type Any = any;

/** What a bad call can be made on. */
interface Places {
  readonly open: BumpAlloc;
  readonly closed: BumpAlloc;
  readonly scope: BumpScope;
  /** It has a scope open. */
  readonly parent: BumpScope;
  readonly ended: BumpScope;
  readonly pool: BumpPool;
  readonly closedPool: BumpPool;
  readonly lease: BumpAlloc;
  readonly closedHooks: BumpHooks;
}

type Calls = Record<string, ((places: Places) => unknown) | null>;

/** A bad call of each method; `null` where no call is bad. */
const CALLS: readonly { readonly type: Any; readonly calls: Calls }[] = [
  {
    type: ScratchArena,
    calls: {
      constructor: null,
      alloc: ({ open }) => open.alloc(-1),
      allocZeroed: ({ open }) => open.allocZeroed(2 ** 40),
      tryAlloc: ({ scope }) => scope.tryAlloc("8" as Any),
      allocArray: ({ open }) => open.allocArray(Float64Array, 2 ** 40),
      allocView: ({ closed }) => closed.allocView(8),
      copy: ({ open }) => open.copy([1] as Any),
      realloc: ({ open }) => open.realloc(new Uint8Array(8), 16),
      free: ({ open }) => open.free(5 as Any),
      offset: ({ parent }) => parent.offset(1),
      view: ({ open }) => open.view(0, 2 ** 20),
      mark: ({ ended }) => ended.mark(),
      rewind: ({ open }) => open.rewind({} as Any),
      owns: ({ open }) => open.owns(null as Any),
      addressOf: ({ open }) => open.addressOf(new Uint8Array(8)),
      pointerOf: ({ open }) => open.pointerOf(new Uint8Array(8)),
      cstring: ({ open }) => open.cstring("a\0b"),
      cstringArray: ({ open }) => open.cstringArray(["fine", "é".repeat(200) + "\0"]),
      out: ({ open }) => open.out("i33" as Any),
      scope: ({ parent }) => parent.scope(),
      pin: ({ open }) => open.pin(5 as Any),
    },
  },
  {
    type: BumpScope,
    calls: {
      constructor: () => new (BumpScope as Any)(),
      end: ({ parent }) => parent.end(),
      "[Symbol.dispose]": ({ parent }) => {
        using _ends = parent;
      },
      "[Symbol.asyncDispose]": ({ parent }) => parent[Symbol.asyncDispose](),
    },
  },
  {
    type: BumpAlloc,
    calls: {
      constructor: () => new BumpAlloc({ size: -1 }),
      "static withSize": () => BumpAlloc.withSize(2 ** 52),
      "static attach": () => BumpAlloc.attach({} as Any),
      share: ({ lease }) => lease.share(),
      capacity: null,
      used: null,
      remaining: null,
      closed: null,
      address: ({ closed }) => closed.address,
      hooks: ({ closed }) => closed.hooks,
      reset: ({ open }) => open.reset({ retain: -1 }),
      trim: ({ open }) => open.trim(-1),
      stats: null,
      close: ({ open }) => pinned(open, () => open.close()),
      "[Symbol.dispose]": ({ open }) =>
        pinned(open, () => {
          using _ends = open;
        }),
      // It waits for pins. A callee of the caller's own fails.
      "[Symbol.asyncDispose]": null,
      "[Symbol(Deno.customInspect)]": null,
    },
  },
  {
    type: BumpPool,
    calls: {
      constructor: () => new BumpPool({ limit: 0 }),
      lease: ({ closedPool }) => closedPool.lease(),
      use: ({ closedPool }) => closedPool.use(() => {}),
      trim: ({ pool }) => pool.trim(NaN),
      stats: null,
      closed: null,
      close: null,
      "[Symbol.dispose]": null,
      "[Symbol(Deno.customInspect)]": null,
    },
  },
  {
    type: RegionHooks,
    calls: {
      constructor: null,
      ...Object.fromEntries(
        ["native", "zlib", "zstd", "lua", "yyjson", "pcre2", "freetype", "expat", "process"].map((
          name,
        ) => [name, ({ closedHooks }: Places) => closedHooks[name as keyof BumpHooks]]),
      ),
    },
  },
];

/** While the promise is pinned. */
function pinned(arena: BumpAlloc, call: () => void): void {
  arena.pin(new Promise<void>(() => {}));
  call();
}

/** The public names of a class, those of its statics with "static" before them. */
function namesOf(type: Any): string[] {
  const shown = (key: string | symbol) => typeof key === "string" ? key : `[${key.description}]`;
  return [
    ...Reflect.ownKeys(type.prototype).map(shown).map((name) => name.replace("[Symbol(", "[").replace(")]", "]")),
    ...Reflect.ownKeys(type).filter((key) => typeof type[key] === "function").map((key) => `static ${shown(key)}`),
  ].map((name) => name.replace("[Deno.customInspect]", "[Symbol(Deno.customInspect)]"));
}

/** The frames of a stack, as Deno prints them. */
function framesOf(error: Error): string[] {
  return error.stack!.split("\n    at ").slice(1);
}

async function errorOf(call: () => unknown): Promise<Error> {
  try {
    await call();
  } catch (error) {
    return error as Error;
  }
  throw new Error(`no error: ${call}`);
}

function makePlaces(): Places & Disposable {
  const allocators = [new BumpAlloc(), new BumpAlloc()];
  const open = BumpAlloc.withSize(2 ** 20);
  open.alloc(8);
  const closed = new BumpAlloc();
  const { hooks } = closed;
  closed.close();
  const parent = allocators[0].scope();
  parent.scope();
  const holder = allocators[1];
  const ended = holder.scope();
  ended.end();
  const pool = new BumpPool({ limit: 2 });
  const lease = pool.lease();
  const closedPool = new BumpPool({ limit: 1 });
  closedPool.close();
  return {
    open,
    closed,
    scope: holder.scope(),
    parent,
    ended,
    pool,
    closedPool,
    lease,
    closedHooks: hooks,
    [Symbol.dispose]: () => [lease, pool, ...allocators].forEach((one) => one[Symbol.dispose]()),
  };
}

for (const { type, calls } of CALLS) {
  Deno.test(`a bad call of any method of ${type.name} has an error that begins at the caller's line`, async () => {
    assertEquals(Object.keys(calls).sort(), namesOf(type).sort(), "a method has no bad call here");
    for (const [name, call] of Object.entries(calls)) {
      if (call === null) continue;
      using places = makePlaces();
      const error = await errorOf(() => call(places));
      assertMatch(error.message, /^Cannot /);
      assert(framesOf(error)[0].includes(HERE), `${type.name}, ${name}: ${error.stack}`);
      assertEquals(error.stack!.split("\n")[0], `${error.name}: ${error.message}`);
    }
  });
}

Deno.test("the line is right for out-parameters, subclasses and calls out of a callback", async () => {
  using scratch = new BumpAlloc();
  const values = [() => scope.out("i32"), () => scope.out("bool"), () => scope.out("pointer")];
  const scope = scratch.scope();
  const outs = values.map((make) => make());
  scope.end();
  for (const out of outs) {
    for (const call of [() => out.value, () => (out as Any).value = null]) {
      const error = await errorOf(call);
      assert(framesOf(error)[0].includes(HERE), error.stack);
    }
  }
  class Own extends BumpAlloc {
    override alloc(byteLength: number): Uint8Array<ArrayBuffer> {
      return super.alloc(byteLength);
    }
  }
  using own = new Own();
  assertMatch(framesOf(await errorOf(() => own.alloc(-1)))[0], /^Own\.alloc .*caller_line_test/);
  class Nested {
    static readonly BYTES_PER_ELEMENT = 1;
    constructor() {
      scratch.alloc(-1);
    }
  }
  const nested = framesOf(await errorOf(() => scratch.allocArray(Nested, 5)));
  assertMatch(nested[0], /^new Nested .*caller_line_test/);
  assertMatch(nested[1], /allocArray .*arena\.ts/); // what lies below is left as it is
  using pool = new BumpPool();
  const used = framesOf(await errorOf(() => pool.use((lease) => lease.alloc(-1))));
  assert(used[0].includes(HERE) && used[1].includes("pool.ts"));
});

Deno.test("an error that a caller makes, and programs that change how stacks are made, are left alone", async () => {
  const made = new OutOfMemoryError({ requested: 1, align: 8, used: 0, capacity: 1 });
  assert(framesOf(made)[0].includes(HERE));
  using scratch = new BumpAlloc();
  const settings = Error as Any;
  const { stackTraceLimit } = settings;
  for (const limit of [0, 1, undefined, "x"]) {
    settings.stackTraceLimit = limit;
    try {
      assertEquals((await errorOf(() => scratch.alloc(-1))).name, "RangeError");
    } finally {
      settings.stackTraceLimit = stackTraceLimit;
    }
  }
  assertEquals("prepareStackTrace" in Error, false);
  const own = () => "mine";
  settings.prepareStackTrace = own;
  try {
    assertEquals((await errorOf(() => scratch.alloc(-1))).stack, "mine");
    assertEquals(settings.prepareStackTrace, own);
  } finally {
    delete settings.prepareStackTrace;
  }
});

Deno.test("Deno reports an uncaught error with the caller's source line, also of a frozen Error", async () => {
  const report = async (body: string) => {
    const file = await Deno.makeTempFile({ suffix: ".ts" });
    await Deno.writeTextFile(
      file,
      `import { BumpAlloc } from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};\n${body}\n`,
    );
    const args = ["run", "--quiet", "--no-check", "--no-config", ...LOADING, file];
    const { stderr } = await new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } }).output();
    await Deno.remove(file);
    return { text: new TextDecoder().decode(stderr), name: file.split(/[\\/]/).at(-1)! };
  };
  const { text, name } = await report("new BumpAlloc().cstringArray([null as never]);");
  assertMatch(text, /^error: Uncaught .*TypeError: Cannot make a C string/);
  assertStringIncludes(text, "\nnew BumpAlloc().cstringArray([null as never]);\n");
  assertEquals(text.split("\n    at ")[1].includes(name), true, text);
  const frozen = await report("Object.freeze(Error);\nnew BumpAlloc().alloc(-1);");
  assertStringIncludes(frozen.text, "RangeError: Cannot allocate: the size must be a safe integer");
});
