/**
 * Work of libraries with one allocator for the whole process, which the benches sqlite and hooks run in processes of
 * their own: `process_child.ts WORK AMOUNT [--hooks]`, where AMOUNT is a count or, for `mixed`, seconds. Prints a
 * `Report` as JSON.
 *
 * @module
 */
import { Database } from "../examples/sqlite/frames.ts";
import { openSqlite, setMemoryMethods } from "../examples/sqlite/library.ts";
import { BumpAlloc, type BumpHooks } from "../mod.ts";
import { memoryOf } from "./lib/measure.ts";
import type { Report } from "./lib/process_work.ts";

type Work = (amount: number, sample: () => void) => number;

const works: Record<string, (hooks: BumpHooks["process"] | null) => Work> = {
  /** Each statement is prepared, run and finalized. */
  statements(hooks) {
    const database = openDatabase(hooks);
    database.exec("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, score REAL, photo BLOB)");
    database.exec("CREATE INDEX by_name ON people (name)");
    return (amount) => {
      for (let i = 0; i < amount; i++) {
        using statement = database.prepare(
          `SELECT id, name, score, photo FROM people WHERE name = 'person ${i}' AND score > ${
            i + 1
          } ORDER BY id LIMIT 9`,
        );
        statement.run();
      }
      return amount;
    };
  },
  /** Rows of many sizes are inserted, replaced, searched, sorted and deleted. */
  mixed(hooks) {
    const database = openDatabase(hooks);
    database.exec("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, score REAL, photo BLOB)");
    database.exec("CREATE INDEX by_name ON people (name)");
    const insert = database.prepare("REPLACE INTO people VALUES (?, ?, ?, ?)");
    const search = database.prepare("SELECT id, score FROM people WHERE name > ? ORDER BY name LIMIT 20");
    const remove = database.prepare("DELETE FROM people WHERE id BETWEEN ? AND ?");
    const group =
      "SELECT substr(name, 1, 10), count(*), group_concat(id) FROM people GROUP BY 1 ORDER BY 2 DESC LIMIT 9";
    const photo = new Uint8Array(600);
    let random = 1;
    return (seconds, sample) => {
      const end = performance.now() + seconds * 1000;
      let count = 0;
      for (; count % 100 !== 0 || performance.now() < end; count++) {
        random = (random * 1103515245 + 12345) % 2 ** 31;
        const id = random >> 8;
        insert.run(id % 50_000, `person ${id % 99_991}`, id / 3, photo.subarray(0, id % 600));
        if (count % 4 === 0) search.each(() => {}, `person ${id % 99_991}`);
        if (count % 50 === 0) remove.run(id % 50_000, id % 50_000 + 60);
        if (count % 2000 === 0) {
          using statement = database.prepare(group);
          statement.each(() => {});
          sample();
        }
      }
      return count;
    };
  },
  /** A document of some megabytes is parsed and freed. */
  json(hooks) {
    const { cJSON_InitHooks, cJSON_Parse, cJSON_Delete } = Deno.dlopen("libcjson.so.1", {
      cJSON_InitHooks: { parameters: ["buffer"], result: "void" },
      cJSON_Parse: { parameters: ["buffer"], result: "pointer" },
      cJSON_Delete: { parameters: ["pointer"], result: "void" },
    }).symbols;
    if (hooks !== null) {
      cJSON_InitHooks(BigUint64Array.of(Deno.UnsafePointer.value(hooks.malloc), Deno.UnsafePointer.value(hooks.free)));
    }
    const list = Array.from(
      { length: 30_000 },
      (_, i) => ({ id: i, name: "x".repeat(i % 60), list: [i / 3, null, {}] }),
    );
    const document = new TextEncoder().encode(JSON.stringify(list) + "\0");
    return (amount) => {
      for (let i = 0; i < amount; i++) {
        const tree = cJSON_Parse(document);
        if (tree === null) throw new Error("cJSON_Parse gave NULL");
        cJSON_Delete(tree);
      }
      return amount;
    };
  },
};

function openDatabase(hooks: BumpHooks["process"] | null): Database {
  const sqlite = openSqlite();
  if (hooks !== null) setMemoryMethods(sqlite, hooks.sqlite);
  return new Database(sqlite, ":memory:");
}

const [name, amount, hooked] = Deno.args;
const work = works[name](hooked === "--hooks" ? new BumpAlloc().hooks.process : null);
const points: [number, number][] = [];
const start = performance.now();
const sample = () => points.push([(performance.now() - start) / 1000, memoryOf("self", "VmRSS")]);
const count = work(Number(amount), sample);
const microseconds = (performance.now() - start) * 1000 / count;
const report: Report = { microseconds, peak: memoryOf("self", "VmHWM"), points };
console.log(JSON.stringify(report));
