/** Threads of C beside JavaScript. */

/** A C file with threads, compiled and loaded; or why that cannot be done here. */
export function loadThreads<S extends Deno.ForeignLibraryInterface>(
  source: URL,
  symbols: S,
): Deno.DynamicLibrary<S> | string {
  if (Deno.build.os === "windows") return "pthreads are needed";
  const compiler = Deno.env.get("CC") ?? "cc";
  const folder = Deno.makeTempDirSync();
  const file = `${folder}/threads.so`;
  try {
    const args = ["-O2", "-fPIC", "-shared", "-pthread", decodeURIComponent(source.pathname), "-o", file];
    const { success, stderr } = new Deno.Command(compiler, { args }).outputSync();
    if (!success) throw new Error(`${compiler}: ${new TextDecoder().decode(stderr)}`);
    return Deno.dlopen(file, symbols);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return `there is no C compiler named ${compiler}`;
    throw error;
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}
