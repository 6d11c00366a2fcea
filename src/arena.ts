import { checkAlign, checkSize, checkView, describe } from "./check.ts";
import {
  ClosedError,
  DetachedError,
  isCalledByUsers,
  OutOfMemoryError,
  PinnedError,
  rangeError,
  ScopeError,
  typeError,
} from "./errors.ts";
import { formatBytes } from "./format.ts";
import { checkOutType, makeOut, type Out, OUT_SIZE, type OutType } from "./out.ts";
import { ignoreRevocation, isDetached, lengthOf, POISON, type Region, sharedRefusal, WINDOW_ALIGN } from "./region.ts";
import { arrayFrom, viewArray } from "./arrays.ts";
import {
  readAll,
  type ReadAllOptions,
  readFile,
  type ReadFileOptions,
  readFileSync,
  type ReadSource,
} from "./reading.ts";
import type { Copied, ElementOf, Mark, Scratch, TypedArray, TypedArrayConstructor } from "./scratch.ts";
import { cstring16, cstringArray } from "./text.ts";
import { encodeInto, SHORT_TEXT, utf8Length, writeLong, writeShort } from "./utf8.ts";
import { arrayBuffer, arrayByteLength, arrayByteOffset, bytesOf, typedArrayName, viewType } from "./views.ts";
import { BumpWriter, type BumpWriterOptions } from "./writer.ts";

/**
 * Positions in a window stay below this, so that they are small integers and the bit operations of
 * the fast path are exact. A window that is larger serves one large block.
 */
const MAX_POSITION = 2 ** 30;

/** Above every position of a cursor that the fast path may move. */
const NO_FLOOR = MAX_POSITION + 1;

/** Below every position, also those that the fast path's bit operations make negative: of a cursor beyond 2^31. */
const NO_LIMIT = -(2 ** 31);

const DEFAULT_ALIGN = 8;

// What the rest of the package may do with an arena and users may not: set in the static blocks below.
export let bindArena: (arena: ScratchArena, region: Region, options: ArenaOptions) => void;
/** What an arena says about itself. */
export let arenaState: (arena: ScratchArena) => ArenaState;
/** Throws a `ClosedError` when the arena is closed. */
export let checkArena: (arena: ScratchArena, what: string) => void;
/** Says that pages were given back, so that used bytes below the cursor have to be noted again. */
export let forgetNoted: (arena: ScratchArena) => void;
/** Takes all memory of an allocator back. */
export let rewindArena: (arena: ScratchArena) => void;
/** Ends an allocator and its scopes, but not its region. */
export let closeArena: (arena: ScratchArena) => void;
/** Waits for the pinned promises of an arena and its scopes. */
export let settlePins: (arena: ScratchArena) => Promise<void>;
/** Ends a scope. */
let endArena: (arena: ScratchArena) => void;
let newScope: () => BumpScope;
/** Throws when `this` of a method is no arena. */
let checkReceiver: (arena: ScratchArena, what: string) => void;

/** How an arena treats memory. */
export interface ArenaOptions {
  readonly zero: boolean;
  readonly poison: boolean;
}

/** Who has it may construct an arena. */
export const ARENA_KEY = {};

// Taken once: a program may replace the global ones, by classes that allocate.
const { DataView: OwnDataView, Uint8Array: OwnUint8Array } = globalThis;

/** What stands for the window of an arena that has none. */
const NO_WINDOW = new ArrayBuffer(0);

/**
 * What {@linkcode BumpAlloc} and {@linkcode BumpScope} have in common: the methods that allocate. It
 * cannot be constructed; make a `BumpAlloc`.
 *
 * | operation | cost |
 * |---|---|
 * | `alloc`, `tryAlloc`, `view` | that of `new Uint8Array(buffer, offset, length)` |
 * | `offset`, `mark`, `rewind` | a few instructions (`deno task bench:allocation`) |
 * | `allocZeroed` | `alloc`, and clearing what was used before |
 * | `realloc` | `alloc` when in place, else a copy |
 *
 * @example For a function that takes any allocator or scope
 * ```ts
 * import { BumpAlloc, ScratchArena } from "@bump/alloc";
 * import { assert } from "@std/assert";
 *
 * using scratch = new BumpAlloc();
 * using scope = scratch.scope();
 * assert(scratch instanceof ScratchArena && scope instanceof ScratchArena);
 * ```
 */
export abstract class ScratchArena implements Scratch {
  // The fast path reads these. Positions count from the window's first byte.
  #cursor = 0;
  /** The fast path serves what ends here or before; below 0 every request goes to the slow path. */
  #limit = NO_LIMIT;
  /** As `#limit` for `offset`, which makes no view that would fail: -1 when the window may have been transferred away. */
  #sureLimit = -1;
  /**
   * The fast path rewinds to here or above: where the scope or the lease begins in the window, or 0. What lies below
   * is somebody else's. Above every position while the slow path must rewind.
   */
  #floor = NO_FLOOR;
  #buffer: ArrayBuffer = NO_WINDOW;
  /** All bytes of the window, once a C string was written there. */
  #bytes: Uint8Array | null = null;
  /** Offset of the window in the region. */
  #base = 0;

  /** The region knows that everything below this position of the window was used; 0 when in doubt. */
  #noted = 0;

  #region!: Region;
  #depth = 0;
  /** Index of the lease that the cursor is in. */
  #lease = 0;
  /** Where this arena began, to return to. */
  #startOffset = 0;
  #startLease = 0;
  #parent: ScratchArena | null = null;
  #child: ScratchArena | null = null;
  #zero = false;
  #poison = false;
  #closed = true;
  #pins: Set<Promise<unknown>> | null = null;

  /** Throws a `TypeError`: make a `BumpAlloc`, or open a scope of one. */
  protected constructor(key: object) {
    if (key !== ARENA_KEY) throw typeError("Cannot construct this: make a BumpAlloc, or open a scope of one");
  }

