import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { fromFileUrl, join } from "@std/path";
import { testSince } from "../support/skip.ts";

const ROOT = new URL("../../", import.meta.url);
const MOD = new URL("mod.ts", ROOT).href;

/** Runs a program under the inspector. Returns the picture and the messages. */
async function inspect(program: string): Promise<{ svg: string; error: string; code: number }> {
  const folder = await Deno.makeTempDir();
  try {
    const out = join(folder, "map.svg");
    await Deno.writeTextFile(
      join(folder, "program.ts"),
      `import { BumpAlloc } from ${JSON.stringify(MOD)};\n${program}`,
    );
    const { stderr, code } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        fromFileUrl(new URL("tools/inspect/main.ts", ROOT)),
        `--out=${out}`,
        join(folder, "program.ts"),
      ],
      env: { NO_COLOR: "1" },
      stdin: "null",
    }).output();
    const svg = await Deno.readTextFile(out).catch(() => "");
    return { svg, error: new TextDecoder().decode(stderr), code };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function inspectTest(name: string, fn: () => Promise<void>): void {
  testSince("2.4.0", "there is no --preload, which the inspector needs", name, fn);
}

/** Sum of the bytes that are drawn as this type. */
function drawn(svg: string, type: string): number {
  let sum = 0;
  for (const [, bytes] of svg.matchAll(new RegExp(`class="${type}"[^>]*data-bytes="(\\d+)"`, "g"))) {
    sum += Number(bytes);
  }
  return sum;
}

inspectTest("the map shows used bytes, padding and scopes at the peak", async () => {
  const { svg, code, error } = await inspect(`
    using scratch = new BumpAlloc();
    scratch.alloc(100);
    function parse() {
      using scope = scratch.scope();
      scope.alloc(1000, 4096);
      scope.tryAlloc(8);
    }
    parse();
    scratch.alloc(500);
  `);
  assertEquals(code, 0, error);
  assertEquals(drawn(svg, "used"), 1108);
  assertEquals(drawn(svg, "padding"), 4096 - 100);
  assertStringIncludes(svg, "scope 1: parse (program.ts:6), 4.89 KiB from 100 B");
  assertStringIncludes(svg, "4.98 KiB used of 1 GiB");
  assertEquals(svg.split("<g>").length, svg.split("</g>").length);
});

inspectTest("a program that ends with an error is drawn too", async () => {
  for (const end of ["throw error", "setTimeout(() => { throw error; })", "Promise.reject(error)"]) {
    const { svg, code, error } = await inspect(`
      const scratch = BumpAlloc.withSize(65536);
      scratch.alloc(1000);
      const error = new Error("mine");
      ${end};
    `);
    assertEquals(code, 1, error);
    assertStringIncludes(error, "Error: mine");
    assertEquals(drawn(svg, "used"), 1000);
  }
});

inspectTest("rewind, reset and realloc in place are followed", async () => {
  const { svg } = await inspect(`
    const scratch = new BumpAlloc();
    scratch.alloc(5000);
    scratch.reset();
    const mark = scratch.mark();
    scratch.alloc(4000);
    scratch.rewind(mark);
    const grown = scratch.realloc(scratch.alloc(16), 6000);
    scratch.realloc(grown, 7000);
    scratch.cstringArray(["a", "bc"]);
    // Never closed: recorded at the end.
  `);
  assertEquals(drawn(svg, "used"), 7000 + 24 + 2 + 3);
  assertEquals(drawn(svg, "padding"), 0);
});

inspectTest("bars stay inside the picture, also with thousands of allocations", async () => {
  const { svg } = await inspect(`
    using scratch = new BumpAlloc();
    for (let i = 0; i < 5000; i++) scratch.alloc(i, 32);
  `);
  const width = Number(/width="(\d+)"/.exec(svg)![1]);
  const height = Number(/height="(\d+)"/.exec(svg)![1]);
  let count = 0;
  for (
    const [, x, y, w, h] of svg.matchAll(
      /<rect class="\w+" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g,
    )
  ) {
    assert(Number(x) + Number(w) <= width && Number(y) + Number(h) <= height);
    count++;
  }
  assert(count > 5);
  assertEquals(drawn(svg, "used"), 5000 * 4999 / 2);
});

inspectTest("a program without allocators, and one that fails, are told apart", async () => {
  const none = await inspect("void BumpAlloc;");
  assertEquals([none.code, none.svg], [0, ""]);
  assertStringIncludes(none.error, "nothing is drawn");
  const failing = await inspect("using scratch = new BumpAlloc(); scratch.alloc(10); Deno.exit(3);");
  assertEquals(failing.code, 3);
  assertEquals(drawn(failing.svg, "used"), 10);
});
