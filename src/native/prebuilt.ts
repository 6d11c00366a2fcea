/**
 * The prebuilt libraries, one generated module for each target.
 *
 * All are imported on every platform. Importing only one would take a top-level `await`, and Deno leaks two descriptors
 * and 0.7 MB for each Worker that is terminated during it. Each is a function, so that V8 does not create the strings
 * of the other five.
 *
 * @module
 */

import { decodeBase64 } from "./base64.ts";
import { library as darwin_aarch64 } from "./prebuilt/darwin_aarch64.ts";
import { library as darwin_x86_64 } from "./prebuilt/darwin_x86_64.ts";
import { library as linux_aarch64 } from "./prebuilt/linux_aarch64.ts";
import { library as linux_x86_64 } from "./prebuilt/linux_x86_64.ts";
import { library as windows_aarch64 } from "./prebuilt/windows_aarch64.ts";
import { library as windows_x86_64 } from "./prebuilt/windows_x86_64.ts";

const all: Readonly<Record<string, () => string>> = {
  darwin_aarch64,
  darwin_x86_64,
  linux_aarch64,
  linux_x86_64,
  windows_aarch64,
  windows_x86_64,
};

/** This platform, named like the generated modules: `linux_x86_64`. */
export const platform = `${Deno.build.os}_${Deno.build.arch}`;

/** The library for a platform; null if there is none. */
export function prebuilt(name: string = platform): Uint8Array<ArrayBuffer> | null {
  return Object.hasOwn(all, name) ? decodeBase64(all[name]()) : null;
}
