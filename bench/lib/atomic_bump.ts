/** Compiles the loop of bench/atomic_bump.c. Returns null, with the reason on stderr, if there is no C compiler. */
export function compileAtomicBump(): ((count: number, size: number, capacity: number) => unknown) | null {
  const folder = Deno.makeTempDirSync();
  try {
    const source = new URL("../atomic_bump.c", import.meta.url).pathname;
    const args = ["-std=c11", "-O2", "-fPIC", "-shared", source, "-o", `${folder}/atomic_bump.so`];
    const { success } = new Deno.Command("cc", { args }).outputSync();
    if (!success) throw new Error("cc failed");
    return Deno.dlopen(`${folder}/atomic_bump.so`, {
      atomic_bump_loop: { parameters: ["u32", "u32", "f64"], result: "u64" },
    }).symbols.atomic_bump_loop;
  } catch (error) {
    console.error(`offset is not measured against a C loop: ${(error as Error).message}`);
    return null;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
