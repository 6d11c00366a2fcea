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
  const remove = () => {
    try {
      Deno.removeSync(folder, { recursive: true });
    } catch { /* a network's file system may keep the file of a loaded library */ }
  };
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

/**
 * For Windows, where a loaded library's file cannot be removed: one file in the user's temporary folder, used
 * again by every later process whose bytes are the same.
 */
export function extractToStableFile(bytes: Uint8Array<ArrayBuffer>): LoadableFile {
  // Its folder is the temporary one, which only this call tells without --allow-env.
  const fresh = Deno.makeTempFileSync({ prefix: "bump_alloc_", suffix: ".dll" });
  try {
    const folder = fresh.slice(0, Math.max(fresh.lastIndexOf("\\"), fresh.lastIndexOf("/")) + 1);
    const name = `${folder}bump_alloc_${checksum(bytes)}`;
    for (let i = 0; i < MAX_NAMES; i++) {
      const path = `${name}${i === 0 ? "" : `_${i}`}.dll`;
      if (holds(path, bytes) || isMovedTo(path, fresh, bytes)) return { path, remove() {} };
    }
    throw new Error(`files with other contents have all names from ${name}.dll on; remove them`);
  } finally {
    try {
      Deno.removeSync(fresh);
    } catch { /* it was renamed */ }
  }
}

/** Whether `fresh`, with these bytes, is now what `path` names, or another process's file that has the same. */
function isMovedTo(path: string, fresh: string, bytes: Uint8Array<ArrayBuffer>): boolean {
  if (isThere(path)) return false;
  Deno.writeFileSync(fresh, bytes);
  try {
    // Renamed when complete, so that another process never sees half of it.
    Deno.renameSync(fresh, path);
    return true;
  } catch (error) {
    // Another process was first, and Windows does not replace the file of a loaded library.
    if (holds(path, bytes)) return true;
    if (isThere(path)) return false;
    throw error;
  }
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
