/** Functions of the C library, which see scratch memory as native code does. */
const parameters = ["pointer", "buffer", "usize"] as const;

const name = { linux: "libc.so.6", darwin: "libSystem.B.dylib" }[Deno.build.os as string] ?? "ucrtbase.dll";

export const { memcmp, memcpy, strlen } = Deno.dlopen(name, {
  memcmp: { parameters, result: "i32" },
  memcpy: { parameters, result: "pointer" },
  strlen: { parameters: ["buffer"], result: "usize" },
}).symbols;
