/**
 * The same binding, written the usual way: a new array for each string and each out-parameter, and references that keep
 * them from being collected while SQLite uses them.
 */
import { DONE, integer, ROW, type Sqlite, sqliteError, Type, type Value } from "./library.ts";

const encoder = new TextEncoder();

/** A database. */
export class Database implements Disposable {
  readonly #sqlite: Sqlite;
  readonly #handle: Deno.PointerValue;

  constructor(sqlite: Sqlite, path: string) {
    this.#sqlite = sqlite;
    const handle = new BigUint64Array(1);
    const code = sqlite.sqlite3_open(encoder.encode(path + "\0"), handle);
    this.#handle = Deno.UnsafePointer.create(handle[0]);
    if (code !== 0) throw sqliteError(sqlite, this.#handle);
  }

  prepare(sql: string): Statement {
    const handle = new BigUint64Array(1);
    const code = this.#sqlite.sqlite3_prepare_v2(this.#handle, encoder.encode(sql + "\0"), -1, handle, null);
    if (code !== 0) throw sqliteError(this.#sqlite, this.#handle);
    return new Statement(this.#sqlite, this.#handle, Deno.UnsafePointer.create(handle[0]));
  }

  exec(sql: string): void {
    using statement = this.prepare(sql);
    statement.run();
  }

  [Symbol.dispose](): void {
    this.#sqlite.sqlite3_close_v2(this.#handle);
  }
}

/** A prepared statement. */
export class Statement implements Disposable {
  readonly #sqlite: Sqlite;
  readonly #database: Deno.PointerValue;
  readonly #handle: Deno.PointerValue;
  readonly #columns: number;
  /** Bound values must not be collected before the step. */
  readonly #references: Uint8Array[] = [];

  constructor(sqlite: Sqlite, database: Deno.PointerValue, handle: Deno.PointerValue) {
    this.#sqlite = sqlite;
    this.#database = database;
    this.#handle = handle;
    this.#columns = sqlite.sqlite3_column_count(handle);
  }

  /** Runs a statement that returns no rows. */
  run(...values: Value[]): void {
    try {
      this.#bind(values);
      const code = this.#sqlite.sqlite3_step(this.#handle);
      if (code !== DONE && code !== ROW) throw sqliteError(this.#sqlite, this.#database);
    } finally {
      this.#sqlite.sqlite3_reset(this.#handle);
      this.#references.length = 0;
    }
  }

  /** Calls `use` with each row. */
  each(use: (row: Value[]) => void, ...values: Value[]): void {
    const sqlite = this.#sqlite;
    try {
      this.#bind(values);
      for (;;) {
        const code = sqlite.sqlite3_step(this.#handle);
        if (code === DONE) return;
        if (code !== ROW) throw sqliteError(sqlite, this.#database);
        const row: Value[] = [];
        for (let i = 0; i < this.#columns; i++) row.push(this.#column(i));
        use(row);
      }
    } finally {
      sqlite.sqlite3_reset(this.#handle);
      this.#references.length = 0;
    }
  }

  #bind(values: Value[]): void {
    const sqlite = this.#sqlite;
    const handle = this.#handle;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      let code: number;
      if (typeof value === "string") {
        const text = encoder.encode(value + "\0");
        this.#references.push(text);
        code = sqlite.sqlite3_bind_text(handle, i + 1, text, text.length - 1, null);
      } else if (typeof value === "number") code = sqlite.sqlite3_bind_double(handle, i + 1, value);
      else if (typeof value === "bigint") code = sqlite.sqlite3_bind_int64(handle, i + 1, value);
      else if (value === null) code = sqlite.sqlite3_bind_null(handle, i + 1);
      else {
        const blob = value.slice();
        this.#references.push(blob);
        code = sqlite.sqlite3_bind_blob(handle, i + 1, blob, blob.length, null);
      }
      if (code !== 0) throw sqliteError(sqlite, this.#database);
    }
  }

  #column(i: number): Value {
    const sqlite = this.#sqlite;
    const handle = this.#handle;
    switch (sqlite.sqlite3_column_type(handle, i)) {
      case Type.INTEGER:
        return integer(sqlite.sqlite3_column_int64(handle, i));
      case Type.FLOAT:
        return sqlite.sqlite3_column_double(handle, i);
      case Type.TEXT:
        return Deno.UnsafePointerView.getCString(sqlite.sqlite3_column_text(handle, i)!);
      case Type.BLOB: {
        const blob = new Uint8Array(sqlite.sqlite3_column_bytes(handle, i));
        const pointer = sqlite.sqlite3_column_blob(handle, i);
        if (pointer !== null) Deno.UnsafePointerView.copyInto(pointer, blob);
        return blob;
      }
      default:
        return null;
    }
  }

  [Symbol.dispose](): void {
    this.#sqlite.sqlite3_finalize(this.#handle);
  }
}
