// The package as users get it: packed for publishing, served by a stand-in for JSR, and imported in an empty folder
// with an empty cache. Only 127.0.0.1 is contacted.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join, toFileUrl } from "@std/path";
import { LOADING } from "../support/permissions.ts";
import { noPreload } from "../preload/support.ts";
import { isBefore, testUnless } from "../support/skip.ts";
import { pack, packedSize, type Registry, ROOT, serve, writePackage } from "./registry.ts";

const packed = await pack();

/** A user's program; it prints `OK`. */
const PROGRAM = `
using scratch = new BumpAlloc();
const bytes = scratch.alloc(1000, 64).fill(7);
{
  using scope = scratch.scope();
  scope.allocArray(Float64Array, 100).fill(0.5);
}
const stale: Uint8Array = bytes;
scratch.reset();
using pool = new BumpPool({ limit: 2 });
const sum = await pool.use((lease) => lease.copy(new Uint8Array([1, 2, 3])).reduce((a: number, b: number) => a + b));
let full = false;
try {
  scratch.alloc(2 ** 40);
} catch (error) {
  full = error instanceof OutOfMemoryError;
}
console.log(stale.length === 0 && sum === 6 && full ? "OK" : "wrong");
`;

/** Tests that use only the public interface. */
const TESTS = ["text", "lifetimes/pins", "random/blocks", "workers/share"].map((name) => `tests/${name}_test.ts`);

const NAMES = "{ BumpAlloc, BumpPool, OutOfMemoryError }";

/** Deno in an empty folder with an empty cache. */
class Consumer implements AsyncDisposable {
  private constructor(readonly folder: string, readonly url: string) {}

  static async create(registry: Registry, files: Record<string, string>): Promise<Consumer> {
    const consumer = new Consumer(await Deno.makeTempDir({ prefix: "bump_user_" }), registry.url);
    for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(join(consumer.folder, name), text);
    return consumer;
  }

