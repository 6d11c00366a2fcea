/**
 * The prebuilt libraries, one generated module for each target, imported only on its own platform.
 *
 * @module
 */

import { unpack } from "./unpack.ts";

/** A library's bytes, as native/pack.ts packs them. */
export interface PackedLibrary {
  /** Bytes of the library. */
  readonly byteLength: number;
  /** Base64. */
  readonly packed: string;
}

/** This machine, as the generated modules are named: `linux_x86_64`. */
export const platform = `${Deno.build.os}_${Deno.build.arch}`;

/** The library for this platform; `null` where there is none. */
export const prebuilt: { bytes(): Uint8Array<ArrayBuffer> } | null = await importPrebuilt();

async function importPrebuilt(): Promise<typeof prebuilt> {
  // Literal names, so that `deno compile` and JSR see them.
  switch (platform) {
    case "linux_x86_64":
      return packed((await import("./prebuilt/linux_x86_64.ts")).library);
    case "linux_aarch64":
      return packed((await import("./prebuilt/linux_aarch64.ts")).library);
    case "darwin_x86_64":
      return packed((await import("./prebuilt/darwin_x86_64.ts")).library);
    case "darwin_aarch64":
      return packed((await import("./prebuilt/darwin_aarch64.ts")).library);
    case "windows_x86_64":
      return packed((await import("./prebuilt/windows_x86_64.ts")).library);
    case "windows_aarch64":
      return packed((await import("./prebuilt/windows_aarch64.ts")).library);
    default:
      return null;
  }
}

function packed({ packed, byteLength }: PackedLibrary): typeof prebuilt {
  return { bytes: () => unpack(decodeBase64(packed), byteLength) };
}

function decodeBase64(text: string): Uint8Array {
  const decode = (Uint8Array as { fromBase64?: (text: string) => Uint8Array }).fromBase64;
  return decode?.(text) ?? Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
