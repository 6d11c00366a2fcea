// The package as its users get it: packed as for publishing, served by a stand-in for JSR, imported in an
// empty folder with an empty cache. Nothing but 127.0.0.1 is contacted.
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path";
import { LOADING } from "../permissions.ts";
import { testUnless } from "../skip.ts";
import { pack, packedSize, type Registry, ROOT, serve } from "./registry.ts";

const packed = await pack();

/** What a user writes; it prints `OK`. */
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
const sum = await pool.use((lease) => lease.copy(new Uint8Array([1, 2, 3])).reduce((a, b) => a + b));
let full = false;
try {
  scratch.alloc(2 ** 40);
} catch (error) {
  full = error instanceof OutOfMemoryError;
}
console.log(stale.length === 0 && sum === 6 && full ? "OK" : "wrong");
`;

const NAMES = "{ BumpAlloc, BumpPool, OutOfMemoryError }";

/** An empty folder with an empty cache, and Deno in it. */
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
        // Whatever is not on this machine goes to a proxy that does not exist.
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
      // Deno puts a link to itself into its cache, which Windows does not remove while that Deno runs.
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

Deno.test("the package holds what its users need, and nothing else", async () => {
  const paths = [...packed.files.keys()].sort();
  for (const path of paths) {
    assert(
      /^\/(mod\.ts|deno\.json|README\.md|CHANGELOG\.md|LICENSE|src\/[\w/]+\.ts)$/.test(path),
      `${path} does not belong in the package`,
    );
  }
  for (const file of ["/mod.ts", "/deno.json", "/README.md", "/CHANGELOG.md", "/LICENSE"]) {
    assert(packed.files.has(file), `${file} is missing`);
  }
  for (const file of Object.values(packed.exports)) assert(packed.files.has(file.slice(1)), `${file} is missing`);
  assert(paths.filter((path) => path.startsWith("/src/native/prebuilt/")).length === 6, "a library is missing");
  const size = await packedSize(packed);
  assert(size < 120_000, `the package has ${size} bytes, compressed`);
});

Deno.test("the source is ASCII: one other character doubles what V8 keeps of a file, and costs at each start", () => {
  for (const [path, bytes] of packed.files) {
    if (path.endsWith(".ts")) assertEquals(bytes.findIndex((byte) => byte > 127), -1, path);
  }
});

Deno.test("nothing in the package imports anything outside it", async () => {
  for (const file of Object.values(packed.exports)) {
    const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", file], cwd: ROOT }).output();
    const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as { modules: { specifier: string }[] };
    assert(modules.length > 1);
    for (const { specifier } of modules) {
      const known = specifier.startsWith("node:") || packed.files.has(`/${specifier.slice(ROOT.href.length)}`);
      assert(known, `${file} imports ${specifier}, which is not in the package`);
    }
  }
});

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
    "main.ts": `import ${NAMES} from "${registry.url}${packed.name}/${packed.version}/mod.ts";${PROGRAM}`,
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

/** What `deno compile` puts programs into: it would download that. */
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
