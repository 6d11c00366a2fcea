import { assertEquals, assertThrows } from "@std/assert";
import * as frames from "../../examples/sqlite/frames.ts";
import { openSqlite, type Sqlite, type Value } from "../../examples/sqlite/library.ts";
import { work } from "../../examples/sqlite/main.ts";
import * as usual from "../../examples/sqlite/usual.ts";
import { testUnless } from "../support/skip.ts";

function tryOpen(): Sqlite | null {
  try {
    return openSqlite();
  } catch (error) {
    console.error(`The SQLite example is not tested: ${(error as Error).message}`);
    return null;
  }
}

const sqlite = tryOpen();

testUnless(
  sqlite === null ? "SQLite is not installed" : null,
  "the SQLite binding with frames gives what the usual one gives",
  () => {
    using a = new frames.Database(sqlite!, ":memory:");
    using b = new usual.Database(sqlite!, ":memory:");
    assertEquals(work(a, 1000), work(b, 1000));
  },
);

testUnless(
  sqlite === null ? "SQLite is not installed" : null,
  "values come back as they were bound, also while rows are read",
  () => {
    using database = new frames.Database(sqlite!, ":memory:");
    database.exec("CREATE TABLE t (v)");
    using insert = database.prepare("INSERT INTO t VALUES (?)");
    const values: Value[] = ["", "Zürich 😀", 0.5, 2n ** 62n, null, new Uint8Array([1, 0, 2]), new Uint8Array(0)];
    for (const value of values) insert.run(value);
    using select = database.prepare("SELECT v FROM t WHERE rowid <= ? ORDER BY rowid");
    const read: Value[] = [];
    select.each(([value]) => {
      read.push(value instanceof Uint8Array ? value.slice() : value);
      insert.run("more");
      if (value instanceof Uint8Array) assertEquals(read.at(-1), value.slice());
    }, values.length);
    assertEquals(read, values);
    using count = database.prepare("SELECT count(*) FROM t");
    count.each(([n]) => assertEquals(n, 2 * values.length));
    assertThrows(() => database.prepare("SELEC 1"), Error, 'near "SELEC": syntax error');
    assertThrows(() => insert.run("a\0b"), TypeError, "NUL at index 1");
    assertThrows(() =>
      select.each(() => {
        throw new RangeError("mine");
      }, 1), RangeError);
    insert.run("goes on");
  },
);
