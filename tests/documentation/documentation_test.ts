// The documentation is complete and consistent with the code.
import { assertEquals } from "@std/assert";
import { testSince } from "../support/skip.ts";

const ROOT = new URL("../../", import.meta.url);

interface JsDoc {
  readonly tags?: readonly { readonly kind: string; readonly doc?: string }[];
}

interface Declaration {
  readonly kind: string;
  readonly jsDoc?: JsDoc;
  readonly def?: {
    readonly methods?: readonly { readonly name: string; readonly accessibility?: string; readonly jsDoc?: JsDoc }[];
  };
}

interface DocumentedSymbol {
  readonly name: string;
  readonly declarations: readonly Declaration[];
}

/** Whether the symbol has an example that `deno test --doc` runs. */
function hasExample(jsDoc: JsDoc | undefined): boolean {
  return (jsDoc?.tags ?? []).some(({ kind, doc }) => kind === "example" && /^```ts$/m.test(doc ?? ""));
}

const name = "each export, and each method of its classes, has an example that the tests run";
testSince("2.8.0", "`deno doc --json` writes another format", name, async () => {
  const { exports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const entries: string[] = typeof exports === "string" ? [exports] : Object.values(exports);
  const lacking: string[] = [];
  let seen = 0;
  for (const entry of entries) {
    const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["doc", "--json", entry], cwd: ROOT }).output();
    const { nodes } = JSON.parse(new TextDecoder().decode(stdout)) as {
      nodes: Record<string, { readonly symbols: readonly DocumentedSymbol[] }>;
    };
    for (const { name, declarations } of Object.values(nodes).flatMap(({ symbols }) => symbols)) {
      seen++;
      if (!declarations.some(({ jsDoc }) => hasExample(jsDoc))) lacking.push(name);
      const methods = declarations.flatMap(({ kind, def }) => kind === "class" ? def?.methods ?? [] : []);
      for (const method of methods) {
        // Methods named by symbols are called by `using`.
        if (method.name.startsWith("[") || method.accessibility === "private") continue;
        // Of overloads, the last one implements the others.
        const all = methods.filter((other) => other.name === method.name);
        if (!all.some(({ jsDoc }) => hasExample(jsDoc))) lacking.push(`${name}.${method.name}`);
      }
    }
  }
  assertEquals(lacking, []);
  assertEquals(seen > 20, true);
});

/** The rows of the table of what is proven: each command, and its entry for CI. */
function proofs(markdown: string): [command: string, ci: string][] {
  const [, rows] = /^\|[^\n]*\| by \| in CI \|\n\|[-|]+\|\n((?:\|.*\n)+)/m.exec(markdown)!;
  return rows.trimEnd().split("\n").map((row) => {
    const [by, ci] = row.split("|").slice(-3);
    return [/`([^`]+)`/.exec(by)![1], ci.trim()];
  });
}

Deno.test("the table of what is proven agrees with CI, in its commands and the Deno version", async () => {
  const [readme, guide, script, workflow] = await Promise.all(
    ["README.md", "CONTRIBUTING.md", ".ci/run", ".github/workflows/ci.yml"].map((path) =>
      Deno.readTextFile(new URL(path, ROOT))
    ),
  );
  const commands = script.split("\n").map((line) => line.trim());
  for (const [command, ci] of proofs(guide)) {
    const whole = commands.some((line) => line.endsWith(command));
    const part = commands.some((line) => line.endsWith(`${command} --quick`));
    assertEquals(ci, whole ? "yes" : part ? "a part" : "no", command);
  }
  const [, version] = /^DENO_VERSION=(.*)$/m.exec(script)!;
  assertEquals(guide.includes(`| Linux x64, glibc, Deno ${version} |`), true, "the table names another version");
  assertEquals(readme.includes(`Linux x64 with Deno ${version} and`), true, "the README names another version");
  assertEquals(workflow.includes(`  DENO_VERSION: ${version}\n`), true, "the workflow has another version");
});

/** The pages of documentation. */
async function pages(): Promise<string[]> {
  const names = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "bench/README.md", "examples/README.md"];
  for await (const { name } of Deno.readDir(new URL("docs/", ROOT))) names.push(`docs/${name}`);
  return names;
}

Deno.test("each task and each bench that a page names exists", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const lacking: string[] = [];
  let seen = 0;
  for (const page of await pages()) {
    const text = await Deno.readTextFile(new URL(page, ROOT));
    for (const [, task, name] of text.matchAll(/deno task ([a-z][\w:]*)(?: ([a-z]+))?/g)) {
      seen++;
      if (!(task in tasks)) lacking.push(`${page}: ${task}`);
      if (task !== "bench" || name === undefined) continue;
      if (await Deno.stat(new URL(`bench/${name}.ts`, ROOT)).catch(() => null) === null) {
        lacking.push(`${page}: ${name}`);
      }
    }
  }
  assertEquals(lacking, []);
  assertEquals(seen > 20, true);
});

Deno.test("the README's first example prints what its comment says", async () => {
  const [, example] = /```ts\n([^]*?)```/.exec(await Deno.readTextFile(new URL("README.md", ROOT)))!;
  const [, said] = /console\.log\(scratch\); \/\/ (.*)/.exec(example)!;
  const program = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(program, example);
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-ffi",
      "--allow-read",
      "--allow-write",
      "--import-map=tests/offline/import_map.json",
      program,
    ],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  await Deno.remove(program);
  // Whole pages are committed, and page sizes differ.
  const exact = Deno.build.os === "linux" && Deno.build.arch === "x86_64";
  const known = (text: string) => exact ? text : text.replace(/committed: [^,]*/, "");
  const printed = new TextDecoder().decode(stdout).trim();
  assertEquals(known(printed), known(said), new TextDecoder().decode(stderr));
});

/** The anchor of a heading. */
function anchor(heading: string): string {
  return heading.toLowerCase().replace(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-");
}

Deno.test("links between pages lead to existing files and headings", async () => {
  let seen = 0;
  for (const page of await pages()) {
    const url = new URL(page, ROOT);
    const text = await Deno.readTextFile(url);
    for (const [, link, source] of text.matchAll(/\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"/g)) {
      const target = new URL(link ?? source, url);
      if (target.protocol !== "file:") continue;
      const heading = decodeURIComponent(target.hash.slice(1));
      target.hash = "";
      const there = await Deno.stat(target).catch(() => null);
      assertEquals(there !== null, true, `${page}: ${link ?? source} is not there`);
      if (heading === "") continue;
      const headings = [...(await Deno.readTextFile(target)).matchAll(/^#+ (.*)$/gm)].map(([, text]) => anchor(text));
      assertEquals(headings.includes(heading), true, `${page}: ${link} names no heading`);
      seen++;
    }
  }
  assertEquals(seen > 5, true);
});
