import { checkSize, describe, signalOf } from "./check.ts";
import { formatBytes } from "./format.ts";
import { cut, drop, grow, type Place } from "./growing.ts";
import type { Scratch } from "./scratch.ts";

/**
 * The sources that {@linkcode Scratch.readAll} accepts. Deno's files and connections have `read`; `null` is a missing
 * body.
 *
 * @example A request's body, a process's output, a file
 * ```ts
 * import { BumpAlloc, type ReadSource } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * await using scratch = new BumpAlloc();
 * const sources: ReadSource[] = [new Request("http://x/", { method: "POST", body: "one" }), new Blob(["two"]), null];
 * for (const source of sources) await scratch.readAll(source);
 * assertEquals(scratch.used, 11); // three bytes each; the second block begins at a multiple of eight
 * ```
 */
export type ReadSource =
  | ReadableStream<Uint8Array>
  | Request
  | Response
  | Blob
  | AsyncIterable<Uint8Array>
  | ByteReader
  | null;

/**
 * An object with Deno's `read`, such as `Deno.FsFile`, `Deno.Conn` or `Deno.stdin`.
 *
 * @example Your own source
 * ```ts
 * import { BumpAlloc, type ByteReader } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * let left = 3;
 * const threeOnes: ByteReader = {
 *   read: (buffer) => Promise.resolve(left-- > 0 ? (buffer[0] = 1) : null),
 * };
 * await using scratch = new BumpAlloc();
 * assertEquals([...await scratch.readAll(threeOnes)], [1, 1, 1]);
 * ```
 */
export interface ByteReader {
  /** Writes bytes to the beginning of `buffer`. Returns their number, at least 1, or null at the end. */
  read(buffer: Uint8Array<ArrayBuffer>): Promise<number | null>;
}

/**
 * Options of {@linkcode Scratch.readFile}.
 *
 * @example Give up after a second
 * ```ts
 * import { BumpAlloc, type ReadFileOptions } from "@bump/alloc";
 *
 * const options: ReadFileOptions = { signal: AbortSignal.timeout(1000) };
 * await using scratch = new BumpAlloc();
 * const bytes = await scratch.readFile(new URL(import.meta.url), options);
 * ```
 */
export interface ReadFileOptions {
  /** Aborts reading: the promise is rejected with the signal's reason. */
  signal?: AbortSignal;
}

/**
 * Options of {@linkcode Scratch.readAll}.
 *
 * @example At most a megabyte
 * ```ts
 * import { BumpAlloc, type ReadAllOptions } from "@bump/alloc";
 * import { assertRejects } from "@std/assert";
 *
 * const options: ReadAllOptions = { limit: 1_000_000 };
 * await using scratch = new BumpAlloc();
 * await assertRejects(() => scratch.readAll(new Blob(["x".repeat(1_000_001)]), options), RangeError);
 * ```
 */
export interface ReadAllOptions extends ReadFileOptions {
  /** Most bytes that the source may have; default: as many as fit. */
  limit?: number;
}

/** First block for a source of unknown size. Most files and bodies fit. */
const FIRST_BLOCK = 65536;

/** Chunk size of Deno's own streams. */
const CHUNK = 65536;

/** Buffers for byte streams, which fill them and give them back. */
const spares: ArrayBuffer[] = [];
const MOST_SPARES = 16;

/**
 * Spare room for one more read when the block is full. Usually that read finds the end, so that the block need not
 * grow.
 */
const PROBE = 512;

/** Reads a file. */
export function readFileSync(scratch: Scratch, path: string | URL): Uint8Array<ArrayBuffer> {
  const block = new Block(scratch, "read the file");
  const file = Deno.openSync(path);
  try {
    for (let read: number | null; (read = file.readSync(block.rest())) !== null;) {
      if (block.filled(read)) block.expect(file.statSync().size);
    }
    return block.finish();
  } catch (error) {
    block.drop();
    throw error;
  } finally {
    file.close();
  }
}

/** Reads a file in the background. */
export async function readFile(
  scratch: Scratch,
  path: string | URL,
  options: ReadFileOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const signal = signalOf(options, "read the file");
  const block = new Block(scratch, "read the file");
  const reading = async () => {
    const file = await Deno.open(path);
    try {
      await fill(block, file, signal, async () => (await file.stat()).size);
    } finally {
      file.close();
    }
  };
  return await finished(block, { reading, writesItself: true }, signal);
}

/** Reads a source to its end. */
export async function readAll(
  scratch: Scratch,
  source: ReadSource,
  options: ReadAllOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const signal = signalOf(options, "read the source");
  const { limit = Infinity } = options;
  if (limit !== Infinity) checkSize(limit, "read the source", "limit");
  const block = new Block(scratch, "read the source", limit);
  return await finished(block, workOn(source, block, signal), signal);
}

/** Reading one source into a block. */
interface Work {
  reading(): Promise<void>;
  /** Whether the source writes to the block itself. It may do so until `reading` has ended, even after an abort. */
  readonly writesItself: boolean;
}

