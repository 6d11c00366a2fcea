/**
 * The permissions for loading the library: from memory on Linux, from a file on macOS, from a file that is compared
 * first on Windows.
 */
export const LOADING: readonly string[] = Deno.build.os === "linux"
  ? ["--allow-ffi"]
  : Deno.build.os === "windows"
  ? ["--allow-ffi", "--allow-write", "--allow-read"]
  : ["--allow-ffi", "--allow-write"];
