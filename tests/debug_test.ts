/** Debug mode: real work that nobody awaits or pins is found, at each way that memory ends; what is right raises no alarm. */
import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { BumpAlloc, BumpPool, PinnedError, PoolFullError, ScopeError, StaleWriteError } from "../mod.ts";
import { noGc, untilCollected } from "./support/until.ts";
import { canMarkUntransferable, MARKS_SINCE } from "../src/buffers.ts";
import { loadThreads } from "./support/c_library.ts";
import { isBefore, missing, succeeds, testUnless } from "./support/skip.ts";

/** Its leak sanitizer takes a timer that keeps nothing alive for a leak, in these tests and in those that follow. */
const sanitizer = isBefore("2.8.0") ? "before Deno 2.8.0 the timers of debug mode count as leaks of a test" : null;

const noMarks = canMarkUntransferable() ? null : `it needs Deno ${MARKS_SINCE}`;

const LENGTH = 1000;
const DATA = new Uint8Array(LENGTH).fill(5);
const FILE = import.meta.url.slice(import.meta.url.lastIndexOf("/") + 1);

/** Work that fills a view once `finish` is called, and settles it. */
interface Work {
  start(view: Uint8Array<ArrayBuffer>): Promise<unknown>;
  finish(): Promise<unknown>;
}

async function socketRead(): Promise<Work> {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepting = listener.accept();
  const sender = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  const receiver = await accepting;
  let reading: Promise<unknown>;
  return {
    start: (view) => reading = receiver.read(view),
    finish: async () => {
      await sender.write(DATA);
      await reading;
      sender.close();
      receiver.close();
    },
  };
}

/** A named pipe: a read of a plain file may be done before its memory ends. */
async function fileRead(): Promise<Work> {
  const path = await Deno.makeTempFile();
  await Deno.remove(path);
  assert(succeeds(["mkfifo", path]));
  const file = await Deno.open(path, { read: true, write: true });
  const writer = await Deno.open(path, { write: true });
  let reading: Promise<unknown>;
  return {
    start: (view) => reading = file.read(view),
    finish: async () => {
      await writer.write(DATA);
      await reading;
      file.close();
      writer.close();
      await Deno.remove(path);
    },
  };
}

function libc() {
  const LIBC = {
    pipe: { parameters: ["buffer"], result: "i32" },
    write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
    read: { parameters: ["i32", "buffer", "usize"], result: "isize", nonblocking: true },
    close: { parameters: ["i32"], result: "i32" },
  } as const;
  try {
    return Deno.dlopen(Deno.build.os === "darwin" ? "libSystem.B.dylib" : "libc.so.6", LIBC);
  } catch {
    return null;
  }
}

const c = Deno.build.os === "windows" ? null : libc();

/** A thread of the system calls `read` of C. */
function nativeRead(): Promise<Work> {
  const { pipe, write, read, close } = c!.symbols;
  const ends = new Int32Array(2);
  assertEquals(pipe(new Uint8Array(ends.buffer)), 0);
  let reading: Promise<unknown>;
  return Promise.resolve({
    start: (view) => reading = read(ends[0], view, BigInt(view.length)),
    finish: async () => {
      assertEquals(Number(write(ends[1], DATA, BigInt(LENGTH))), LENGTH);
      await reading;
      ends.forEach((end) => close(end));
    },
  });
}

const threads = loadThreads(new URL("native/late_write.c", import.meta.url), {
  late_write_start: { parameters: ["buffer", "usize"], result: "i32" },
  late_write_finish: { parameters: [], result: "i32" },
});

/** A native thread writes: there is no promise to pin. */
function threadWrite(): Work {
  const { late_write_start, late_write_finish } = (threads as Exclude<typeof threads, string>).symbols;
  return {
    start: (view) => Promise.resolve(assertEquals(late_write_start(view, BigInt(view.length)), 0)),
    finish: () => Promise.resolve(assertEquals(late_write_finish(), 0)),
  };
}

/** What is reported when no call of the program can be told. */
async function reported(): Promise<unknown> {
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const listener = (event: ErrorEvent) => {
    event.preventDefault();
    resolve(event.error);
  };
  addEventListener("error", listener);
  const alive = setTimeout(() => resolve(null), 30_000); // the package's own timer keeps nothing alive
  try {
    return await promise;
  } finally {
    clearTimeout(alive);
    removeEventListener("error", listener);
  }
}

/** Starts work on memory and ends that memory; `find` then has the error. */
type End = (work: Work) => { find: () => unknown; kind: string };

const caught = (fn: () => unknown): unknown => assertThrows(fn, StaleWriteError);

