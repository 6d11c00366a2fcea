/**
 * Builds yyjson for its tests, where no package of the system has it. Its source comes with an npm
 * package, inside a C++ namespace, which the compiler is told to leave out. Needs npm, tar and clang or g++ (or what `CXX` names).
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { run, unpackFromNpm } from "../support/npm.ts";
import { YYJSON_BUILT } from "./support.ts";

const PACKAGE = "duckdb@1.4.4";
const FOLDER = "src/duckdb/third_party/yyjson";

async function isThere(command: string): Promise<boolean> {
  return await run(command, ["--version"]).then(() => true, () => false);
}

const folder = await Deno.makeTempDir();
try {
  const yyjson = await unpackFromNpm(PACKAGE, FOLDER, folder);
  // A header of the package's that yyjson does not need.
  await Deno.mkdir(`${folder}/duckdb/common`, { recursive: true });
  await Deno.writeTextFile(`${folder}/duckdb/common/fast_mem.hpp`, "");
  const source = `${yyjson}/yyjson.cpp`;
  const header = `${yyjson}/include/yyjson.hpp`;
  for (const path of [source, header]) {
    const code = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, code.replace(/^namespace \w+ \{$/m, 'extern "C" {'));
  }
  await Deno.mkdir(new URL(".", YYJSON_BUILT), { recursive: true });
  const compiler = Deno.env.get("CXX") ?? (await isThere("clang-19") ? "clang-19" : "g++");
  const flags = ["-x", "c++", "-nostdinc++", "-O2", "-w", "-fPIC", "-shared", "-fno-exceptions", "-fno-rtti"];
  const paths = [`-I${folder}`, `-I${yyjson}/include`];
  await run(compiler, [...flags, ...paths, source, "-o", fileURLToPath(YYJSON_BUILT)]);
  console.log(`yyjson, from ${PACKAGE}: ${fileURLToPath(YYJSON_BUILT)}`);
} finally {
  await Deno.remove(folder, { recursive: true });
}
