/** Files, bodies and other sources read into scratch memory: exactly their bytes, and nothing kept after a failure. */
import { pathToFileURL } from "node:url";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  BumpAlloc,
  BumpPool,
  type ByteReader,
  ClosedError,
  DetachedError,
  OutOfMemoryError,
  PinnedError,
} from "../mod.ts";
import { type ReadSource, ScopeError, type Scratch } from "../mod.ts";
import { assertSameBytes, fillPattern, patternHolds, randomOf } from "./support/pattern.ts";
import { missing, succeeds, testUnless } from "./support/skip.ts";
import { gc, noGc, until } from "./support/until.ts";

function pattern(length: number, id = 3): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  fillPattern(bytes, id);
  return bytes;
}

/** Runs `test` with a file of these bytes. */
async function withFile(bytes: Uint8Array, test: (path: string) => void | Promise<void>): Promise<void> {
  const path = Deno.makeTempFileSync();
  Deno.writeFileSync(path, bytes);
  try {
    await test(path);
  } finally {
    Deno.removeSync(path);
  }
}

/** A stream of the bytes in chunks of random lengths; a byte stream if `type` is "bytes". */
function streamOf(bytes: Uint8Array, type?: "bytes"): ReadableStream<Uint8Array> {
  const random = randomOf(bytes.length + 1);
  let at = 0;
  const pull = (controller: ReadableByteStreamController | ReadableStreamDefaultController<Uint8Array>) => {
    const end = Math.min(bytes.length, at + 1 + random(40_000));
    if (at < bytes.length) controller.enqueue(bytes.slice(at, end));
    at = end;
    if (at === bytes.length) controller.close();
  };
  return type === undefined ? new ReadableStream({ pull }) : new ReadableStream({ type, pull });
}

/** A byte stream that writes to the buffers of its reader, as Deno's own do. */
function fillingStreamOf(bytes: Uint8Array): ReadableStream<Uint8Array> {
  const random = randomOf(bytes.length + 1);
  let at = 0;
  return new ReadableStream({
    type: "bytes",
    autoAllocateChunkSize: 65_536,
    pull: (controller) => {
      const request = controller.byobRequest!;
      const view = request.view as Uint8Array;
      const part = bytes.subarray(at, at + Math.min(view.length, 1 + random(90_000)));
      view.set(part);
      at += part.length;
      if (part.length === 0) controller.close();
      request.respond(part.length);
    },
  });
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 7001) yield await Promise.resolve(bytes.subarray(at, at + 7001));
}

/** A reader that returns the bytes in reads of random lengths. */
function readerOf(bytes: Uint8Array): ByteReader {
  const random = randomOf(bytes.length + 1);
  let at = 0;
  return {
    read: (buffer) => {
      if (at === bytes.length) return Promise.resolve(null);
      const part = bytes.subarray(at, at + Math.min(buffer.length, 1 + random(90_000)));
      buffer.set(part);
      at += part.length;
      return Promise.resolve(part.length);
    },
  };
}

const SOURCES: Record<string, (bytes: Uint8Array<ArrayBuffer>) => ReadSource> = {
  "a stream": (bytes) => streamOf(bytes),
  "a byte stream": (bytes) => streamOf(bytes, "bytes"),
  "a byte stream that writes to its reader's buffers": (bytes) => fillingStreamOf(bytes),
  "a request": (bytes) => new Request("http://localhost/", { method: "POST", body: bytes }),
  "a response": (bytes) => new Response(bytes),
  "a blob": (bytes) => new Blob([bytes]),
  "an async iterable": (bytes) => chunksOf(bytes),
  "an object with read": (bytes) => readerOf(bytes),
};

/** Lengths around those of the first block, a probe and a window. */
const LENGTHS = [0, 1, 511, 512, 513, 65_535, 65_536, 65_537, 66_048, 66_049, 200_000, 1_100_000];