const ENDS: Record<string, End> = {
  "the end of a scope": (work) => {
    const scratch = new BumpAlloc({ debug: true });
    const scope = scratch.scope();
    void work.start(scope.alloc(LENGTH));
    scope.end();
    return { kind: "scope", find: () => caught(() => scratch.alloc(LENGTH)) };
  },
  "the end of a frame": (work) => {
    const scratch = new BumpAlloc({ debug: true });
    scratch.frame((frame) => void work.start(frame.alloc(LENGTH)));
    return { kind: "scope", find: () => caught(() => scratch.alloc(LENGTH)) };
  },
  "rewind": (work) => {
    const scratch = new BumpAlloc({ debug: true });
    const mark = scratch.mark();
    void work.start(scratch.alloc(LENGTH));
    scratch.rewind(mark);
    return { kind: "allocator", find: () => caught(() => scratch.alloc(LENGTH)) };
  },
  "reset": (work) => {
    const scratch = new BumpAlloc({ debug: true });
    void work.start(scratch.alloc(LENGTH));
    scratch.reset();
    return { kind: "allocator", find: () => caught(() => scratch.alloc(LENGTH)) };
  },
  "realloc to less": (work) => {
    const scratch = new BumpAlloc({ debug: true });
    const view = scratch.alloc(LENGTH);
    void work.start(view);
    scratch.realloc(view, 8);
    return { kind: "allocator", find: () => caught(() => scratch.alloc(LENGTH)) };
  },
  "a scope, found at close": (work) => {
    const scratch = new BumpAlloc({ debug: true });
    const scope = scratch.scope();
    void work.start(scope.alloc(LENGTH));
    scope.end();
    return {
      kind: "scope",
      find: () => {
        const error = caught(() => scratch.close());
        assert(scratch.closed);
        return error;
      },
    };
  },
  "a scope, found at trim": (work) => {
    const scratch = new BumpAlloc({ debug: true });
    const scope = scratch.scope();
    void work.start(scope.alloc(LENGTH));
    scope.end();
    return { kind: "scope", find: () => caught(() => scratch.trim()) };
  },
  "the return of a lease": (work) => {
    const pool = new BumpPool({ debug: true, limit: 1 });
    const lease = pool.lease();
    void work.start(lease.alloc(LENGTH));
    lease.close();
    return { kind: "lease", find: () => caught(() => pool.lease().alloc(LENGTH)) };
  },
  "the return of a lease, found while it is idle": (work) => {
    const pool = new BumpPool({ debug: true });
    const lease = pool.lease();
    void work.start(lease.alloc(LENGTH));
    lease.close();
    return { kind: "lease", find: reported };
  },
  "close": (work) => {
    const scratch = new BumpAlloc({ debug: true });
    void work.start(scratch.alloc(LENGTH));
    scratch.close();
    return { kind: "allocator", find: reported };
  },
};

function checkFound(error: unknown, kind: string): void {
  assert(error instanceof StaleWriteError, String(error));
  assert(error.byteLength > LENGTH - 10 && error.byteLength <= LENGTH && error.offset < 10);
  assertStringIncludes(error.message, `The ${kind} was opened`);
  assertStringIncludes(error.message, "a pin() or an await is missing");
  for (const stack of [error.openedAt, error.endedAt]) {
    assertStringIncludes(stack, FILE);
    assert(!stack.includes("/src/"), stack);
  }
}

for (const [name, end] of Object.entries(ENDS)) {
  testUnless(sanitizer, `debug: a read that nobody awaits is found after ${name}`, async () => {
    const work = await socketRead();
    const { find, kind } = end(work);
    await work.finish();
    checkFound(await find(), kind);
  });
}

testUnless(sanitizer ?? missing("mkfifo"), "debug: a read from a file that nobody awaits is found", async () => {
  const work = await fileRead();
  const { find, kind } = ENDS["the end of a scope"](work);
  await work.finish();
  checkFound(await find(), kind);
});

testUnless(sanitizer ?? missing("mkfifo"), "debug: a pin that a closed file settles too early is found", async () => {
  const path = await Deno.makeTempFile();
  await Deno.remove(path);
  assert(succeeds(["mkfifo", path]));
  const file = await Deno.open(path, { read: true, write: true });
  const writer = await Deno.open(path, { write: true });
  using scratch = new BumpAlloc({ debug: true });
  const scope = scratch.scope();
  const view = scope.alloc(LENGTH);
  const reading = scope.pin(file.read(view));
  file.close();
  await assertRejects(() => reading, Deno.errors.Interrupted);
  await scope[Symbol.asyncDispose]();
  await writer.write(DATA);
  writer.close();
  await Deno.remove(path);
  checkFound(await reported(), "scope");
});

