/**
 * Measuring for the benches. Ways to do one thing are measured in turn, for several rounds. A figure is the median over
 * the rounds, with quartiles: a row of a table on the console and, with `--json FILE`, an entry in a file.
 *
 * Arguments of every bench: `--quick` (few and short rounds, to see that it runs), `--json FILE`, and a word that
 * selects the figures whose name contains it.
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

/** The limit that a ratio or a value should keep, if any. */
export interface Asked {
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** One way to do the thing, and its sample in each round: a time, or another quantity. */
export interface Way {
  readonly name: string;
  readonly samples: readonly number[];
}

/** The comparison with one peer, as plain data. */
export interface PeerFigure extends Asked {
  readonly name: string;
  readonly spread: Spread;
  /** Median and quartiles of the rounds' ratios: see {@linkcode Comparison}. */
  readonly ratio: Spread;
}

/** A figure, as written to a file. */
export interface Figure extends Asked {
  readonly what: string;
  readonly unit: string;
  readonly rounds: number;
  /** Name of the own way; undefined for a value. */
  readonly name?: string;
  readonly spread: Spread;
  readonly peers?: readonly PeerFigure[];
  /** A remark. */
  readonly note?: string;
  /** On the first figure of a group: what its rows compare, and why that matters. */
  readonly about?: string;
}

/** The remark of rows in which the bytes are not written: a fresh array pays for zeroing and page faults all the same. */
export const UNTOUCHED = "untouched memory";

/** A quantity over time, in one way. */
export interface Series {
  readonly what: string;
  readonly unit: string;
  readonly name: string;
  readonly points: readonly (readonly [seconds: number, value: number])[];
}

/** The contents of the file that `--json` names. */
export interface Results {
  readonly bench: string;
  readonly quick: boolean;
  readonly machine: Machine;
  readonly figures: readonly Figure[];
  readonly series?: readonly Series[];
}

/** The machine that measured the figures. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly system: string;
  readonly deno: string;
  readonly v8: string;
}

/**
 * Ways that are compared. A ratio with a lower limit, or none, is the peer's time divided by the own time. A ratio with
 * an upper limit is the own time divided by the peer's.
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
   * Length of one measurement of one way; default 50. Ways that make garbage need several collections in it, because
   * users pay for these and a short loop hides them. `STEADY` is long enough for small arrays.
   */
  readonly milliseconds?: number;
  /** Number of rounds; default: the bench's. */
  readonly rounds?: number;
  /** A remark for the last column. */
  readonly note?: string;
}