for (const [name, make] of Object.entries(SOURCES)) {
  Deno.test(`readAll: ${name} of any length, in an allocator and a scope, takes exactly its bytes`, async () => {
    using scratch = new BumpAlloc();
    for (const length of LENGTHS) {
      const bytes = pattern(length);
      using scope = scratch.scope();
      const read = await scope.readAll(make(bytes));
      assertSameBytes(read, bytes);
      assertEquals(scope.used, length);
      assert(scope.owns(read) && scope.addressOf(read) > 0n);
      const rest = scope.alloc(100).fill(9);
      assertSameBytes(read, bytes);
      assert(rest.every((byte) => byte === 9));
    }
    assertSameBytes(await scratch.readAll(make(pattern(1000))), pattern(1000));
  });

  Deno.test(`readAll: ${name} that fills the region to its last byte; one more does not fit, and nothing is taken`, async () => {
    using scratch = BumpAlloc.withSize(1 << 20);
    const before = scratch.alloc(1000).fill(1);
    const room = scratch.remaining;
    await assertRejects(() => scratch.readAll(make(pattern(room + 1))), OutOfMemoryError);
    assertEquals(scratch.used, 1000);
    assertSameBytes(await scratch.readAll(make(pattern(room))), pattern(room));
    assertEquals(scratch.remaining, 0);
    assertEquals((await scratch.readAll(make(pattern(0)))).length, 0);
    assert(before.every((byte) => byte === 1));
  });

  Deno.test(`readAll: ${name} has as many bytes as the limit, or one more: a RangeError, and nothing is taken`, async () => {
    using scratch = new BumpAlloc();
    for (const length of LENGTHS) {
      using scope = scratch.scope();
      assertSameBytes(await scope.readAll(make(pattern(length)), { limit: length }), pattern(length));
      const { used } = scope;
      const error = await assertRejects(() => scope.readAll(make(pattern(length + 1)), { limit: length }), RangeError);
      assert(!(error instanceof OutOfMemoryError) && error.message.startsWith("Cannot read the source: it has more"));
      assertEquals(scope.used, used);
    }
  });

  Deno.test(`readAll: several at once from ${name}, with allocations between, are each right`, async () => {
    using scratch = new BumpAlloc();
    const lengths = [100_000, 5, 300_000, 70_000];
    const reading = Promise.all(lengths.map((length, id) => scratch.readAll(make(pattern(length, id)))));
    const between = [];
    for (let i = 0; i < 20; i++) {
      between.push(scratch.alloc(1000));
      fillPattern(between[i], i);
      await new Promise((resolve) => setTimeout(resolve));
    }
    const read = await reading;
    read.forEach((bytes, id) => assertSameBytes(bytes, pattern(lengths[id], id)));
    between.forEach((bytes, id) => assert(patternHolds(bytes, id)));
  });
}

Deno.test("readAll: null and a missing body are an empty view with an address", async () => {
  using scratch = new BumpAlloc();
  for (const source of [null, new Request("http://localhost/"), new Response(null), new Blob([])]) {
    const view = await scratch.readAll(source);
    assertEquals([view.length, scratch.used], [0, 0]);
    assert(scratch.addressOf(view) > 0n);
  }
});

Deno.test("readAll: Deno's files, connections, and a process's output", async () => {
  await using scratch = new BumpAlloc();
  const bytes = pattern(150_000);
  await withFile(bytes, async (path) => {
    using file = await Deno.open(path);
    assertSameBytes(await scratch.readAll(file), bytes);
  });
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const accepting = listener.accept();
  const sender = await Deno.connect({ hostname: "127.0.0.1", port: listener.addr.port });
  using receiver = await accepting;
  const reading = scratch.readAll(receiver);
  for (let at = 0; at < bytes.length;) at += await sender.write(bytes.subarray(at));
  sender.close();
  assertSameBytes(await reading, bytes);
  const child = new Deno.Command(Deno.execPath(), { args: ["--version"], stdout: "piped" }).spawn();
  const output = await scratch.readAll(child.stdout);
  assert(new TextDecoder().decode(output).startsWith("deno "));
  await child.status;
});

