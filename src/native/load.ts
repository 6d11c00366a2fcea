export function loadLibrary<T extends Deno.ForeignLibraryInterface>(table: T): Deno.DynamicLibrary<T>["symbols"] {
  return Deno.dlopen(Deno.env.get("BUMP_ALLOC_LIB")!, table).symbols;
}
