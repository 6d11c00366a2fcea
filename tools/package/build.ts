/**
 * `deno task package`: makes what is published, one JavaScript file with its types, in .cache/package or the folder that is
 * named.
 *
 * A program starts in a fifth of the time that the TypeScript modules take: nothing is left to transpile, and Deno asks its
 * cache for one module instead of some thirty. TypeScript removes the types and the comments, which are in the declarations, and Rollup
 * puts the modules together; neither changes what the source says otherwise.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { type Plugin, rollup } from "rollup";
import { dts } from "rollup-plugin-dts";
import ts from "typescript";

const ROOT = new URL("../../", import.meta.url);
const ENTRY = fileURLToPath(new URL("mod.ts", ROOT));

/** Published as they are. */
const COPIED = ["README.md", "LICENSE", "CHANGELOG.md"];

/** What JSR reads of a configuration. */
interface Configuration {
  readonly name: string;
  readonly version: string;
  readonly license: string;
}

/** Removes types and comments. */
const stripTypes: Plugin = {
  name: "strip-types",
  transform(code) {
    const { outputText } = ts.transpileModule(code, {
      compilerOptions: {
        target: ts.ScriptTarget.ESNext,
        module: ts.ModuleKind.ESNext,
        verbatimModuleSyntax: true,
        removeComments: true,
      },
    });
    return { code: outputText, map: null };
  },
};

/** The modules as one. */
async function bundle(plugin: Plugin): Promise<string> {
  await using modules = await rollup({
    input: ENTRY,
    plugins: [plugin],
    onLog(_level, { message }) {
      throw new Error(message);
    },
  });
  const { output } = await modules.generate({ format: "es", generatedCode: "es2015" });
  if (output.length !== 1) throw new Error(`the package is one file, not ${output.length}`);
  return output[0].code;
}

/** Deno's own declarations, for the compiler. */
async function denoTypes(): Promise<string> {
  const path = await Deno.makeTempFile({ suffix: ".d.ts" });
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["types"] }).output();
  await Deno.writeFile(path, stdout);
  return path;
}

async function declarations(): Promise<string> {
  const types = await denoTypes();
  try {
    return await bundle(dts({
      compilerOptions: {
        target: ts.ScriptTarget.ESNext,
        module: ts.ModuleKind.ESNext,
        moduleResolution: ts.ModuleResolutionKind.Bundler,
        allowImportingTsExtensions: true,
        lib: ["lib.esnext.d.ts"],
        types: [types],
      },
    }));
  } finally {
    await Deno.remove(types);
  }
}

/** The comment at the head of mod.ts, which documents the module. */
function moduleComment(): string {
  return /^\/\*\*[^]*?\*\/\n/.exec(Deno.readTextFileSync(ENTRY))![0];
}

/** Gives files the form that the sources have. */
async function format(paths: string[]): Promise<void> {
  const args = ["fmt", "--quiet", "--no-config", "--line-width=120", ...paths];
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** Builds the package in a folder. */
export async function buildPackage(folder: string): Promise<void> {
  const { name, version, license }: Configuration = JSON.parse(Deno.readTextFileSync(new URL("deno.json", ROOT)));
  const files = {
    "mod.js": `/* @ts-self-types="./mod.d.ts" */\n${await bundle(stripTypes)}`,
    "mod.d.ts": moduleComment() + await declarations(),
    "deno.json": JSON.stringify({ name, version, license, exports: "./mod.js" }, null, 2) + "\n",
  };
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await Deno.mkdir(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) await Deno.writeTextFile(`${folder}/${name}`, text);
  await format(Object.keys(files).map((name) => `${folder}/${name}`));
  for (const name of COPIED) await Deno.copyFile(new URL(name, ROOT), `${folder}/${name}`);
}

if (import.meta.main) {
  const folder = Deno.args[0] ?? fileURLToPath(new URL(".cache/package", ROOT));
  await buildPackage(folder);
  for (const { name } of Deno.readDirSync(folder)) {
    console.log(`${name.padEnd(14)} ${String(Deno.statSync(`${folder}/${name}`).size).padStart(7)} bytes`);
  }
}
