/**
 * Memory that real I/O and native code write to: while it is pinned, nothing takes it back and no byte is wrong. Each
 * kind of work ends when the test says so, not after a delay.
 */
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BumpAlloc, BumpPool, type BumpScope, ClosedError, PinnedError } from "../../mod.ts";
import { fillPattern, patternHolds } from "../support/pattern.ts";
import { testUnless } from "../support/skip.ts";

/** Fits in the buffers of a pipe and of a socket. */
const LENGTH = 60_000;
const ID = 77;
const EXPECTED = new Uint8Array(LENGTH);
fillPattern(EXPECTED, ID);

/** Work that fills a view with the pattern once `go` is called. */
interface Work extends AsyncDisposable {
  /** Starts the work. Settles when the view is full; rejects when the data ends early. */
  start(view: Uint8Array<ArrayBuffer>): Promise<void>;
  go(): Promise<void>;
}

/** Calls `read` until the view is full. */
async function readFully(view: Uint8Array, read: (rest: Uint8Array) => Promise<number | null>): Promise<void> {
  for (let done = 0; done < view.length;) {
    const count = await read(view.subarray(done)) ?? 0;
    if (count <= 0) throw new Error("the data ends early");
    done += count;
  }
}

// Windows has other names and narrower sizes; its pipe takes a size and a binary flag.
const PREFIX = Deno.build.os === "windows" ? "_" : "";
const BINARY = 0x8000;
const LIBC = {
  pipe: { name: `${PREFIX}pipe`, parameters: ["buffer", "u32", "i32"], result: "i32" },
  write: { name: `${PREFIX}write`, parameters: ["i32", "buffer", "usize"], result: "i32" },
  read: { name: `${PREFIX}read`, parameters: ["i32", "buffer", "usize"], result: "i32", nonblocking: true },
  close: { name: `${PREFIX}close`, parameters: ["i32"], result: "i32" },
} as const;

function openLibc(): Deno.DynamicLibrary<typeof LIBC> | null {
  for (const name of ["libc.so.6", "libSystem.B.dylib", "ucrtbase.dll", `libc.musl-${Deno.build.arch}.so.1`]) {
    try {
      return Deno.dlopen(name, LIBC);
    } catch { /* another system's name */ }
  }
  return null;
}

const libc = openLibc();

const WORKS: Record<string, () => Promise<Work>> = {
  // deno-lint-ignore require-await -- as the others
  "a nonblocking FFI call": async () => {
    const { pipe, write, read, close } = libc!.symbols;
    const ends = new Int32Array(2);
    assertEquals(pipe(new Uint8Array(ends.buffer), LENGTH, BINARY), 0);
    const [from, to] = ends;
    return {
      start: (view) =>
        readFully(view, async (rest) => await read(from, rest as Uint8Array<ArrayBuffer>, BigInt(rest.length))),
      // deno-lint-ignore require-await -- as the others
      go: async () => assertEquals(write(to, EXPECTED, BigInt(LENGTH)), LENGTH),
      // deno-lint-ignore require-await -- as the others
      [Symbol.asyncDispose]: async () => [to, from].forEach((end) => close(end)), // closing `to` ends a waiting read
    };
  },
  "a read from a socket": async () => {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const accepting = listener.accept();
    const sender = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    const receiver = await accepting;
    return {
      start: (view) => readFully(view, (rest) => receiver.read(rest)),
      go: async () => {
        for (let done = 0; done < LENGTH;) done += await sender.write(EXPECTED.subarray(done));
      },
      // deno-lint-ignore require-await -- as the others
      [Symbol.asyncDispose]: async () => {
        sender.close();
        receiver.close();
      },
    };
  },
  "a read from a file": async () => {
    const path = await Deno.makeTempFile();
    await Deno.writeFile(path, EXPECTED);
    const file = await Deno.open(path);
    return {
      start: (view) => readFully(view, (rest) => file.read(rest)),
      go: async () => {}, // the read runs already
      [Symbol.asyncDispose]: async () => {
        file.close();
        await Deno.remove(path);
      },
    };
  },
};

