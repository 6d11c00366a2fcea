/**
 * `deno task build:host`: compiles the C library for this machine with its own compiler (`CC`, default `cc`) into
 * native/out, for a platform that has no prebuilt library. Prints the path, for `BUMP_ALLOC_LIB`.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { SOURCE } from "./targets.ts";

const NATIVE = new URL("./", import.meta.url);
const EXTENSIONS: Partial<Record<typeof Deno.build.os, string>> = { windows: "dll", darwin: "dylib" };

/** Builds the library and returns its path. */
export async function buildHost(): Promise<string> {
  const path = fileURLToPath(new URL(`out/libbump.${EXTENSIONS[Deno.build.os] ?? "so"}`, NATIVE));
  const flags = ["-std=c11", "-O2", "-shared", "-fvisibility=hidden"];
  if (Deno.build.os !== "windows") flags.push("-fPIC");
  await Deno.mkdir(new URL("out/", NATIVE), { recursive: true });
  const compiler = Deno.env.get("CC") ?? "cc";
  const { success, stderr } = await new Deno.Command(compiler, {
    args: [...flags, SOURCE, "-o", path],
    cwd: fileURLToPath(NATIVE),
  }).output();
  if (!success) throw new Error(`${compiler} failed:\n${new TextDecoder().decode(stderr)}`);
  return path;
}

if (import.meta.main) console.log(await buildHost());
