/**
 * Runs each operation with each of its system calls refused in turn. The operation must either do its work all the
 * same, or throw the right error and change nothing, so that it succeeds when repeated. Runs with `refuse.c` preloaded;
 * the argument is its file.
 *
 * @module
 */
import { assert, assertEquals } from "../offline/assert.ts";
import { BumpAlloc, BumpPool, CommitError, ReserveError, SharedError } from "../../mod.ts";
import { fillPattern, patternHolds } from "../support/pattern.ts";
import { addressSpace } from "../support/process_memory.ts";

/** Bits of `refuse.c`. */
const KINDS = {
  mmap: 1,
  mprotect: 2,
  madvise: 4,
  "madvise and mmap": 4 | 1, // there are two ways to give pages back
  munmap: 8,
  mincore: 16,
  getentropy: 32,
  pipe2: 64,
};
const FOREVER = 2 ** 31 - 1;
const OUT_OF_MEMORY = 12;
const MIB = 2 ** 20;

const shim = Deno.dlopen(Deno.args[0], {
  refuse: { parameters: ["i32", "i32", "i32"], result: "void" },
  allow: { parameters: [], result: "i32" },
}).symbols;

/** The objects that an operation works on. */
interface Stage extends Disposable {
  readonly arena: BumpAlloc;
  /** Live blocks, each filled with the pattern of its index. */
  live: Uint8Array[];
  readonly pool: BumpPool;
  lease?: BumpAlloc;
  small?: BumpPool;
}

interface Operation {
  readonly setUp?: (stage: Stage) => void;
  /** Returns an object to dispose of, if any. */
  readonly run: (stage: Stage) => Disposable | void;
  /** Runs once the system refuses nothing any more. */
  readonly after?: (stage: Stage) => void;
  /** Whether it takes all memory back. */
  readonly resets?: boolean;
  /** Set if the operation must complete even when the system refuses. */
  readonly never?: "throws";
}

function block(stage: Stage, byteLength: number): void {
  const view = stage.arena.alloc(byteLength);
  fillPattern(view, stage.live.length);
  stage.live.push(view);
}

function takeAway(stage: Stage): void {
  stage.arena.alloc(8).buffer.transfer();
  stage.live = [];
}

const zstd = { parameters: ["pointer", "usize"], result: "pointer" } as const;

/** More bytes than are committed. */
const MORE = 3 * MIB;

