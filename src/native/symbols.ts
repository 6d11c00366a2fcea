/**
 * The C library's functions, in the order of `native/bump.h`, so that the two can be read side by side.
 *
 * @module
 */

/** Negative results of the C library, as in `native/bump.h`. */
export const BumpCode = {
  OK: 0,
  MOVED: 1,
  FULL: -1,
  INVALID: -2,
  STALE: -3,
  SHARED: -4,
  MAPPINGS: -5,
  /** `SYSTEM - e` is system error `e`. */
  SYSTEM: -1000,
} as const;

/** `BUMP_HUGE_PAGES`. */
export const HUGE_PAGES = 1;

/** The `bump_abi()` for which this binding is written. */
export const ABI = 4;

/** The symbol table for `Deno.dlopen`. */
export const symbols = {
  // the machine
  bump_abi: { parameters: [], result: "u32" },
  bump_page_size: { parameters: [], result: "f64" },
  bump_pointer: { parameters: ["f64"], result: "pointer" },

  // life of a region
  bump_create: {
    parameters: [
      "f64", // capacity
      "u32", // flags
      "buffer", // region
    ],
    result: "pointer",
  },
  bump_share: { parameters: ["pointer"], result: "f64" },
  bump_token: { parameters: ["pointer"], result: "f64" },
  bump_attach: {
    parameters: [
      "f64", // token
      "f64", // key
      "buffer", // region
    ],
    result: "pointer",
  },
  bump_hold: {
    parameters: [
      "pointer", // bump
      "buffer", // region
    ],
    result: "pointer",
  },
  bump_close: { parameters: ["pointer"], result: "i32" },
  bump_keep: {
    parameters: [
      "pointer", // bump
      "f64", // from
      "f64", // to
    ],
    result: "i32",
  },

  // push
  bump_take: {
    parameters: [
      "pointer", // bump
      "f64", // minimum
      "f64", // preferred
      "f64", // align
      "buffer", // chunk
    ],
    result: "i32",
  },

  // pop
  bump_give: {
    parameters: [
      "pointer", // bump
      "f64", // from
      "f64", // to
    ],
    result: "i32",
  },
  bump_reset: {
    parameters: [
      "pointer", // bump
      "f64", // cursor
      "bool", // may_move
      "buffer", // region
    ],
    result: "i32",
  },
  bump_prepare_reset: { parameters: ["pointer"], result: "i32" },

  // pages
  bump_discard: {
    parameters: [
      "pointer", // bump
      "f64", // from
      "f64", // to
    ],
    result: "i32",
  },
  bump_prefault: {
    parameters: [
      "pointer", // bump
      "f64", // from
      "f64", // to
    ],
    result: "i32",
  },
  bump_resident: { parameters: ["pointer"], result: "f64" },

  // state
  bump_base: { parameters: ["pointer"], result: "pointer" },
  bump_capacity: { parameters: ["pointer"], result: "f64" },
  bump_cursor: { parameters: ["pointer"], result: "f64" },
  bump_committed: { parameters: ["pointer"], result: "f64" },
  bump_holders: { parameters: ["pointer"], result: "f64" },

  // hooks.h: the one function that JavaScript calls, besides those for the process's own allocator
  bump_expat_suite: { parameters: ["pointer"], result: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Callbacks with a context argument: native libraries call them, JavaScript only takes their addresses. */
export const callbackNames = [
  "bump_alloc",
  "bump_zlib_alloc",
  "bump_zlib_free",
  "bump_zstd_alloc",
  "bump_zstd_free",
  "bump_lua_alloc",
  "bump_yyjson_malloc",
  "bump_yyjson_realloc",
  "bump_yyjson_free",
  "bump_pcre2_malloc",
  "bump_pcre2_free",
  "bump_freetype_alloc",
  "bump_freetype_free",
  "bump_freetype_realloc",
] as const;

/** The functions of `native/hooks.h` for the whole process. */
export const processSymbols = {
  bump_process_bind: { parameters: ["pointer"], result: "i32" },
  bump_process_malloc: { type: "pointer" },
  bump_process_calloc: { type: "pointer" },
  bump_process_realloc: { type: "pointer" },
  bump_process_free: { type: "pointer" },
  bump_process_strdup: { type: "pointer" },
  bump_process_usable_size: { type: "pointer" },
  bump_process_sqlite: { type: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;
