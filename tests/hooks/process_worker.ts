import { BumpAlloc } from "../../mod.ts";

const plain = new BumpAlloc();
plain.alloc(100);
const scratch = new BumpAlloc();
const { malloc, free, strdup } = scratch.hooks.process;
const copy = new Deno.UnsafeFnPointer(strdup as never, { parameters: ["buffer"], result: "pointer" });
(self as unknown as { postMessage(data: unknown): void }).postMessage({
  malloc: Deno.UnsafePointer.value(malloc),
  free: Deno.UnsafePointer.value(free),
  block: Deno.UnsafePointer.value(copy.call(new TextEncoder().encode("from a Worker\0"))),
  plain: plain.address + BigInt(plain.capacity / 2), // what was leased stays readable for receivers of a transfer
});
