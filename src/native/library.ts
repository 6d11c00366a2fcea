import { loadLibrary } from "./load.ts";
import { ABI, symbols } from "./symbols.ts";

/** The functions of the C library. */
export type BumpLibrary = Deno.DynamicLibrary<typeof symbols>["symbols"];

let loaded: BumpLibrary | undefined;

/** The C library, loaded at the first call: importing the module loads nothing. */
export function library(): BumpLibrary {
  return loaded ??= open();
}

function open(): BumpLibrary {
  const functions = loadLibrary(symbols);
  const abi = functions.bump_abi();
  if (abi !== ABI) {
    throw new Error(
      `Cannot use the native library: it has interface ${abi}, and this module needs ${ABI}; ` +
        "rebuild the file that BUMP_ALLOC_LIB names, or unset it",
    );
  }
  return functions;
}