/** Milliseconds in which a loop of small heap allocations reaches its steady state, collections included. */
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
  #about: string | undefined;
  /** Whether the current group has a row. */
  #headed = false;

  /** `rounds` is the number of rounds; `quickRounds` replaces it with `--quick`. */
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

  /** Begins a group of figures: `text` says what its rows compare, and why that matters. */
  about(text: string): void {
    this.#about = text;
    this.#headed = false;
  }

  /** Whether the figure is selected. */
  wants(what: string): boolean {
    return what.includes(this.#only);
  }

  /** Compares loops, in nanoseconds per turn. The number of turns is determined while each loop warms up. */
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
    }, { note: options.note });
  }

  /** Measures a loop alone, in nanoseconds per turn. */
  async time(what: string, loop: Loop, options: LoopOptions & { asked?: Asked } = {}): Promise<void> {
    if (!this.wants(what)) return;
    const [{ samples }] = await this.inTurn([[what, this.timer(loop, options)]]);
    this.value(what, "ns", samples, options.asked);
  }

  /** A way for {@linkcode Bench.inTurn}: measures a loop once, in nanoseconds per turn. */
  timer(loop: Loop, { batch = 1, milliseconds = 50 }: LoopOptions): () => number {
    const count = countFor(loop, batch, this.quick ? 3 : milliseconds);
    const short = Math.ceil(count / 10 / batch) * batch;
    return () => {
      // No way pays for the garbage of the one before.
      collect();
      loop(short);
      return elapsed(loop, count) * 1e6 / count;
    };
  }

  /** Measures ways in turn for a number of rounds, after `warmUp` rounds that do not count. */
  async inTurn(
    ways: readonly (readonly [name: string, measure: () => number | Promise<number>])[],
    { warmUp = 1, rounds = this.rounds }: { warmUp?: number; rounds?: number } = {},
  ): Promise<Way[]> {
    const samples = ways.map((): number[] => []);
    for (let round = -warmUp; round < rounds; round++) {
      for (let i = 0; i < ways.length; i++) {
        // Each way comes first in some rounds.
        const way = (i + Math.max(0, round)) % ways.length;
        const sample = await ways[way][1]();
        if (round >= 0) samples[way].push(sample);
      }
    }
    return ways.map(([name], i) => ({ name, samples: samples[i] }));
  }

  /**
   * Reports ways that were measured in turn, with one row for each peer. `better` is "less" for times and "more" for
   * rates; `note` is a remark for the last column.
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
    this.#add({ what, unit, rounds: own.length, name, spread, peers: figures, note });
    for (const { name: peer, spread: other, ratio, ...asked } of figures) {
      const times = `${format(spread.median)} / ${format(other.median)} ${unit}`;
      this.#row(what, `${name} / ${peer}`, asked, ratio, "×", note === undefined ? times : `${times}; ${note}`);
    }
  }

  /** Reports a value without a peer. */
  value(what: string, unit: string, samples: readonly number[], asked: Asked = {}): void {
    if (!this.wants(what)) return;
    const spread = spreadOf(samples);
    this.#add({ what, unit, rounds: samples.length, spread, ...asked });
    this.#row(what, "", asked, spread, unit, "");
  }

  /** Keeps samples over time, for the file and the plots. */
  series(series: Series): void {
    if (this.wants(series.what)) this.#series.push(series);
  }

  #add(figure: Figure): void {
    if (this.#about === undefined) throw new Error(`Cannot report "${figure.what}": call about() first`);
    this.#figures.push(this.#headed ? figure : { ...figure, about: this.#about });
  }

  #row(what: string, names: string, asked: Asked, measured: Spread, unit: string, times: string): void {
    if (!this.#headed) {
      console.log(`\n${this.#about}\n`);
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

/** Writes few digits, and one figure per line, so that a diff shows what has changed. */
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

/** Whether a limit was kept. */
export function isReached({ atLeast = -Infinity, atMost = Infinity }: Asked, measured: number): boolean {
  return measured >= atLeast && measured <= atMost;
}

/** The limit in words: ">= 4", or "". */
export function wordsOf({ atLeast, atMost }: Asked): string {
  return atLeast !== undefined ? `>= ${atLeast}` : atMost !== undefined ? `<= ${atMost}` : "";
}

/** Three significant digits, with separators. */
export function format(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
}

/**
 * Memory of a process in bytes: resident now (`VmRSS`), peak resident (`VmHWM`), or address space (`VmSize`). 0 if the
 * system does not report it.
 */
export function memoryOf(pid: number | "self", field: "VmRSS" | "VmHWM" | "VmSize"): number {
  if (Deno.build.os !== "linux") return 0;
  return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(Deno.readTextFileSync(`/proc/${pid}/status`))![1]) * 1024;
}

/** Milliseconds of processor time of a process, user and system together. 0 if the system does not report it. */
export function cpuTime(pid: number): number {
  if (Deno.build.os !== "linux") return 0;
  // Fields 14 and 15 of the line, in ticks of 10 ms on every Linux; split behind the name, which may contain anything.
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(")").at(-1)!.trim().split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

/** Milliseconds that the loop takes. */
function elapsed(loop: Loop, count: number): number {
  const start = performance.now();
  loop(count);
  return performance.now() - start;
}

/** The number of turns that take this many milliseconds. Finding it compiles the loop. */
function countFor(loop: Loop, batch: number, milliseconds: number): number {
  for (let count = batch;; count *= 2) {
    const time = elapsed(loop, count);
    if (time >= milliseconds / 4) return Math.max(1, Math.round(count / batch * milliseconds / time)) * batch;
  }
}

/** Collects garbage, if the process was started with `--v8-flags=--expose-gc`. */
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
