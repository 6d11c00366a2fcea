/**
 * Inserts rows into a database in memory and reads them back, with call frames. With `--hooks`, SQLite's own memory
 * also comes from an arena; with `--usual`, the usual binding is used:
 *
 * ```sh
 * deno run --allow-ffi examples/sqlite/main.ts [--hooks | --usual] [--rows 100000]
 * ```
 *
 * @module
 */
import { parseArgs } from "node:util";
import { BumpAlloc } from "../../mod.ts";
import * as frames from "./frames.ts";
import { openSqlite, setMemoryMethods, type Sqlite } from "./library.ts";
import * as usual from "./usual.ts";

type Database = frames.Database | usual.Database;

/** Inserts `rows` people and reads them back. Returns a checksum. */
export function work(database: Database, rows: number): number {
  database.exec("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, mail TEXT, score REAL, photo BLOB)");
  const photo = new Uint8Array(32);
  {
    using insert = database.prepare("INSERT INTO people VALUES (?, ?, ?, ?, ?)");
    database.exec("BEGIN");
    for (let i = 0; i < rows; i++) {
      photo.fill(i);
      insert.run(i, `Person number ${i}`, `person${i}@example.org`, i / 3, photo);
    }
    database.exec("COMMIT");
  }
  let sum = 0;
  using select = database.prepare("SELECT id, name, mail, score, photo FROM people ORDER BY id");
  select.each(([id, name, mail, score, photo]) => {
    const bytes = photo as Uint8Array;
    sum = (sum * 31 + (id as number) + (name as string).length + (mail as string).charCodeAt(6) +
      Math.trunc(score as number) + bytes[31]) % 2147483647;
  });
  return sum;
}

/** Prints the checksum and the milliseconds. */
function timed(open: (sqlite: Sqlite) => Database, sqlite: Sqlite, rows: number): void {
  const start = performance.now();
  using database = open(sqlite);
  const sum = work(database, rows);
  console.log(JSON.stringify({ rows, sum, milliseconds: Math.round(performance.now() - start) }));
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      rows: { type: "string", default: "100000" },
      usual: { type: "boolean", default: false },
      hooks: { type: "boolean", default: false },
    },
  });
  const sqlite = openSqlite();
  const rows = Number(values.rows);
  if (!Number.isSafeInteger(rows)) throw new TypeError(`--rows must be a whole number, not ${values.rows}`);
  if (values.hooks) {
    const arena = new BumpAlloc({ size: 2 ** 32 });
    setMemoryMethods(sqlite, arena.hooks.process.sqlite);
    timed((sqlite) => new frames.Database(sqlite, ":memory:"), sqlite, rows);
    console.error(arena);
  } else if (values.usual) timed((sqlite) => new usual.Database(sqlite, ":memory:"), sqlite, rows);
  else timed((sqlite) => new frames.Database(sqlite, ":memory:"), sqlite, rows);
}
