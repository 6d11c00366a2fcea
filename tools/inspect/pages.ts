/** Which pages are in RAM, as reported by the system. */

const LIBRARIES: Partial<Record<typeof Deno.build.os, string>> = { linux: "libc.so.6", darwin: "libSystem.B.dylib" };

function open() {
  const name = LIBRARIES[Deno.build.os];
  if (name === undefined) return null;
  try {
    return Deno.dlopen(name, {
      mincore: { parameters: ["pointer", "usize", "buffer"], result: "i32" },
      getpagesize: { parameters: [], result: "i32" },
    }).symbols;
  } catch {
    return null; // another C library
  }
}

const libc = open();

/** Bytes of a page. */
export const PAGE_SIZE: number = libc?.getpagesize() ?? 4096;

/** For each page of a range, 1 if it is in RAM. Null if the system does not report it. */
export function residentPages(address: number, byteLength: number): Uint8Array | null {
  if (libc === null) return null;
  const pages = new Uint8Array(Math.ceil(byteLength / PAGE_SIZE));
  const code = libc.mincore(Deno.UnsafePointer.create(BigInt(address)), BigInt(byteLength), pages);
  return code === 0 ? pages.map((page) => page & 1) : null;
}