const OPERATIONS: Record<string, Operation> = {
  "new BumpAlloc": { run: () => new BumpAlloc() },
  "new BumpAlloc, huge pages": { run: () => new BumpAlloc({ hugePages: true }) },
  "new BumpAlloc, prefault": { run: () => new BumpAlloc({ prefault: 5 * MIB }) },
  "new BumpPool": { run: () => new BumpPool() },
  "share": { run: ({ arena }) => void arena.share() },
  "attach": { setUp: ({ arena }) => void arena.share(), run: ({ arena }) => BumpAlloc.attach(arena.share()) },
  "alloc": { run: ({ arena }) => void arena.alloc(MORE).fill(1) },
  "alloc of a little more": { run: ({ arena }) => void arena.alloc(100_000).fill(1) },
  "alloc, aligned": { run: ({ arena }) => void arena.alloc(MORE, 65536).fill(1) },
  "alloc in a shared region": {
    setUp: ({ arena }) => void arena.share(),
    run: ({ arena }) => void arena.alloc(MORE).fill(1),
  },
  "allocZeroed": { run: ({ arena }) => assert(arena.allocZeroed(MORE).every((byte) => byte === 0)) },
  "tryAlloc": { run: ({ arena }) => assert(arena.tryAlloc(MORE) !== null) },
  "allocArray": { run: ({ arena }) => void arena.allocArray(Float64Array, MORE / 8).fill(1) },
  "allocView": { run: ({ arena }) => arena.allocView(MORE).setUint8(MORE - 1, 1) },
  "offset": { run: ({ arena }) => void arena.offset(MORE) },
  "copy": { run: ({ arena }) => void arena.copy(new Uint8Array(MORE)) },
  "realloc in place": {
    run: (stage) => {
      const grown = stage.arena.realloc(stage.live.at(-1)!, MORE);
      stage.live[stage.live.length - 1] = grown.subarray(0, stage.live.at(-1)!.length);
    },
  },
  "realloc elsewhere": { run: ({ arena, live }) => void arena.realloc(live[0], MORE).fill(1) },
  "cstring": { run: ({ arena }) => void arena.cstring("x".repeat(MORE)) },
  "cstring, not ASCII": { run: ({ arena }) => void arena.cstring("é".repeat(MORE)) },
  "cstringArray": { run: ({ arena }) => void arena.cstringArray(["x", "y".repeat(MORE)]) },
  "out": {
    setUp: ({ arena }) => void arena.alloc(arena.stats().committed - arena.used, 1),
    run: ({ arena }) => assertEquals(arena.out("i32").value, 0),
  },
  "a scope": {
    run: ({ arena }) => {
      using scope = arena.scope();
      scope.alloc(MORE).fill(1);
    },
  },
  "reset": { run: ({ arena }) => arena.reset(), resets: true },
  "reset, retain": { run: ({ arena }) => arena.reset({ retain: 0 }), resets: true },
  "reset after a transfer": { setUp: takeAway, run: ({ arena }) => arena.reset(), resets: true },
  "reset after another allocator's transfer": {
    setUp: ({ arena }) => {
      using other = BumpAlloc.attach(arena.share());
      other.alloc(8).buffer.transfer();
    },
    run: ({ arena }) => arena.reset(),
    resets: true,
  },
  "trim": {
    setUp: ({ arena }) => {
      const mark = arena.mark();
      arena.alloc(MORE).fill(1);
      arena.rewind(mark);
    },
    run: ({ arena }) => {
      arena.trim();
      assert(arena.allocZeroed(MORE).every((byte) => byte === 0));
    },
  },
  "stats": { run: ({ arena }) => void arena.stats(), never: "throws" },
  "hooks": {
    run: ({ arena }) => {
      const { customAlloc, opaque } = arena.hooks.zstd;
      const allocate = new Deno.UnsafeFnPointer(customAlloc as Deno.PointerObject<typeof zstd>, zstd);
      if (allocate.call(opaque, BigInt(MORE)) === null) {
        throw new CommitError("NULL is C's way to say so", OUT_OF_MEMORY);
      }
    },
  },
  "close": { run: ({ arena }) => arena.close(), resets: true, never: "throws" },
  "close after a transfer": { setUp: takeAway, run: ({ arena }) => arena.close(), resets: true, never: "throws" },
  "lease": { run: ({ pool }) => pool.lease() },
  "lease, and close it": {
    run: ({ pool }) => {
      using lease = pool.lease();
      lease.alloc(MORE).fill(1);
    },
  },
  "lease after others were large": {
    setUp: ({ pool }) => {
      const leases = Array.from({ length: 8 }, () => pool.lease());
      for (const lease of leases) lease.alloc(MIB).fill(1);
      for (const lease of leases) lease.close();
    },
    run: ({ pool }) => {
      for (let i = 0; i < 40; i++) pool.lease().close();
      assertEquals(pool.stats().idle, 8);
    },
    never: "throws",
  },
  "lease, transfer it, and close it": {
    setUp: (stage) => {
      stage.lease = stage.pool.lease();
      stage.lease.alloc(8).buffer.transfer();
    },
    run: ({ lease }) => lease!.close(),
    never: "throws",
  },
  "a lease whose place is gone, and there is no other": {
    setUp: (stage) => {
      stage.small = new BumpPool({ limit: 1, size: 65536 });
      stage.lease = stage.small.lease();
      stage.lease.alloc(8).buffer.transfer();
    },
    run: ({ lease }) => lease!.close(),
    after: ({ small }) => {
      // The pool is as large as before.
      assertEquals(small!.lease().alloc(8).length, 8);
      small!.close();
    },
    never: "throws",
  },
  "pool.trim": {
    setUp: ({ pool }) => {
      using lease = pool.lease();
      lease.alloc(MORE).fill(1);
    },
    run: ({ pool }) => pool.trim(0),
  },
  "pool.close": { run: ({ pool }) => pool.close(), never: "throws" },
};

