/** Runs the work of bench/process_child.ts in its own process. */

/** The results of a run. */
export interface Report {
  /** Time for each statement, operation or document. */
  readonly microseconds: number;
  /** Peak memory of the process, in bytes. */
  readonly peak: number;
  /** Resident memory of the process over time, in bytes. */
  readonly points: readonly (readonly [seconds: number, byteLength: number])[];
}

/** Runs the work, with the library's memory from an arena if `hooked`, else from `malloc`. */
export function measureProcess(work: string, amount: number, hooked: boolean): Report {
  const script = new URL("../process_child.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "-A", "--import-map=tests/offline/import_map.json", script, work, `${amount}`]
      .concat(hooked ? ["--hooks"] : []),
    cwd: new URL("../..", import.meta.url).pathname,
  }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}