/** An arena, and the synchronous ends that a pin in it must refuse. */
interface Place {
  readonly arena: BumpAlloc | BumpScope;
  readonly refused: readonly (() => void)[];
}

/**
 * Works on a view under a pin, and tries every synchronous end. The work is still running when the caller's block ends,
 * so that `await using` must wait for it.
 */
function workPinned({ arena, refused }: Place, work: Work, checked: (bytesAreRight: boolean) => void): void {
  setTimeout(() => void work.go());
  const before = arena.alloc(1000);
  fillPattern(before, 1);
  const view = arena.alloc(LENGTH);
  const place = arena.addressOf(view);
  const working = work.start(view).then(() => checked(patternHolds(view, ID) && patternHolds(before, 1)));
  assertEquals(arena.pin(working), working);
  const mark = arena.mark().offset;
  for (const end of refused) assertThrows(end, PinnedError, "pinned");
  assertEquals([view.length, before.length, arena.addressOf(view), arena.mark().offset], [LENGTH, 1000, place, mark]);
  assert(patternHolds(before, 1));
  // Nothing has ended: the arena can still allocate other memory.
  const after = arena.alloc(1000);
  assert(arena.addressOf(after) >= place + BigInt(LENGTH));
}

/** Returns a check that nothing writes to the memory any more, for its next owner. */
function isQuiet(arena: BumpAlloc | BumpScope): () => boolean {
  const next = arena.alloc(2 * LENGTH);
  fillPattern(next, 5);
  return () => patternHolds(next, 5);
}

for (const [name, start] of Object.entries(WORKS)) {
  const needsLibc = name.includes("FFI") && libc === null;
  testUnless(
    needsLibc ? "no libc with pipe and read" : null,
    `pins: ${name} keeps an allocator, a scope and a lease; every byte is right`,
    async () => {
      const seen: boolean[] = [];
      const checked = (bytesAreRight: boolean) => void seen.push(bytesAreRight);
      {
        await using work = await start();
        await using scratch = new BumpAlloc();
        workPinned({ arena: scratch, refused: [() => scratch.close(), () => scratch.reset()] }, work, checked);
      }
      using scratch = new BumpAlloc();
      {
        await using work = await start();
        await using scope = scratch.scope();
        workPinned({ arena: scope, refused: [() => scope.end(), () => scratch.close()] }, work, checked);
      }
      assertEquals(scratch.used, 0);
      const quiet = isQuiet(scratch);

      using pool = new BumpPool({ limit: 1 });
      {
        await using work = await start();
        await using lease = pool.lease();
        workPinned({ arena: lease, refused: [() => lease.close(), () => lease.reset()] }, work, checked);
      }
      {
        await using work = await start();
        const using = pool.use((lease) => workPinned({ arena: lease, refused: [() => lease.close()] }, work, checked));
        const next = pool.use((lease) => seen.length === 4 && isQuiet(lease)()); // waits for the one lease
        await using;
        assert(await next, "the lease went on before its pin had settled");
      }
      assert(quiet());
      assertEquals(seen, [true, true, true, true]);
    },
  );
}

Deno.test("pins: work that fails releases the memory, and its error reaches the caller", async () => {
  const scratch = new BumpAlloc();
  {
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const accepting = listener.accept();
    using _sender = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
    const receiver = await accepting;
    const reading = scratch.pin(receiver.read(scratch.alloc(10)));
    assertThrows(() => scratch.close(), PinnedError);
    receiver.close();
    await assertRejects(() => reading);
  }
  await Promise.resolve();
  scratch.close();
});

Deno.test("a thenable that settles at once does not stay pinned", async () => {
  const scratch = new BumpAlloc();
  const thenable = { then: (settle: (value: number) => void) => settle(1) };
  scratch.pin(thenable as unknown as Promise<number>);
  assertThrows(() => scratch.close(), PinnedError);
  await new Promise((resolve) => setTimeout(resolve));
  scratch.close();
  assertThrows(() => scratch.alloc(1), ClosedError);
});
