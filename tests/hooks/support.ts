/** Shared by the tests of the hooks: real libraries, real data, and the location of pointers. */
import type { BumpAlloc } from "../../mod.ts";
import { testUnless } from "../support/skip.ts";

/** A library under test, or the reason why it is missing. */
export interface Library<S extends Deno.ForeignLibraryInterface> {
  readonly file: string;
  readonly symbols: Deno.StaticForeignLibraryInterface<S>;
  readonly missing: string | null;
}

/** The library that build_yyjson.ts builds, because Debian 12 does not have it. */
export const YYJSON_BUILT = new URL(`../../.cache/yyjson/${Deno.build.arch}/libyyjson.so.0`, import.meta.url);

/** Loads a library, which stays loaded. If it is not installed, its tests are skipped and say so. */
export function load<const S extends Deno.ForeignLibraryInterface>(file: string, symbols: S): Library<S> {
  try {
    return { file, symbols: Deno.dlopen(file, symbols).symbols as never, missing: null };
  } catch (error) {
    const { message } = error as Error;
    const missing = /cannot open shared object file|Module not found/.test(message)
      ? `${file} is not installed`
      : message;
    return { file, symbols: {} as never, missing };
  }
}

/** A test that needs a library. */
export function testWith(
  library: { readonly missing: string | null },
  name: string,
  fn: () => void | Promise<void>,
): void {
  testUnless(library.missing, name, fn);
}

/** The bytes of this repository's own sources, some hundred kilobytes. */
export function repositorySources(): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  for (const folder of ["../../src/", "../../native/", "../../tests/"]) {
    const url = new URL(folder, import.meta.url);
    const names = [...Deno.readDirSync(url)].filter((entry) => entry.isFile).map((entry) => entry.name).sort();
    for (const name of names) parts.push(Deno.readFileSync(new URL(name, url)));
  }
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let end = 0;
  for (const part of parts) bytes.set(part, (end += part.length) - part.length);
  return bytes;
}

/** Whether a library's pointer is in an allocator's region. */
export function isInside(scratch: BumpAlloc, pointer: Deno.PointerValue | bigint): boolean {
  const address = typeof pointer === "bigint" ? pointer : Deno.UnsafePointer.value(pointer);
  return address >= scratch.address && address < scratch.address + BigInt(scratch.capacity);
}

/** A C string outside of every region. */
export function text(value: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(value + "\0");
}

/** Reads a C string that a library returned. */
export function readText(pointer: Deno.PointerValue): string | null {
  return pointer === null ? null : Deno.UnsafePointerView.getCString(pointer);
}

/** Runs a program of this folder in its own process, and returns the JSON that it printed. */
export async function runChild(file: string, ...args: string[]): Promise<unknown> {
  const { code, stdout, stderr, signal } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", new URL(file, import.meta.url).href, ...args],
    env: { NO_COLOR: "1" },
  }).output();
  const [out, error] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  if (code !== 0) throw new Error(`${file} ${args.join(" ")} ended with ${signal ?? code}: ${error}${out}`);
  return JSON.parse(out);
}
