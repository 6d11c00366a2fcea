/**
 * Measuring for the benches: ways to do one thing are measured in turn, several rounds; a figure is the median over the
 * rounds, with quartiles. A figure is a row of a table on the console and, with `--json FILE`, part of a file.
 *
 * Flags of every bench: `--quick` (few and short rounds, to see that it runs), `--json FILE`, and a word: only the
 * figures whose name holds it.
 *
 * @module
 */
import os from "node:os";
import { parseArgs } from "node:util";
import { quantileSorted } from "simple-statistics";

/** Runs its body `count` times. */
export type Loop = (count: number) => unknown;

/** Median and quartiles. */
export interface Spread {
  readonly median: number;
  readonly lower: number;
  readonly upper: number;
}

/** What is asked of a ratio or a value; neither: nothing. */
export interface Asked {
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** One way to do the thing, and the time (or whatever else) that it took in each round. */
export interface Way {
  readonly name: string;
  readonly samples: readonly number[];
}

/** What a peer is compared by, as plain data. */
export interface PeerFigure extends Asked {
  readonly name: string;
  readonly spread: Spread;
  /** Median and quartiles of the rounds' ratios: see {@linkcode Comparison}. */
  readonly ratio: Spread;
}

/** A figure, as it is written to a file. */
export interface Figure extends Asked {
  readonly what: string;
  readonly unit: string;
  readonly rounds: number;
  /** The own way's, or the value itself. */
  readonly name?: string;
  readonly spread: Spread;
  readonly peers?: readonly PeerFigure[];
  /** A remark. */
  readonly note?: string;
}

/** How something went over time, in one way. */
export interface Series {
  readonly what: string;
  readonly unit: string;
  readonly name: string;
  readonly points: readonly (readonly [seconds: number, value: number])[];
}

/** What a bench writes with `--json`. */
export interface Results {
  readonly bench: string;
  readonly quick: boolean;
  readonly machine: Machine;
  readonly figures: readonly Figure[];
  readonly series?: readonly Series[];
}

/** Where the figures were measured. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly deno: string;
  readonly v8: string;
}

/**
 * Ways that are compared. A ratio that is asked to be at least something says how many times as long the peer takes as
 * the own way; one that is asked to be at most something, how many times as long the own way takes as the peer.
 */
export interface Comparison<Measured> {
  readonly what: string;
  readonly own: readonly [name: string, Measured];
  readonly peers: readonly (readonly [name: string, Measured, asked?: Asked])[];
}

/** Options of {@linkcode Bench.compare}. */
export interface LoopOptions {
  /** Counts are multiples of it; default 1. */
  readonly batch?: number;
  /**
   * How long one measurement of one way is; default 50. What leaves garbage behind needs several collections in it: users
   * pay for them, and a short loop hides them. `STEADY` is long enough for small arrays here.
   */
  readonly milliseconds?: number;
  /** How many rounds; default the bench's. */
  readonly rounds?: number;
}

/** Milliseconds in which a loop of small allocations on the heap is in its steady state, collections included. */
export const STEADY = 250;

/** A bench: a group of figures. */
export class Bench {
  readonly quick: boolean;
  readonly rounds: number;
  readonly #name: string;
  readonly #only: string;
  readonly #json: string | undefined;
  readonly #figures: Figure[] = [];
  readonly #series: Series[] = [];
  #headed = false;

  /** `rounds`: how often everything is measured; `quickRounds` with `--quick`. */
  constructor(name: string, { rounds = 15, quickRounds = 2 }: { rounds?: number; quickRounds?: number } = {}) {
    const { values, positionals } = parseArgs({
      args: [...Deno.args],
      options: { quick: { type: "boolean", default: false }, json: { type: "string" } },
      allowPositionals: true,
    });
    this.quick = values.quick;
    this.rounds = this.quick ? quickRounds : rounds;
    this.#name = name;
    this.#only = positionals[0] ?? "";
    this.#json = values.json;
  }

