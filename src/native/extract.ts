/** Something that `Deno.dlopen` can load. */
export interface LoadableFile {
  readonly path: string;
  /** Removes what loading needed and the loaded library does not; all, when it was not `loaded`. */
  remove(loaded: boolean): void;
}

/** Writes the bytes to a fresh folder that only this user can enter; it is removed after loading. */
export function extractToFile(bytes: Uint8Array<ArrayBuffer>): LoadableFile {
  const folder = Deno.makeTempDirSync({ prefix: "bump_alloc_" });
  const path = `${folder}/bump_alloc.${Deno.build.os === "darwin" ? "dylib" : "so"}`;
  // A network's file system may keep the file of a loaded library.
  const remove = () => tryRemove(folder);
  try {
    // Complete before it is loaded: a truncated library kills a process with SIGBUS.
    Deno.writeFileSync(path, bytes, { createNew: true, mode: 0o700 });
  } catch (error) {
    remove();
    throw error;
  }
  return { path, remove };
}

/** How many names are tried when files with other contents have the first ones. */
const MAX_NAMES = 16;

/** How often a file that somebody holds open is renamed, and milliseconds between two times. */
const MAX_RENAMES = 10;
const RENAME_PAUSE = 30;

/** A file that one process alone loads has such a name; older ones than this are of processes that ended. */
const FRESH = "bump_alloc_fresh_";
const FRESH_AGE = 60 * 60 * 1000;

/**
 * For Windows, where a loaded library's file cannot be removed: one file in the user's temporary folder, used again by
 * every later process whose bytes are the same.
 *
 * A fresh file of a random name instead, where the folder is not in a user's own profile (somebody else may put a file there
 * and change it between the comparison and the loading), and where a scanner or an indexer holds what was just written, so that it
 * cannot be renamed. It stays as long as it is loaded; a later process removes it.
 */
export function extractToStableFile(bytes: Uint8Array<ArrayBuffer>): LoadableFile {
  // Its folder is the temporary one, which only this call tells without --allow-env.
  const fresh = Deno.makeTempFileSync({ prefix: FRESH, suffix: ".dll" });
  let path = fresh;
  try {
    const folder = fresh.slice(0, Math.max(fresh.lastIndexOf("\\"), fresh.lastIndexOf("/")) + 1);
    if (isInProfile(folder)) path = stableFile(folder, fresh, bytes);
    else Deno.writeFileSync(fresh, bytes);
    if (path === fresh) removeOldFresh(folder);
  } catch (error) {
    tryRemove(fresh);
    throw error;
  }
  if (path !== fresh) tryRemove(fresh); // it may have been renamed
  return { path, remove: (loaded) => !loaded && path === fresh && tryRemove(fresh) };
}

/** Whether Windows lets only this user and administrators write there: it made the folder so, with the user's profile. */
function isInProfile(folder: string): boolean {
  return /[\\/]AppData[\\/]Local[\\/]Temp[\\/](\d+[\\/])?$/i.test(folder); // a number: one session of several
}

/** The file with these bytes that all processes share; `fresh`, with these bytes, where it cannot get that name. */
function stableFile(folder: string, fresh: string, bytes: Uint8Array<ArrayBuffer>): string {
  const name = `${folder}bump_alloc_${checksum(bytes)}`;
  let isWritten = false;
  for (let i = 0; i < MAX_NAMES; i++) {
    const path = `${name}${i === 0 ? "" : `_${i}`}.dll`;
    if (holds(path, bytes)) return path;
    if (isThere(path)) continue;
    if (!isWritten) Deno.writeFileSync(fresh, bytes);
    isWritten = true;
    // Renamed when complete, so that another process never sees half of it.
    if (isRenamed(fresh, path)) return path;
    // Another process was first, and Windows does not replace the file of a loaded library.
    if (holds(path, bytes)) return path;
    if (!isThere(path)) return fresh;
  }
  throw new Error(`files with other contents have all names from ${name}.dll on; remove them`);
}

/** Whether `from` is called `to` now; not where that name was taken meanwhile, or `from` is held for long. */
function isRenamed(from: string, to: string): boolean {
  for (let tries = 1;; tries++) {
    try {
      Deno.renameSync(from, to);
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotCapable) throw error;
      if (tries === MAX_RENAMES || isThere(to)) return false;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RENAME_PAUSE);
    }
  }
}

/** Removes what earlier processes left, which could not remove what they had loaded. */
function removeOldFresh(folder: string): void {
  const isOld = (path: string) => Date.now() - Deno.statSync(path).mtime!.getTime() > FRESH_AGE;
  try {
    for (const { name } of Deno.readDirSync(folder)) {
      const path = `${folder}${name}`;
      if (name.startsWith(FRESH) && isOld(path)) tryRemove(path);
    }
  } catch { /* a later process may see them */ }
}

function tryRemove(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch { /* it is not there, or in use */ }
}

/** Whether there is anything by this name, a folder too. */
function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return !(error instanceof Deno.errors.NotFound);
  }
}

/** Whether a file has exactly these bytes; what cannot be read, such as a folder, has not. */
function holds(path: string, bytes: Uint8Array): boolean {
  try {
    return equal(Deno.readFileSync(path), bytes);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return false;
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** FNV-1a: tells versions apart in a file name; equality is checked byte for byte. */
function checksum(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}
