/** Runs the work of bench/process_child.ts in a process of its own. */

/** What a run tells. */
export interface Report {
  /** For each statement, operation or document. */
  readonly microseconds: number;
  /** Bytes of the process at its highest. */
  readonly peak: number;
  /** Resident bytes of the process over time. */
  readonly points: readonly (readonly [seconds: number, byteLength: number])[];
}

/** `hooked`: the library's memory comes from an arena, else from `malloc`. */
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
