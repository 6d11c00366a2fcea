import type { LoadableFile } from "./extract.ts";

const MFD_CLOEXEC = 0x1;
const MFD_EXEC = 0x10;
const SEEK_SET = 0;
const SEEK_CUR = 1;

/** Called by their addresses, once each: that costs a tenth of what `Deno.dlopen` takes to compile a function. */
const libcSymbols = {
  memfd_create: { type: "pointer" },
  write: { type: "pointer" },
  close: { type: "pointer" },
  lseek: { type: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/**
 * Puts the bytes into a file that exists in memory only: no folder need be writable or executable, and
 * `--allow-ffi` is enough.
 */
export function memoryFile(bytes: Uint8Array<ArrayBuffer>): LoadableFile {
  const libc = openLibc();
  try {
    const fd = writeMemoryFile(libc.symbols, bytes);
    const random = Math.floor(Math.random() * 2 ** 32);
    // glibc takes a path that it knows for the library that it knows, and descriptors are used again, so that no
    // two copies may have the same. "/" and "/." mean nothing in a path: 32 random ones of them tell it from all others.
    let unique = "";
    for (let i = 0; i < 32; i++) unique += random >>> i & 1 ? "/." : "/";
    // The library closes the descriptor itself when it is loaded (native/memory_file.c): a Worker may be
    // terminated before JavaScript gets to it. What is not loaded, or refused after that, is told apart by its position:
    // the number of a closed one may be another thread's file by now.
    const seek = native(libc.symbols.lseek, { parameters: ["i32", "i64", "i32"], result: "i64" });
    const position = BigInt(2 ** 40 + random);
    seek.call(fd, position, SEEK_SET);
    return {
      path: `/proc/self/fd${unique}/${fd}`,
      remove(loaded) {
        // Older versions of Deno give a number where newer ones give a bigint.
        if (!loaded && BigInt(seek.call(fd, 0n, SEEK_CUR)) === position) closeFile(libc.symbols, fd);
        libc.close();
      },
    };
  } catch (error) {
    libc.close();
    throw error;
  }
}

/** The descriptor of a memory file with these bytes. */
function writeMemoryFile(libc: LibcSymbols, bytes: Uint8Array<ArrayBuffer>): number {
  const memfdCreate = native(libc.memfd_create, { parameters: ["buffer", "u32"], result: "i32" });
  const write = native(libc.write, { parameters: ["i32", "buffer", "usize"], result: "isize" });
  const name = new TextEncoder().encode("bump_alloc\0");
  // Linux 6.3 to 6.5 may refuse, and logs, what does not say whether it will be executed; older ones do not know the
  // flag, and 6.6 refuses it where it takes the plain call.
  let fd = memfdCreate.call(name, MFD_CLOEXEC | MFD_EXEC);
  if (fd < 0) fd = memfdCreate.call(name, MFD_CLOEXEC);
  if (fd < 0) throw new Error("memfd_create failed");
  for (let done = 0; done < bytes.length;) {
    const count = Number(write.call(fd, bytes.subarray(done), BigInt(bytes.length - done)));
    if (count <= 0) {
      closeFile(libc, fd);
      throw new Error("the library could not be written to memory");
    }
    done += count;
  }
  return fd;
}

function closeFile(libc: LibcSymbols, fd: number): void {
  native(libc.close, { parameters: ["i32"], result: "i32" }).call(fd);
}

type LibcSymbols = Deno.DynamicLibrary<typeof libcSymbols>["symbols"];

function native<const T extends Deno.ForeignFunction>(address: unknown, type: T): Deno.UnsafeFnPointer<T> {
  return new Deno.UnsafeFnPointer(address as Deno.PointerObject<T>, type);
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
