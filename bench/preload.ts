/**
 * `deno task bench preload`: real programs with all their memory from a region, against glibc's `malloc`, the same with its
 * huge pages, jemalloc and mimalloc. Processor time, user and system, of the program and its children; run in turn. A remark says
 * what the others take in that program, glibc is 1.
 *
 * `BUMP_PRELOAD_LIB=FILE[:FILE …]` measures other builds of the library: for tuning it.
 *
 * @module
 */
import { type Preload, preload } from "../src/preload/preload.ts";
import { Bench, format, spreadOf } from "./lib/measure.ts";
import { makeInputs, type Program, programs } from "./lib/programs.ts";

const bench = new Bench("preload", { rounds: 5, quickRounds: 1 });

/** Milliseconds for a program: short ones get more rounds, up to a limit. */
const TIME = 7000;
const MAX_ROUNDS = 25;

/** Rounds of a program that does nothing, whose differences are fractions of a millisecond. */
const START_ROUNDS = 60;

/** What a program took. */
interface Run {
  /** Milliseconds of processor time. */
  readonly time: number;
  /** Page faults that needed no disk. */
  readonly faults: number;
  /** KiB, of the largest of its processes. */
  readonly peak: number;
  /** As `wait` gives it. */
  readonly status: number;
}

/** An allocator: its name, and the variables that give it to a program. */
interface Allocator {
  readonly name: string;
  readonly env: readonly string[];
  /** This library's: the figures to reach are its. */
  readonly isOwn: boolean;
}

const GLIBC: Allocator = { name: "glibc", env: [], isOwn: false };
const HUGE: Allocator = { name: "hugetlb=1", env: ["GLIBC_TUNABLES=glibc.malloc.hugetlb=1"], isOwn: false };

/** This library, then the others that this machine has. */
function allocators(bump: Preload): Allocator[] {
  const files = Deno.env.get("BUMP_PRELOAD_LIB")?.split(":");
  const preloaded = (file: string, name: string, isOwn: boolean) => ({
    name,
    env: [`LD_PRELOAD=${Deno.realPathSync(file)}`],
    isOwn,
  });
  const own = files?.map((file) => preloaded(file, file.split("/").at(-1)!, true));
  const all = [...own ?? [preloaded(bump.path, "preload", true)], HUGE];
  for (const name of ["jemalloc", "mimalloc"]) {
    const file = `/usr/lib/${Deno.build.arch}-linux-gnu/lib${name}.so.2`;
    try {
      all.push(preloaded(file, name, false));
    } catch {
      console.error(`${name}: not measured, ${file} is not installed`);
    }
  }
  return all;
}

type Runner = (program: Program, allocator: Allocator) => Run;

