import { ClosedError, SharedError } from "./errors.ts";
import type { Hold } from "./hold.ts";
import { callbacks, nameProcessRegion, type ProcessCallbacks } from "./native/library.ts";

/**
 * Allocator callbacks for native libraries, from {@linkcode BumpAlloc.hooks}: pointers to C functions and their context
 * argument, named as in each library's header.
 *
 * **Lifetime.** A library must have finished with its object (a stream, a state, a parser) before the allocator is
 * reset or closed. It need not free the object, because the memory comes back as a whole. Scopes do not affect it. The
 * garbage collector does not see which memory native code uses: keep a reference to the allocator while the library
 * works.
 *
 * **Blocks.** Addresses are multiples of 16. A freed block serves the next request of its size; the last one moves the
 * cursor back. So a library may allocate and free for days; `reset` takes all of it back at once. When the region is
 * full, the library gets NULL and reports its own error. Blocks are uninitialised, as from `malloc`, even with the
 * option `zero`; blocks from `calloc` are zero.
 *
 * **Threads.** The callbacks are C functions: a library may call them from any thread.
 *
 * **Cost.** That of `malloc` or less. The first use of a family takes some microseconds.
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
   * `bump_alloc` of `native/bump.h`, for native code of your own. Any thread may call it, at the same time as
   * JavaScript in any Worker.
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
    /** The context that both are called with. */
    readonly opaque: Deno.PointerObject;
  };
  /** The members of a `ZSTD_customMem`, for `ZSTD_createCCtx_advanced` and the like. */
  readonly zstd: {
    /** A `ZSTD_allocFunction`. */
    readonly customAlloc: Deno.PointerObject;
    /** A `ZSTD_freeFunction`. */
    readonly customFree: Deno.PointerObject;
    /** The context that both are called with. */
    readonly opaque: Deno.PointerObject;
  };
  /** The arguments of `lua_newstate`. */
  readonly lua: {
    /** A `lua_Alloc`. */
    readonly alloc: Deno.PointerObject;
    /** The context that it is called with. */
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
   * For `XML_ParserCreate_MM`. Its callbacks take no context, so the number of suites is fixed: 16 live regions of a
   * Worker (on Windows: of the process) can have one.
   *
   * @throws {RangeError} 16 live regions have one already.
   */
  readonly expat: {
    /** A filled `XML_Memory_Handling_Suite`. */
    readonly suite: Deno.PointerObject;
  };
  /**
   * For libraries with one allocator for the whole process: SQLite, libxml2, cJSON, curl. Reading this property makes
   * this allocator the process's own, for good: its region stays until the process ends, and `reset` and `close` do not
   * touch the native blocks. Each Worker (on Windows: the process) can have one such allocator.
   *
   * @throws {SharedError} Another allocator is the process's own already, or this one is a pool's lease.
   */
  readonly process: {
    /** Like C's `malloc`. */
    readonly malloc: Deno.PointerObject;
    /** Like C's `calloc`: zeroed; NULL if the product overflows. */
    readonly calloc: Deno.PointerObject;
    /** Like C's `realloc`; size 0 frees the block and returns NULL. */
    readonly realloc: Deno.PointerObject;
    /** Like C's `free`. */
    readonly free: Deno.PointerObject;
    /** Like POSIX's `strdup`. */
    readonly strdup: Deno.PointerObject;
    /** Like glibc's `malloc_usable_size`. */
    readonly usableSize: Deno.PointerObject;
    /** A filled `sqlite3_mem_methods`, for `sqlite3_config(SQLITE_CONFIG_MALLOC, suite)`. */
    readonly sqlite: Deno.PointerObject;
  };
}

/** The hooks of one allocator; each family is made at its first use. */
export class HoldHooks implements BumpHooks {
  readonly #owner: { readonly closed: boolean };
  readonly #hold: Hold;
  /** Whether the allocator is a pool's lease. */
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
        "Cannot give expat an allocator: all 16 suites are in use by live regions; close one of them",
      );
    }
    return { suite };
  }

  get process(): BumpHooks["process"] {
    const control = this.#control();
    if (this.#pooled) {
      throw new SharedError("Cannot name the process's own allocator: a pool's lease ends with its task");
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

/** The structs of one region that are passed to libraries by pointer. */
interface Records {
  /** An `FT_MemoryRec`: user, alloc, free, realloc. */
  readonly freetype: BigUint64Array<ArrayBuffer>;
  /** A `yyjson_alc`: malloc, realloc, free, ctx. */
  readonly yyjson: BigUint64Array<ArrayBuffer>;
}

/**
 * The structs by the address of their control block, the only thing they depend on. They are never freed: a library
 * that keeps one for too long finds callbacks that return NULL, never other memory. Control blocks are reused, so there
 * are at most as many as were ever alive at once.
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
