/** Programs that may crash or revoke their permission: each runs in its own process. */
import { LOADING } from "./permissions.ts";

/** How a program ended. */
export interface Outcome {
  readonly code: number;
  /** The signal that ended it, such as SIGSEGV, or null. */
  readonly signal: Deno.Signal | null;
  readonly output: string;
  readonly errors: string;
}

const PRELUDE = `
  import * as bump from ${JSON.stringify(new URL("../../mod.ts", import.meta.url).href)};
  const { BumpAlloc, BumpPool } = bump;
  const revoke = () => Deno.permissions.revokeSync({ name: "ffi" });
  const attempt = (call) => { try { return call() ?? "done"; } catch (error) { return error.name; } };
  const collect = async () => {
    for (let i = 0; i < 20; i++) {
      gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
`;

/** Runs `body` as a module that has `BumpAlloc`, `BumpPool`, `attempt`, `revoke` and `collect`. */
export async function runProgram(body: string, ...permissions: string[]): Promise<Outcome> {
  const { code, signal, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-check",
      "--no-config",
      ...permissions.includes("--allow-all") ? permissions : [...LOADING, ...permissions],
      "--v8-flags=--expose-gc",
      `data:application/typescript,${encodeURIComponent(PRELUDE + body)}`,
    ],
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  return { code, signal, output: text(stdout), errors: text(stderr) };
}

/** The output of a program, which must end without an error. */
export async function outputOf(body: string, ...permissions: string[]): Promise<string> {
  const { code, signal, output, errors } = await runProgram(body, ...permissions);
  if (code !== 0) throw new Error(`the program ended with ${signal ?? code}: ${output} ${errors}`);
  return output;
}
