import type { LoadableFile } from "./extract.ts";

const MFD_CLOEXEC = 0x1;
const MFD_EXEC = 0x10;
const SEEK_SET = 0;
const SEEK_CUR = 1;

/** Called once each, by address, which costs a tenth of letting `Deno.dlopen` compile the function. */
const libcSymbols = {
  memfd_create: { type: "pointer" },
  write: { type: "pointer" },
  close: { type: "pointer" },
  lseek: { type: "pointer" },
} as const satisfies Deno.ForeignLibraryInterface;

/** Writes the bytes to a file in memory. No folder needs to be writable or executable, and `--allow-ffi` is enough. */
export function memoryFile(bytes: Uint8Array<ArrayBuffer>): LoadableFile {
  const libc = openLibc();
  try {
    const fd = writeMemoryFile(libc.symbols, bytes);
    const random = Math.floor(Math.random() * 2 ** 32);
    // glibc returns the library that it has already loaded from the same path, and descriptors are reused, so each copy
    // needs a path of its own. "/" and "/." change nothing in a path: a random sequence of 32 of them makes it unique.
    let unique = "";
    for (let i = 0; i < 32; i++) unique += random >>> i & 1 ? "/." : "/";
    // The library closes the descriptor itself when it is loaded (native/memory_file.c), because a Worker may be
    // terminated before JavaScript can. If loading fails, the descriptor may be open, or its number may be another
    // thread's file by now. The file position tells which.
    const seek = native(libc.symbols.lseek, { parameters: ["i32", "i64", "i32"], result: "i64" });
    const position = BigInt(2 ** 40 + random);
    seek.call(fd, position, SEEK_SET);
    return {
      path: `/proc/self/fd${unique}/${fd}`,
      remove(loaded) {
        // Older versions of Deno return a number here, newer ones a bigint.
        if (!loaded && BigInt(seek.call(fd, 0n, SEEK_CUR)) === position) closeFile(libc.symbols, fd);
        libc.close();
      },
    };
  } catch (error) {
    libc.close();
    throw error;
  }
}

/** Makes a memory file with these bytes. Returns its descriptor. */
function writeMemoryFile(libc: LibcSymbols, bytes: Uint8Array<ArrayBuffer>): number {
  const memfdCreate = native(libc.memfd_create, { parameters: ["buffer", "u32"], result: "i32" });
  const write = native(libc.write, { parameters: ["i32", "buffer", "usize"], result: "isize" });
  const name = new TextEncoder().encode("bump_alloc\0");
  // Without a flag that says whether the file will be executed, Linux 6.3 to 6.5 logs a warning and may refuse. Older
  // versions do not know the flag, and 6.6 may refuse it but accept the call without.
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

/** Opens the C library by glibc's name, then by musl's. */
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
