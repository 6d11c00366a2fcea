/**
 * Runs whole programs on a bump allocator: a library for `LD_PRELOAD` serves everything that a program allocates from a
 * region. It works on Linux, on x64 and arm64, with glibc or musl. This entry point does not load `@bump/alloc`.
 *
 * @example A program on a region
 * ```ts
 * import { preload } from "@bump/alloc/preload";
 *
 * using bump = preload();
 * const { stdout } = await new Deno.Command("sort", { args: ["deno.json"], env: bump.env }).output();
 * ```
 *
 * @module
 */
import { checkFlag, checkObject, checkSize } from "../check.ts";
import { cannot } from "../errors.ts";
import { formatBytes } from "../format.ts";
import { decodeBase64 } from "../native/base64.ts";
import { extractToFile, type LoadableFile } from "../native/extract.ts";
import { library as linux_aarch64 } from "./prebuilt/linux_aarch64.ts";
import { library as linux_x86_64 } from "./prebuilt/linux_x86_64.ts";

const libraries: Readonly<Record<string, () => string>> = { linux_aarch64, linux_x86_64 };

/**
 * Options of {@linkcode preload}.
 *
 * @example What reaches the program
 * ```ts
 * import { preload, type PreloadOptions } from "@bump/alloc/preload";
 * import { assertEquals } from "@std/assert";
 *
 * const options: PreloadOptions = { size: 2 ** 32 };
 * using bump = preload(options);
 * assertEquals(bump.env.BUMP_PRELOAD_SIZE, "4294967296");
 * ```
 */
export interface PreloadOptions {
  /**
   * Bytes that a region reserves, from 1 MiB to 16 TiB; default 1 GiB. A program that needs more gets further regions.
   * A request larger than a region gets a mapping of its own.
   */
  size?: number;
  /** Whether freed memory is reused; default true. With false, `free` does nothing, so a program only grows. */
  recycle?: boolean;
  /** Whether to ask the system for huge pages, for fewer page faults and a little more memory; default true. */
  hugePages?: boolean;
}

/**
 * A file that programs preload, until it is disposed of.
 *
 * @example A program that is given no other variables
 * ```ts
 * import { type Preload, preload } from "@bump/alloc/preload";
 * import { assertEquals } from "@std/assert";
 *
 * using bump: Preload = preload();
 * const env = { ...bump.env, PATH: "/usr/bin:/bin" };
 * const { success } = await new Deno.Command("true", { clearEnv: true, env }).output();
 * assertEquals(success, true);
 * ```
 */
export interface Preload extends Disposable {
  /** Variables for {@linkcode Deno.CommandOptions.env}: `LD_PRELOAD`, and those of the options that were given. */
  readonly env: Record<string, string>;
  /** The library's file. */
  readonly path: string;
  /**
   * Removes the file; calling it again does nothing. Dispose after the program has ended: a program that still runs
   * keeps its memory, but children that it starts from then on use the usual `malloc`, and say so on standard error.
   */
  [Symbol.dispose](): void;
}

/** Bounds of a region, in bytes. */
const MIN_SIZE = 2 ** 20;
const MAX_SIZE = 2 ** 44;

const ADVICE = "set TMPDIR to another folder";

/** Paths that `LD_PRELOAD` can name. Colons and spaces separate its paths, and the loader expands dollar signs. */
const NAMEABLE = /^\/[^\s:$]+$/;

/**
 * Writes the library to a private temporary file, and gives the variables that make a program use it.
 *
 * It needs `--allow-write`. To start a program whose variables include `LD_PRELOAD`, Deno needs `--allow-run` for all
 * programs. Libraries that the variable already names are kept, behind this one, if `--allow-env=LD_PRELOAD` is given.
 *
 * @example Memory that is never taken back
 * ```ts
 * import { preload } from "@bump/alloc/preload";
 * import { assertEquals } from "@std/assert";
 *
 * using bump = preload({ recycle: false, size: 4 * 2 ** 30 });
 * const { stdout } = await new Deno.Command("echo", { args: ["hello"], env: bump.env }).output();
 * assertEquals(new TextDecoder().decode(stdout), "hello\n");
 * ```
 *
 * @throws {Error} There is no library for this system, or no program could load the file.
 */
