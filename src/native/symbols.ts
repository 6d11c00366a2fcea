/**
 * The C library's functions, in the order of `native/bump.h`, to be read beside it.
 *
 * @module
 */

/** Negative results of the C library, as in `native/bump.h`. */
export const BumpCode = {
  OK: 0,
  FULL: -1,
  INVALID: -2,
  STALE: -3,
  SHARED: -4,
  /** `SYSTEM - e` is system error `e`. */
  SYSTEM: -1000,
} as const;

/** `BUMP_HUGE_PAGES`. */
export const HUGE_PAGES = 1;

/** The `bump_abi()` that this binding was written for. */
export const ABI = 1;

/** The symbol table for `Deno.dlopen`. */
export const symbols = {
  // the machine
  bump_abi: { parameters: [], result: "u32" },
  bump_page_size: { parameters: [], result: "f64" },

  // life of a region
  bump_create: {
    parameters: [
      "f64", // capacity
      "u32", // flags
      "buffer", // error
    ],
    result: "pointer",
  },
  bump_carve: {
    parameters: [
      "pointer", // parent
      "f64", // offset
      "f64", // capacity
      "buffer", // error
    ],
    result: "pointer",
  },
  bump_share: { parameters: ["pointer"], result: "f64" },
  bump_attach: {
    parameters: [
      "f64", // address
      "f64", // key
      "buffer", // error
    ],
    result: "pointer",
  },
  bump_close: {
    parameters: [
      "pointer", // bump
      "f64", // keep
    ],
    result: "i32",
  },
  bump_renew: {
    parameters: [
      "pointer", // bump
      "f64", // keep
    ],
    result: "i32",
  },
  bump_settle: { parameters: ["pointer"], result: "void" },

  // push
  bump_lease: {
    parameters: [
      "pointer", // bump
      "f64", // minimum
      "f64", // preferred
      "f64", // align
      "buffer", // lease
    ],
    result: "i32",
  },

  // pop
  bump_unlease: {
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
    ],
    result: "i32",
  },

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
  bump_attached: { parameters: ["pointer"], result: "f64" },
} as const satisfies Deno.ForeignLibraryInterface;
