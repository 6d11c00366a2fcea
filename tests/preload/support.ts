/** Programs that run on a region, for tests. */
import { isEmulated } from "../native/child.ts";

/** The package's modules, as the checkout has them. */
export const PRELOAD: string = new URL("../../src/preload/preload.ts", import.meta.url).href;
export const RUN: string = new URL("../../src/preload/run.ts", import.meta.url).href;

/** Why no program can run on a region here, if so. */
export const noPreload: string | null = Deno.build.os !== "linux"
  ? "it is for Linux"
  : isEmulated
  ? "the emulator starts other programs as the machine's own"
  : null;

/** How a program ended, and what it wrote. */
export interface Ended {
  readonly out: string;
  readonly error: string;
  /** Exit status, or the signal's name. */
  readonly end: number | string;
}

/** Runs a command to its end. */
export async function outputOf(command: readonly string[], options: Deno.CommandOptions = {}): Promise<Ended> {
  const output = await new Deno.Command(command[0], { stdin: "null", ...options, args: command.slice(1) }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { out: text(output.stdout), error: text(output.stderr), end: output.signal ?? output.code };
}