/**
 * The state that a failed operation must not change. More memory may be committed, and more leases made, than before.
 */
function stateOf({ arena, pool }: Stage): unknown {
  const { used, remaining, orphaned, scopes, pins, attached } = arena.stats();
  const { leased, waiting, lost, moved, reserved } = pool.stats();
  const counts = {
    used,
    remaining,

    orphaned,
    scopes,
    pins,
    attached,
    leased,
    waiting,
    lost,
    moved,
    reserved,
  };
  return { closed: arena.closed, address: arena.closed ? 0n : arena.address, ...counts };
}

function makeStage(): Stage {
  const arena = new BumpAlloc();
  const pool = new BumpPool({ limit: 20, retain: 65536, whenFull: "throw" });
  const stage: Stage = {
    arena,
    pool,
    live: [],
    [Symbol.dispose]() {
      pool.close();
      arena.close();
    },
  };
  pool.lease().close();
  for (const byteLength of [100, 5000, 70_000]) block(stage, byteLength);
  return stage;
}

function holds({ live }: Stage): boolean {
  return live.every((view, id) => patternHolds(view, id));
}

let refusals = 0;
let errors = 0;

/** Runs the operation with calls `from` to `to` of a kind refused. Returns whether it made that many calls. */
function attempt(
  name: string,
  { setUp, run, after, resets, never }: Operation,
  kind: keyof typeof KINDS,
  from: number,
  to: number,
): boolean {
  const what = `${name}, ${kind} refused from call ${from} on`;
  using stage = makeStage();
  setUp?.(stage);
  const before = stateOf(stage);
  let failure: unknown;
  let made: Disposable | void = undefined;
  shim.refuse(KINDS[kind], from, to);
  try {
    made = run(stage);
  } catch (error) {
    failure = error;
  }
  const seen = shim.allow();
  after?.(stage);
  made?.[Symbol.dispose]();
  if (seen < from) {
    if (failure !== undefined) throw failure;
    return false;
  }
  refusals++;
  if (failure === undefined) {
    if (!resets) assert(holds(stage), `${what}: a live block changed`);
    return true;
  }
  errors++;
  assert(never === undefined, `${what}: ${failure}`);
  const right = failure instanceof ReserveError || failure instanceof CommitError
    ? failure.code === OUT_OF_MEMORY
    : failure instanceof SharedError && failure.message.includes(`(system error ${OUT_OF_MEMORY})`);
  assert(right, `${what}: ${failure}`);
  assert((failure as Error).message.startsWith("Cannot "), `${what}: ${failure}`);
  if (name === "reset, retain") assertEquals(stage.arena.used, 0, "the pages stay, but all was taken back");
  else {
    assertEquals(stateOf(stage), before, `${what}: something changed`);
    assert(holds(stage), `${what}: a live block changed`);
  }
  run(stage)?.[Symbol.dispose]();
  if (!resets) assert(holds(stage), `${what}: a live block changed by the second attempt`);
  if (!stage.arena.closed) assertEquals(stage.arena.alloc(8).fill(1).length, 8);
  return true;
}

makeStage()[Symbol.dispose]();
const space = addressSpace();
// Memory that the system refuses to unmap stays mapped, so munmap comes last.
for (const kind of (Object.keys(KINDS) as (keyof typeof KINDS)[]).sort((kind) => kind === "munmap" ? 1 : -1)) {
  if (kind === "munmap") {
    // Closed regions wait for a second; some stay for reuse.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    for (let i = 0; i < 200; i++) new BumpAlloc({ size: MIB }).close();
    const left = addressSpace() - space;
    assert(left < 24 * 1024 * MIB, `${left / MIB} MiB of addresses are left`);
  }
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    for (let call = 1; attempt(name, operation, kind, call, call); call++);
    for (let call = 1; attempt(name, operation, kind, call, FOREVER); call++);
  }
}
console.log(`${Object.keys(OPERATIONS).length} operations, ${refusals} refusals, ${errors} errors`);
