// Exits in the middle of a nonblocking call; run by hooks_test.ts, which sees whether a signal ended it.
import { BumpAlloc } from "../../mod.ts";

const name = { linux: "libc.so.6", darwin: "libSystem.B.dylib" }[Deno.build.os as string] ?? "ucrtbase.dll";
const { memset } = Deno.dlopen(name, {
  memset: { parameters: ["pointer", "i32", "usize"], result: "pointer", nonblocking: true },
}).symbols;
const scratch = BumpAlloc.withSize(4 * 2 ** 30);
const bytes = scratch.alloc(2 ** 30);
let done = false;
memset(scratch.pointerOf(bytes), 1, BigInt(bytes.length)).then(() => done = true);
while (bytes[2 ** 20] === 0) await new Promise((resolve) => setTimeout(resolve, 1));
console.log(JSON.stringify(done ? "finished before" : "exits"));
Deno.exit(0);