/** Throws if this is not a source, or if it is being read already. */
function workOn(source: ReadSource, block: Block, signal: AbortSignal | undefined): Work {
  if (source === null) return { reading: () => Promise.resolve(), writesItself: false };
  if (source instanceof Request || source instanceof Response) {
    if (source.bodyUsed) throw new TypeError("Cannot read the source: its body was read before");
    const length = source.headers.get("content-length");
    const isSmall = length !== null && Number(length) < CHUNK;
    return source.body === null ? workOn(null, block, signal) : workOnStream(source.body, isSmall, block, signal);
  }
  if (source instanceof Blob) {
    block.expect(source.size);
    return workOnStream(source.stream(), false, block, signal);
  }
  if (source instanceof ReadableStream) return workOnStream(source, false, block, signal);
  if (typeof source === "object" && Symbol.asyncIterator in source) {
    const iterator = source[Symbol.asyncIterator]();
    return copying(nextOf(() => iterator.next()), () => iterator.return?.(), block, signal);
  }
  if (typeof source === "object" && typeof source.read === "function") {
    return { reading: () => fill(block, source, signal), writesItself: true };
  }
  throw new TypeError(
    "Cannot read the source: it must be a stream, Request, Response, Blob, an async iterable of bytes, or have `read`",
  );
}

/**
 * Reading a stream. Byte streams fill a buffer of ours: for a default reader Deno makes a new one for each chunk, which
 * costs five times as much. It cannot be the scratch memory, because such a read transfers the buffer. Small bodies have
 * often arrived as a whole. Then they are no byte streams, and asking for one throws, which costs more than the body.
 */
function workOnStream(
  stream: ReadableStream<Uint8Array>,
  isSmall: boolean,
  block: Block,
  signal: AbortSignal | undefined,
): Work {
  // Keep the lock: releasing it makes an error object, which costs more than a small body, and nothing else reads the
  // stream.
  const byteReader = isSmall ? null : byteReaderOf(stream);
  if (byteReader !== null) return copying(nextInto(byteReader), (reason) => byteReader.cancel(reason), block, signal);
  const reader = stream.getReader();
  return copying(nextOf(() => reader.read()), (reason) => reader.cancel(reason), block, signal);
}

/** Copying chunks: the source does not write to the block itself. */
function copying(
  next: () => Promise<unknown>,
  cancel: (reason: unknown) => unknown,
  block: Block,
  signal: AbortSignal | undefined,
): Work {
  return { reading: () => collect(block, next, cancel, signal), writesItself: false };
}

/** Reads chunks, and gives null at the end. */
function nextOf(
  read: () => Promise<IteratorResult<unknown> | ReadableStreamReadResult<unknown>>,
): () => Promise<unknown> {
  return async () => {
    const { done, value } = await read();
    return done ? null : value;
  };
}

/** Returns null if the stream is not a byte stream, or is locked. */
function byteReaderOf(stream: ReadableStream<Uint8Array>): ReadableStreamBYOBReader | null {
  try {
    return stream.getReader({ mode: "byob" });
  } catch {
    return null;
  }
}

/** Reads chunks into one buffer: each is overwritten by the next. */
function nextInto(reader: ReadableStreamBYOBReader): () => Promise<Uint8Array | null> {
  type Result = ReadableStreamReadResult<Uint8Array<ArrayBuffer>>;
  let buffer = spares.pop() ?? new ArrayBuffer(CHUNK);
  let close = (_: Result) => {};
  // A source may close the stream without answering a pending read, which then stays pending. A read that gets the last
  // bytes settles right behind `closed`, and must win.
  const wait = async () => {
    try {
      await reader.closed;
      for (let i = 0; i < 3; i++) await null;
      close({ done: true, value: undefined });
    } catch { /* the read is rejected too */ }
  };
  void wait();
  return async () => {
    // Not Promise.race: `closed` would keep something of each read until the stream ends.
    const { done, value } = await new Promise<Result>((resolve, reject) => {
      close = resolve;
      reader.read(new Uint8Array(buffer)).then(resolve, reject);
    });
    if (value !== undefined) buffer = value.buffer;
    if (!done) return value;
    if (value !== undefined && spares.length < MOST_SPARES) {
      new Uint8Array(buffer).fill(0); // a source of the program may look at it
      spares.push(buffer);
    }
    return null;
  };
}