  /** Whether a figure of this name is wanted. */
  wants(what: string): boolean {
    return what.includes(this.#only);
  }

  /** Compares loops, in nanoseconds for each of `count`. How often each runs is found out while it warms up. */
  async compare(comparison: Comparison<Loop>, options: LoopOptions = {}): Promise<void> {
    const { what, own, peers } = comparison;
    if (!this.wants(what)) return;
    const rounds = this.quick ? this.rounds : options.rounds;
    const ways = await this.inTurn([own, ...peers].map(([name, loop]) => [name, this.timer(loop, options)]), {
      rounds,
    });
    this.compared("ns", {
      what,
      own: [ways[0].name, ways[0].samples],
      peers: peers.map(([name, , asked], i) => [name, ways[i + 1].samples, asked]),
    });
  }

  /** Measures a loop alone, in nanoseconds for each of `count`: where the figure that is asked is a time. */
  async time(what: string, loop: Loop, options: LoopOptions & { asked?: Asked } = {}): Promise<void> {
    if (!this.wants(what)) return;
    const [{ samples }] = await this.inTurn([[what, this.timer(loop, options)]]);
    this.value(what, "ns", samples, options.asked);
  }

  /** A way for {@linkcode Bench.inTurn}: measures a loop once, in nanoseconds for each of its count. */
  timer(loop: Loop, { batch = 1, milliseconds = 50 }: LoopOptions): () => number {
    const count = countFor(loop, batch, this.quick ? 3 : milliseconds);
    const short = Math.ceil(count / 10 / batch) * batch;
    return () => {
      // Nobody pays for what the one before has left behind.
      collect();
      loop(short);
      return elapsed(loop, count) * 1e6 / count;
    };
  }

  /** Measures ways in turn, as often as there are rounds, after `warmUp` rounds that do not count. */
  async inTurn(
    ways: readonly (readonly [name: string, measure: () => number | Promise<number>])[],
    { warmUp = 1, rounds = this.rounds }: { warmUp?: number; rounds?: number } = {},
  ): Promise<Way[]> {
    const samples = ways.map((): number[] => []);
    for (let round = -warmUp; round < rounds; round++) {
      for (let i = 0; i < ways.length; i++) {
        // Each is first, second, … in its turn.
        const way = (i + Math.max(0, round)) % ways.length;
        const sample = await ways[way][1]();
        if (round >= 0) samples[way].push(sample);
      }
    }
    return ways.map(([name], i) => ({ name, samples: samples[i] }));
  }

  /**
   * Reports ways that were measured in turn: one row for each peer. `better` says which samples are better, times (less) or
   * rates (more); `note` is a remark for the last column.
   */
  compared(
    unit: string,
    { what, own: [name, own], peers }: Comparison<readonly number[]>,
    { better = "less", note }: { better?: "less" | "more"; note?: string } = {},
  ): void {
    if (!this.wants(what)) return;
    const figures = peers.map(([peer, samples, asked]): PeerFigure => {
      const gain = (better === "less") === (asked?.atMost === undefined);
      const ratio = spreadOf(samples.map((sample, round) => gain ? sample / own[round] : own[round] / sample));
      return { name: peer, spread: spreadOf(samples), ratio, ...asked };
    });
    const spread = spreadOf(own);
    this.#figures.push({ what, unit, rounds: own.length, name, spread, peers: figures, note });
    for (const { name: peer, spread: other, ratio, ...asked } of figures) {
      const times = `${format(spread.median)} / ${format(other.median)} ${unit}`;
      this.#row(what, `${name} / ${peer}`, asked, ratio, "×", note === undefined ? times : `${times}; ${note}`);
    }
  }

  /** Reports something that was measured alone. */
  value(what: string, unit: string, samples: readonly number[], asked: Asked = {}): void {
    if (!this.wants(what)) return;
    const spread = spreadOf(samples);
    this.#figures.push({ what, unit, rounds: samples.length, spread, ...asked });
    this.#row(what, "", asked, spread, unit, "");
  }

  /** Keeps what was sampled over time, for the file and the plots. */
  series(series: Series): void {
    if (this.wants(series.what)) this.#series.push(series);
  }

  #row(what: string, names: string, asked: Asked, measured: Spread, unit: string, times: string): void {
    if (!this.#headed) {
      console.log("| what | own / other | asked | measured | quartiles | own / other |\n|---|---|---|---|---|---|");
      this.#headed = true;
    }
    const { median, lower, upper } = measured;
    // A quick run judges nothing.
    const missed = this.quick || isReached(asked, median) ? "" : ", missed";
    const quartiles = `${format(lower)} to ${format(upper)}`;
    console.log(
      `| ${what} | ${names} | ${wordsOf(asked)} | ${format(median)} ${unit}${missed} | ${quartiles} | ${times} |`,
    );
  }