Deno.test("readAll: a byte stream that fails while it is read, and between reads: its own error, and nothing is taken", async () => {
  using scratch = new BumpAlloc();
  for (const waits of [false, true]) {
    const reason = new Error("broken");
    let pulls = 0;
    const stream = new ReadableStream({
      type: "bytes",
      pull: async (controller) => {
        if (pulls++ === 0) return controller.enqueue(pattern(100));
        if (waits) await new Promise((resolve) => setTimeout(resolve, 1));
        controller.error(reason);
      },
    });
    assertEquals(await assertRejects(() => scratch.readAll(stream)), reason);
    assertEquals(scratch.used, 0);
  }
});

Deno.test("readAll: a source that fails after others allocated gives back its block, and only that", async () => {
  for (const makes of ["a stream", "a byte stream", "two at once"]) {
    using scratch = new BumpAlloc();
    const controllers: (ReadableStreamDefaultController<Uint8Array> | ReadableByteStreamController)[] = [];
    const start = (controller: typeof controllers[0]) => void controllers.push(controller);
    const make = () => new ReadableStream(makes === "a byte stream" ? { type: "bytes", start } : { start });
    const chunk = async (controller: typeof controllers[0]) => {
      controller.enqueue(pattern(60_000));
      await new Promise((resolve) => setTimeout(resolve, 1));
    };
    const reading = scratch.readAll(make());
    const second = makes === "two at once" ? scratch.readAll(make()) : null;
    await chunk(controllers[0]);
    if (second !== null) await chunk(controllers[1]);
    const between = scratch.alloc(100).fill(1);
    const { used } = scratch;
    await chunk(controllers[0]); // the block moves behind it
    assert(scratch.used > used);
    controllers[0].error(new Error("broken"));
    await assertRejects(() => reading, Error, "broken");
    assertEquals(scratch.used, used);
    scratch.alloc(200_000).fill(9);
    assert(between.every((byte) => byte === 1));
    if (second === null) continue;
    controllers[1].close();
    assertSameBytes(await second, pattern(60_000));
  }
});

testUnless(noGc, "readAll: a byte stream of many small chunks: no memory is kept of each", async () => {
  using scratch = new BumpAlloc();
  const heap = () => {
    gc!();
    return Deno.memoryUsage().heapUsed;
  };
  let pulls = 0;
  let before = 0;
  let after = 0;
  const bytes = await scratch.readAll(
    new ReadableStream({
      type: "bytes",
      pull: (controller) => {
        pulls++;
        if (pulls === 5000) before = heap();
        if (pulls === 25_000) after = heap();
        if (pulls < 25_000) return controller.enqueue(new Uint8Array(1));
        controller.close();
        controller.byobRequest?.respond(0);
      },
    }),
  );
  assertEquals(bytes.length, 24_999);
  assert(after - before < 2 ** 20, `${after - before} bytes`);
});

Deno.test("readAll: a source never sees the bytes of another one", async () => {
  using scratch = new BumpAlloc();
  await scratch.readAll(new Blob([new Uint8Array(65_536).fill(7)]));
  let seen = -1;
  await scratch.readAll(
    new ReadableStream({
      type: "bytes",
      pull: (controller) => {
        const request = controller.byobRequest!;
        seen = (request.view as Uint8Array).findIndex((byte) => byte !== 0);
        controller.close();
        request.respond(0);
      },
    }),
  );
  assertEquals(seen, -1);
});

Deno.test("readAll: a server's request, whose memory goes back with its lease", async () => {
  using pool = new BumpPool({ limit: 2 });
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    (request) =>
      pool.use(async (scratch) => {
        const body = await scratch.readAll(request, { limit: 1_000_000 });
        return new Response(body);
      }),
  );
  const url = `http://127.0.0.1:${server.addr.port}`;
  await using scratch = new BumpAlloc();
  const lengths = [...LENGTHS.slice(0, -1), 900_000, 0, 1, 65_536, 900_000];
  const answers = await Promise.all(lengths.map(async (length, id) => {
    return await scratch.readAll(await fetch(url, { method: "POST", body: pattern(length, id) }));
  }));
  answers.forEach((answer, id) => assertSameBytes(answer, pattern(lengths[id], id)));
  assertEquals(pool.stats().leased, 0);
});