  /**
   * Allocates `byteLength` uninitialised bytes at an address that is a multiple of `align`.
   *
   * The bytes are whatever was there before, as with `Buffer.allocUnsafe`. A size of 0 gives an
   * empty view with a valid address (aligned up to 4096) and takes no space.
   *
   * @param byteLength Bytes, a safe integer from 0 on.
   * @param align Bytes, a power of two up to the capacity; default 8.
   * @throws {OutOfMemoryError} The region has not that many bytes left; nothing has moved.
   *
   * @example Scratch memory for a block
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const bytes = scratch.alloc(1024, 64);
   * assertEquals(bytes.length, 1024);
   * assertEquals(scratch.addressOf(bytes) % 64n, 0n);
   * ```
   */
  alloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer> {
    try {
      const mask = align === undefined ? 7 : maskOf(align);
      if ((byteLength | 0) === byteLength && byteLength > 0 && mask >= 0) {
        const start = (this.#cursor + mask) & ~mask;
        const end = start + byteLength;
        if (end <= this.#limit) {
          const view = new OwnUint8Array(this.#buffer, start, byteLength);
          this.#cursor = end;
          return view;
        }
      }
    } catch {
      // The window was transferred away, or an argument is no number: the slow path says so.
    }
    checkReceiver(this, "allocate");
    const start = this.#take(byteLength, align, "allocate");
    return new OwnUint8Array(this.#buffer, start, byteLength);
  }

  /**
   * Allocates `byteLength` zero bytes. Fresh pages are known to be zero, so only bytes that were used before
   * are cleared.
   *
   * @example A table that starts empty
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assert } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * scratch.alloc(256).fill(1);
   * scratch.reset();
   * assert(scratch.allocZeroed(256).every((byte) => byte === 0));
   * ```
   */
  allocZeroed(byteLength: number, align?: number): Uint8Array<ArrayBuffer> {
    checkReceiver(this, "allocate");
    const start = this.#take(byteLength, align, "allocate");
    if (!this.#zero) this.#clear(start, byteLength);
    return new OwnUint8Array(this.#buffer, start, byteLength);
  }

  /**
   * As {@linkcode ScratchArena.alloc}, but gives `null` when the region is full.
   *
   * @example Fall back to the garbage-collected heap
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = BumpAlloc.withSize(65536);
   * const bytes = scratch.tryAlloc(1 << 20) ?? new Uint8Array(1 << 20);
   * assertEquals(bytes.length, 1 << 20);
   * assertEquals(scratch.used, 0);
   * ```
   */
  tryAlloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer> | null {
    checkReceiver(this, "allocate");
    const start = this.#tryTake(byteLength, align, "allocate");
    return start < 0 ? null : new OwnUint8Array(this.#buffer, start, byteLength);
  }

  /**
   * Allocates a typed array of `length` uninitialised elements. What the constructor of a class of your own throws reaches
   * you, and its memory stays taken.
   *
   * @example Numbers for a computation
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const samples = scratch.allocArray(Float64Array, 1000);
   * samples.fill(0.5);
   * assertEquals(samples.byteLength, 8000);
   * ```
   */
  allocArray<T>(type: TypedArrayConstructor<T>, length: number): T {
    const size = type?.BYTES_PER_ELEMENT;
    // A power of two up to eight: what a class says of itself must not move the cursor back.
    if (typeof type !== "function" || !(size === 8 || size === 4 || size === 2 || size === 1)) {
      throw typeError("Cannot allocate: the type must be a typed array constructor");
    }
    if (typeof length === "number" && (length | 0) === length && length > 0) {
      try {
        // `detached` first: a program may have put a getter of its own there, which may allocate.
        if (!this.#buffer.detached) {
          const start = (this.#cursor + 7) & -8;
          const end = start + length * size;
          if (end <= this.#limit) {
            // Before the constructor runs, which may be a caller's and may allocate, and even reset and throw: so nothing is undone.
            this.#cursor = end;
            return new type(this.#buffer, start, length);
          }
        }
      } catch (error) {
        checkReceiver(this, "allocate");
        throw error;
      }
    }
    checkReceiver(this, "allocate");
    checkSize(length, "allocate", "length");
    const start = this.#take(length * size, undefined, "allocate");
    return new type(this.#buffer, start, length);
  }

  /**
   * Allocates `byteLength` uninitialised bytes as a `DataView`: for structs.
   *
   * @example A C struct { int32_t x; double y; }
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const point = scratch.allocView(16);
   * point.setInt32(0, 7, true);
   * point.setFloat64(8, 0.5, true);
   * assertEquals(point.getInt32(0, true), 7);
   * ```
   */
  allocView(byteLength: number, align?: number): DataView<ArrayBuffer> {
    checkReceiver(this, "allocate");
    const start = this.#take(byteLength, align, "allocate");
    return new OwnDataView(this.#buffer, start, byteLength);
  }

  /**
   * As {@linkcode ScratchArena.allocArray}, with zeros.
   *
   * @example Counters
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const counts = scratch.allocArrayZeroed(Uint32Array, 256);
   * for (const byte of [1, 2, 1]) counts[byte]++;
   * assertEquals([counts[0], counts[1]], [0, 2]);
   * ```
   */
  allocArrayZeroed<T>(type: TypedArrayConstructor<T>, length: number): T {
    const size = type?.BYTES_PER_ELEMENT;
    if (typeof type !== "function" || !(size === 8 || size === 4 || size === 2 || size === 1)) {
      throw typeError("Cannot allocate: the type must be a typed array constructor");
    }
    checkSize(length, "allocate", "length");
    const { byteOffset } = this.allocZeroed(length * size);
    return new type(this.#buffer, byteOffset, length);
  }

  /**
   * As {@linkcode ScratchArena.allocView}, with zeros: for structs of which only some fields are set, as C's `calloc`.
   *
   * @example A struct with reserved fields
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const struct = scratch.allocViewZeroed(24);
   * struct.setUint32(0, 24, true); // its size
   * assertEquals(struct.getBigUint64(16, true), 0n);
   * ```
   */
  allocViewZeroed(byteLength: number, align?: number): DataView<ArrayBuffer> {
    const { byteOffset } = this.allocZeroed(byteLength, align);
    return new OwnDataView(this.#buffer, byteOffset, byteLength);
  }

  /**
   * A typed array of these values: of an array, another typed array, or any iterable. They are converted as typed arrays do, and
   * may be endless: then the region is full at some point. Where one throws, nothing stays taken.
   *
   * @example Of a set, and of another type
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const ids = scratch.arrayFrom(Uint32Array, new Set([3, 1, 3]));
   * const floats = scratch.arrayFrom(Float64Array, ids);
   * assertEquals([...floats], [3, 1]);
   * ```
   */
  arrayFrom<T>(type: TypedArrayConstructor<T>, values: ArrayLike<ElementOf<T>> | Iterable<ElementOf<T>>): T {
    return arrayFrom(this, type, values);
  }

  /**
   * Copies a typed array or `DataView` into own memory: same type, same elements. Of a buffer it copies the bytes.
   *
   * @example Keep what a callback shows only for a moment
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const kept = scratch.copy(new Uint16Array([1, 2, 3]));
   * assertEquals([...kept], [1, 2, 3]);
   * assertEquals(scratch.owns(kept), true);
   * ```
   */
  copy<T extends ArrayBufferView | ArrayBufferLike>(source: T): Copied<T> {
    checkReceiver(this, "copy");
    const bytes = bytesOf(source, "copy");
    const byteLength = bytes.length;
    const start = this.#take(byteLength, undefined, "copy");
    new OwnUint8Array(this.#buffer, start, byteLength).set(bytes);
    const type = ArrayBuffer.isView(source) ? viewType(source) : OwnUint8Array;
    const elements = byteLength / (type.BYTES_PER_ELEMENT ?? 1);
    return new type(this.#buffer, start, elements) as unknown as Copied<T>;
  }

  /**
   * Gives a typed array another length, in elements: in place when it is the last allocation or shrinks, else as a
   * copy. The elements that both have stay; further ones are uninitialised. The old array must not be used
   * any more. A view of an outer scope is copied; one of another allocator is a `TypeError`.
   *
   * @example Grow a buffer while it fills
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * let line = scratch.alloc(16);
   * line.set([72, 105]);
   * line = scratch.realloc(line, 4096);
   * assertEquals([...line.subarray(0, 2)], [72, 105]);
   * assertEquals(scratch.used, 4096); // grown in place
   * ```
   */
  realloc<T extends TypedArray>(array: T, length: number): T {
    checkReceiver(this, "reallocate");
    if (typedArrayName.call(array) === undefined) {
      throw typeError(`Cannot reallocate: a typed array is needed, not ${describe(array)}`);
    }
    checkSize(length, "reallocate", "length");
    this.#checkUsable("reallocate");
    const type = viewType(array);
    const byteLength = length * type.BYTES_PER_ELEMENT!;
    const buffer = arrayBuffer.call(array) as ArrayBuffer;
    const oldStart = arrayByteOffset.call(array);
    const oldLength = arrayByteLength.call(array);
    if (buffer !== this.#buffer && this.#region.baseOf(buffer, 0) < 0) {
      throw typeError(
        "Cannot reallocate: the view is not memory of this allocator (or was taken back)",
      );
    }
    if (
      buffer === this.#buffer && oldStart + oldLength === this.#cursor && oldLength > 0 &&
      oldStart >= this.#lowest() - this.#base
    ) {
      const start = this.#resizeLast(oldStart, byteLength).byteOffset;
      return new type(this.#buffer, start, length) as unknown as T;
    }
    if (byteLength <= oldLength) return new type(buffer, oldStart, length) as unknown as T;
    const start = this.#take(byteLength, undefined, "reallocate");
    new OwnUint8Array(this.#buffer, start, oldLength).set(new OwnUint8Array(buffer, oldStart, oldLength));
    return new type(this.#buffer, start, length) as unknown as T;
  }

  /** The last block of the current window, from `start` to the cursor, gets another length. */
  #resizeLast(start: number, byteLength: number): Uint8Array<ArrayBuffer> {
    const oldEnd = this.#cursor;
    const former = this.#buffer;
    const kept = Math.min(byteLength, oldEnd - start);
    const offset = this.#base + start;
    this.#region.noteUsed(this.#lease, this.#base + oldEnd);
    // What is cut off is taken back.
    if (this.#poison) new OwnUint8Array(former, start + kept, oldEnd - start - kept).fill(POISON);
    if (byteLength === 0) {
      this.#seek(start);
      return new OwnUint8Array(this.#buffer, start, 0);
    }
    // Ask for the block again from its own start: where there is room behind it, it stays.
    const align = start % WINDOW_ALIGN === 0 ? WINDOW_ALIGN : start & -start;
    const grownStart = this.#place(byteLength, align, offset);
    if (grownStart < 0) throw this.#full(byteLength);
    const grown = new OwnUint8Array(this.#buffer, grownStart, byteLength);
    if (this.#base + grownStart !== offset) grown.set(new OwnUint8Array(former, start, kept));
    if (this.#zero) grown.fill(0, kept);
    return grown;
  }

  /**
   * Does nothing, as in every bump allocator: memory comes back when the scope ends, or at `reset`. So that
   * code which frees what it allocated can be given any {@linkcode Scratch}.
   *
   * @example For code that frees what it allocated
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const bytes = scratch.alloc(16);
   * scratch.free(bytes);
   * assertEquals([bytes.length, scratch.used], [16, 16]);
   * ```
   */
  free(view: ArrayBufferView): void {
    checkView(view, "free");
  }

  /**
   * As {@linkcode ScratchArena.alloc}, but gives the offset from the region's address and makes no view:
   * for those who keep their data at offsets of one array or pass addresses to native code.
   *
   * @example Make the view later, or elsewhere
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const offset = scratch.offset(64);
   * const bytes = scratch.view(offset, 64);
   * assertEquals(scratch.addressOf(bytes), scratch.address + BigInt(offset));
   * ```
   */
  offset(byteLength: number, align?: number): number {
    try {
      const mask = align === undefined ? 7 : maskOf(align);
      if ((byteLength | 0) === byteLength && byteLength > 0 && mask >= 0) {
        const start = (this.#cursor + mask) & ~mask;
        const end = start + byteLength;
        if (end <= this.#sureLimit || (end <= this.#limit && this.#makeSure())) {
          this.#cursor = end;
          return this.#base + start;
        }
      }
    } catch {
      // An argument is no number: the slow path says so.
    }
    checkReceiver(this, "allocate");
    const start = this.#take(byteLength, align, "allocate");
    return this.#base + start;
  }

  /**
   * A view of `byteLength` bytes at `offset` from the region's address. They must have been allocated; in a
   * shared region by anyone.
   *
   * @throws {RangeError} Some of the bytes were never allocated.
   *
   * @example Data at offsets
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const offset = scratch.offset(4);
   * scratch.view(offset, 4).set([1, 2, 3, 4]);
   * assertEquals([...scratch.view(offset + 1, 2)], [2, 3]);
   * ```
   */
  view(offset: number, byteLength: number): Uint8Array<ArrayBuffer> {
    if (!this.#buffer.detached && typeof offset === "number" && typeof byteLength === "number") {
      const start = offset - this.#base;
      if (
        (start | 0) === start && start >= 0 && (byteLength | 0) === byteLength && byteLength >= 0 &&
        start + byteLength <= this.#cursor && this.#limit >= 0
      ) {
        return new OwnUint8Array(this.#buffer, start, byteLength);
      }
    }
    return this.#viewElsewhere(offset, byteLength);
  }

  /** A view that the current window does not show. */
  #viewElsewhere(offset: number, byteLength: number): Uint8Array<ArrayBuffer> {
    checkSize(offset, "view", "offset");
    checkSize(byteLength, "view");
    this.#checkOpen("view");
    const region = this.#region;
    const end = this.#child === null && region.shared ? region.cursor : this.#base + this.#cursor;
    if (offset + byteLength > end) {
      throw rangeError(
        `Cannot view ${formatBytes(byteLength)} at offset ${offset}: only offsets below ${end} are allocated`,
      );
    }
    if (byteLength === 0) return new OwnUint8Array(0);
    if (region.isStolen(this.#depth)) throw new DetachedError("view");
    const { buffer, base } = region.windowOver(this.#depth, offset, byteLength, end);
    return new OwnUint8Array(buffer, offset - base, byteLength);
  }

  /**
   * The offset of the first byte of `view` from the region's address: what {@linkcode ScratchArena.view} takes, in this Worker or another.
   *
   * @throws {TypeError} The view is not memory of this allocator.
   *
   * @example Where a C string is
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const text = scratch.cstring("hello");
   * assertEquals([...scratch.view(scratch.offsetOf(text), 2)], [104, 101]);
   * ```
   */
  offsetOf(view: ArrayBufferView): number {
    return this.#baseOf(view, "take the offset") + view.byteOffset;
  }

  /**
   * A typed array of `length` allocated elements at `offset` from the region's address.
   *
   * @throws {RangeError} Some of the bytes were never allocated, or the offset is no multiple of the element's size.
   *
   * @example Numbers at an offset
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const offset = scratch.offset(32);
   * scratch.viewArray(Float64Array, offset, 4).fill(0.5);
   * assertEquals(scratch.viewArray(Float64Array, offset + 24, 1)[0], 0.5);
   * ```
   */
  viewArray<T>(type: TypedArrayConstructor<T>, offset: number, length: number): T {
    return viewArray(this, type, offset, length);
  }

  /**
   * The position of the cursor, for {@linkcode ScratchArena.rewind}.
   *
   * @example The sharp tool: take memory back without detaching
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const mark = scratch.mark();
   * scratch.alloc(4096);
   * scratch.rewind(mark);
   * assertEquals(scratch.used, 0);
   * ```
   */
  mark(): Mark {
    if (this.#limit < 0) this.#checkUsable("mark");
    return new CursorMark(this, this.#base + this.#cursor, this.#lease);
  }

  /**
   * Takes back everything that was allocated since `mark`. Unchecked: views from after the mark
   * stay usable and then alias new allocations. Prefer {@linkcode BumpScope}.
   *
   * @throws {TypeError} The mark is not one of this allocator or scope.
   * @throws {RangeError} The mark lies above the cursor.
   *
   * @example A temporary for each turn of a loop
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const mark = scratch.mark();
   * let sum = 0;
   * for (let i = 0; i < 100; i++) {
   *   const row = scratch.allocArray(Float64Array, 1000);
   *   row.fill(i);
   *   sum += row[999];
   *   scratch.rewind(mark);
   * }
   * assertEquals([sum, scratch.used], [4950, 0]);
   * ```
   */
  rewind(mark: Mark): void {
    // No instanceof: it would cost as much as the rest. The owner is as good a proof.
    const { owner, offset, lease } = (mark ?? NO_MARK) as CursorMark;
    if (owner === this && lease === this.#lease) {
      const start = offset - this.#base;
      const cursor = this.#cursor; // now: a forged offset's `valueOf` may have moved it
      if ((start | 0) === start && start >= this.#floor && start <= cursor) {
        if (cursor > this.#noted) this.#noteCursor();
        this.#cursor = start;
        this.#sureLimit = -1;
        return;
      }
    }
    // Not the mark itself: as long as no call takes it, V8 makes no object of it.
    this.#rewindFar(owner, offset, lease);
  }

  /** Tells the region what was used before the cursor goes back. */
  #noteCursor(): void {
    this.#region.noteUsed(this.#lease, this.#base + this.#cursor);
    this.#noted = this.#cursor;
  }

  /** To another window or lease, or with poison. */
  #rewindFar(owner: unknown, markOffset: number, lease: number): void {
    this.#checkUsable("rewind");
    if (
      owner !== this || !Number.isSafeInteger(markOffset) || !Number.isSafeInteger(lease) || lease < this.#startLease
    ) {
      throw typeError("Cannot rewind: the mark is not one of this allocator or scope");
    }
    const region = this.#region;
    const position = this.#base + this.#cursor;
    const later = lease > this.#lease || (lease === this.#lease && markOffset > position);
    if (later) throw rangeError("Cannot rewind: the mark is above the cursor; rewind or reset went below it before");
    // A mark from before the first lease is at 0, and the lease may begin behind other allocators' bytes; a forged one may lie
    // beyond its lease, in theirs.
    const { start, end } = region.leases[lease] ?? { start: 0, end: Infinity };
    const offset = Math.max(Math.min(markOffset, end), this.#startOffset, start);
    this.#reclaim(lease, offset);
    this.#lease = lease;
    const inside = offset >= this.#base && offset <= this.#base + lengthOf(this.#buffer);
    if (!inside) {
      const buffer = region.reopenWindow(this.#depth, offset);
      if (buffer !== null) this.#adopt(buffer);
      else {
        this.#detour();
        this.#base = offset;
        this.#cursor = 0;
        this.#skipStolen();
        return;
      }
    }
    this.#seek(offset - this.#base);
    this.#skipStolen();
  }

  /**
   * Whether `view` shows memory of this allocator, or of this scope, that was not taken back. Memory that
   * `rewind` took back still counts: its views are alive.
   *
   * @example Tell scratch memory from other memory
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const bytes = scratch.alloc(8);
   * assertEquals(scratch.owns(bytes), true);
   * assertEquals(scratch.owns(new Uint8Array(8)), false);
   * scratch.reset();
   * assertEquals(scratch.owns(bytes), false);
   * ```
   */
  owns(view: ArrayBufferView): boolean {
    checkView(view, "look up the owner");
    if (this.#closed) return false;
    return this.#region.baseOf(view.buffer, this.#depth) >= 0;
  }

  /**
   * The address of the first byte of `view`, by arithmetic, without a call (`deno task bench:ffi`). It believes the
   * view's `byteOffset`: of a view where a program has redefined that property the address is wrong.
   *
   * @throws {TypeError} The view is not memory of this allocator.
   *
   * @example An address in a struct
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const text = scratch.cstring("hello");
   * const struct = scratch.allocView(8);
   * struct.setBigUint64(0, scratch.addressOf(text), true); // char*
   * const pointer = Deno.UnsafePointer.create(struct.getBigUint64(0, true))!;
   * assertEquals(Deno.UnsafePointerView.getCString(pointer), "hello");
   * ```
   */
  addressOf(view: ArrayBufferView): bigint {
    try {
      return toBigInt(this.#region.address + this.#baseOf(view, "take the address") + view.byteOffset);
    } catch (error) {
      checkReceiver(this, "take the address"); // here it costs nothing
      throw error;
    }
  }

  /**
   * A pointer to the first byte of `view`, for FFI calls that take a `"pointer"`.
   *
   * @throws {TypeError} The view is not memory of this allocator.
   *
   * @example What an FFI call takes
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const pointer = scratch.pointerOf(scratch.cstring("hello"));
   * assertEquals(new Deno.UnsafePointerView(pointer).getCString(), "hello");
   * ```
   */
  pointerOf(view: ArrayBufferView): Deno.PointerObject {
    try {
      const region = this.#region;
      return region.pointer(region.address + this.#baseOf(view, "take the address") + view.byteOffset);
    } catch (error) {
      checkReceiver(this, "take the address");
      throw error;
    }
  }

  /** Offset of the window under a view of this arena or of one around it. */
  #baseOf(view: ArrayBufferView, what: string): number {
    const buffer = view?.buffer;
    if (buffer === this.#buffer && buffer !== NO_WINDOW && ArrayBuffer.isView(view)) return this.#base;
    checkView(view, what);
    if (this.#closed) throw new ClosedError(what, this.#kind());
    const base = this.#region.baseOf(view.buffer, 0);
    if (base < 0) {
      throw typeError(`Cannot ${what}: the view is not memory of this allocator (or was taken back)`);
    }
    return base;
  }

  /**
   * Writes `text` as a C string: UTF-8 and a NUL, at any address. The view includes the NUL.
   *
   * Lone surrogates become U+FFFD. An empty text gives one NUL: a valid pointer, not NULL.
   *
   * @throws {TypeError} The text has a NUL inside: C would take it for the end.
   *
   * @example A call frame: what the call needs is gone when the block ends
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const name = scratch.cstring("na\u00efve");
   * assertEquals([...name], [110, 97, 195, 175, 118, 101, 0]);
   * ```
   */
  cstring(text: string): Uint8Array<ArrayBuffer> {
    checkReceiver(this, "make a C string");
    if (typeof text !== "string") {
      throw typeError(`Cannot make a C string: a string is needed, not ${describe(text)}`);
    }
    return this.#text(text, 1);
  }

  /**
   * Writes `text` as UTF-8, without a NUL, at any address. Lone surrogates become U+FFFD.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.encode("na\u00efve")], [110, 97, 195, 175, 118, 101]);
   * ```
   */
  encode(text: string): Uint8Array<ArrayBuffer> {
    checkReceiver(this, "encode text");
    if (typeof text !== "string") {
      throw typeError(`Cannot encode text: a string is needed, not ${describe(text)}`);
    }
    return this.#text(text, 0);
  }

  #text(text: string, nul: 0 | 1): Uint8Array<ArrayBuffer> {
    const { length } = text;
    const start = this.#cursor;
    const limit = this.#limit;
    try {
      if (length <= SHORT_TEXT) {
        if (start + 3 * length + nul < limit) {
          const bytes = this.#bytes ??= new OwnUint8Array(this.#buffer);
          const end = writeShort(text, bytes, start, nul);
          if (end >= 0) {
            if (nul === 1) bytes[end] = 0;
            const view = new OwnUint8Array(this.#buffer, start, end + nul - start);
            this.#cursor = end + nul;
            return view;
          }
        }
      } else {
        const view = writeLong(text, this.#buffer, start, limit, nul);
        if (view !== null) {
          this.#cursor = start + view.length;
          return view;
        }
      }
    } catch {
      // The window was transferred away.
    }
    return this.#longText(text, nul); // says what is wrong
  }

  /** A text of any length, or one that the window has no room for. */
  #longText(text: string, nul: 0 | 1): Uint8Array<ArrayBuffer> {
    // Bytes above the cursor may have been written.
    if (this.#limit >= 0) {
      this.#region.noteUsed(this.#lease, this.#base + Math.min(this.#cursor + 3 * text.length, this.#limit));
    }
    const index = nul === 1 ? text.indexOf("\0") : -1;
    if (index >= 0) throw typeError(`Cannot make a C string: the text has a NUL at index ${index}`);
    // Most texts are ASCII; for others what is missing is counted, so that no byte more is asked for. Not through `alloc` and
    // `realloc`: a subclass may have its own, which give other memory.
    const { length } = text;
    const start = this.#take(length + nul, 1, "allocate");
    let view = new OwnUint8Array(this.#buffer, start, length + nul);
    const { read, written } = encodeInto(text, 0, new OwnUint8Array(this.#buffer, start, length));
    if (read < length) {
      const rest = utf8Length(text, read);
      try {
        view = this.#resizeLast(start, written + rest + nul);
      } catch (error) {
        this.#resizeLast(start, 0);
        throw error instanceof OutOfMemoryError ? this.#full(written + rest + nul, 1) : error;
      }
      encodeInto(text, read, new OwnUint8Array(view.buffer, view.byteOffset + written, rest));
    }
    if (nul === 1) view[view.length - 1] = 0;
    return view;
  }

  /**
   * Writes texts as C strings, and an array of their addresses with a NULL at the end: a `char**`.
   *
   * @throws {TypeError} A text has a NUL inside; nothing has changed.
   *
   * @example Arguments of a program
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const argv = scratch.cstringArray(["ls", "-l"]);
   * assertEquals([argv.length, argv[2]], [3, 0n]);
   * ```
   */
  cstringArray(texts: readonly string[]): BigUint64Array<ArrayBuffer> {
    checkReceiver(this, "make C strings");
    return cstringArray(this, texts);
  }

  /**
   * Writes `text` as a wide string of Windows: UTF-16 and a NUL. Lone surrogates become U+FFFD. The array includes the NUL.
   *
   * @throws {TypeError} The text has a NUL inside: C would take it for the end.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * assertEquals([...scratch.cstring16("C:\\")], [67, 58, 92, 0]); // for a function that takes an LPCWSTR
   * ```
   */
  cstring16(text: string): Uint16Array<ArrayBuffer> {
    return cstring16(this, text);
  }

  /**
   * A {@linkcode BumpWriter}: appends numbers, text and bytes to one block that grows in place.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const packet = scratch.writer({ littleEndian: false }).u8(1).u16(2).text("hi").finish();
   * assertEquals([...packet], [1, 0, 2, 104, 105]);
   * ```
   */
  writer(options?: BumpWriterOptions): BumpWriter {
    return new BumpWriter(this, options);
  }

  /**
   * Reads a whole file, also one whose size is not known before, such as those in `/proc`. Where it fails, nothing stays taken.
   *
   * @throws {Deno.errors.NotFound} And what else `Deno.openSync` throws.
   *
   * @example
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const path = Deno.makeTempFileSync();
   * Deno.writeTextFileSync(path, "a,b\n");
   * assertEquals([...scratch.readFileSync(path)], [97, 44, 98, 10]);
   * Deno.removeSync(path);
   * ```
   */
  readFileSync(path: string | URL): Uint8Array<ArrayBuffer> {
    return readFileSync(this, path);
  }

  /**
   * Reads a whole file in the background. The memory is pinned meanwhile, and for as long as a read goes on after an abort.
   *
   * This arena may allocate meanwhile; then the block moves when it has to grow. While one of its scopes is open it cannot grow, and the
   * promise is rejected with a {@linkcode ScopeError}.
   *
   * @example Two files at once
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assert } from "@std/assert";
   *
   * await using scratch = new BumpAlloc();
   * const path = new URL(import.meta.url);
   * const [first, second] = await Promise.all([scratch.readFile(path), scratch.readFile(path)]);
   * assert(first.length === second.length);
   * ```
   */
  readFile(path: string | URL, options?: ReadFileOptions): Promise<Uint8Array<ArrayBuffer>> {
    return readFile(this, path, options);
  }

  /**
   * Reads a source to its end: a stream, a request's or response's body, a blob, an async iterable of bytes, or what has Deno's `read`.
   * The memory is pinned meanwhile. `null`, which a missing body is, gives an empty view.
   *
   * Where the source fails, is aborted, or has more than `limit` bytes, the promise is rejected, the source cancelled, and the memory given
   * back, if nothing was allocated behind it. As with {@linkcode ScratchArena.readFile}, the block cannot grow while a scope is open.
   *
   * @throws {RangeError} The source has more than `limit` bytes.
   *
   * @example The body of a request, in a server
   * ```ts
   * import { BumpAlloc, BumpPool } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using pool = new BumpPool();
   * const handler = (request: Request) =>
   *   pool.use(async (scratch) => {
   *     const body = await scratch.readAll(request, { limit: 1_000_000 });
   *     return new Response(String(body.length));
   *   });
   * const response = await handler(new Request("http://localhost/", { method: "POST", body: "hello" }));
   * assertEquals(await response.text(), "5");
   * ```
   */
  readAll(source: ReadSource, options?: ReadAllOptions): Promise<Uint8Array<ArrayBuffer>> {
    return readAll(this, source, options);
  }

  /** Bytes of the region that are taken; 0 after the end. */
  get used(): number {
    return arenaState(this).used;
  }

  /**
   * Memory for an out-parameter: eight zero bytes at a multiple of eight. Pass `view`, read `value`. Setting `value`
   * before the call makes an in-out parameter.
   *
   * @example What `int frexp(double, int* exponent)` writes
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const exponent = scratch.out("i32");
   * // library.symbols.frexp(8, exponent.view);
   * assertEquals(exponent.value, 0);
   * ```
   */
  out<T extends OutType>(type: T): Out<T> {
    checkReceiver(this, "make an out-parameter");
    if (this.#buffer.detached) return this.#takeOut(type);
    const start = (this.#cursor + 7) & -8;
    if (start + OUT_SIZE > this.#limit) return this.#takeOut(type);
    const out = makeOut(type, this.#buffer, start);
    this.#cursor = start + OUT_SIZE;
    return out as unknown as Out<T>;
  }

  /** An out-parameter that the window has no room for. */
  #takeOut<T extends OutType>(type: T): Out<T> {
    checkOutType(type);
    const start = this.#take(OUT_SIZE, undefined, "make an out-parameter");
    return makeOut(type, this.#buffer, start) as unknown as Out<T>;
  }

  /**
   * Opens a nested lifetime: a scope whose memory comes back when it ends. Until then this arena
   * allocates nothing.
   *
   * @example A lifetime is a block
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * let leaked: Uint8Array;
   * {
   *   using scope = scratch.scope();
   *   leaked = scope.alloc(100);
   * }
   * assertEquals(leaked.length, 0); // dead, not dangling
   * assertEquals(scratch.used, 0);
   * ```
   */
  scope(): BumpScope {
    // A transferred window shows its receiver what the scope would take.
    if (this.#buffer.detached || this.#limit < 0) this.#checkUsable("open a scope");
    const scope = newScope();
    scope.#region = this.#region;
    scope.#depth = this.#depth + 1;
    scope.#lease = scope.#startLease = this.#lease;
    scope.#base = scope.#startOffset = this.#base + this.#cursor;
    scope.#parent = this;
    scope.#zero = this.#zero;
    scope.#poison = this.#poison;
    scope.#closed = false;
    this.#child = scope;
    this.#block();
    return scope;
  }

  /**
   * Keeps the memory in use until `promise` settles: for I/O or a nonblocking FFI call that works on it.
   * `await using` waits for it; a synchronous end throws a `PinnedError` and changes nothing.
   *
   * Without a pin nothing notices that such work still runs: when the memory ends it goes on at the same address, where
   * others' bytes are then, or after `close` nothing at all, which ends the process. `rewind` heeds no pin.
   *
   * @returns The same promise.
   *
   * @example Write a file from scratch memory
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   *
   * await using scratch = new BumpAlloc();
   * const bytes = scratch.alloc(5);
   * new TextEncoder().encodeInto("hello", bytes);
   * await scratch.pin(crypto.subtle.digest("SHA-256", bytes));
   * ```
   */
  pin<T>(promise: Promise<T>): Promise<T> {
    this.#checkOpen("pin");
    if (typeof promise?.then !== "function") throw typeError("Cannot pin: a promise is needed");
    this.#pins ??= new Set();
    const unpin = async () => {
      try {
        await promise; // never goes on at once, whatever a thenable does
      } catch { /* whoever has the promise handles it */ }
      // `this` also keeps the allocator, and so the memory, from being collected meanwhile.
      this.#pins!.delete(settled);
    };
    const settled: Promise<void> = unpin();
    this.#pins.add(settled);
    return promise;
  }

  // ---- the slow path ---------------------------------------------------------------------------

  /** Serves a request that `alloc` cannot at once. Returns its position in the (new) window. */
  #take(byteLength: number, align: number | undefined, what: string): number {
    const start = this.#tryTake(byteLength, align, what);
    if (start < 0) throw this.#full(byteLength, align);
    return start;
  }

  #full(requested: number, align: number = DEFAULT_ALIGN): OutOfMemoryError {
    return new OutOfMemoryError({ requested, align, used: this.#used(), capacity: this.#region.capacity });
  }

  /** As `#take`, -1 when the region is full. */
  #tryTake(byteLength: number, align: number | undefined, what: string): number {
    // As `alloc` does, for those methods that come here at once.
    if (
      align === undefined && typeof byteLength === "number" && (byteLength | 0) === byteLength && byteLength > 0 &&
      !this.#buffer.detached
    ) {
      const start = (this.#cursor + 7) & -8;
      const end = start + byteLength;
      if (end <= this.#limit) {
        this.#cursor = end;
        return start;
      }
    }
    checkSize(byteLength, what);
    this.#checkUsable(what);
    if (align === undefined) align = DEFAULT_ALIGN;
    else checkAlign(align, this.#region.capacity, what);
    if (byteLength === 0) return this.#takeNothing(align);
    const start = this.#place(byteLength, align, this.#base + this.#cursor);
    if (start >= 0 && this.#zero) this.#clear(start, byteLength);
    return start;
  }

  /** Moves the cursor behind a block that begins at offset `position` or above. Returns as `#tryTake`. */
  #place(byteLength: number, align: number, position: number): number {
    const region = this.#region;
    if (byteLength > region.capacity) return -1;
    // Until there is room nothing of this arena changes.
    let index = this.#lease;
    let start: number;
    for (;;) {
      const lease = region.leases[index];
      if (lease !== undefined) {
        start = region.alignUp(Math.max(position, lease.start), align);
        if (start + byteLength <= lease.end) break;
        if (index + 1 < region.leases.length) {
          position = region.leases[++index].start;
          continue;
        }
      }
      const extended = region.extend(position, byteLength, align);
      if (extended < 0) return -1;
      if (extended !== index || lease === undefined) position = region.leases[extended].start;
      index = extended;
    }
    this.#enter(index, start, byteLength);
    return start - this.#base;
  }

  /** Moves the cursor behind a block of lease `index`, into a window that shows it. */
  #enter(index: number, start: number, byteLength: number): void {
    const region = this.#region;
    if (index !== this.#lease) region.noteUsed(this.#lease, this.#base + this.#cursor);
    const end = start + byteLength;
    const shown = this.#buffer !== NO_WINDOW && start >= this.#base &&
      end <= this.#base + lengthOf(this.#buffer) && start - this.#base < MAX_POSITION;
    if (!shown) this.#adopt(region.openWindow(this.#depth, index, start, byteLength));
    this.#lease = index;
    this.#seek(end - this.#base);
  }

  /** An empty block: at the cursor, aligned downwards, so that it takes no space. */
  #takeNothing(align: number): number {
    if (lengthOf(this.#buffer) === 0) {
      const region = this.#region;
      let index = Math.min(this.#lease, region.leases.length - 1);
      const position = this.#base + this.#cursor;
      if (index < 0 || position >= region.leases[index].end) {
        index = index + 1 < region.leases.length ? index + 1 : region.extend(position, 1, 1);
      }
      if (index < 0) {
        // Everything is taken by others. A buffer of its own: who gets the view may transfer it.
        this.#buffer = new ArrayBuffer(0);
        return 0;
      }
      const lease = region.leases[index];
      const start = Math.max(Math.min(position, lease.end - 1), lease.start);
      this.#adopt(region.openWindow(this.#depth, index, start, 1));
      this.#lease = index;
      this.#seek(start - this.#base);
    }
    const past = (this.#region.address + this.#base + this.#cursor) % align;
    return Math.max(0, Math.min(this.#cursor, lengthOf(this.#buffer)) - past);
  }

  /** Makes a window that the region has made current the arena's own. */
  #adopt(buffer: ArrayBuffer): void {
    this.#buffer = buffer;
    this.#bytes = null;
    this.#base = this.#region.bases[this.#depth];
  }

  /** Puts the cursor at a position of the window and lets the fast path in where it may serve. */
  #seek(position: number): void {
    this.#cursor = position;
    this.#noted = 0;
    this.#sureLimit = -1;
    if (position > MAX_POSITION || this.#zero) return this.#block();
    this.#limit = Math.min(this.#region.windowEnd(this.#lease, this.#base, this.#buffer), MAX_POSITION);
    this.#floor = this.#poison || this.#limit < 0 ? NO_FLOOR : Math.max(0, this.#lowest() - this.#base);
  }

  /** Offset of the first byte, in the current lease, that is this arena's: what lies below in the window is somebody else's. */
  #lowest(): number {
    return Math.max(this.#startOffset, this.#region.leases[this.#lease]?.start ?? 0);
  }

  /** Sends every request to the slow path. */
  #block(): void {
    this.#limit = this.#sureLimit = NO_LIMIT;
    this.#floor = NO_FLOOR;
  }

  /** Lets `offset` in if the window is still there: a receiver's bytes could otherwise be given out after a rewind. */
  #makeSure(): boolean {
    if (isDetached(this.#buffer)) return false; // in the midst of `offset`: no getter of the program's may run
    this.#sureLimit = this.#limit;
    return true;
  }

  /** Clears what was used before of a block in the current window. */
  #clear(start: number, byteLength: number): void {
    const lease = this.#region.leases[this.#lease];
    if (lease === undefined) return;
    const used = Math.min(lease.dirty - this.#base - start, byteLength);
    if (used > 0) new OwnUint8Array(this.#buffer, start, used).fill(0);
  }

  /** Remembers, and poisons, what was used between a former position and the cursor. */
  #reclaim(lease: number, offset: number): void {
    const region = this.#region;
    region.noteUsed(this.#lease, this.#base + this.#cursor);
    // What was transferred away is its receiver's: nobody writes there any more.
    if (!this.#poison || region.isStolen(this.#depth)) return;
    for (let i = lease; i <= this.#lease && i < region.leases.length; i++) {
      const from = i === lease ? Math.max(offset, region.leases[i].start) : region.leases[i].start;
      const to = i === this.#lease ? this.#base + this.#cursor : region.leases[i].dirty;
      region.fill(from, to, POISON);
    }
  }

  #kind(): string {
    return this.#parent === null ? "allocator" : "scope";
  }

  /** Throws when closed. */
  #checkOpen(what: string): void {
    if (this.#closed) throw new ClosedError(what, this.#kind());
  }

  /** Throws when nothing may be allocated here now: closed, a scope is open, the window is gone. */
  #checkUsable(what: string): void {
    if (this.#closed) throw new ClosedError(what, this.#kind());
    if (this.#child !== null) throw new ScopeError(what);
    if (this.#region.isStolen(this.#depth)) throw new DetachedError(what);
  }

  #used(): number {
    const region = this.#region;
    return region.knownCursor - this.#unused();
  }

  /** Leased, and not used yet. */
  #unused(): number {
    return this.#region.unused(this.#lease, this.#base + this.#cursor);
  }

  /** The innermost open arena. */
  #innermost(): ScratchArena {
    // deno-lint-ignore no-this-alias -- a walk that starts here
    let arena: ScratchArena = this;
    while (arena.#child !== null) arena = arena.#child;
    return arena;
  }

  /** Throws when a pinned promise uses this arena or one inside. */
  #checkPins(what: string): void {
    // deno-lint-ignore no-this-alias -- a walk that starts here
    for (let arena: ScratchArena | null = this; arena !== null; arena = arena.#child) {
      const pins = arena.#pins;
      if (pins !== null && pins.size > 0) throw new PinnedError(what, pins.size);
    }
  }

  /** Takes a scope's memory back. */
  #endScope(): void {
    const parent = this.#parent;
    if (this.#closed || parent === null) return;
    if (this.#child !== null) throw new ScopeError("end the scope");
    if (this.#pins !== null) this.#checkPins("end the scope");
    if (this.#buffer !== NO_WINDOW || this.#base !== this.#startOffset) {
      this.#reclaim(this.#startLease, this.#startOffset);
      this.#region.dropWindows(this.#depth);
    }
    this.#kill();
    parent.#child = null;
    parent.#unlock();
    if (this.#region.stolenEnd > 0) parent.#skipStolen();
  }

  /** Dead from now on. */
  #kill(): void {
    this.#block(); // first: where the stack ends here, nothing has changed
    this.#closed = true;
    this.#buffer = NO_WINDOW;
  }

  /** Lets the fast path in again after a scope has ended. */
  #unlock(): void {
    if (this.#buffer !== NO_WINDOW) this.#seek(this.#cursor);
  }

  /** Never hands out what the receiver of a scope's transferred window can see. */
  #skipStolen(): void {
    const region = this.#region;
    const position = this.#base + this.#cursor;
    if (region.stolenEnd <= position) return;
    region.noteUsed(this.#lease, position);
    // In a lease of its own, so that no mark from before leads below it unnoticed.
    this.#lease = region.splitAtStolen();
    this.#base = region.stolenEnd - region.stolenEnd % WINDOW_ALIGN;
    this.#cursor = region.stolenEnd - this.#base;
    this.#detour();
  }

  /** The current window does not show the cursor: keep its views alive, and open another one when needed. */
  #detour(): void {
    if (this.#buffer !== NO_WINDOW) {
      this.#region.shelve(this.#depth);
      this.#buffer = NO_WINDOW;
    }
    this.#block();
  }

  static {
    isCalledByUsers(this);
    bindArena = (arena, region, options) => {
      arena.#region = region;
      arena.#zero = options.zero;
      arena.#poison = options.poison;
      arena.#closed = false;
      arena.#block();
    };
    endArena = (arena) => arena.#endScope();
    checkReceiver = (arena, what) => {
      if (!(typeof arena === "object" && #cursor in arena)) {
        throw typeError(`Cannot ${what}: this is no allocator or scope; make a BumpAlloc, or open a scope of one`);
      }
    };
    arenaState = (arena) => ({
      closed: arena.#closed,
      region: arena.#region,
      used: arena.#closed ? 0 : arena.#innermost().#used(),
      unused: arena.#closed ? 0 : arena.#innermost().#unused(),
      position: arena.#closed ? 0 : arena.#innermost().#base + arena.#innermost().#cursor,
      depth: arena.#closed ? 0 : arena.#innermost().#depth,
      pins: countPins(arena),
    });
    checkArena = (arena, what) => arena.#checkOpen(what);
    forgetNoted = (arena) => {
      for (let a: ScratchArena | null = arena; a !== null; a = a.#child) a.#noted = 0;
    };
    rewindArena = (arena) => {
      arena.#checkOpen("reset");
      if (arena.#child !== null) throw new ScopeError("reset");
      arena.#checkPins("reset");
      if (arena.#region.shared && arena.#region.attached > 1) throw sharedRefusal("reset");
      const cursor = arena.#region.noteNative(); // first: nothing has changed when it throws
      arena.#reclaim(0, arena.#region.leases[0]?.start ?? 0);
      arena.#region.dropWindows(0);
      arena.#buffer = NO_WINDOW;
      arena.#block();
      arena.#region.rewindAll(cursor);
      arena.#lease = 0;
      arena.#base = 0;
      arena.#cursor = 0;
    };
    closeArena = (arena) => {
      arena.#checkPins("close");
      const last = arena.#innermost();
      try {
        if (arena.#poison) last.#reclaim(0, arena.#region.leases[0]?.start ?? 0);
        else last.#region.noteUsed(last.#lease, last.#base + last.#cursor);
        if (arena.#region.shared) arena.#region.giveBack(last.#lease, last.#base + last.#cursor);
        if (arena.#region.isHooked) arena.#region.noteNative();
      } catch (error) {
        ignoreRevocation(error); // nobody sees these bytes any more, poisoned or not
      }
      // Itself last: where the stack ends meanwhile, it can be closed again.
      for (let a: ScratchArena | null = last; a !== null; a = a.#parent) a.#kill();
    };
    settlePins = async (arena) => {
      for (let a: ScratchArena | null = arena; a !== null; a = a.#child) {
        while (a.#pins !== null && a.#pins.size > 0) await Promise.all(a.#pins);
      }
    };
    const countPins = (arena: ScratchArena) => {
      let count = 0;
      for (let a: ScratchArena | null = arena; a !== null; a = a.#child) count += a.#pins?.size ?? 0;
      return count;
    };
  }
}

/**
 * A nested lifetime, from {@linkcode BumpAlloc.scope} or {@linkcode BumpScope.scope}.
 *
 * @example Scopes in a scope
 * ```ts
 * import { BumpAlloc, type BumpScope } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * // Each row is forgotten before the next.
 * function sum(outer: BumpScope, rows: number): number {
 *   let total = 0;
 *   for (let i = 1; i <= rows; i++) {
 *     using inner = outer.scope();
 *     total += inner.copy(new Uint8Array([i, i])).reduce((a, b) => a + b);
 *   }
 *   return total;
 * }
 *
 * using scratch = new BumpAlloc();
 * using scope = scratch.scope();
 * assertEquals(sum(scope, 3), 12);
 * ```
 */
export class BumpScope extends ScratchArena implements Disposable, AsyncDisposable {
  /**
   * Takes the scope's memory back; every view of it has length 0 from then on. Ending a scope twice
   * is fine.
   *
   * @throws {ScopeError} A scope inside this one is open.
   * @throws {PinnedError} A pinned promise is still using the memory.
   *
   * @example Where `using` does not fit
   * ```ts
   * import { BumpAlloc } from "@bump/alloc";
   * import { assertEquals } from "@std/assert";
   *
   * using scratch = new BumpAlloc();
   * const scope = scratch.scope();
   * const bytes = scope.alloc(10);
   * scope.end();
   * assertEquals(bytes.length, 0);
   * ```
   */
  end(): void {
    endArena(this);
  }

  /** Ends the scope: for `using`. */
  [Symbol.dispose](): void {
    endArena(this);
  }

  /** Waits for pinned promises, then ends the scope: for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await settlePins(this);
    endArena(this);
  }

  static {
    isCalledByUsers(this);
    newScope = () => new BumpScope(ARENA_KEY);
  }
}

/** A position with its owner, so that no other arena can be rewound with it. */
class CursorMark implements Mark {
  readonly owner: ScratchArena;
  readonly offset: number;
  readonly lease: number;

  constructor(owner: ScratchArena, offset: number, lease: number) {
    this.owner = owner;
    this.offset = offset;
    this.lease = lease;
  }
}

/** What a missing mark is read as. */
const NO_MARK = {};

/** What an arena tells about itself. */
interface ArenaState {
  readonly closed: boolean;
  readonly region: Region;
  readonly used: number;
  readonly unused: number;
  readonly position: number;
  readonly depth: number;
  readonly pins: number;
}

/** `align - 1` for the alignments that the fast path serves, else -1. */
function maskOf(align: number): number {
  return (align | 0) === align && align > 0 && align <= WINDOW_ALIGN && (align & (align - 1)) === 0 ? align - 1 : -1;
}

const doubleCell = new Float64Array(1);
const bitsOfDouble = new BigUint64Array(doubleCell.buffer);

/**
 * An address as a bigint. BigInt(number) is a call of the runtime; this is a store and a load: 2^52 plus an integer
 * below it is a double whose lower 52 bits are that integer. User space ends far below, at 2^47 or 2^48.
 */
function toBigInt(address: number): bigint {
  doubleCell[0] = 2 ** 52 + address;
  return BigInt.asUintN(52, bitsOfDouble[0]);
}
