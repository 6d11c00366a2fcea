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
 * What is called often, or must work when the program has given the permission for FFI up. `Deno.dlopen` compiles each
 * function that it binds, 0.25 ms each in a process that starts; the others are bound by their address when they are
 * first called, which asks for the permission at each call.
 */
const AT_ONCE: readonly Name[] = [
  "bump_pointer",
  "bump_create",
  "bump_close",
  "bump_take",
  "bump_reset",
  "bump_cursor",
];

let loaded: { functions: BumpLibrary; callbacks: Callbacks } | undefined;

/** The C library, loaded at the first call: importing the module loads nothing. */
export function library(): BumpLibrary {
  return (loaded ??= load()).functions;
}

/** The addresses of the C library's allocator callbacks. */
export function callbacks(): Callbacks {
  return (loaded ??= load()).callbacks;
}

function load(): NonNullable<typeof loaded> {
  const names = Object.keys(symbols) as Name[];
  const table: Record<string, Deno.ForeignFunction | Deno.ForeignStatic<"pointer">> = {};
  for (const name of [...names, ...callbackNames]) table[name] = { type: "pointer" };
  for (const name of AT_ONCE) table[name] = symbols[name];
  const bound = loadLibrary(table) as Record<string, unknown>;
  const functions: Record<string, unknown> = {};
  for (const name of names) {
    if (AT_ONCE.includes(name)) functions[name] = bound[name];
    else bindLater(functions, name, bound[name] as Deno.PointerObject<Deno.ForeignFunction>);
  }
  const abi = (functions as BumpLibrary).bump_abi();
  if (abi !== ABI) {
    throw new Error(
      `Cannot use the native library: it has interface ${abi}, and this module needs ${ABI}; ` +
        "rebuild the file that BUMP_ALLOC_LIB names, or unset it",
    );
  }
  return { functions: functions as BumpLibrary, callbacks: bound as Callbacks };
}

/** Makes a function of an address at its first use. */
function bindLater(
  functions: Record<string, unknown>,
  name: Name,
  address: Deno.PointerObject<Deno.ForeignFunction>,
): void {
  Object.defineProperty(functions, name, {
    configurable: true,
    get() {
      const native = new Deno.UnsafeFnPointer(address, symbols[name] as Deno.ForeignFunction);
      const value = (...args: never[]) => permitted(() => native.call(...args));
      Object.defineProperty(functions, name, { value });
      return value;
    },
  });
}

/** Calls what asks for the permission for FFI, after the library was loaded with it. */
export function permitted<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    throw new Deno.errors.NotCapable(
      "Cannot reach scratch memory: the permission for FFI (--allow-ffi) was given up or denied after the native library " +
        "had been loaded with it. What was allocated before stays as it is, and can be closed",
    );
  }
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
