/** A file that `Deno.dlopen` can load. */
export interface LoadableFile {
  readonly path: string;
  /** Removes what only loading needed; everything, if the library was not `loaded`. */
  remove(loaded: boolean): void;
}

/** Writes the bytes to a new folder that only this user can enter, and that is removed with the file. */
export function extractToFile(bytes: Uint8Array<ArrayBuffer>, name = "bump_alloc"): LoadableFile {
  const folder = Deno.makeTempDirSync({ prefix: `${name}_` });
  const path = `${folder}/${name}.${Deno.build.os === "darwin" ? "dylib" : "so"}`;
  // A network file system may refuse to remove the file of a loaded library.
  const remove = () => tryRemove(folder);
  try {
    // Write it whole before loading: a truncated library crashes the process with SIGBUS.
    Deno.writeFileSync(path, bytes, { createNew: true, mode: 0o700 });
  } catch (error) {
    remove();
    throw error;
  }
  return { path, remove };
}

/** Most names that are tried, if files with other contents have the first ones. */
const MAX_NAMES = 16;

/** Most attempts to rename a file that another program holds open, and the milliseconds between two attempts. */
const MAX_RENAMES = 10;
const RENAME_PAUSE = 30;

/** Name prefix of a file that a single process loads, and the age after which such a file is removed. */
const FRESH = "bump_alloc_fresh_";
const FRESH_AGE = 60 * 60 * 1000;

/**
 * For Windows, which does not remove the file of a loaded library: one file in the user's temporary folder, reused by
 * every later process with the same bytes.
 *
 * In two cases it is a new file with a random name instead, which a later process removes. First, when the folder is
 * not in the user's own profile: another user might change a shared file between the comparison and the loading.
 * Second, when a scanner or an indexer holds the new file open, so that it cannot be renamed.
 */
export function extractToStableFile(bytes: Uint8Array<ArrayBuffer>): LoadableFile {
  // Only this call reveals the temporary folder without --allow-env.
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
  if (path !== fresh) tryRemove(fresh); // unless it was renamed
  return { path, remove: (loaded) => !loaded && path === fresh && tryRemove(fresh) };
}

/**
 * Whether only this user and administrators may write to the folder: Windows creates the one in the user's profile so.
 */
function isInProfile(folder: string): boolean {
  return /[\\/]AppData[\\/]Local[\\/]Temp[\\/](\d+[\\/])?$/i.test(folder); // the number is that of a session
}

/** The shared file with these bytes; or `fresh`, if that cannot be renamed to it. */
function stableFile(folder: string, fresh: string, bytes: Uint8Array<ArrayBuffer>): string {
  const name = `${folder}bump_alloc_${checksum(bytes)}`;
  let isWritten = false;
  for (let i = 0; i < MAX_NAMES; i++) {
    const path = `${name}${i === 0 ? "" : `_${i}`}.dll`;
    if (holds(path, bytes)) return path;
    if (isThere(path)) continue;
    if (!isWritten) Deno.writeFileSync(fresh, bytes);
    isWritten = true;
    // Rename a complete file, so that another process never sees half of one.
    if (isRenamed(fresh, path)) return path;
    // Another process was first; Windows does not replace the file of a loaded library.
    if (holds(path, bytes)) return path;
    if (!isThere(path)) return fresh;
  }
  throw new Error(`files with other contents have all the names, from ${name}.dll upwards; remove them`);
}

/** Renames `from` to `to`. Returns false if the name was taken meanwhile, or if `from` is held open for too long. */
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

/** Removes files that earlier processes could not remove, because they had them loaded. */
function removeOldFresh(folder: string): void {
  const isOld = (path: string) => Date.now() - Deno.statSync(path).mtime!.getTime() > FRESH_AGE;
  try {
    for (const { name } of Deno.readDirSync(folder)) {
      const path = `${folder}${name}`;
      if (name.startsWith(FRESH) && isOld(path)) tryRemove(path);
    }
  } catch { /* a later process may be able to list the folder */ }
}

function tryRemove(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch { /* missing, or in use */ }
}

/** Whether a file or a folder has this name. */
function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) throw error;
    return !(error instanceof Deno.errors.NotFound);
  }
}

/** Whether a file has exactly these bytes; false if it cannot be read, as a folder. */
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

/** FNV-1a, to tell versions apart in a file name. Equality is checked byte by byte. */
function checksum(bytes: Uint8Array): string {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return (hash >>> 0).toString(16).padStart(8, "0");
}