  async deno(...args: string[]): Promise<{ out: string; error: string; success: boolean }> {
    const output = await new Deno.Command(Deno.execPath(), { args, ...this.#options() }).output();
    return decode(output);
  }

  async run(command: string, ...args: string[]): Promise<{ out: string; error: string; success: boolean }> {
    return decode(await new Deno.Command(command, { args, ...this.#options() }).output());
  }

  #options(): Deno.CommandOptions {
    return {
      cwd: this.folder,
      stdin: "null",
      env: {
        NO_COLOR: "1",
        DENO_NO_UPDATE_CHECK: "1",
        DENO_DIR: join(this.folder, "cache"),
        JSR_URL: this.url,
        // Other hosts are sent to a proxy that does not exist.
        HTTP_PROXY: "http://127.0.0.1:9",
        HTTPS_PROXY: "http://127.0.0.1:9",
        NO_PROXY: "127.0.0.1",
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await Deno.remove(this.folder, { recursive: true });
    } catch (error) {
      // Deno's cache contains a link to Deno, which Windows does not remove while that Deno runs.
      if (Deno.build.os !== "windows" || !(error instanceof Deno.errors.PermissionDenied)) throw error;
    }
  }
}

function decode({ stdout, stderr, success }: Deno.CommandOutput): { out: string; error: string; success: boolean } {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  return { out: text(stdout), error: text(stderr), success };
}

function assertOk({ out, error, success }: { out: string; error: string; success: boolean }, last = "OK"): void {
  assert(success, `${out}\n${error}`);
  assertEquals(out.split("\n").at(-1), last, error);
}

/** The files of whole programs' own exports, which nobody else loads. */
const PROGRAMS = ["/preload.d.ts", "/preload.js", "/run.d.ts", "/run.js"];

Deno.test("the package is one JavaScript file for each export with its types, and little more", async () => {
  assertEquals([...packed.files.keys()].sort(), [
    "/CHANGELOG.md",
    "/LICENSE",
    "/README.md",
    "/deno.json",
    "/mod.d.ts",
    "/mod.js",
    ...PROGRAMS,
  ]);
  assertEquals(packed.exports, { ".": "./mod.js", "./preload": "./preload.js", "./run": "./run.js" });
  const source = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  assertEquals([packed.name, packed.version], [source.name, source.version]);
  await assertSize((path) => !PROGRAMS.includes(path), 430 * 1024, 164_000);
  await assertSize((path) => PROGRAMS.includes(path), 90 * 1024, 50_000);
});

/** Limits the bytes of the files that `isMeant` chooses, plain and compressed. */
async function assertSize(isMeant: (path: string) => boolean, limit: number, compressedLimit: number): Promise<void> {
  const files = new Map([...packed.files].filter(([path]) => isMeant(path)));
  const size = [...files.values()].reduce((sum, { length }) => sum + length, 0);
  assert(size < limit, `${[...files.keys()]} have ${size} bytes`);
  const compressed = await packedSize({ ...packed, files });
  assert(compressed < compressedLimit, `${[...files.keys()]} have ${compressed} bytes, compressed`);
}

Deno.test("the JavaScript is ASCII: another character would double V8's copy of a file, and slow each start", () => {
  for (const file of Object.values(packed.exports)) {
    assertEquals(packed.files.get(file.slice(1))!.findIndex((byte) => byte > 127), -1, file);
  }
});

/** Only newer versions of Deno build the package, and it is the same in all of them. */
const oldTools = isBefore("2.4.0") ? "deno doc and deno test are compared as newer versions have them" : null;

/** Runs a test with the package in a folder. */
async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "bump_package_" });
  try {
    await writePackage(packed, folder);
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function deno(...args: string[]): Promise<string> {
  const options = { args, cwd: ROOT, env: { NO_COLOR: "1" } };
  const { out, error, success } = decode(await new Deno.Command(Deno.execPath(), options).output());
  assert(success, `${out}\n${error}`);
  return out;
}

Deno.test("nothing in the package imports anything outside it, and its types are found", () =>
  inFolder(async (folder) => {
    const expected: Record<string, string[]> = {
      mod: ["mod.d.ts", "mod.js"],
      preload: ["preload.d.ts", "preload.js"],
      run: ["node:os", "node:util", "preload.d.ts", "preload.js", "run.d.ts", "run.js"],
    };
    for (const [name, files] of Object.entries(expected)) {
      const { modules } = JSON.parse(await deno("info", "--json", toFileUrl(`${folder}/${name}.js`).href));
      const names = modules.map(({ specifier }: { specifier: string }) => specifier.split("/").at(-1)).sort();
      assertEquals(names, files);
    }
  }));

testUnless(
  oldTools,
  "importing the package and allocating load none of Node's modules, whose import takes longer",
  () =>
    inFolder(async (folder) => {
      const script = `${folder}/main.ts`;
      await Deno.writeTextFile(script, `import { BumpAlloc } from "./mod.js"; new BumpAlloc().alloc(64);`);
      const args = ["run", "--log-level=debug", "--no-check", "--allow-ffi", script];
      const { success, error } = decode(await new Deno.Command(Deno.execPath(), { args, cwd: folder }).output());
      assert(success, error);
      assertStringIncludes(error, "mod.js"); // the log names modules
      assertEquals(error.match(/ES module: (?:node|ext):\S+/g), null);
    }),
);

/** Output of `deno doc` for a symbol. */
interface Documented {
  readonly name: string;
  readonly declarations: readonly { readonly declarationKind: string }[];
}

/** The documentation of each exported symbol and its members, by their names. */
async function documentation(path: string): Promise<Record<string, string[]>> {
  const { nodes } = JSON.parse(await deno("doc", "--json", path));
  const [{ module_doc, symbols }] = Object.values(nodes) as [{ module_doc: unknown; symbols: Documented[] }];
  const found: Record<string, string[]> = { module: [JSON.stringify(module_doc)] };
  for (const symbol of symbols) {
    if (symbol.declarations[0].declarationKind !== "export") continue;
    const texts: string[] = found[symbol.name] = [];
    JSON.stringify(symbol, (key, value) => {
      // Declarations have no implementation of overloads.
      if (key === "methods") {
        value = value.filter((method: Method) =>
          !method.functionDef?.hasBody ||
          !value.some(({ name, functionDef }: Method) => name === method.name && !functionDef?.hasBody)
        );
      }
      // Declarations have no methods with computed names, which are those for `console.log`.
      if (value?.jsDoc && !value.name?.startsWith("[Symbol.for(")) {
        texts.push(`${value.name ?? ""}: ${JSON.stringify(value.jsDoc)}`);
      }
      return value;
    });
  }
  return found;
}

/** Output of `deno doc --json` for a method, in part. */
interface Method {
  readonly name: string;
  readonly functionDef?: { readonly hasBody?: boolean };
}

testUnless(
  oldTools,
  "the package exports the same values, types and documentation as the source",
  () =>
    inFolder(async (folder) => {
      const values = async (url: string) => Object.keys(await import(url)).sort();
      const { exports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
      for (const [name, source] of Object.entries<string>(exports)) {
        const file = `${folder}/${packed.exports[name]}`;
        assertEquals(await documentation(file), await documentation(source));
        assertEquals(await values(toFileUrl(file).href), await values(new URL(source, ROOT).href));
      }
    }),
);

testUnless(oldTools, "the package passes tests of the source", () =>
  inFolder(async (folder) => {
    const map = new URL("tests/offline/import_map.json", ROOT);
    const { imports } = JSON.parse(await Deno.readTextFile(map));
    for (const [name, to] of Object.entries<string>(imports)) {
      if (to.startsWith(".")) imports[name] = new URL(to, map).href;
    }
    imports[new URL("mod.ts", ROOT).href] = toFileUrl(`${folder}/mod.js`).href;
    await Deno.writeTextFile(`${folder}/map.json`, JSON.stringify({ imports }));
    const args = ["-A", "--no-check", "--v8-flags=--expose-gc", `--import-map=${folder}/map.json`];
    await deno("test", ...args, ...TESTS);
  }));

Deno.test("imported from a registry into an empty cache, and again offline", async () => {
  let consumer: Consumer;
  {
    await using registry = await serve(packed);
    consumer = await Consumer.create(registry, {
      "main.ts": `import ${NAMES} from "jsr:${packed.name}@^${packed.version}";${PROGRAM}`,
    });
    assertOk(await consumer.deno("run", "--check", "--no-prompt", ...LOADING, "main.ts"));
    assert(registry.requests.includes(`/${packed.name}/${packed.version}_meta.json`));
  }
  await using _ = consumer;
  assertOk(await consumer.deno("run", "--cached-only", "--no-prompt", ...LOADING, "main.ts"));
});

Deno.test("added with `deno add`, as the README says, and shared with a Worker", async () => {
  await using registry = await serve(packed);
  await using consumer = await Consumer.create(registry, {
    "worker.ts": `import { BumpAlloc } from "${packed.name}";
      declare const self: { onmessage: unknown; postMessage(message: unknown): void };
      self.onmessage = ({ data }: MessageEvent) => {
        using scratch = BumpAlloc.attach(data);
        const bytes = scratch.alloc(3);
        bytes.set([1, 2, 3]);
        self.postMessage(Number(scratch.addressOf(bytes) - scratch.address));
      };`,
    "main.ts": `import { BumpAlloc } from "${packed.name}";
      const scratch = new BumpAlloc();
      const worker = new Worker(new URL("worker.ts", import.meta.url), { type: "module" });
      worker.postMessage(scratch.share());
      const offset = await new Promise<number>((resolve) => worker.onmessage = ({ data }) => resolve(data));
      console.log([...scratch.view(offset, 3)].join());
      worker.terminate();`,
  });
  const added = await consumer.deno("add", `jsr:${packed.name}`);
  assert(added.success, added.error);
  assertOk(await consumer.deno("run", "--no-prompt", ...LOADING, "--allow-read", "main.ts"), "1,2,3");
});

Deno.test("imported by URL", async () => {
  await using registry = await serve(packed);
  const { host } = new URL(registry.url);
  await using consumer = await Consumer.create(registry, {
    "main.ts": `import ${NAMES} from "${registry.url}${packed.name}/${packed.version}/mod.js";${PROGRAM}`,
  });
  assertOk(await consumer.deno("run", "--no-prompt", ...LOADING, `--allow-import=${host}`, "main.ts"));
});

Deno.test("without --allow-ffi the error says what to do", async () => {
  await using registry = await serve(packed);
  await using consumer = await Consumer.create(registry, {
    "main.ts": `import ${NAMES} from "jsr:${packed.name}";${PROGRAM}`,
  });
  const { error, success } = await consumer.deno("run", "--no-prompt", "main.ts");
  assertEquals(success, false);
  assertStringIncludes(error, "NotCapable");
  assertStringIncludes(error, "--allow-ffi");
});

testUnless(noPreload, "programs run on a region, from a program and from the command line", async () => {
  await using registry = await serve(packed);
  await using consumer = await Consumer.create(registry, {
    "main.ts": `import { preload } from "jsr:${packed.name}/preload";
      using bump = preload();
      const args = ["-q", bump.path, "/proc/self/maps"];
      const { success } = await new Deno.Command("grep", { args, env: bump.env }).output();
      console.log(success ? "OK" : "not preloaded");`,
  });
  assertOk(await consumer.deno("run", "--check", "--no-prompt", "--allow-write", "--allow-run", "main.ts"));
  assertEquals(registry.requests.filter((path) => path.endsWith(".js")), [
    `/${packed.name}/${packed.version}/preload.js`,
  ]);
  const script = "grep -q bump_preload.so /proc/self/maps && echo $0 $1";
  const ran = await consumer.deno(
    "run",
    "-A",
    `jsr:${packed.name}/run`,
    "--size=4GiB",
    "sh",
    "-c",
    script,
    "OK",
    "--no",
  );
  assertOk(ran, "OK --no");
});

/** The runtime into which `deno compile` puts programs; it would be downloaded. */
const runtime = Deno.env.get("DENORT_BIN");

testUnless(
  runtime ? null : "it downloads its runtime, denort, unless DENORT_BIN names one",
  "inside a program made by deno compile",
  async () => {
    await using registry = await serve(packed);
    await using consumer = await Consumer.create(registry, {
      "main.ts": `import ${NAMES} from "jsr:${packed.name}";${PROGRAM}`,
    });
    const program = join(consumer.folder, Deno.build.os === "windows" ? "main.exe" : "main");
    const made = await consumer.deno("compile", ...LOADING, "--output", program, "main.ts");
    assert(made.success, made.error);
    assertOk(await consumer.run(program));
  },
);
