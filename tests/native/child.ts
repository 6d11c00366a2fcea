/** Starts Deno on a program that allocates, with exactly the flags, environment and machine that a test needs. */
import { assertEquals } from "@std/assert";
import { isBefore, succeeds } from "../support/skip.ts";

/** The package's module in the checkout. */
export const MOD: string = new URL("../../mod.ts", import.meta.url).href;

/** How Deno is started. */
export interface Start {
  flags: string[];
  env?: Record<string, string>;
  /** Code that runs before the package is imported. */
  before?: string;
  /** The program; default: one allocation. */
  program?: string;
  /** A command that starts the command behind it. */
  under?: string[];
  /** The package's module. */
  mod?: string;
  /** Current folder. */
  cwd?: string;
}

/** Output and end of a process. */
export interface Ended {
  out: string;
  error: string;
  /** Exit code, or the signal's name. */
  end: number | string;
}

const ALLOCATE = `using scratch = new BumpAlloc();
console.log(scratch.alloc(100).fill(1).length);`;

/** Runs `use` with the command that starts Deno in this way. */
export async function withCommand<T>(start: Start, use: (command: string[]) => Promise<T>): Promise<T> {
  const { flags, before = "", program = ALLOCATE, under = [], mod = MOD } = start;
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/before.ts`, `${before}\nexport {};`);
    await Deno.writeTextFile(
      `${folder}/main.ts`,
      `import "./before.ts";\nimport { BumpAlloc } from ${JSON.stringify(mod)};\n${program}`,
    );
    const args = ["run", "--quiet", "--no-check", "--no-config", ...flags, `${folder}/main.ts`];
    return await use([...under, Deno.execPath(), ...args]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs it without a terminal. */
export function run(start: Start): Promise<Ended> {
  return withCommand({ ...start, flags: ["--no-prompt", ...start.flags] }, async ([command, ...args]) => {
    const options = { args, env: { NO_COLOR: "1", ...start.env }, cwd: start.cwd, stdin: "null" } as const;
    const { stdout, stderr, code, signal } = await new Deno.Command(command, options).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    return { out: text(stdout), error: text(stderr), end: signal ?? code };
  });
}

/** Fails unless it allocates and prints nothing else. */
export async function assertAllocates(start: Start): Promise<void> {
  assertEquals(await run(start), { out: "100", error: "", end: 0 });
}

/** Fails unless it ends with an error whose message contains all parts. */
export async function assertRefused(start: Start, ...parts: string[]): Promise<void> {
  const { out, error, end } = await run(start);
  assertEquals(
    { out, end, missing: parts.filter((part) => !error.includes(part)) },
    { out: "", end: 1, missing: [] },
    error,
  );
}

/** Deno's report of an uncaught error for a missing permission. */
export const DENIED = "Uncaught (in promise) NotCapable";

/** Runs `use` with a folder for temporary files, which must be empty in the end. */
export async function withTemporary(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), [], "something is left behind");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Starts a command in a namespace of its own, after mounting tmpfs with these options on these folders. */
export function mounting(...mounts: [options: string, folder: string][]): string[] {
  const script = mounts.map(([options, folder]) => `mount -t tmpfs -o ${options} none ${folder}`).join(" && ");
  return ["unshare", "--map-root-user", "--mount", "sh", "-c", `${script} && exec "$0" "$@"`];
}

/** Starts a command in a namespace without /proc, which loading from memory needs. */
export const WITHOUT_PROC = mounting(["size=4k", "/proc"]);

/** Why mounts cannot be tested here, if so. */
export const noMounts: string | null = Deno.build.os !== "linux"
  ? "it is for Linux"
  : succeeds([...WITHOUT_PROC, "true"])
  ? null
  : "namespaces are not permitted here";

/** Why Deno cannot be started without /proc here, if so. */
export const noHiding: string | null = noMounts ?? (isBefore("2.1.0") ? "Deno 2.0 does not run without /proc" : null);

/** Whether this runs in an emulator (`deno task test:arm64`). */
export const isEmulated: boolean = Deno.env.has("EMULATED");
