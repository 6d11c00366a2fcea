/** The functions of SQLite and the code that both bindings share. */

/** The values of SQLite. */
export type Value = null | number | bigint | string | Uint8Array;

export const ROW = 100;
export const DONE = 101;

/** Column types. */
export const Type = { INTEGER: 1, FLOAT: 2, TEXT: 3, BLOB: 4, NULL: 5 } as const;

const symbols = {
  sqlite3_open: { parameters: ["buffer", "buffer"], result: "i32" },
  sqlite3_close_v2: { parameters: ["pointer"], result: "i32" },
  sqlite3_errmsg: { parameters: ["pointer"], result: "pointer" },
  sqlite3_prepare_v2: { parameters: ["pointer", "buffer", "i32", "buffer", "pointer"], result: "i32" },
  sqlite3_finalize: { parameters: ["pointer"], result: "i32" },
  sqlite3_reset: { parameters: ["pointer"], result: "i32" },
  sqlite3_clear_bindings: { parameters: ["pointer"], result: "i32" },
  sqlite3_step: { parameters: ["pointer"], result: "i32" },
  sqlite3_bind_null: { parameters: ["pointer", "i32"], result: "i32" },
  sqlite3_bind_double: { parameters: ["pointer", "i32", "f64"], result: "i32" },
  sqlite3_bind_int64: { parameters: ["pointer", "i32", "i64"], result: "i32" },
  sqlite3_bind_text: { parameters: ["pointer", "i32", "buffer", "i32", "pointer"], result: "i32" },
  sqlite3_bind_blob: { parameters: ["pointer", "i32", "buffer", "i32", "pointer"], result: "i32" },
  sqlite3_column_count: { parameters: ["pointer"], result: "i32" },
  sqlite3_column_type: { parameters: ["pointer", "i32"], result: "i32" },
  sqlite3_column_bytes: { parameters: ["pointer", "i32"], result: "i32" },
  sqlite3_column_text: { parameters: ["pointer", "i32"], result: "pointer" },
  sqlite3_column_blob: { parameters: ["pointer", "i32"], result: "pointer" },
  sqlite3_column_double: { parameters: ["pointer", "i32"], result: "f64" },
  sqlite3_column_int64: { parameters: ["pointer", "i32"], result: "i64" },
  // Six zeros fill the registers, for systems that pass variadic arguments on the stack (macOS on arm64).
  sqlite3_config: {
    parameters: ["i32", "pointer", "usize", "usize", "usize", "usize", "usize", "usize", "pointer"],
    result: "i32",
  },
} as const satisfies Deno.ForeignLibraryInterface;

export type Sqlite = Deno.DynamicLibrary<typeof symbols>["symbols"];

const NAMES: Record<string, readonly string[]> = {
  linux: ["libsqlite3.so.0", "libsqlite3.so"],
  darwin: ["libsqlite3.dylib"],
  windows: ["sqlite3.dll", "winsqlite3.dll"],
};

/** Loads the system's SQLite. */
export function openSqlite(): Sqlite {
  const errors: unknown[] = [];
  for (const name of NAMES[Deno.build.os] ?? []) {
    try {
      return Deno.dlopen(name, symbols).symbols;
    } catch (error) {
      errors.push(error);
    }
  }
  throw new Error(`SQLite is not installed (Debian: libsqlite3-0)`, { cause: new AggregateError(errors) });
}

const CONFIG_MALLOC = 4;

/**
 * Makes SQLite allocate with `methods`, a `sqlite3_mem_methods`. Call it before the first use of SQLite in this
 * process.
 */
export function setMemoryMethods(sqlite: Sqlite, methods: Deno.PointerObject): void {
  const variadicOnStack = Deno.build.os === "darwin" && Deno.build.arch === "aarch64";
  const code = sqlite.sqlite3_config(
    CONFIG_MALLOC,
    variadicOnStack ? null : methods,
    0n,
    0n,
    0n,
    0n,
    0n,
    0n,
    variadicOnStack ? methods : null,
  );
  if (code !== 0) throw new Error(`SQLite refuses another allocator (code ${code}): it is in use already`);
}

/** The database's last error. */
export function sqliteError(sqlite: Sqlite, database: Deno.PointerValue): Error {
  const text = sqlite.sqlite3_errmsg(database);
  return new Error(text === null ? "SQLite: out of memory" : `SQLite: ${Deno.UnsafePointerView.getCString(text)}`);
}

/** An integer as a number, if that is exact. */
export function integer(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
