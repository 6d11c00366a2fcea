import { extractToFile, extractToStableFile, type LoadableFile } from "./extract.ts";
import { memoryFile } from "./memory_file.ts";
import { platform, prebuilt } from "./prebuilt.ts";

/** Names another library file to load. Needs `--allow-env` and `--allow-read`. */
const OVERRIDE = "BUMP_ALLOC_LIB";

/**
 * Loads the C library: on Linux from memory, elsewhere or if that fails from a file.
 *
 * On POSIX each Worker loads its own copy, so that the library notices when a Worker ends. The file that
 * `BUMP_ALLOC_LIB` names is loaded from its own path, so that an approved path or signature stays valid; all Workers
 * share that copy.
 */
export function loadLibrary<T extends Deno.ForeignLibraryInterface>(
  table: T,
): Deno.DynamicLibrary<T>["symbols"] {
  requireDeno2();
  requestFfi();
  const override = overrideFile();
  return override === null ? loadPrebuilt(table) : loadOverride(override, table);
}

function loadPrebuilt<T extends Deno.ForeignLibraryInterface>(table: T): Deno.DynamicLibrary<T>["symbols"] {
  const bytes = libraryBytes();
  const failures: unknown[] = [];
  for (const make of waysFor(Deno.build.os)) {
    let file: LoadableFile | undefined;
    try {
      file = make(bytes);
      const { symbols } = Deno.dlopen(file.path, table);
      file.remove(true);
      return symbols;
    } catch (error) {
      file?.remove(false);
      failures.push(error);
    }
  }
  // A missing permission reaches the caller as Deno's own error.
  const denied = failures.find((error) => error instanceof Deno.errors.NotCapable);
  if (denied !== undefined) throw denied;
  throw loadFailure(`the library for ${platform}`, failures, PREBUILT_HINTS);
}

function loadOverride<T extends Deno.ForeignLibraryInterface>(
  path: string,
  table: T,
): Deno.DynamicLibrary<T>["symbols"] {
  const name = `${path}, which ${OVERRIDE} names`;
  let file: string;
  let isWhole: boolean;
  try {
    file = Deno.realPathSync(path); // the system would search for a bare name elsewhere
    isWhole = !isCutOff(Deno.readFileSync(file));
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) throw cause;
    throw new Error(`Cannot load ${name}: correct or unset the variable`, { cause });
  }
  if (!isWhole) throw new Error(`Cannot load ${name}: its end is missing`);
  try {
    return Deno.dlopen(file, table).symbols;
  } catch (error) {
    throw loadFailure(name, [error], OVERRIDE_HINTS);
  }
}

/** Throws on Deno 1, which would fail later with a misleading error. */
function requireDeno2(): void {
  if (Deno.errors.NotCapable !== undefined) return;
  throw new Error(`Cannot load the native library: it needs Deno 2.0.0 or newer, and this is ${Deno.version.deno}`);
}

/** Ways to make a loadable file of the bytes, best first. */
function waysFor(os: typeof Deno.build.os): ((bytes: Uint8Array<ArrayBuffer>) => LoadableFile)[] {
  if (os === "windows") return [extractToStableFile];
  if (os === "linux" || os === "android") return [memoryFile, extractToFile];
  return [extractToFile];
}

/**
 * Requests the whole FFI permission once; else each call would prompt for its own file. If it is denied, the first call
 * that needs it throws Deno's own `NotCapable`.
 */
function requestFfi(): void {
  const ffi = { name: "ffi" } as const;
  let { state } = Deno.permissions.querySync(ffi);
  if (state === "prompt") ({ state } = Deno.permissions.requestSync(ffi));
  if (state === "granted") return;
  throw new Deno.errors.NotCapable(
    'Requires ffi access, run again with the --allow-ffi flag. A scoped grant ("--allow-ffi=<path>") is ' +
      "not enough: Deno refuses raw pointers then",
  );
}

