import { loadLibrary } from "./load.ts";
import { ABI, symbols } from "./symbols.ts";

/** The functions of the C library. */
export type BumpLibrary = Deno.DynamicLibrary<typeof symbols>["symbols"];

type Name = keyof typeof symbols;

/**
 * What every allocator calls. `Deno.dlopen` compiles each function that it binds, about 0.1 ms each; the others are
 * bound by their address when they are first called.
 */
const EAGER: readonly Name[] = [
  "bump_abi",
  "bump_create",
  "bump_close",
  "bump_lease",
  "bump_base",
  "bump_capacity",
  "bump_cursor",
];

let loaded: BumpLibrary | undefined;

/** The C library, loaded at the first call: importing the module loads nothing. */
export function library(): BumpLibrary {
  return loaded ??= open();
}

function open(): BumpLibrary {
  const names = Object.keys(symbols) as Name[];
  const table: Record<string, Deno.ForeignFunction | Deno.ForeignStatic<"pointer">> = {};
  for (const name of names) table[name] = EAGER.includes(name) ? symbols[name] : { type: "pointer" };
  const bound = loadLibrary(table) as Record<string, unknown>;
  const functions: Record<string, unknown> = {};
  for (const name of names) {
    if (EAGER.includes(name)) functions[name] = bound[name];
    else bindLater(functions, name, bound[name] as Deno.PointerObject);
  }
  const { bump_abi } = functions as BumpLibrary;
  const abi = bump_abi();
  if (abi !== ABI) {
    throw new Error(
      `Cannot use the native library: it has interface ${abi}, and this module needs ${ABI}; ` +
        "rebuild the file that BUMP_ALLOC_LIB names, or unset it",
    );
  }
  return functions as BumpLibrary;
}

/** Makes a function of an address at its first use. */
function bindLater(functions: Record<string, unknown>, name: Name, address: Deno.PointerObject): void {
  Object.defineProperty(functions, name, {
    configurable: true,
    get() {
      const native = new Deno.UnsafeFnPointer(address as never, symbols[name] as Deno.ForeignFunction);
      const value = (...args: never[]) => native.call(...args);
      Object.defineProperty(functions, name, { value });
      return value;
    },
  });
}
