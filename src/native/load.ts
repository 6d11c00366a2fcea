import { extractToFile, extractToStableFile, type LoadableFile } from "./extract.ts";
import { memoryFile } from "./memory_file.ts";
import { platform, prebuilt } from "./prebuilt.ts";

/** Names another library file to load, when `--allow-env` and `--allow-read` allow to see it. */
const OVERRIDE = "BUMP_ALLOC_LIB";

/**
 * Loads the C library: from memory where Linux can, else from a file that this process just wrote.
 *
 * On POSIX each Worker loads its own copy, so that the library notices when a Worker ends.
 */
export function loadLibrary<T extends Deno.ForeignLibraryInterface>(
  table: T,
): Deno.DynamicLibrary<T>["symbols"] {
  requireDeno2();
  requestFfi();
  const override = overrideFile();
  const bytes = override === null ? prebuiltBytes() : readOverride(override);
  const failures: unknown[] = [];
  for (const make of waysFor(Deno.build.os)) {
    let file: LoadableFile;
    try {
      file = make(bytes);
    } catch (error) {
      failures.push(error);
      continue;
    }
    try {
      const { symbols } = Deno.dlopen(file.path, table);
      file.remove(true);
      return symbols;
    } catch (error) {
      failures.push(error);
      file.remove(false);
    }
  }
  throw (loadFailure(override, failures));
}

/** Says what an older Deno would say with an error about something else. */
function requireDeno2(): void {
  if (Deno.errors.NotCapable !== undefined) return;
  throw (new Error(`Cannot load the native library: it needs Deno 2.0.0 or newer, and this is ${Deno.version.deno}`));
}

/** How the bytes can become something that the system loads, best first. */
function waysFor(os: typeof Deno.build.os): ((bytes: Uint8Array<ArrayBuffer>) => LoadableFile)[] {
  if (os === "windows") return [extractToStableFile];
  if (os === "linux" || os === "android") return [memoryFile, extractToFile];
  return [extractToFile];
}

/**
 * Asks for the one permission that everything needs, once: each call would else ask for its own file.
 * Denied, the first call that needs it throws Deno's own `NotCapable`.
 */
function requestFfi(): void {
  if (Deno.permissions.querySync({ name: "ffi" }).state === "prompt") {
    Deno.permissions.requestSync({ name: "ffi" });
  }
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    throw (new Deno.errors.NotCapable(
      'Requires ffi access, run again with the --allow-ffi flag. A scoped grant ("--allow-ffi=<path>") is ' +
        "not enough: Deno refuses raw pointers then",
    ));
  }
}

function overrideFile(): string | null {
  // Asking for what is not granted would be a second prompt.
  const state = Deno.permissions.querySync({ name: "env", variable: OVERRIDE }).state;
  return state === "granted" ? Deno.env.get(OVERRIDE) || null : null;
}

function readOverride(path: string): Uint8Array<ArrayBuffer> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    bytes = Deno.readFileSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotCapable) throw cause;
    throw (new Error(`Cannot load ${path}, which ${OVERRIDE} names: correct or unset the variable`, { cause }));
  }
  if (isCutOff(bytes)) throw (new Error(`Cannot load ${path}, which ${OVERRIDE} names: its end is missing`));
  return bytes;
}

/** Whether an ELF file ends before its last segment does: the loader maps it all the same, and SIGBUS ends the process. */
function isCutOff(bytes: Uint8Array<ArrayBuffer>): boolean {
  const view = new DataView(bytes.buffer);
  const isElf64 = bytes.length >= 64 && view.getUint32(0) === 0x7f454c46 && view.getUint16(4) === 0x0201;
  if (!isElf64) return false; // what is no library at all is refused
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

function prebuiltBytes(): Uint8Array<ArrayBuffer> {
  if (prebuilt !== null) return prebuilt.bytes();
  const own = ownBuild();
  if (own !== null) return own;
  throw (new Error(
    `Cannot load the native library: there is none for ${platform}. Build one from native/ with ` +
      `\`deno task build:host\`, and set ${OVERRIDE} to its path`,
  ));
}

/** What `deno task build:host` made in this checkout, for a platform without a prebuilt library. */
function ownBuild(): Uint8Array<ArrayBuffer> | null {
  if (!import.meta.url.startsWith("file:")) return null;
  const extension = { windows: "dll", darwin: "dylib" }[Deno.build.os as string] ?? "so";
  try {
    return Deno.readFileSync(new URL(`../../native/out/libbump.${extension}`, import.meta.url));
  } catch {
    return null;
  }
}

function loadFailure(override: string | null, failures: unknown[]): Error {
  // A missing permission reaches the caller as Deno's own error, unless that is not what is wrong.
  const denied = failures.find((error) => error instanceof Deno.errors.NotCapable);
  if (denied !== undefined && override === null) return denied as Error;
  const name = override === null ? `the library for ${platform}` : `${override}, which ${OVERRIDE} names`;
  const reasons = failures.map((error) => error instanceof Error ? error.message : String(error));
  return new Error(
    `Cannot load ${name}: ${reasons.join("; ")}. ${
      Deno.build.os === "windows"
        ? "It is loaded from a file in the temporary folder, which TMP or TEMP names: it must exist and be writable"
        : "On Linux it is loaded from memory, which needs /proc; else from a temporary folder, which must be writable " +
          "(--allow-write) and not mounted noexec"
    }`,
    { cause: failures.length === 1 ? failures[0] : new AggregateError(failures) },
  );
}