function overrideFile(): string | null {
  // Reading the variable without the permission would be a second prompt.
  const state = Deno.permissions.querySync({ name: "env", variable: OVERRIDE }).state;
  return state === "granted" ? Deno.env.get(OVERRIDE) || null : null;
}

/**
 * Whether an ELF file ends before its last segment. The loader maps such a file without an error, and SIGBUS crashes
 * the process later.
 */
function isCutOff(bytes: Uint8Array<ArrayBuffer>): boolean {
  const view = new DataView(bytes.buffer);
  const isElf64 = bytes.length >= 64 && view.getUint32(0) === 0x7f454c46 && view.getUint16(4) === 0x0201;
  if (!isElf64) return false; // the loader refuses other files by itself
  const table = Number(view.getBigUint64(32, true));
  const size = view.getUint16(54, true);
  for (let at = table, i = view.getUint16(56, true); i > 0; at += size, i--) {
    if (at + 56 > bytes.length) return true;
    const isLoaded = view.getUint32(at, true) === 1;
    const end = Number(view.getBigUint64(at + 8, true) + view.getBigUint64(at + 32, true));
    if (isLoaded && end > bytes.length) return true;
  }
  return false;
}

function libraryBytes(): Uint8Array<ArrayBuffer> {
  const bytes = prebuilt() ?? ownBuild();
  if (bytes !== null) return bytes;
  throw new Error(
    `Cannot load the native library: there is none for ${platform}. Build one from native/ with ` +
      `\`deno task build:host\`, and set ${OVERRIDE} to its path`,
  );
}

/** The library that `deno task build:host` made in this checkout, for a platform without a prebuilt one. */
function ownBuild(): Uint8Array<ArrayBuffer> | null {
  if (!import.meta.url.startsWith("file:")) return null;
  const extension = { windows: "dll", darwin: "dylib" }[Deno.build.os as string] ?? "so";
  try {
    return Deno.readFileSync(new URL(`../../native/out/libbump.${extension}`, import.meta.url));
  } catch {
    return null;
  }
}

/** The usual causes when a prebuilt library does not load. */
const PREBUILT_HINTS: Partial<Record<typeof Deno.build.os, string>> = {
  linux: "It is loaded from memory, which needs /proc; else from a temporary folder, which must be writable " +
    "(--allow-write) and not mounted noexec",
  darwin: "It is loaded from a temporary folder, which must be writable (--allow-write). A program with a hardened " +
    "runtime, such as one of `deno compile` that was signed again, needs the entitlement " +
    `com.apple.security.cs.disable-library-validation, or ${OVERRIDE} must name a copy that the same team signed`,
  windows:
    "It is loaded from a file in the temporary folder, which TMP or TEMP names: it must exist and be writable. " +
    "Where a policy (Smart App Control, AppLocker, App Control) refuses unsigned libraries there, " +
    `${OVERRIDE} must name a copy that it permits`,
};

/** The usual causes when a library that the user named does not load. */
const OVERRIDE_HINTS: Partial<Record<typeof Deno.build.os, string>> = {
  linux: "It must be a library for this system, on a file system that is not mounted noexec",
  darwin: "It must be a library for this system; a program with a hardened runtime that has no entitlement " +
    "com.apple.security.cs.disable-library-validation loads only what the same team signed",
  windows:
    "It must be a library for this system, and one that no policy (Smart App Control, AppLocker, App Control) refuses",
};

function loadFailure(name: string, failures: unknown[], hints: typeof PREBUILT_HINTS): Error {
  // Windows ends its messages with a full stop and a line break.
  const reasons = failures.map((error) => (error as Error).message.replace(/[.\s]+$/, ""));
  return new Error(`Cannot load ${name}: ${reasons.join("; ")}. ${hints[Deno.build.os] ?? hints.linux}`, {
    cause: failures.length === 1 ? failures[0] : new AggregateError(failures),
  });
}
