// SQLite with its own allocator, the process's arena, or one that is too small; run by process_test.ts.
import { BumpAlloc } from "../../mod.ts";
import { isInside, load, readText, text } from "./support.ts";

const CONFIG_MALLOC = 4;
const ROW = 100;

const { symbols: native } = load("libsqlite3.so.0", {
  sqlite3_config: { parameters: ["i32", "pointer"], result: "i32" },
  sqlite3_open: { parameters: ["buffer", "buffer"], result: "i32" },
  sqlite3_close: { parameters: ["pointer"], result: "i32" },
  sqlite3_exec: { parameters: ["pointer", "buffer", "pointer", "pointer", "pointer"], result: "i32" },
  sqlite3_prepare_v2: { parameters: ["pointer", "buffer", "i32", "buffer", "pointer"], result: "i32" },
  sqlite3_step: { parameters: ["pointer"], result: "i32" },
  sqlite3_column_count: { parameters: ["pointer"], result: "i32" },
  sqlite3_column_text: { parameters: ["pointer", "i32"], result: "pointer" },
  sqlite3_finalize: { parameters: ["pointer"], result: "i32" },
  sqlite3_errmsg: { parameters: ["pointer"], result: "pointer" },
  sqlite3_memory_used: { parameters: [], result: "i64" },
});

const SETUP = `
  CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT NOT NULL, weight REAL, bytes BLOB);
  CREATE TABLE links (a INTEGER REFERENCES words, b INTEGER REFERENCES words);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
    INSERT INTO words SELECT i, printf('word-%d-%s', i * 7919 % 5003, hex(i * 31)), i / 7.0, zeroblob(i % 200) FROM n;
  INSERT INTO links SELECT id, id * 13 % 20000 + 1 FROM words;
  CREATE INDEX by_word ON words (word);
  CREATE INDEX by_link ON links (b, a);
  UPDATE words SET weight = weight * 2, word = word || '!' WHERE id % 3 = 0;
  DELETE FROM words WHERE id % 17 = 0;
`;

const QUERIES = [
  "SELECT count(*), sum(length(word)), round(sum(weight), 3), sum(length(bytes)) FROM words",
  "SELECT substr(word, 1, 8) AS start, count(*), max(id) FROM words GROUP BY start ORDER BY 2 DESC, 1 LIMIT 40",
  "SELECT w.word, v.word FROM words w JOIN links l ON l.a = w.id JOIN words v ON v.id = l.b ORDER BY v.word, w.word LIMIT 300",
  "SELECT word FROM words WHERE word LIKE '%9-F%' ORDER BY random() * 0, word DESC LIMIT 50",
  "SELECT group_concat(word, '') FROM (SELECT word FROM words ORDER BY weight DESC LIMIT 2000)",
  "SELECT id, sum(weight) OVER (ORDER BY id ROWS 5 PRECEDING) FROM words WHERE id < 400",
  "SELECT json_group_array(json_object('id', id, 'word', word)) FROM words WHERE id < 500",
];

function open(): Deno.PointerValue {
  const out = new BigUint64Array(1);
  const code = native.sqlite3_open(text(":memory:"), out);
  if (code !== 0) throw new Error(`sqlite3_open: ${code}`);
  return Deno.UnsafePointer.create(out[0]);
}

function query(db: Deno.PointerValue, sql: string): (string | null)[][] {
  const out = new BigUint64Array(1);
  const code = native.sqlite3_prepare_v2(db, text(sql), -1, out, null);
  if (code !== 0) throw new Error(`${code}: ${readText(native.sqlite3_errmsg(db))}`);
  const statement = Deno.UnsafePointer.create(out[0]);
  const rows: (string | null)[][] = [];
  const columns = native.sqlite3_column_count(statement);
  while (native.sqlite3_step(statement) === ROW) {
    rows.push(Array.from({ length: columns }, (_, i) => readText(native.sqlite3_column_text(statement, i))));
  }
  native.sqlite3_finalize(statement);
  return rows;
}

const [how] = Deno.args;
const scratch = how === "plain" ? null : BumpAlloc.withSize(how === "full" ? 2 ** 21 : 2 ** 30);
const config = scratch === null ? 0 : native.sqlite3_config(CONFIG_MALLOC, scratch.hooks.process.sqlite);
const db = open();
const setup = native.sqlite3_exec(db, text(SETUP), null, null, null);
const message = readText(native.sqlite3_errmsg(db));
const results = setup === 0 ? QUERIES.map((sql) => query(db, sql)) : [];
const used = scratch?.used ?? 0;
console.log(JSON.stringify({
  config,
  setup,
  message,
  results,
  inside: scratch !== null && isInside(scratch, db),
  used,
  held: Number(native.sqlite3_memory_used()),
  close: native.sqlite3_close(db),
}));
