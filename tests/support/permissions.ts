/** The permissions that loading the library needs: from memory on Linux, else from a file; Windows compares it first. */
export const LOADING: readonly string[] = Deno.build.os === "linux"
  ? ["--allow-ffi"]
  : Deno.build.os === "windows"
  ? ["--allow-ffi", "--allow-write", "--allow-read"]
  : ["--allow-ffi", "--allow-write"];