  /** Writes the file that `--json` names. */
  finish(): void {
    if (this.#json === undefined) return;
    const results: Results = { bench: this.#name, quick: this.quick, machine: machine(), figures: this.#figures };
    const series = this.#series.length > 0 ? this.#series : undefined;
    Deno.writeTextFileSync(this.#json, stringify({ ...results, series }));
  }
}

/** Few digits, and one figure a line, so that a file says at a glance what has changed. */
function stringify(results: Results): string {
  const round = (_: string, value: unknown) => typeof value === "number" ? Number(value.toPrecision(4)) : value;
  const members = Object.entries(results).filter(([, value]) => value !== undefined).map(([name, value]) => {
    const text = Array.isArray(value)
      ? `[\n${value.map((item) => `    ${JSON.stringify(item, round)}`).join(",\n")}\n  ]`
      : JSON.stringify(value, round);
    return `  ${JSON.stringify(name)}: ${text}`;
  });
  return `{\n${members.join(",\n")}\n}\n`;
}

/** Median and quartiles. */
export function spreadOf(samples: readonly number[]): Spread {
  const sorted = samples.toSorted((a, b) => a - b);
  const [lower, median, upper] = [0.25, 0.5, 0.75].map((p) => quantileSorted(sorted, p));
  return { median, lower, upper };
}

/** Whether what was asked was reached. */
export function isReached({ atLeast = -Infinity, atMost = Infinity }: Asked, measured: number): boolean {
  return measured >= atLeast && measured <= atMost;
}

/** ">= 4", or nothing. */
export function wordsOf({ atLeast, atMost }: Asked): string {
  return atLeast !== undefined ? `>= ${atLeast}` : atMost !== undefined ? `<= ${atMost}` : "";
}

/** Three digits that count, with separators. */
export function format(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
}

/**
 * Memory of a process in bytes: what is resident now (`VmRSS`) or was at its highest (`VmHWM`), or the addresses that it has
 * (`VmSize`); 0 where the system does not tell.
 */
export function memoryOf(pid: number | "self", field: "VmRSS" | "VmHWM" | "VmSize"): number {
  if (Deno.build.os !== "linux") return 0;
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(Deno.readTextFileSync(`/proc/${pid}/status`))![1]) * 1024;
}

/** Milliseconds of processor time that a process has taken, in user code and in the system; 0 where the system does not tell. */
export function cpuTime(pid: number): number {
  if (Deno.build.os !== "linux") return 0;
  // Behind the name, which may hold anything: fields 14 and 15 of the line, in ticks of 10 ms on every Linux.
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(")").at(-1)!.trim().split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

/** Milliseconds. */
function elapsed(loop: Loop, count: number): number {
  const start = performance.now();
  loop(count);
  return performance.now() - start;
}

/** A count with which the loop takes so many milliseconds; finding it compiles the loop. */
function countFor(loop: Loop, batch: number, milliseconds: number): number {
  for (let count = batch;; count *= 2) {
    const time = elapsed(loop, count);
    if (time >= milliseconds / 4) return Math.max(1, Math.round(count / batch * milliseconds / time)) * batch;
  }
}

/** Collects garbage, where the process was started with `--v8-flags=--expose-gc`. */
function collect(): void {
  (globalThis as { gc?: () => void }).gc?.();
}

function machine(): Machine {
  const { deno, v8 } = Deno.version;
  return {
    cpu: os.cpus()[0]?.model.trim() ?? "unknown",
    cores: navigator.hardwareConcurrency,
    memoryGiB: Math.round(Deno.systemMemoryInfo().total / 2 ** 30),
    system: `${Deno.build.os} ${Deno.osRelease()} ${Deno.build.arch}`,
    deno,
    v8,
  };
}