testUnless(
  sanitizer ?? (c === null ? "no libc with pipe" : null),
  "debug: a nonblocking FFI call that nobody awaits is found",
  async () => {
    for (const name of ["reset", "close"]) {
      const work = await nativeRead();
      const { find, kind } = ENDS[name](work);
      await work.finish();
      checkFound(await find(), kind);
    }
  },
);

testUnless(
  sanitizer ?? (typeof threads === "string" ? threads : null),
  "debug: what a native thread writes too late is found",
  async () => {
    for (const end of Object.values(ENDS)) {
      const work = threadWrite();
      const { find, kind } = end(work);
      await work.finish();
      checkFound(await find(), kind);
    }
  },
);

testUnless(
  sanitizer,
  "debug: a scope that ends with the handler of a request, while a TransformStream behind the Response reads, is found",
  async () => {
    const work = await socketRead();
    using scratch = new BumpAlloc({ debug: true });
    const { promise: reads, resolve: isReading } = Promise.withResolvers<void>();
    await using server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async () => {
      using scope = scratch.scope();
      const chunk = scope.alloc(LENGTH);
      const source = new ReadableStream<Uint8Array<ArrayBuffer>>({
        async pull(controller) {
          const reading = work.start(chunk);
          isReading();
          await reading;
          controller.enqueue(chunk);
          controller.close();
        },
      });
      const body = source.pipeThrough(new TransformStream());
      await reads;
      return new Response(body);
    });
    const response = await fetch(`http://127.0.0.1:${server.addr.port}`);
    await work.finish();
    assertEquals((await response.arrayBuffer()).byteLength, 0); // the view is dead
    checkFound(caught(() => scratch.alloc(LENGTH)), "scope");
  },
);

testUnless(sanitizer, "debug: what is found is told once, and the memory serves again", () => {
  using scratch = new BumpAlloc({ debug: true });
  const mark = scratch.mark();
  const stale = scratch.alloc(100);
  scratch.rewind(mark);
  stale[7] = stale[9] = 1;
  const error = assertThrows(() => scratch.alloc(50), StaleWriteError);
  assertEquals([error.offset, error.byteLength, scratch.used], [7, 3, 0]);
  assertEquals([...scratch.alloc(10)], new Array(10).fill(0xdd));
});

testUnless(sanitizer, "debug: what a receiver of a transfer writes is no late write", () => {
  using scratch = new BumpAlloc({ debug: true });
  const scope = scratch.scope();
  const view = scope.alloc(100);
  const received = structuredClone(view, { transfer: [view.buffer] });
  scope.end();
  received.fill(3);
  scratch.alloc(1000);
  assertEquals(received[99], 3);
});

testUnless(
  sanitizer,
  "debug: a block that is cut moves behind what a receiver sees, within its own bytes: no late write",
  () => {
    using scratch = new BumpAlloc({ window: 4096, debug: true });
    const first = scratch.alloc(9).fill(1);
    const second = scratch.alloc(100_000).fill(2);
    const received = structuredClone(first, { transfer: [first.buffer] });
    const cut = scratch.realloc(second, 19);
    assert(cut.length === 19 && cut.every((byte) => byte === 2));
    assert(received.every((byte) => byte === 1));
  },
); // closing looks for late writes

testUnless(sanitizer, "debug: errors name where what is open was opened, the longest-held first", () => {
  const scratch = new BumpAlloc({ debug: true });
  function opens() {
    return scratch.scope();
  }
  const scope = opens();
  assertStringIncludes(assertThrows(() => scratch.alloc(1), ScopeError).message, "at opens ");
  const { promise, resolve } = Promise.withResolvers<void>();
  function pins() {
    scope.pin(promise);
  }
  pins();
  assertStringIncludes(assertThrows(() => scope.end(), PinnedError).message, "at pins ");
  resolve();
  using pool = new BumpPool({ debug: true, limit: 2 });
  function first() {
    return pool.lease();
  }
  function second() {
    return pool.lease();
  }
  const one = first();
  second().close();
  const two = second();
  const { message } = assertThrows(() => pool.lease(), PoolFullError);
  assert(message.indexOf("at first ") > 0 && message.indexOf("at second ") > message.indexOf("at first "), message);
  two.close();
  one.close();
  return scope[Symbol.asyncDispose]().then(() => scratch.close());
});

