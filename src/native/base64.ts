/** The bytes of a prebuilt library. */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  // Deno 2.0 has no fromBase64.
  const { fromBase64 } = Uint8Array as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> };
  return fromBase64?.(text) ?? Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