/** Copies chunks to the block until `next` gives null. Calls `cancel` after an error, and when the signal aborts. */
async function collect(
  block: Block,
  next: () => Promise<unknown>,
  cancel: (reason: unknown) => unknown,
  signal: AbortSignal | undefined,
): Promise<void> {
  const stop = async (reason: unknown) => {
    try {
      await cancel(reason);
    } catch { /* the first error is the one to report */ }
  };
  const abort = () => void stop(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    for (let chunk: unknown; (chunk = await next()) !== null && !signal?.aborted;) block.add(chunk);
  } catch (error) {
    if (!signal?.aborted) void stop(error);
    throw error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

/** Lets the source write to the block until it gives null. `size` is called once, when the first block is full. */
async function fill(
  block: Block,
  source: ByteReader,
  signal: AbortSignal | undefined,
  size?: () => Promise<number>,
): Promise<void> {
  for (let read: number | null; (read = await source.read(block.rest())) !== null && !signal?.aborted;) {
    if (block.filled(read) && size !== undefined) block.expect(await size());
  }
}

/** Waits for the work and returns the block. The memory is pinned for as long as the source may write to it. */
async function finished(
  block: Block,
  { reading, writesItself }: Work,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const aborted = signal && Promise.withResolvers<never>();
  const abort = () => aborted!.reject(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  const orAborted = <T>(promise: Promise<T>) =>
    aborted === undefined ? promise : Promise.race([promise, aborted.promise]);
  const work = async () => {
    try {
      await (writesItself ? reading() : orAborted(reading()));
      signal?.throwIfAborted();
      return block.finish();
    } catch (error) {
      block.drop();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  };
  return await orAborted(block.scratch.pin(work()));
}

/** A block that is filled from its beginning, grows when it is full, and is cut to its contents at the end. */
class Block {
  readonly scratch: Scratch;
  readonly #what: string;
  readonly #limit: number;
  readonly #place: Place;
  /** Length of `#bytes`; they have length 0 once their memory is gone. */
  #size = 0;
  #length = 0;
  #probe: Uint8Array<ArrayBuffer> | null = null;
  #isProbing = false;
  #wasFull = false;

  constructor(scratch: Scratch, what: string, limit: number = Infinity) {
    this.scratch = scratch;
    this.#what = what;
    this.#limit = limit;
    const block = scratch.alloc(0); // throws if nothing can be allocated here
    this.#place = { block, before: scratch.mark() };
  }

  get #bytes(): Uint8Array<ArrayBuffer> {
    return this.#place.block;
  }

  /** The free rest of the block, at least one byte. */
  rest(): Uint8Array<ArrayBuffer> {
    this.#checkThere();
    if (this.#size === 0) this.#place.before = this.scratch.mark();
    for (let size = Math.min(FIRST_BLOCK, this.#limit); this.#size === 0 && size >= 1; size = Math.floor(size / 2)) {
      this.#place.block = this.scratch.tryAlloc(size) ?? this.#bytes;
      this.#size = this.#bytes.length;
    }
    this.#isProbing = this.#length === this.#size;
    if (this.#isProbing) return this.#probe ??= new Uint8Array(PROBE);
    return this.#length === 0 ? this.#bytes : this.#bytes.subarray(this.#length);
  }

  /** Records how many bytes were read into `rest()`. Returns true when the block is full for the first time. */
  filled(read: number): boolean {
    this.#checkThere();
    const most = this.#isProbing ? PROBE : this.#size - this.#length;
    if (!(Number.isInteger(read) && read > 0 && read <= most)) {
      throw new TypeError(`Cannot ${this.#what}: it says that it read ${read} bytes into a buffer of ${most}`);
    }
    if (this.#isProbing) this.add(this.#probe!.subarray(0, read));
    else this.#length += read;
    if (this.#wasFull || this.#length < this.#size) return false;
    return this.#wasFull = true;
  }

  /** Appends a copy of a chunk. */
  add(chunk: unknown): void {
    if (!(chunk instanceof Uint8Array)) {
      throw new TypeError(`Cannot ${this.#what}: its chunks must be Uint8Arrays, and one is ${describe(chunk)}`);
    }
    const end = this.#length + chunk.length;
    if (end > this.#limit) {
      throw new RangeError(
        `Cannot ${this.#what}: it has more than the ${formatBytes(this.#limit)} that \`limit\` allows`,
      );
    }
    this.#checkThere();
    if (end > this.#size) this.#grow(end, Math.max(2 * this.#size, FIRST_BLOCK));
    this.#bytes.set(chunk, this.#length);
    this.#length = end;
  }

  /** Makes room for `byteLength` bytes in all, if the region has it. */
  expect(byteLength: number): void {
    const size = Math.min(byteLength, this.#limit);
    if (size > this.#size) this.#grow(this.#size + 1, size);
  }

  #grow(least: number, preferred: number): void {
    grow(this.scratch, this.#place, least, Math.min(preferred, this.#limit));
    this.#size = this.#bytes.length;
  }

  /** Cuts the block to what was read. */
  finish(): Uint8Array<ArrayBuffer> {
    this.#checkThere();
    return cut(this.scratch, this.#bytes, this.#length);
  }

  /** Gives the block back, if nothing was allocated behind it. */
  drop(): void {
    drop(this.scratch, this.#place);
  }

  /** Throws when the block was transferred away, or taken back and possibly reused. */
  #checkThere(): void {
    if (this.#bytes.length === this.#size) return;
    this.scratch.alloc(0); // throws the error that says why
    throw new TypeError(`Cannot ${this.#what}: the memory for it was taken back meanwhile`);
  }
}
