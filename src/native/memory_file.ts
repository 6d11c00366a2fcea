import type { LoadableFile } from "./extract.ts";

const MFD_CLOEXEC = 1;

const libcSymbols = {
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  // Bound when it is needed, because each function takes a tenth of a millisecond.
  close: { type: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * Puts the bytes into a file that exists in memory only: no folder need be writable or executable, and
 * `--allow-ffi` is enough.
 */
export function memoryFile(bytes: Uint8Array<ArrayBuffer>): LoadableFile {
  const libc = openLibc();
  const { memfd_create, write } = libc.symbols;
  const fd = memfd_create(new TextEncoder().encode("bump_alloc\0"), MFD_CLOEXEC);
  if (fd < 0) {
    libc.close();
    throw new Error("memfd_create failed");
  }
  for (let done = 0; done < bytes.length;) {
    const count = Number(write(fd, bytes.subarray(done), BigInt(bytes.length - done)));
    if (count <= 0) {
      new Deno.UnsafeFnPointer(libc.symbols.close as never, { parameters: ["i32"], result: "i32" }).call(fd);
      libc.close();
      throw new Error("the library could not be written to memory");
    }
    done += count;
  }
  // glibc takes a path that it knows for the library that it knows, and descriptors are used again, so that no
  // two copies may have the same. "/" and "/." mean nothing in a path: 32 random ones of them tell it from all others.
  const bits = crypto.getRandomValues(new Uint32Array(1))[0].toString(2).padStart(32, "0");
  const unique = bits.replaceAll("0", "/").replaceAll("1", "/.");
  // The library closes the descriptor itself when it is loaded (native/memory_file.c): a Worker may be
  // terminated before JavaScript gets to it.
  return { path: `/proc/self/fd${unique}/${fd}`, remove: () => libc.close() };
}

/** glibc's name, then musl's. */
function openLibc(): Deno.DynamicLibrary<typeof libcSymbols> {
  const arch = Deno.build.arch;
  let failure: unknown;
  for (const name of ["libc.so.6", `libc.musl-${arch}.so.1`, `/lib/ld-musl-${arch}.so.1`]) {
    try {
      return Deno.dlopen(name, libcSymbols);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}
