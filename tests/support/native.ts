/** Native callers that allocate at the same time as JavaScript. */
import type { BumpAlloc } from "../../mod.ts";

const type = { parameters: ["pointer", "usize"], result: "pointer" } as const;

/** Makes a function that takes a native block through zstd's callback, and returns its address or null. */
export function nativeTaker(scratch: BumpAlloc): (byteLength: number) => Deno.PointerValue {
  const { customAlloc, opaque } = scratch.hooks.zstd;
  const allocate = new Deno.UnsafeFnPointer(customAlloc as Deno.PointerObject<typeof type>, type);
  return (byteLength) => allocate.call(opaque, BigInt(byteLength));
}

/** Takes a native block, so that the next chunk does not continue the last one. */
export function takeNatively(scratch: BumpAlloc, byteLength: number): Deno.PointerValue {
  return nativeTaker(scratch)(byteLength);
}

/** The bytes at a pointer. */
export function bytesAt(pointer: Deno.PointerObject, byteLength: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength) as ArrayBuffer);
}
