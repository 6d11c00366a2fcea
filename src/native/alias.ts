/**
 * Throws unless the buffer shows the memory at `address`. The whole package depends on that.
 *
 * An engine that keeps all buffers in its own range of addresses (V8's sandbox) can only copy or, as V8 does today,
 * abort. A copy would look right, but writes to it would not reach the memory.
 */
export function checkAliases(buffer: ArrayBuffer, address: number): void {
  const shown = Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer));
  if (Number(shown) === address) return;
  throw new Error(
    `Cannot show native memory: Deno ${Deno.version.deno} copies it into a buffer (V8 ${Deno.version.v8}, perhaps with ` +
      "its sandbox); use a version that does not",
  );
}
