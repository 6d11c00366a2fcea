import { ClosedError, SharedError } from "./errors.ts";
import type { Hold } from "./hold.ts";
import { callbacks, nameProcessRegion, type ProcessCallbacks } from "./native/library.ts";

/**
 * Allocator callbacks for native libraries, from {@linkcode BumpAlloc.hooks}: pointers to C functions and what they
 * are to be called with, named as in each library's header.
 *
 * **Lifetime.** A library must have finished with its object (a stream, a state, a parser) before the allocator is reset
 * or closed. It need not free the object: the memory comes back as a whole. Scopes do not touch it.
 * The garbage collector does not see what native code uses: keep the allocator as long as the library works.
 *
 * **Blocks.** Addresses are multiples of 16. A freed block serves the next request of its size; the last one moves the
 * cursor back. So a library may allocate and free for days; `reset` forgets all of it at once. When the region is full the library gets NULL, and reports its own error. Blocks are
 * uninitialised, as those of `malloc` are, even with the option `zero`; those of `calloc` are zero.
 *
 * **Threads.** The callbacks are C: a library may call them from any thread.
 *
 * **Cost.** That of `malloc`, or less; the first use of a family takes some microseconds.
 *
 * @example A Lua state in scratch memory
 * ```ts
 * import { BumpAlloc, type BumpHooks } from "@bump/alloc";
 * import { assertEquals } from "@std/assert";
 *
 * // lua_newstate(alloc, ud)
 * const lua = ({ lua }: BumpHooks) => [lua.alloc, lua.ud];
 * using scratch = new BumpAlloc();
 * assertEquals(lua(scratch.hooks).length, 2);
 * ```
 */
export interface BumpHooks {
  /**
   * `bump_alloc` of `native/bump.h`, for native code that knows it: any thread may call it, beside JavaScript in this Worker and
   * in others.
   */
  readonly native: {
    /** `void *bump_alloc(bump_t *bump, size_t size, size_t align)`: NULL when the region is full. */
    readonly alloc: Deno.PointerObject;
    /** The `bump_t *`. */
    readonly bump: Deno.PointerObject;
  };
  /** `zalloc`, `zfree` and `opaque` of a `z_stream`, before `deflateInit2_` or `inflateInit2_`. */
  readonly zlib: {
    /** An `alloc_func`. */
    readonly zalloc: Deno.PointerObject;
    /** A `free_func`. */
    readonly zfree: Deno.PointerObject;
    /** What both are called with. */
    readonly opaque: Deno.PointerObject;
  };
  /** The members of a `ZSTD_customMem`, for `ZSTD_createCCtx_advanced` and the like. */
  readonly zstd: {
    /** A `ZSTD_allocFunction`. */
    readonly customAlloc: Deno.PointerObject;
    /** A `ZSTD_freeFunction`. */
    readonly customFree: Deno.PointerObject;
    /** What both are called with. */
    readonly opaque: Deno.PointerObject;
  };
  /** The arguments of `lua_newstate`. */
  readonly lua: {
    /** A `lua_Alloc`. */
    readonly alloc: Deno.PointerObject;
    /** What it is called with. */
    readonly ud: Deno.PointerObject;
  };
  /** For the functions that take a `yyjson_alc *`. */
  readonly yyjson: {
    /** A filled `yyjson_alc`. */
    readonly struct: Deno.PointerObject;
  };
  /** The arguments of `pcre2_general_context_create`. */
  readonly pcre2: {
    /** Its `private_malloc`. */
    readonly malloc: Deno.PointerObject;
    /** Its `private_free`. */
    readonly free: Deno.PointerObject;
    /** Its `memory_data`. */
    readonly data: Deno.PointerObject;
  };
  /** The argument of `FT_New_Library`. */
  readonly freetype: {
    /** A filled `FT_MemoryRec`. */
    readonly memory: Deno.PointerObject;
  };
  /**
   * For `XML_ParserCreate_MM`. Its callbacks are not told whose they are, so there is a fixed number of suites: up to 16 live
   * regions of a Worker (on Windows: of the process) can have one.
   *
   * @throws {RangeError} 16 live regions have one.
   */
  readonly expat: {
    /** A filled `XML_Memory_Handling_Suite`. */
    readonly suite: Deno.PointerObject;
  };
  /**
   * For libraries whose allocator is the whole process's: SQLite, libxml2, cJSON, curl. Asking for it names this allocator
   * the process's own, for good: its region stays until the process ends, and `reset` and `close` leave the native blocks
   * alone. Each Worker (on Windows: the process) has one such allocator.
   *
   * @throws {SharedError} Another allocator was named before, or this one is a pool's.
   */
  readonly process: {
    /** As C's `malloc`. */
    readonly malloc: Deno.PointerObject;
    /** As C's `calloc`: zero, and NULL where the product overflows. */
    readonly calloc: Deno.PointerObject;
    /** As C's `realloc`; size 0 frees and gives NULL. */
    readonly realloc: Deno.PointerObject;
    /** As C's `free`. */
    readonly free: Deno.PointerObject;
    /** As POSIX's `strdup`. */
    readonly strdup: Deno.PointerObject;
    /** As glibc's `malloc_usable_size`. */
    readonly usableSize: Deno.PointerObject;
    /** A filled `sqlite3_mem_methods`, for `sqlite3_config(SQLITE_CONFIG_MALLOC, suite)`. */
    readonly sqlite: Deno.PointerObject;
  };
}