Deno.test("readFileSync and readFile: any length, in an allocator and a scope, exactly its bytes", async () => {
  using scratch = new BumpAlloc();
  for (const length of LENGTHS) {
    const bytes = pattern(length);
    await withFile(bytes, async (path) => {
      using scope = scratch.scope();
      assertSameBytes(scope.readFileSync(path), bytes);
      assertEquals(scope.used, length);
      assertSameBytes(await scope.readFile(pathToFileURL(path)), bytes);
    });
  }
});

Deno.test("readFileSync and readFile: a file that fills the region to its last byte; one more is an error that takes nothing", async () => {
  await withFile(pattern(1 << 20), async (path) => {
    using exact = BumpAlloc.withSize(1 << 20);
    assertSameBytes(exact.readFileSync(path), pattern(1 << 20));
    exact.reset();
    assertSameBytes(await exact.readFile(path), pattern(1 << 20));
    using small = BumpAlloc.withSize(1 << 20);
    small.alloc(8);
    assertThrows(() => small.readFileSync(path), OutOfMemoryError);
    await assertRejects(() => small.readFile(path), OutOfMemoryError);
    assertEquals(small.used, 8);
  });
});

Deno.test("readFileSync and readFile: a missing file and a folder are Deno's own errors, and nothing is taken", async () => {
  using scratch = new BumpAlloc();
  const folder = Deno.makeTempDirSync();
  try {
    const missing = `${folder}/none`;
    assertThrows(() => scratch.readFileSync(missing), Deno.errors.NotFound);
    await assertRejects(() => scratch.readFile(missing), Deno.errors.NotFound);
    const [own, plain] = [() => scratch.readFileSync(folder), () => Deno.readFileSync(folder)].map((call) =>
      assertThrows(call)
    );
    assertEquals(own.constructor, plain.constructor);
    await assertRejects(() => scratch.readFile(folder), own.constructor as ErrorType);
    assertThrows(() => scratch.readFileSync("a\0b"));
    await assertRejects(() => scratch.readFile("a\0b"));
  } finally {
    Deno.removeSync(folder);
  }
  assertEquals(scratch.used, 0);
  scratch.alloc(8);
});

testUnless(
  Deno.build.os === "linux" ? null : "only Linux has /proc",
  "readFileSync, readFile and readAll: files of unknown size, in /proc",
  async () => {
    using scratch = new BumpAlloc();
    for (const path of ["/proc/self/status", "/proc/self/maps"]) {
      using file = await Deno.open(path);
      const texts = [scratch.readFileSync(path), await scratch.readFile(path), await scratch.readAll(file)];
      for (const text of texts) {
        assert(text.length > 500 && text.at(-1) === 10 && text.every((byte) => byte !== 0));
      }
    }
  },
);

Deno.test("a file that grows or shrinks while it is read is read to its end", async () => {
  await withFile(pattern(100_000), async (path) => {
    await using scratch = new BumpAlloc();
    using file = await Deno.open(path, { read: true, write: true });
    let turn = 0;
    const growing: ByteReader = {
      read: async (buffer) => {
        if (turn++ === 1) await Deno.writeFile(path, pattern(100_000), { append: true });
        return await file.read(buffer.subarray(0, 50_000));
      },
    };
    assertEquals((await scratch.readAll(growing)).length, 200_000);
    file.seekSync(0, Deno.SeekMode.Start);
    turn = 0;
    const shrinking: ByteReader = {
      read: async (buffer) => {
        if (turn++ === 1) await Deno.truncate(path, 60_000);
        return await file.read(buffer.subarray(0, 50_000));
      },
    };
    assertSameBytes(await scratch.readAll(shrinking), pattern(60_000));
  });
});

