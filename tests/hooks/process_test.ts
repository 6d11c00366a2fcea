/**
 * Libraries with one allocator for the whole process: each runs in its own process, so that the allocator is set before
 * the first call.
 */
import { assert, assertEquals } from "@std/assert";
import { load, runChild, testWith } from "./support.ts";

/** The report of a child process. */
interface Report {
  /** Whether the library's objects are in the region. */
  inside: boolean;
  /** Bytes of the region that are taken. */
  used: number;
  /** Bytes in use by the library's own count, if it keeps one. */
  held?: number;
  /** Results of its work. */
  [result: string]: unknown;
}

function results({ inside: _inside, used: _used, held: _held, ...rest }: Report): unknown {
  return rest;
}

async function compare(child: string, leastUsed: number): Promise<void> {
  const plain = await runChild(child, "plain") as Report;
  const arena = await runChild(child, "arena") as Report;
  assertEquals(results(arena), results(plain));
  assert(arena.inside && !plain.inside);
  assert(arena.used > Math.max(leastUsed, arena.held ?? 0), `${arena.used}`);
}

const sqlite = load("libsqlite3.so.0", {});
testWith(sqlite, "SQLite: a set of queries in the process's arena", () => compare("sqlite_child.ts", 4 * 2 ** 20));
testWith(sqlite, "SQLite: a full region is SQLITE_NOMEM, and the database can still be closed", async () => {
  const { setup, message, close, inside } = await runChild("sqlite_child.ts", "full") as Report;
  assertEquals({ setup, message, close, inside }, { setup: 7, message: "out of memory", close: 0, inside: true });
});

const cjson = load("libcjson.so.1", {});
testWith(cjson, "cJSON: a large document in the process's arena", () => compare("cjson_child.ts", 4 * 2 ** 20));
testWith(cjson, "cJSON: a full region makes it give NULL", async () => {
  // cJSON frees its partial result, and that memory is reused.
  const { parsed, again } = await runChild("cjson_child.ts", "full") as Report;
  assertEquals({ parsed, again }, { parsed: false, again: 3 });
});

const libxml2 = load("libxml2.so.2", {});
testWith(libxml2, "libxml2: a large document in the process's arena", () => compare("libxml2_child.ts", 4 * 2 ** 20));
testWith(libxml2, "libxml2: a full region is XML_ERR_NO_MEMORY", async () => {
  const { setup, parsed, error } = await runChild("libxml2_child.ts", "full") as Report;
  assertEquals({ setup, parsed, error }, { setup: 0, parsed: false, error: 2 });
});

const curl = load("libcurl.so.4", {});
testWith(curl, "curl: a transfer in the process's arena", () => compare("curl_child.ts", 10_000));
testWith(curl, "curl: a full region is CURLE_OUT_OF_MEMORY", async () => {
  const { setup, options, performed, escaped, parts } = await runChild("curl_child.ts", "full") as Report;
  assertEquals({ setup, options, performed, escaped, parts }, {
    setup: 0,
    options: [27, 0],
    performed: 27,
    escaped: null,
    parts: [],
  });
});