testUnless(sanitizer ?? noGc, "debug: what is collected and was never ended is told once, with its stack", async () => {
  const pool = new BumpPool({ debug: true });
  const found: string[] = [];
  const listener = (event: Event) => {
    const { message } = event as ErrorEvent;
    if (!message.includes("at leaks ")) return; // another test's
    event.preventDefault();
    found.push(message.split(" ")[1]);
  };
  addEventListener("bumpleak", listener);
  (function leaks() {
    new BumpAlloc({ debug: true }).alloc(10);
    new BumpAlloc({ debug: true }).scope();
    pool.lease();
    new BumpAlloc({ debug: true }).close();
  })();
  await untilCollected(() => found.length === 4);
  removeEventListener("bumpleak", listener);
  assertEquals(found.sort(), ["allocator", "allocator", "lease", "scope"]);
  pool.close();
});

/** An object whose method opens, ends and pins: stacks of that name it. */
class Opener {
  readonly scratch = new BumpAlloc({ debug: true });
  work(pool: BumpPool): unknown[] {
    const mark = this.scratch.mark();
    this.scratch.alloc(100);
    this.scratch.rewind(mark);
    const lease = pool.lease();
    lease.alloc(100);
    lease.reset();
    void lease.pin(new Promise(() => {}));
    return [this.scratch.scope(), lease];
  }
}

testUnless(sanitizer ?? noGc, "debug: the stacks of what is open, pinned or ended keep no object", async () => {
  const pool = new BumpPool({ debug: true });
  const kept: unknown[] = [];
  let collected = 0;
  const openers = new FinalizationRegistry<null>(() => collected++);
  (function works() {
    for (let i = 0; i < 10; i++) {
      const opener = new Opener();
      kept.push(opener.work(pool));
      openers.register(opener, null);
    }
  })();
  await untilCollected(() => collected === 10);
  assertEquals([collected, kept.length], [10, 10]);
  pool.close();
});

/** Runs a program in a process of its own. */
async function run(program: string, ...flags: string[]): Promise<{ code: number; error: string }> {
  const path = await Deno.makeTempFile({ suffix: flags[0] === "test" ? "_test.ts" : ".ts" });
  try {
    await Deno.writeTextFile(
      path,
      `import * as bump from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};\n${program}`,
    );
    const args = [...(flags.length > 0 ? flags : ["run"]), "--no-check", "--allow-all", path];
    const { code, stderr, stdout } = await new Deno.Command(Deno.execPath(), {
      args,
      env: { BUMP_ALLOC_DEBUG: "1", NO_COLOR: "1" },
    }).output();
    return { code, error: new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout) };
  } finally {
    await Deno.remove(path);
  }
}

testUnless(sanitizer, "debug: at exit what is open is on stderr, and a late write makes the process fail", async () => {
  const open = await run("function leaks() { return new bump.BumpAlloc(); } const kept = leaks(); kept.alloc(1);");
  assertEquals(open.code, 0, open.error);
  assertStringIncludes(open.error, "The allocator is still open at exit");
  assertEquals(open.error.split("at leaks ").length, 2, open.error);
  const late = await run(
    "using s = new bump.BumpAlloc(); const m = s.mark(), v = s.alloc(9); s.rewind(m); v[0] = 1; Deno.exit()",
  );
  assertEquals(late.code, 1, late.error);
  assertStringIncludes(late.error, "StaleWriteError: Cannot reuse memory: 1 B at offset 0");
});

testUnless(sanitizer, "debug: two lines make a leak a failing test, and a right test passes", async () => {
  const HELPER = 'addEventListener("bumpleak", (event) => {\n  throw event.error; });\n';
  const leaks = await run(`${HELPER}Deno.test("x", () => { new bump.BumpAlloc().alloc(1); });`, "test");
  assertEquals(leaks.code, 1, leaks.error);
  const right = await run(`${HELPER}Deno.test("x", () => { using s = new bump.BumpAlloc(); s.alloc(1); });`, "test");
  assertEquals(right.code, 0, right.error);
});

testUnless(sanitizer, "debug: the option decides, where the environment does not have the last word", async () => {
  const off = await run("const s = new bump.BumpAlloc({ debug: false }); s.alloc(1);");
  assertEquals([off.code, off.error], [0, ""]);
});

testUnless(
  sanitizer ?? noMarks,
  "debug: what a closed allocator gave back is others', who may write to it",
  async () => {
    const right = await run(`
    const owner = new bump.BumpAlloc({ transferable: false });
    const other = bump.BumpAlloc.attach(owner.share());
    owner.alloc(5000);
    owner.reset();
    owner.alloc(10);
    owner.close(); // its views live on, so that its hold is not released
    other.alloc(1000).fill(3);`);
    assertEquals(right.code, 0, right.error);
  },
);