// ---- sources that misbehave --------------------------------------------------------------------

// deno-lint-ignore no-explicit-any -- errors are made of anything
type ErrorType = new (...args: any[]) => Error;

/** Reads from a source that fails. Checks that nothing stays taken and that the arena still works. */
async function rejects(source: ReadSource, type: ErrorType, part: string, options = {}): Promise<void> {
  using scratch = BumpAlloc.withSize(1 << 20);
  const check = async (arena: Scratch) => {
    const before = arena.alloc(100).fill(1);
    const { used } = arena;
    await assertRejects(() => arena.readAll(source, options), type, part);
    assertEquals(arena.used, used);
    arena.alloc(100).fill(2);
    assert(before.every((byte) => byte === 1));
  };
  await check(scratch);
}

Deno.test("readAll: a source that is locked, read before, cancelled, or not a source", async () => {
  const locked = new ReadableStream<Uint8Array>();
  locked.getReader();
  await rejects(locked, TypeError, "locked");
  const used = new Request("http://localhost/", { method: "POST", body: "x" });
  await used.text();
  await rejects(used, TypeError, "its body was read before");
  const half = new Response("x");
  half.body!.getReader();
  await rejects(half, TypeError, "locked");
  const cancelled = new ReadableStream<Uint8Array>();
  await cancelled.cancel();
  using scratch = new BumpAlloc();
  assertEquals((await scratch.readAll(cancelled)).length, 0);
  for (const wrong of [undefined, 7, "text", {}, [], new Uint8Array(3), () => {}, { read: 7 }]) {
    await rejects(wrong as never, TypeError, "Cannot read the source: it must be");
  }
  for (const options of [null, 7, { limit: -1 }, { limit: "1" }, { limit: 0.5 }, { signal: {} }, { signal: null }]) {
    const error = await assertRejects(() => scratch.readAll(null, options as never));
    assert(error instanceof TypeError || error instanceof RangeError);
  }
});

Deno.test("readAll: a source that fails in the middle: its error, and nothing stays taken", async () => {
  const error = new Deno.errors.ConnectionReset("gone");
  const failing = (type?: "bytes") => {
    let turn = 0;
    const pull = (controller: ReadableStreamDefaultController | ReadableByteStreamController) =>
      turn++ < 3 ? controller.enqueue(pattern(100_000)) : controller.error(error);
    return new ReadableStream<Uint8Array>(type === undefined ? { pull } : { type, pull } as never);
  };
  await rejects(failing(), Deno.errors.ConnectionReset, "gone");
  await rejects(failing("bytes"), Deno.errors.ConnectionReset, "gone");
  const iterable = async function* () {
    yield await Promise.resolve(pattern(100_000));
    throw error;
  };
  await rejects(iterable(), Deno.errors.ConnectionReset, "gone");
  let turn = 0;
  const reader: ByteReader = { read: (buffer) => turn++ < 3 ? Promise.resolve(buffer.length) : Promise.reject(error) };
  await rejects(reader, Deno.errors.ConnectionReset, "gone");
  await rejects(
    {
      read: () => {
        throw error;
      },
    },
    Deno.errors.ConnectionReset,
    "gone",
  );
});

/** Sources that count the calls of their cancel method. */
function watched(chunk: unknown): { source: ReadSource; cancelled: () => number }[] {
  let [stream, iterable] = [0, 0];
  return [
    {
      source: new ReadableStream({
        pull: (controller) => controller.enqueue(chunk as Uint8Array),
        cancel: () => void stream++,
      }),
      cancelled: () => stream,
    },
    {
      source: {
        [Symbol.asyncIterator]: () => ({
          next: async () => {
            await new Promise((resolve) => setTimeout(resolve));
            return { done: false, value: chunk as Uint8Array };
          },
          return: () => Promise.resolve({ done: true as const, value: void iterable++ }),
        }),
      },
      cancelled: () => iterable,
    },
  ];
}

