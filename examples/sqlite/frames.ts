/**
 * A small SQLite binding whose calls are frames. The arguments of a call are written to scratch memory, at stable
 * addresses, and are gone when the call returns. Only the values themselves are left to the garbage collector.
 */
import { BumpAlloc, type BumpScope, type Scratch } from "../../mod.ts";
import { DONE, integer, ROW, type Sqlite, sqliteError, Type, type Value } from "./library.ts";

/** The innermost open frame of a database. While rows are read, further calls open theirs inside it. */
class Frames implements Disposable {
  readonly #scratch = new BumpAlloc();
  top: Scratch = this.#scratch;

  [Symbol.dispose](): void {
    this.#scratch.close();
  }
}

/** A database. */
export class Database implements Disposable {
  readonly #sqlite: Sqlite;
  readonly #frames = new Frames();
  readonly #handle: Deno.PointerValue;

  constructor(sqlite: Sqlite, path: string) {
    this.#sqlite = sqlite;
    using frame = this.#frames.top.frame();
    const handle = frame.out("pointer");
    const code = sqlite.sqlite3_open(frame.cstring(path), handle.view);
    this.#handle = handle.value;
    if (code !== 0) throw sqliteError(sqlite, this.#handle);
  }

  prepare(sql: string): Statement {
    using frame = this.#frames.top.frame();
    const handle = frame.out("pointer");
    const code = this.#sqlite.sqlite3_prepare_v2(this.#handle, frame.cstring(sql), -1, handle.view, null);
    if (code !== 0) throw sqliteError(this.#sqlite, this.#handle);
    return new Statement(this.#sqlite, this.#handle, handle.value, this.#frames);
  }

  exec(sql: string): void {
    using statement = this.prepare(sql);
    statement.run();
  }

  [Symbol.dispose](): void {
    this.#sqlite.sqlite3_close_v2(this.#handle);
    this.#frames[Symbol.dispose]();
  }
}

/** A prepared statement. */
export class Statement implements Disposable {
  readonly #sqlite: Sqlite;
  readonly #database: Deno.PointerValue;
  readonly #handle: Deno.PointerValue;
  readonly #frames: Frames;
  readonly #columns: number;

  constructor(sqlite: Sqlite, database: Deno.PointerValue, handle: Deno.PointerValue, frames: Frames) {
    this.#sqlite = sqlite;
    this.#database = database;
    this.#handle = handle;
    this.#frames = frames;
    this.#columns = sqlite.sqlite3_column_count(handle);
  }

  /** Runs a statement that returns no rows. */
  run(...values: Value[]): void {
    // `using` costs more than the frame itself, and this is the hot path.
    const frame = this.#frames.top.frame();
    try {
      this.#bind(values, frame);
      const code = this.#sqlite.sqlite3_step(this.#handle);
      if (code !== DONE && code !== ROW) throw sqliteError(this.#sqlite, this.#database);
    } finally {
      this.#sqlite.sqlite3_reset(this.#handle);
      frame.end();
    }
  }

  /** Calls `use` with each row. A blob of the row is scratch memory, valid until `use` returns. */
  each(use: (row: Value[]) => void, ...values: Value[]): void {
    const frames = this.#frames;
    const sqlite = this.#sqlite;
    const outer = frames.top;
    using bound = outer.scope(); // SQLite uses bound values while rows are read
    try {
      this.#bind(values, bound);
      for (;;) {
        const code = sqlite.sqlite3_step(this.#handle);
        if (code === DONE) return;
        if (code !== ROW) throw sqliteError(sqlite, this.#database);
        const frame = frames.top = bound.frame();
        try {
          const row: Value[] = [];
          for (let i = 0; i < this.#columns; i++) row.push(this.#column(i, frame));
          use(row);
        } finally {
          frame.end();
        }
      }
    } finally {
      frames.top = outer;
      sqlite.sqlite3_reset(this.#handle);
    }
  }

  /** SQLite does not copy bound values, so the frame must outlive the step. */
  #bind(values: Value[], frame: BumpScope): void {
    const sqlite = this.#sqlite;
    const handle = this.#handle;
    for (let i = 0; i < values.length; i++) {
      const value = values[i];
      let code: number;
      if (typeof value === "string") {
        const text = frame.cstring(value);
        code = sqlite.sqlite3_bind_text(handle, i + 1, text, text.length - 1, null);
      } else if (typeof value === "number") code = sqlite.sqlite3_bind_double(handle, i + 1, value);
      else if (typeof value === "bigint") code = sqlite.sqlite3_bind_int64(handle, i + 1, value);
      else if (value === null) code = sqlite.sqlite3_bind_null(handle, i + 1);
      else code = sqlite.sqlite3_bind_blob(handle, i + 1, frame.copy(value), value.length, null);
      if (code !== 0) throw sqliteError(sqlite, this.#database);
    }
  }

  #column(i: number, frame: BumpScope): Value {
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
        const blob = frame.alloc(sqlite.sqlite3_column_bytes(handle, i));
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
