/**
 * Builds yyjson for its tests, on systems that have no package of it. Its source is part of an npm package, inside a
 * C++ namespace that a compiler flag removes. Needs npm, tar and clang or g++ (or the compiler that `CXX` names).
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
  // A header that the source includes and does not need.
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