Deno.test("readAll: sources with chunks that are no bytes, and endless sources, are refused and cancelled once", async () => {
  for (
    const chunk of [
      "text",
      7,
      null,
      undefined,
      {},
      new ArrayBuffer(8),
      new Uint16Array(8),
      new DataView(new ArrayBuffer(8)),
    ]
  ) {
    for (const { source, cancelled } of watched(chunk)) {
      if (chunk === null) continue; // only a stream or an iterator that has ended is at its end
      await rejects(source, TypeError, "its chunks must be Uint8Arrays");
      assertEquals(cancelled(), 1);
    }
  }
  for (const { source, cancelled } of watched(pattern(50_000))) {
    await rejects(source, OutOfMemoryError, "Cannot allocate");
    assertEquals(cancelled(), 1);
  }
  for (const { source, cancelled } of watched(pattern(50_000))) {
    await rejects(source, RangeError, "limit", { limit: 120_000 });
    assertEquals(cancelled(), 1);
  }
  await rejects({ read: (buffer) => Promise.resolve(buffer.length) }, OutOfMemoryError, "Cannot allocate");
});

Deno.test("readAll: a reader that reports an impossible number of bytes is refused", async () => {
  for (const wrong of [0, -1, 0.5, NaN, Infinity, 2 ** 40, "3", undefined, {}, 3n]) {
    await rejects({ read: () => Promise.resolve(wrong as number) }, TypeError, "it says that it read");
  }
});

Deno.test("readAll: chunks that are views of the same scratch memory are copied", async () => {
  using scratch = new BumpAlloc();
  const own = scratch.alloc(100_000);
  fillPattern(own, 5);
  const chunks = async function* () {
    yield await Promise.resolve(own.subarray(0, 40_000));
    const later = scratch.alloc(30_000); // behind the block, which then moves when it grows
    later.set(own.subarray(40_000, 70_000));
    yield later;
    yield own.subarray(70_000);
  };
  assertSameBytes(await scratch.readAll(chunks()), pattern(100_000, 5));
  assert(patternHolds(own, 5));
});

Deno.test("readAll: byte streams do not transfer scratch memory; a source that does is an error that says so", async () => {
  using scratch = new BumpAlloc();
  const before = scratch.alloc(1000).fill(1);
  let autoAllocated = 0;
  const stream = new ReadableStream<Uint8Array>({
    type: "bytes",
    autoAllocateChunkSize: 1000,
    pull: (controller: ReadableByteStreamController) => {
      const request = controller.byobRequest!;
      (request.view as Uint8Array).fill(7);
      if (autoAllocated++ === 5) controller.close();
      request.respond(autoAllocated > 5 ? 0 : 1000);
    },
  } as never);
  assertSameBytes(await scratch.readAll(stream), new Uint8Array(5000).fill(7));
  assertEquals(before.length, 1000);
  const taking: ((view: Uint8Array<ArrayBuffer>) => ReadSource)[] = [
    () => ({ read: (buffer) => Promise.resolve(buffer.buffer.transfer().byteLength > 0 ? 10 : null) }),
    () => ({ read: (buffer) => Promise.resolve(buffer.buffer.transfer().byteLength > 0 ? null : 10) }),
    async function* (view) {
      yield await Promise.resolve(new Uint8Array(10));
      structuredClone(view, { transfer: [view.buffer] });
      yield new Uint8Array(10);
    },
  ];
  for (const source of taking) {
    using lost = new BumpAlloc();
    const view = lost.alloc(10);
    await assertRejects(() => lost.readAll(source(view)), DetachedError);
    lost.reset();
    assertEquals(lost.alloc(8).length, 8);
  }
});

// ---- aborts, pins, ends ------------------------------------------------------------------------

/** A promise that settles when told. */
function gate(): { promise: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { promise, open: resolve };
}