export function preload(options: PreloadOptions = {}): Preload {
  const variables = variablesOf(options);
  const file = extract();
  try {
    checkLoadable(file.path);
  } catch (error) {
    file.remove(false);
    throw error;
  }
  const { path } = file;
  return {
    path,
    env: { LD_PRELOAD: [path, ...preloadedBefore()].join(":"), ...variables },
    [Symbol.dispose]: () => file.remove(true),
  };
}

/** The library's own variables. */
function variablesOf(options: PreloadOptions): Record<string, string> {
  checkObject(options, preload, "{ size: 2 ** 32 }");
  const { size, recycle, hugePages } = options;
  const variables: Record<string, string> = {};
  if (size !== undefined) {
    checkSize(size, preload);
    if (size < MIN_SIZE || size > MAX_SIZE) {
      const bounds = `${formatBytes(MIN_SIZE)} to ${formatBytes(MAX_SIZE)}`;
      throw cannot(RangeError, preload, `the size must be from ${bounds}, not ${formatBytes(size)}`);
    }
    variables.BUMP_PRELOAD_SIZE = String(size);
  }
  for (const [name, value] of Object.entries({ recycle, hugePages })) {
    if (value === undefined) continue;
    checkFlag(value, preload, name);
    variables[name === "recycle" ? "BUMP_PRELOAD_RECYCLE" : "BUMP_PRELOAD_HUGE_PAGES"] = value ? "1" : "0";
  }
  return variables;
}

function extract(): LoadableFile {
  const platform = `${Deno.build.os}_${Deno.build.arch}`;
  if (!Object.hasOwn(libraries, platform)) {
    throw cannot(Error, preload, `there is a library for Linux on x64 and arm64 only, and this is ${platform}`);
  }
  try {
    return extractToFile(decodeBase64(libraries[platform]()), "bump_preload");
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    throw cannot(Error, preload, `its file cannot be written: ${(error as Error).message}; ${ADVICE}`);
  }
}

/** Throws if programs could not load the file: they would run without it, and only say so on standard error. */
function checkLoadable(path: string): void {
  if (!NAMEABLE.test(path)) {
    const why = "must be absolute, without spaces, colons and dollar signs, for LD_PRELOAD";
    throw cannot(Error, preload, `the path ${path} ${why}; ${ADVICE}`);
  }
  if (isNoExec(`${path}.probe`)) {
    throw cannot(Error, preload, `nothing in ${path} can be executed, because its folder is mounted noexec; ${ADVICE}`);
  }
}

/** Whether the file system refuses to execute files. Deno does not report mount options, so this runs a script. */
function isNoExec(probe: string): boolean {
  // Without this permission, no program can be started with the library either.
  if (Deno.permissions.querySync({ name: "run", command: probe }).state !== "granted") return false;
  Deno.writeTextFileSync(probe, "#!/bin/true\n", { createNew: true, mode: 0o700 });
  try {
    new Deno.Command(probe, { stdin: "null", stdout: "null", stderr: "null" }).outputSync();
    return false;
  } catch (error) {
    return error instanceof Deno.errors.PermissionDenied;
  } finally {
    Deno.removeSync(probe);
  }
}

/** What `LD_PRELOAD` names already, if it may be read. */
function preloadedBefore(): string[] {
  const variable = "LD_PRELOAD";
  // Asking for what is not granted would be a prompt.
  const isReadable = Deno.permissions.querySync({ name: "env", variable }).state === "granted";
  const before = isReadable ? Deno.env.get(variable) : undefined;
  return before ? [before] : [];
}
