import { loadLibrary } from "./load.ts";
import { SharedError } from "../errors.ts";
import { ABI, BumpCode, callbackNames, processSymbols, symbols } from "./symbols.ts";

/** The functions of the C library. */
export type BumpLibrary = Deno.DynamicLibrary<typeof symbols>["symbols"];

/** The addresses of the callbacks for native libraries. */
export type Callbacks = Readonly<Record<typeof callbackNames[number], Deno.PointerObject>>;

/** The addresses of the callbacks for libraries with one allocator for the whole process. */
export type ProcessCallbacks = Readonly<
  Record<Exclude<keyof typeof processSymbols, "bump_process_bind">, Deno.PointerObject>
>;

type Name = keyof typeof symbols;

/**
 * Functions bound at load: those that are called often, or that must work after the program has revoked its FFI
 * permission. `Deno.dlopen` compiles each function that it binds, which takes 0.25 ms each at start-up. The others are
 * bound by address at their first call, and check the permission at each call.
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

/** Returns the C library, and loads it at the first call; importing the module loads nothing. */
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

/** Defines a function that is made from an address at its first use. */
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

/** Runs a call that needs the FFI permission; explains the error if it was revoked since the library was loaded. */
export function permitted<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof Deno.errors.NotCapable)) throw error;
    throw new Deno.errors.NotCapable(
      "Cannot reach scratch memory: the FFI permission (--allow-ffi) was revoked or denied after the native library " +
        "had been loaded. What was allocated before stays as it is, and can be closed",
    );
  }
}

let processLibrary: { callbacks: ProcessCallbacks; control: bigint } | undefined;

/**
 * Names, for good, the region from which the process's own callbacks allocate.
 *
 * The callbacks come from a copy of the library that is never unloaded, because a native library may call them after
 * the Worker that passed them on has ended. This Worker's own copy is unloaded with the Worker and releases all other
 * regions.
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
  return new SharedError("Cannot name the process's own allocator: there is one already, for good");
}