/** Compiles lib/run_measured.c; gives what runs a program with an allocator. */
function compileRunner(folder: string): Runner {
  const runner = `${folder}/run_measured`;
  const cache = `${folder}/deno`;
  const file = new URL("lib/run_measured.c", import.meta.url).pathname;
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const compiled = new Deno.Command("cc", { args: ["-O2", file, "-o", runner] }).outputSync();
  if (!compiled.success) throw new Error(`cc failed: ${decode(compiled.stderr)}`);
  return ({ name, command }, { env }) => {
    removeIfThere(cache); // Deno would remember what it has checked
    const { success, stdout, stderr } = new Deno.Command(runner, {
      args: [...env, "--", ...command],
      cwd: `${folder}/inputs`,
      env: { DENO_DIR: cache, DENO_NO_UPDATE_CHECK: "1", GIT_CONFIG_GLOBAL: "/dev/null", LC_ALL: "C.UTF-8" },
    }).outputSync();
    if (!success) throw new Error(`${name}: ${decode(stderr)}`);
    const { user, system, ...rest } = JSON.parse(decode(stdout));
    return { time: (user + system) / 1000, ...rest };
  };
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** A program's runs with each of these allocators in turn, in their order; the first round warms up and is timed. */
async function measure(run: Runner, program: Program, all: readonly Allocator[], limit = MAX_ROUNDS): Promise<Run[][]> {
  const begin = performance.now();
  for (const allocator of all) run(program, allocator);
  const possible = Math.round(TIME / (performance.now() - begin));
  const rounds = bench.quick ? bench.rounds : Math.min(limit, Math.max(bench.rounds, possible));
  const runs = all.map((): Run[] => []);
  const measured = (i: number) => () => {
    const one = run(program, all[i]);
    runs[i].push(one);
    return one.time;
  };
  await bench.inTurn(all.map(({ name }, i) => [name, measured(i)]), { warmUp: 0, rounds });
  return runs;
}

/** What an allocator takes, glibc is 1. */
interface Ratios {
  readonly time: number;
  readonly peak: number;
}

/** Medians of the rounds' ratios. */
function against(glibc: readonly Run[], runs: readonly Run[]): Ratios {
  const ratio = (field: "time" | "peak") => spreadOf(runs.map((run, i) => run[field] / glibc[i][field])).median;
  return { time: ratio("time"), peak: ratio("peak") };
}

/** What must not be: programs that end in another way than on glibc; statuses are as `wait` gives them. */
const wrong: string[] = [];

/** Measures a program, and gives what each allocator takes. */
async function compare(run: Runner, program: Program, all: readonly Allocator[]): Promise<Ratios[]> {
  const [glibc, ...others] = await measure(run, program, [GLIBC, ...all]);
  const ratios = others.map((runs) => against(glibc, runs));
  for (const [i, runs] of others.entries()) {
    const round = runs.findIndex(({ status }, round) => status !== glibc[round].status);
    if (round < 0) continue;
    wrong.push(`${program.name} ends with ${runs[round].status} on ${all[i].name}, not ${glibc[round].status}`);
  }
  const faults = [others[0], glibc].map((runs) => format(spreadOf(runs.map(({ faults }) => faults)).median));
  const note = [`peak memory ${format(ratios[0].peak)} ×`, `${faults.join(" / ")} page faults`];
  for (let i = 1; i < all.length; i++) note.push(`${all[i].name} ${format(ratios[i].time)}`);
  const times = (runs: readonly Run[]) => runs.map(({ time }) => time);
  bench.compared("ms", {
    what: program.name,
    own: [all[0].name, times(others[0])],
    peers: [[GLIBC.name, times(glibc), { atMost: 1.05 }]],
  }, { note: note.join("; ") });
  return ratios;
}

/** Reports what an allocator takes over all programs. */
function summarize({ name, isOwn }: Allocator, ratios: readonly Ratios[]): void {
  const asked = { time: [0.85, 1.05], peak: [1.1, 1.5] };
  for (const [field, words] of [["time", "processor time"], ["peak", "peak memory"]] as const) {
    const values = ratios.map((ratio) => ratio[field]);
    const [median, worst] = asked[field].map((atMost) => isOwn ? { atMost } : {});
    bench.value(`all programs: ${words}, ${name} / ${GLIBC.name}`, "×", values, median);
    bench.value(`the worst program: ${words}, ${name} / ${GLIBC.name}`, "×", [Math.max(...values)], worst);
  }
}

/** Reports what a program that does nothing takes more. */
async function measureStart(run: Runner, all: readonly Allocator[]): Promise<void> {
  const program: Program = { name: "true", command: ["/bin/true"], missing: null };
  const [glibc, ...others] = await measure(run, program, [GLIBC, ...all], START_ROUNDS);
  for (const [i, runs] of others.entries()) {
    const { name, isOwn } = all[i];
    const more = runs.map(({ time }, round) => time - glibc[round].time);
    const what = `start of true: processor time, more with ${name} than with ${GLIBC.name}`;
    bench.value(what, "ms", more, isOwn ? { atMost: 0.3 } : {});
  }
}

async function main(): Promise<void> {
  using bump = preload();
  const folder = Deno.makeTempDirSync();
  try {
    Deno.mkdirSync(`${folder}/inputs`);
    await makeInputs(`${folder}/inputs`, bench.quick ? 0.02 : 1);
    const run = compileRunner(folder);
    const all = allocators(bump);
    const present = programs().filter(({ missing }) => missing === null);
    const absent = new Set(programs().map(({ missing }) => missing).filter((missing) => missing !== null));
    if (absent.size > 0) console.error(`not measured, not installed: ${[...absent].join(", ")}`);
    const ratios: Ratios[][] = [];
    bench.about(
      "Processor time, user and system, of a program and its children. Programs that spend their time on allocating, or on " +
        "first touches of memory, gain; others show that the library does not slow them.",
    );
    for (const program of present) {
      if (bench.wants(program.name)) ratios.push(await compare(run, program, all));
    }
    if (ratios.length > 1) {
      bench.about("Medians of each program's ratio to glibc, over all programs; memory is the peak of resident pages.");
      for (const [i, allocator] of all.entries()) summarize(allocator, ratios.map((row) => row[i]));
    }
    if (!bench.wants("start of true")) return;
    bench.about("What a program pays that does nothing: the library is loaded, and its first region reserved.");
    await measureStart(run, all);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

if (Deno.build.os === "linux") await main();
else console.error("not measured: programs run on a region on Linux only");
if (wrong.length > 0) throw new Error(wrong.join("\n"));
bench.finish();
