/**
 * The prebuilt libraries, one generated module for each target.
 *
 * All are imported, on every platform: importing only the one that is needed takes a top-level `await`, and Deno loses two
 * descriptors and 0.7 MB for each Worker that is terminated meanwhile. The other five cost about a millisecond at start.
 *
 * @module
 */

import { library as darwin_aarch64 } from "./prebuilt/darwin_aarch64.ts";
import { library as darwin_x86_64 } from "./prebuilt/darwin_x86_64.ts";
import { library as linux_aarch64 } from "./prebuilt/linux_aarch64.ts";
import { library as linux_x86_64 } from "./prebuilt/linux_x86_64.ts";
import { library as windows_aarch64 } from "./prebuilt/windows_aarch64.ts";
import { library as windows_x86_64 } from "./prebuilt/windows_x86_64.ts";
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

const all: Readonly<Record<string, PackedLibrary>> = {
  darwin_aarch64,
  darwin_x86_64,
  linux_aarch64,
  linux_x86_64,
  windows_aarch64,
  windows_x86_64,
};

/** The library for this platform; `null` where there is none. */
export const prebuilt: { bytes(): Uint8Array<ArrayBuffer> } | null = platform in all ? packed(all[platform]) : null;

function packed({ packed, byteLength }: PackedLibrary): NonNullable<typeof prebuilt> {
  return { bytes: () => unpack(decodeBase64(packed), byteLength) };
}

function decodeBase64(text: string): Uint8Array {
  const decode = (Uint8Array as { fromBase64?: (text: string) => Uint8Array }).fromBase64;
  return decode?.(text) ?? Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
