/**
 * `deno task test`: runs the tests and the examples of the documentation. If JSR cannot be reached, thin wrappers over
 * Node's modules replace its three packages (tests/offline).
 *
 * Further arguments go to `deno test`: `deno task test --filter scope`, `deno task test tests/pool_test.ts`.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { isBefore } from "./support/skip.ts";

const root = new URL("..", import.meta.url);
const OFFLINE = "--import-map=tests/offline/import_map.json";

/** Whether `deno` can load the JSR packages that deno.json names, from its cache or quickly from the network. */
async function jsrReachable(): Promise<boolean> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", "jsr:@std/assert@^1.0.0", "jsr:@std/path@^1.0.0", "jsr:@std/testing@^1.0.0/bdd"],
    cwd: root,
    stdout: "null",
    stderr: "null",
  }).spawn();
  const timer = setTimeout(() => child.kill(), 10_000);
  const { success } = await child.status;
  clearTimeout(timer);
  return success;
}

async function run(args: string[]): Promise<void> {
  const { code } = await new Deno.Command(Deno.execPath(), { args, cwd: root }).spawn().status;
  if (code !== 0) Deno.exit(code);
}

/** The flag for the import map, if one is needed. */
async function importMap(): Promise<string[]> {
  if (await jsrReachable()) return [];
  console.error("JSR cannot be reached: the tests use the wrappers in tests/offline instead of jsr:@std");
  return [OFFLINE];
}

/** Examples that start programs on a region: they run on Linux only. */
const PROGRAMS = ["src/preload", "docs/preload.md"];

/** A path as `--ignore` understands it. */
function absolute(path: string): string {
  return fileURLToPath(new URL(path, root));
}

/** The guides whose examples can run here; those of the hooks need native libraries. */
function guides(): string[] {
  const names = [...Deno.readDirSync(new URL("docs/", root))].map((entry) => `docs/${entry.name}`).sort();
  const wanted = [
    "liblua5.4.so.0",
    "libsqlite3.so.0",
    "libz.so.1",
    "libzstd.so.1",
    "libfreetype.so.6",
    "libexpat.so.1",
  ];
  const missing = wanted.filter((library) => {
    try {
      Deno.dlopen(library, {}).close();
      return false;
    } catch {
      return true;
    }
  });
  if (missing.length === 0) return names;
  console.error(`The examples in docs/hooks.md are skipped: ${missing.join(", ")} not installed`);
  return names.filter((name) => name !== "docs/hooks.md");
}

/**
 * Writes a module that loads the library and then imports the tests in these files and folders; for versions without
 * `--preload`.
 */
async function preloadingModule(paths: string[]): Promise<string> {
  const imports = ["support/load_first.ts", ...paths.flatMap(testFiles)].map((path) =>
    new URL(path, import.meta.url).href
  );
  const module = await Deno.makeTempFile({ suffix: "_test.ts" });
  await Deno.writeTextFile(module, imports.map((url) => `import ${JSON.stringify(url)};\n`).join(""));
  return module;
}

function testFiles(path: string): string[] {
  const url = new URL(path, root);
  if (!Deno.statSync(url).isDirectory) return [url.href];
  const names = [...Deno.readDirSync(url)].map(({ name, isDirectory }) => `${name}${isDirectory ? "/" : ""}`).sort();
  const folder = path.replace(/\/?$/, "/");
  return names.filter((name) => name.endsWith("_test.ts") || name.endsWith("/")).flatMap((name) =>
    testFiles(folder + name)
  );
}

const map = await importMap();
if (Deno.args.includes("--no-check")) map.push("--no-check");
const args = Deno.args.filter((arg) => arg !== "--no-check");
const paths = args.filter((arg) => !arg.startsWith("-"));
const test = ["test", "-A", "--v8-flags=--expose-gc", ...map];
if (isBefore("2.4.0")) {
  const flags = args.filter((arg) => arg.startsWith("-"));
  await run([...test, ...flags, await preloadingModule(paths.length > 0 ? paths : ["tests/"])]);
  Deno.exit(); // the documentation's examples run in newer versions only
}
await run([...test, "--preload=tests/support/load_first.ts", ...args, ...(paths.length > 0 ? [] : ["tests/"])]);
if (args.length === 0) {
  const documents = ["mod.ts", "src/", "README.md", ...guides()];
  const ignore = Deno.build.os === "linux" ? [] : [`--ignore=${PROGRAMS.map(absolute)}`];
  await run([
    "test",
    "-A",
    "--doc",
    "--parallel",
    "--preload=tests/support/load_first.ts",
    ...map,
    ...ignore,
    ...documents,
  ]);
}