Deno.test("an abort before: the promise rejects with the reason, and the source is not touched", async () => {
  using scratch = new BumpAlloc();
  const reason = new Error("enough");
  const options = { signal: AbortSignal.abort(reason) };
  let touched = 0;
  const source: ByteReader = { read: () => Promise.resolve(++touched) };
  const calls = [
    () => scratch.readAll(source, options),
    () => scratch.readAll(null, options),
    () => scratch.readFile("/nowhere", options),
  ];
  for (const call of calls) assertEquals(await assertRejects(call), reason);
  assertEquals([touched, scratch.used], [0, 0]);
});

Deno.test("an abort during: a waiting stream is cancelled, and its memory is free at once", async () => {
  for (let kind = 0; kind < 3; kind++) {
    using scratch = new BumpAlloc();
    const controller = new AbortController();
    const { signal } = controller;
    let cancelled: unknown;
    let pulls = 0;
    const waiting = gate();
    const stream = {
      pull: (controller: ReadableByteStreamController | ReadableStreamDefaultController<Uint8Array>) => {
        if (pulls++ === 0) controller.enqueue(pattern(100_000));
        else waiting.open();
      },
      cancel: (reason: unknown) => void (cancelled = reason),
    };
    const source: ReadSource = kind === 0
      ? new ReadableStream<Uint8Array>(stream)
      : kind === 1
      ? new ReadableStream({ ...stream, type: "bytes" })
      : {
        [Symbol.asyncIterator]: () => ({
          next: () => {
            if (pulls++ === 0) return Promise.resolve({ done: false, value: pattern(100_000) });
            waiting.open();
            return new Promise<IteratorResult<Uint8Array>>(() => {}); // for ever
          },
          return: () => Promise.resolve({ done: true, value: cancelled = signal.reason }),
        }),
      };
    const reading = scratch.readAll(source, { signal });
    await waiting.promise;
    assertThrows(() => scratch.reset(), PinnedError);
    const reason = new Error("enough");
    controller.abort(reason);
    assertEquals(await assertRejects(() => reading), reason);
    assertEquals([cancelled, scratch.used], [reason, 0]);
    scratch.close(); // no pin is left
  }
});

Deno.test("an abort during a read that writes by itself: rejected at once, and pinned until the read has ended", async () => {
  using scratch = new BumpAlloc();
  const controller = new AbortController();
  const [begun, end] = [gate(), gate()];
  let target!: Uint8Array;
  const source: ByteReader = {
    read: async (buffer) => {
      target = buffer;
      begun.open();
      await end.promise;
      buffer.fill(7);
      return buffer.length;
    },
  };
  const reading = scratch.readAll(source, { signal: controller.signal });
  await begun.promise;
  controller.abort();
  await assertRejects(() => reading, DOMException);
  assertThrows(() => scratch.reset(), PinnedError);
  assertThrows(() => scratch.close(), PinnedError);
  const other = scratch.alloc(1000).fill(1);
  assertEquals(target.length, 65536);
  end.open();
  await scratch.pin(Promise.resolve());
  await new Promise((resolve) => setTimeout(resolve));
  assert(other.every((byte) => byte === 1));
  scratch.reset();
  assertEquals(scratch.used, 0);
});

Deno.test("an abort during readFile, and after everything", async () => {
  await withFile(pattern(3_000_000), async (path) => {
    await using scratch = new BumpAlloc();
    const controller = new AbortController();
    const reading = scratch.readFile(path, { signal: controller.signal });
    controller.abort(new Error("enough"));
    await assertRejects(() => reading, Error, "enough");
    await new Promise((resolve) => setTimeout(resolve, 50));
    const later = new AbortController();
    const read = await scratch.readFile(path, { signal: later.signal });
    const body = await scratch.readAll(new Blob([pattern(10)]), { signal: later.signal });
    later.abort();
    assertSameBytes(read, pattern(3_000_000));
    assertSameBytes(body, pattern(10));
  });
});

