import { assert, assertEquals, assertThrows } from "@std/assert";
import { aggregate, aggregatePlainly, type Query, writeReadings } from "../../examples/aggregate.ts";
import { BumpAlloc } from "../../mod.ts";
import { testSince } from "../support/skip.ts";

function bothOf(text: string, query: Query) {
  const path = Deno.makeTempFileSync();
  try {
    Deno.writeTextFileSync(path, text);
    using scratch = new BumpAlloc();
    const own = aggregate(scratch, path, query);
    assertEquals(scratch.used, 0);
    return { own, plain: aggregatePlainly(path, query) };
  } finally {
    Deno.removeSync(path);
  }
}

Deno.test("aggregating bytes in scratch memory gives the same result as splitting text", () => {
  const query = { by: "name", of: "value", separator: "," };
  const numbers = [
    "1",
    "-2.5",
    "0.1",
    "1e3",
    "",
    "-",
    "x",
    "+7",
    " 8 ",
    "123456789",
    "1234567890",
    "0.1234567891",
    "-0",
    ".5",
    "5.",
  ];
  const lines = numbers.map((number, i) => `${i % 3},${"Zürich é".slice(i % 8)},${number},more`);
  for (const newline of ["\n", "\r\n"]) {
    for (const end of ["", newline, newline + newline]) {
      const text = ["id,name,value,more", ...lines, "short", "7,only a name", ""].join(newline) + end;
      const { own, plain } = bothOf(text, query);
      assertEquals(own, plain);
      assert(own.size > 8);
      assertEquals(
        bothOf(text, { ...query, by: "more", of: "id" }).own,
        bothOf(text, { ...query, by: "more", of: "id" }).plain,
      );
    }
  }
  assertEquals(bothOf("name;value\na;1\na;3\n", { ...query, separator: ";" }).own.get("a"), {
    count: 2,
    least: 1,
    mean: 2,
    most: 3,
  });
  assertEquals(bothOf("name,value", query), { own: new Map(), plain: new Map() });
  assertThrows(() => bothOf("", query), TypeError, "There is no column name");
});

Deno.test("as many groups as there are lines, and the readings that the example makes", () => {
  const many = Array.from({ length: 20_000 }, (_, i) => `${i},${i / 8}`).join("\n");
  const { own, plain } = bothOf(`name,value\n${many}`, { by: "name", of: "value", separator: "," });
  assertEquals(own.size, 20_000);
  assertEquals(own, plain);
  const path = Deno.makeTempFileSync();
  writeReadings(path, 5000);
  const readings = Deno.readTextFileSync(path);
  Deno.removeSync(path);
  assertEquals(readings.split("\n").length, 5002);
  const both = bothOf(readings, { by: "station", of: "temperature", separator: "," });
  assertEquals(both.own, both.plain);
  assertEquals(both.own.size, 400);
});

const name = "`deno task demo` downloads nothing: imports of tests and benches are not resolved";
testSince("2.1.0", "`deno task` does not understand this deno.json", name, async () => {
  const cache = await Deno.makeTempDir();
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "demo", "--lines", "1000"],
    cwd: new URL("../../", import.meta.url),
    env: { DENO_DIR: cache, HTTP_PROXY: "http://127.0.0.1:9", HTTPS_PROXY: "http://127.0.0.1:9", NO_PROXY: "" },
  }).output();
  // Windows does not remove files of a running program.
  await Deno.remove(cache, { recursive: true }).catch(() => {});
  assertEquals(success, true, new TextDecoder().decode(stderr));
});
