// A million statements, prepared, run and finalized, with SQLite's memory from a region of 64 MiB; run by long_test.ts.
import { BumpAlloc } from "../../mod.ts";
import { load, text } from "./support.ts";

const CONFIG_MALLOC = 4;
const TIMES = 100;
const STATEMENTS = 10_000;

const { symbols: native } = load("libsqlite3.so.0", {
  sqlite3_config: { parameters: ["i32", "pointer"], result: "i32" },
  sqlite3_open: { parameters: ["buffer", "buffer"], result: "i32" },
  sqlite3_exec: { parameters: ["pointer", "buffer", "pointer", "pointer", "pointer"], result: "i32" },
  sqlite3_total_changes: { parameters: ["pointer"], result: "i32" },
});

const scratch = BumpAlloc.withSize(64 * 2 ** 20);
native.sqlite3_config(CONFIG_MALLOC, scratch.hooks.process.sqlite);
const out = new BigUint64Array(1);
native.sqlite3_open(text(":memory:"), out);
const db = Deno.UnsafePointer.create(out[0]);
const codes = new Set<number>();
const exec = (sql: string) => codes.add(native.sqlite3_exec(db, text(sql), null, null, null));

exec("CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT, bytes BLOB); CREATE INDEX by_word ON words (word)");
// Blocks of all sizes come and go: rows grow, shrink, spill to pages of their own, and are deleted.
const program = Array.from({ length: STATEMENTS }, (_, i) => {
  const id = i * 7919 % 997;
  if (i % 10 === 0) return `REPLACE INTO words VALUES (${id}, 'word-${i % 331}', zeroblob(${i * i % 9001 >> i % 8}))`;
  if (i % 50 === 1) return `DELETE FROM words WHERE id BETWEEN ${id} AND ${id + 9}`;
  if (i % 2500 === 2) {
    return `SELECT group_concat(hex(bytes)), count(*) FROM words GROUP BY id / ${i % 7 + 1} ORDER BY 2`;
  }
  return `SELECT word FROM words WHERE id = ${id}`;
}).join(";");
const used: number[] = [];
for (let i = 0; i < TIMES; i++) {
  exec(program);
  used.push(scratch.used);
}
console.log(JSON.stringify({
  statements: TIMES * STATEMENTS,
  codes: [...codes],
  changes: native.sqlite3_total_changes(db),
  early: used[TIMES / 10],
  late: used.at(-1),
}));