testUnless(
  missing("mkfifo"),
  "an abort of readFile on a pipe without a writer: rejected at once, pinned until the read has ended",
  async () => {
    const folder = Deno.makeTempDirSync();
    const path = `${folder}/pipe`;
    assert(succeeds(["mkfifo", path]));
    const writer = Deno.openSync(path, { read: true, write: true });
    using scratch = new BumpAlloc();
    const controller = new AbortController();
    const reading = scratch.readFile(path, { signal: controller.signal });
    // The read waits for bytes by now, or soon.
    setTimeout(() => controller.abort(new Error("enough")), 100);
    await assertRejects(() => reading, Error, "enough");
    assertThrows(() => scratch.reset(), PinnedError);
    writer.writeSync(new Uint8Array(10));
    writer.close();
    await until(() => {
      try {
        scratch.reset();
        return true;
      } catch {
        return false;
      }
    });
    Deno.removeSync(folder, { recursive: true });
  },
);

Deno.test("ends while a read runs: PinnedError, await using waits, an open scope prevents growth", async () => {
  using scratch = new BumpAlloc();
  const begun = gate();
  const chunks = gate();
  let reading!: Promise<Uint8Array>;
  const slow = async function* () {
    yield pattern(1000);
    begun.open();
    await chunks.promise;
    yield pattern(70_000);
  };
  {
    await using scope = scratch.scope();
    reading = scope.readAll(slow());
    await begun.promise;
    assertThrows(() => scope.end(), PinnedError);
    assertThrows(() => scratch.reset(), PinnedError);
    assertThrows(() => scratch.close(), PinnedError);
    chunks.open();
  }
  assertEquals([(await reading).length, scratch.used], [0, 0]); // its scope has ended
  const inner = gate();
  reading = scratch.readAll((async function* () {
    yield pattern(1000);
    await inner.promise;
    yield pattern(70_000);
  })());
  await new Promise((resolve) => setTimeout(resolve));
  {
    using _scope = scratch.scope();
    inner.open();
    await assertRejects(() => reading, ScopeError);
  }
  // A body that fits needs no growth; it is only not cut while the scope is open.
  const small = gate();
  const fits = scratch.readAll((async function* () {
    yield pattern(1000);
    await small.promise;
  })());
  await new Promise((resolve) => setTimeout(resolve));
  using _scope = scratch.scope();
  small.open();
  assertSameBytes(await fits, pattern(1000));
});

Deno.test("reading into an ended arena, or while a scope is open, is refused, and the source is not touched", async () => {
  const scratch = new BumpAlloc();
  const scope = scratch.scope();
  const stream = streamOf(pattern(100));
  await assertRejects(() => scratch.readAll(stream), ScopeError);
  assertThrows(() => scratch.readFileSync("/nowhere"), ScopeError);
  scope.end();
  await assertRejects(() => scope.readAll(stream), ClosedError);
  await assertRejects(() => scope.readFile("/nowhere"), ClosedError);
  scratch.close();
  await assertRejects(() => scratch.readAll(stream), ClosedError);
  assertThrows(() => scratch.readFileSync("/nowhere"), ClosedError);
  assertEquals(stream.locked, false);
});

Deno.test("no permission to read: Deno's own error", async () => {
  const program = `import { BumpAlloc } from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};
const scratch = new BumpAlloc();
Deno.permissions.revokeSync({ name: "read" });
for (const call of [() => scratch.readFileSync("/etc/hosts"), () => scratch.readFile("/etc/hosts")]) {
  try { await call(); console.log("read"); } catch (error) { console.log(error.constructor.name, scratch.used); }
}`;
  const path = Deno.makeTempFileSync({ suffix: ".ts" });
  Deno.writeTextFileSync(path, program);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args: ["run", "-A", "--no-prompt", path] })
    .output();
  Deno.removeSync(path);
  assertEquals(new TextDecoder().decode(stdout), "NotCapable 0\nNotCapable 0\n", new TextDecoder().decode(stderr));
});
