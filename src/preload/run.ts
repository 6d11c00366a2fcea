/**
 * Runs a program with all its memory from a region, from the command line:
 *
 * ```sh
 * deno run -A jsr:@bump/alloc/run jq . big.json
 * ```
 *
 * The program inherits this process's streams and variables. Signals are passed on to it, and its exit status becomes
 * this process's. To start programs from your own, use `@bump/alloc/preload`.
 *
 * @module
 */
import { constants } from "node:os";
import { parseArgs } from "node:util";
import { preload, type PreloadOptions } from "./preload.ts";

const USAGE = `Runs a program with all its memory from a region: a bump allocator in place of malloc.

  deno run -A jsr:@bump/alloc/run [OPTION ...] PROGRAM [ARGUMENT ...]

  --size=SIZE      size of a region: bytes, or 512MiB, 4GiB; default 1GiB (addresses, not memory)
  --no-recycle     free does nothing: for short programs, whose memory only grows
  --no-huge-pages  do not ask for huge pages
  --help           this text`;

const OPTIONS = {
  "size": { type: "string" },
  "no-recycle": { type: "boolean" },
  "no-huge-pages": { type: "boolean" },
  "help": { type: "boolean", short: "h" },
} as const;

/** Exit statuses if the program cannot be run, the same as those of `env` and `timeout`. */
const OWN_FAILURE = 125;
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

/** Signals that are passed on to the program. A stop is not: it would leave the program running. */
const PASSED_ON: readonly Deno.Signal[] = [
  "SIGHUP",
  "SIGINT",
  "SIGQUIT",
  "SIGTERM",
  "SIGUSR1",
  "SIGUSR2",
  "SIGALRM",
  "SIGWINCH",
];

/** Signals that a terminal sends to its whole foreground, so the program already has them. */
const FROM_TERMINAL: readonly Deno.Signal[] = ["SIGINT", "SIGQUIT", "SIGWINCH"];

/** The parsed command line. */
interface Invocation {
  readonly help: boolean;
  readonly options: PreloadOptions;
  readonly program: readonly string[];
}

/** Splits the command line. Everything after the program's name belongs to the program. */
function parse(args: string[]): Invocation {
  const { tokens } = parseArgs({ args, options: OPTIONS, strict: false, allowPositionals: true, tokens: true });
  const start = tokens.find(({ kind }) => kind === "positional")?.index ?? args.length;
  const values = parseOwn(args.slice(0, start));
  const program = args.slice(start);
  if (!values.help && program.length === 0) throw wrong("none is named");
  const options: PreloadOptions = {};
  if (values.size !== undefined) options.size = parseSize(values.size);
  if (values["no-recycle"]) options.recycle = false;
  if (values["no-huge-pages"]) options.hugePages = false;
  return { help: values.help ?? false, options, program };
}

function parseOwn(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS }).values;
  } catch (error) {
    throw wrong((error as Error).message);
  }
}

function wrong(why: string): Error {
  return new Error(`Cannot run a program: ${why}. --help lists the options`);
}

/** Bytes: `1048576`, `512MiB`, `4GiB`. */
function parseSize(text: string): number {
  const match = /^(\d+)(KiB|MiB|GiB|TiB)?$/.exec(text);
  if (match === null) throw wrong(`the size must be bytes, or as in 512MiB, 4GiB, not ${text}`);
  const [, digits, unit] = match;
  return Number(digits) * (unit === undefined ? 1 : 1024 ** (1 + ["KiB", "MiB", "GiB", "TiB"].indexOf(unit)));
}

/** Whether this process was started to ignore signals, as by `nohup` or a script's `&`; true if that is unknown. */
function isIgnoring(): boolean {
  try {
    const [, hex] = /^SigIgn:\s+([0-9a-f]+)$/m.exec(Deno.readTextFileSync("/proc/self/status"))!;
    return PASSED_ON.some((signal) => (BigInt(`0x${hex}`) >> BigInt(numberOf(signal) - 1) & 1n) === 1n);
  } catch {
    return true;
  }
}

/** Whether this process, and the program with it, is in the foreground of a terminal. */
function isInForeground(): boolean {
  try {
    // After the name, which may contain anything: state, parent, group, session, terminal, the terminal's group.
    const fields = Deno.readTextFileSync("/proc/self/stat").split(")").at(-1)!.trim().split(" ");
    return fields[2] === fields[5];
  } catch {
    return false;
  }
}

/** Calls `pass` for each signal that the program should get. Returns a function that ends this. */
function onSignals(pass: (signal: Deno.Signal) => void): () => void {
  const stops = PASSED_ON.map((signal) => {
    const listener = () => {
      if (!FROM_TERMINAL.includes(signal) || !isInForeground()) pass(signal);
    };
    Deno.addSignalListener(signal, listener);
    return () => Deno.removeSignalListener(signal, listener);
  });
  return () => stops.forEach((stop) => stop());
}

function numberOf(signal: Deno.Signal): number {
  return constants.signals[signal as keyof typeof constants.signals];
}

/** Starts the program; if it cannot, fails with a shell's exit status. */
function start([program, ...args]: readonly string[], env: Record<string, string>): Deno.ChildProcess {
  const streams = { stdin: "inherit", stdout: "inherit", stderr: "inherit" } as const;
  try {
    return new Deno.Command(program, { args, env, ...streams }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new Failure(NOT_FOUND, `Cannot run ${program}: it is not found`);
    throw new Failure(NOT_EXECUTABLE, `Cannot run ${program}: ${(error as Error).message}`);
  }
}

/** The program could not be started: the message, and the exit status of this process. */
class Failure extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

/** Runs the program to its end, and returns how it ended. The library's file is removed in any case. */
async function run({ options, program }: Invocation): Promise<Deno.CommandStatus> {
  let child: Deno.ChildProcess | undefined;
  const listen = () =>
    onSignals((signal) => {
      try {
        child?.kill(signal);
      } catch { /* it has ended */ }
    });
  // Listen before there is a file to remove. But the program inherits ignored signals, and listening to any signal makes
  // Deno handle SIGHUP, SIGINT and SIGTERM: where one is ignored, listen only after the program has started.
  let stop = isIgnoring() ? undefined : listen();
  try {
    const bump = preload(options);
    try {
      child = start(program, bump.env);
      stop ??= listen();
      return await child.status;
    } finally {
      bump[Symbol.dispose]();
    }
  } finally {
    stop?.();
  }
}

/** Ends this process the way the program ended. */
async function endAs({ code, signal }: Deno.CommandStatus): Promise<never> {
  if (signal === null) Deno.exit(code);
  // At Ctrl-C a shell ends its script only if the signal ended the process it waits for. Other signals may dump a core.
  if (["SIGHUP", "SIGINT", "SIGTERM", "SIGKILL"].includes(signal)) {
    Deno.kill(Deno.pid, signal);
    await new Promise((resolve) => setTimeout(resolve, 1000)); // Deno ends a little later
  }
  Deno.exit(128 + numberOf(signal));
}

if (import.meta.main) {
  try {
    const invocation = parse([...Deno.args]);
    if (invocation.help) console.log(USAGE);
    else await endAs(await run(invocation));
  } catch (error) {
    console.error((error as Error).message);
    Deno.exit(error instanceof Failure ? error.status : OWN_FAILURE);
  }
}
