/** Native callers beside JavaScript. */
import type { BumpAlloc } from "../../mod.ts";

const type = { parameters: ["pointer", "usize"], result: "pointer" } as const;

/** A function that takes blocks of the region natively, through zstd's callback: their address, or null. */
export function nativeTaker(scratch: BumpAlloc): (byteLength: number) => Deno.PointerValue {
  const { customAlloc, opaque } = scratch.hooks.zstd;
  const allocate = new Deno.UnsafeFnPointer(customAlloc as Deno.PointerObject<typeof type>, type);
  return (byteLength) => allocate.call(opaque, BigInt(byteLength));
}

/** Bytes of the region that native code takes, so that the next chunk does not continue the last one. */
export function takeNatively(scratch: BumpAlloc, byteLength: number): Deno.PointerValue {
  return nativeTaker(scratch)(byteLength);
}

/** The bytes at a pointer. */
export function bytesAt(pointer: Deno.PointerObject, byteLength: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, byteLength) as ArrayBuffer);
}
