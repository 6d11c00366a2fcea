import { loadLibrary } from "./load.ts";
import { SharedError } from "../errors.ts";
import { ABI, BumpCode, callbackNames, processSymbols, symbols } from "./symbols.ts";

/** The functions of the C library. */
export type BumpLibrary = Deno.DynamicLibrary<typeof symbols>["symbols"];

/** The addresses of the callbacks that native libraries are given. */
export type Callbacks = Readonly<Record<typeof callbackNames[number], Deno.PointerObject>>;

/** The same for libraries whose allocator is the whole process's. */
export type ProcessCallbacks = Readonly<
  Record<Exclude<keyof typeof processSymbols, "bump_process_bind">, Deno.PointerObject>
>;

type Name = keyof typeof symbols;

/**
 * What programs call again and again, of what no copy of the library has in variables of its own. A call by address takes
 * 2 µs, a compiled one 13 ns; but compiling these takes some milliseconds, more than all else before the first allocation.
 */
const frequent = {
  bump_lease: symbols.bump_lease,
  bump_cursor: symbols.bump_cursor,
  bump_reset: symbols.bump_reset,
  bump_pointer: symbols.bump_pointer,
} as const satisfies Partial<typeof symbols>;

/** The frequent functions, compiled. */
export type FrequentFunctions = Deno.DynamicLibrary<typeof frequent>["symbols"];

/** So many calls by address are cheaper than compiling. */
const CALLS_BY_ADDRESS = 200;

let loaded: { functions: BumpLibrary; callbacks: Callbacks } | undefined;

/** The C library, loaded at the first call: importing the module loads nothing. */
export function library(): BumpLibrary {
  return (loaded ??= open()).functions;
}

/** The addresses of the C library's allocator callbacks. */
export function callbacks(): Callbacks {
  return (loaded ??= open()).callbacks;
}

/**
 * The frequent functions once a program has called them often, `null` before: then `frequently()` has them. Whoever
 * calls them has a line for each of the two, so that V8 sees one function in each and makes the call a direct one.
 */
export let compiled: FrequentFunctions | null = null;

let calls = 0;

/** The frequent functions as long as they are not compiled. */
export function frequently(): FrequentFunctions {
  if (++calls === CALLS_BY_ADDRESS) compile();
  return library();
}

/** In a copy of their own: not every system finds a loaded library again when its file is gone. */
function compile(): void {
  try {
    compiled = loadLibrary(frequent);
  } catch {
    // No permission any more, or no descriptor: calls by address go on.
  }
}

function open(): NonNullable<typeof loaded> {
  const names = Object.keys(symbols) as Name[];
  const table: Record<string, Deno.ForeignStatic<"pointer">> = {};
  for (const name of [...names, ...callbackNames]) table[name] = { type: "pointer" };
  const addresses = loadLibrary(table) as Record<string, Deno.PointerObject>;
  const functions: Record<string, unknown> = {};
  for (const name of names) bindLater(functions, name, addresses[name]);
  const { bump_abi } = functions as BumpLibrary;
  const abi = bump_abi();
  if (abi !== ABI) {
    throw new Error(
      `Cannot use the native library: it has interface ${abi}, and this module needs ${ABI}; ` +
        "rebuild the file that BUMP_ALLOC_LIB names, or unset it",
    );
  }
  return { functions: functions as BumpLibrary, callbacks: addresses as Callbacks };
}

let processLibrary: { callbacks: ProcessCallbacks; control: bigint } | undefined;

/**
 * Names the region that the process's own callbacks take from; for good.
 *
 * They come from a copy of the library that is never unloaded: a native library calls them as long as the process
 * lives, also after the Worker that gave them to it has ended. This Worker's own copy goes with it, and gives all
 * other regions back.
 */
export function nameProcessRegion(control: Deno.PointerObject): ProcessCallbacks {
  const address = Deno.UnsafePointer.value(control);
  processLibrary ??= { callbacks: openProcessLibrary(control), control: address };
  if (processLibrary.control !== address) throw anotherIsNamed();
  return processLibrary.callbacks;
}

function openProcessLibrary(control: Deno.PointerObject): ProcessCallbacks {
  const { bump_process_bind, ...callbacks } = loadLibrary(processSymbols);
  const code = bump_process_bind(control);
  if (code === BumpCode.SHARED) throw anotherIsNamed();
  if (code !== BumpCode.OK) {
    throw new Error(`Cannot name the process's own allocator: the library cannot be kept loaded (error ${code})`);
  }
  return callbacks as ProcessCallbacks;
}

function anotherIsNamed(): SharedError {
  return new SharedError("Cannot name the process's own allocator: another one was named before, for good");
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