/** The hooks of one allocator; each family is made when it is first asked for. */
export class HoldHooks implements BumpHooks {
  readonly #owner: { readonly closed: boolean };
  readonly #hold: Hold;
  /** Whether the region comes from a pool, and so goes back to it. */
  readonly #pooled: boolean;
  #process: ProcessCallbacks | undefined;

  constructor(owner: { readonly closed: boolean }, hold: Hold, pooled: boolean) {
    this.#owner = owner;
    this.#hold = hold;
    this.#pooled = pooled;
  }

  get native(): BumpHooks["native"] {
    const bump = this.#control();
    return { alloc: callbacks().bump_alloc, bump };
  }

  get zlib(): BumpHooks["zlib"] {
    const opaque = this.#control();
    const { bump_zlib_alloc, bump_zlib_free } = callbacks();
    return { zalloc: bump_zlib_alloc, zfree: bump_zlib_free, opaque };
  }

  get zstd(): BumpHooks["zstd"] {
    const opaque = this.#control();
    const { bump_zstd_alloc, bump_zstd_free } = callbacks();
    return { customAlloc: bump_zstd_alloc, customFree: bump_zstd_free, opaque };
  }

  get lua(): BumpHooks["lua"] {
    const ud = this.#control();
    return { alloc: callbacks().bump_lua_alloc, ud };
  }

  get yyjson(): BumpHooks["yyjson"] {
    return { struct: pointerTo(recordsOf(this.#control()).yyjson) };
  }

  get pcre2(): BumpHooks["pcre2"] {
    const data = this.#control();
    const { bump_pcre2_malloc, bump_pcre2_free } = callbacks();
    return { malloc: bump_pcre2_malloc, free: bump_pcre2_free, data };
  }

  get freetype(): BumpHooks["freetype"] {
    return { memory: pointerTo(recordsOf(this.#control()).freetype) };
  }

  get expat(): BumpHooks["expat"] {
    this.#control();
    const suite = this.#hold.expatSuite();
    if (suite === null) {
      throw new RangeError(
        "Cannot give expat an allocator: 16 live regions have one, and there are no more; close one",
      );
    }
    return { suite };
  }

  get process(): BumpHooks["process"] {
    const control = this.#control();
    if (this.#pooled) {
      throw new SharedError("Cannot name the process's own allocator: a pool's allocators are for one task each");
    }
    const named = this.#process ??= nameProcessRegion(control);
    return {
      malloc: named.bump_process_malloc,
      calloc: named.bump_process_calloc,
      realloc: named.bump_process_realloc,
      free: named.bump_process_free,
      strdup: named.bump_process_strdup,
      usableSize: named.bump_process_usable_size,
      sqlite: named.bump_process_sqlite,
    };
  }

  /** For `console.log`: the families. */
  [Symbol.for("Deno.customInspect")](): string {
    return "BumpHooks { native, zlib, zstd, lua, yyjson, pcre2, freetype, expat, process }";
  }

  /** The `bump_t*`, while the allocator is open. */
  #control(): Deno.PointerObject {
    if (this.#owner.closed) throw new ClosedError("take the hooks", "allocator");
    return this.#hold.control;
  }
}

/** The structs of one region that libraries take by pointer. */
interface Records {
  /** An `FT_MemoryRec`: user, alloc, free, realloc. */
  readonly freetype: BigUint64Array<ArrayBuffer>;
  /** A `yyjson_alc`: malloc, realloc, free, ctx. */
  readonly yyjson: BigUint64Array<ArrayBuffer>;
}

/**
 * By the address of the control block, which is all that they depend on. They are never given up, so that a
 * library that keeps one for too long finds callbacks that answer NULL, not somebody else's memory. Control
 * blocks are used again, so there are no more than were ever alive at once.
 */
const records = new Map<bigint, Records>();

function recordsOf(control: Deno.PointerObject): Records {
  const address = Deno.UnsafePointer.value(control);
  let made = records.get(address);
  if (made === undefined) {
    const { bump_freetype_alloc, bump_freetype_free, bump_freetype_realloc, ...names } = callbacks();
    const { bump_yyjson_malloc, bump_yyjson_realloc, bump_yyjson_free } = names;
    made = {
      freetype: pointers(control, bump_freetype_alloc, bump_freetype_free, bump_freetype_realloc),
      yyjson: pointers(bump_yyjson_malloc, bump_yyjson_realloc, bump_yyjson_free, control),
    };
    records.set(address, made);
  }
  return made;
}

function pointers(...members: Deno.PointerObject[]): BigUint64Array<ArrayBuffer> {
  return BigUint64Array.of(...members.map(Deno.UnsafePointer.value));
}

function pointerTo(record: BigUint64Array<ArrayBuffer>): Deno.PointerObject {
  return Deno.UnsafePointer.of(record)!;
}
