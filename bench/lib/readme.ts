/** The README's table of figures, so that it says what the last report measured. */
import { format, type Results } from "./measure.ts";

/** What the table shows: what a program would use instead, the bench, its figure, and the peer there. */
const ROWS = [
  ["`new Uint8Array`, 64 B", "allocation", "allocate 64 B", "new Uint8Array"],
  ["`new Uint8Array`, 1 KiB", "allocation", "allocate 1 KiB", "new Uint8Array"],
  ["`new Uint8Array`, 64 KiB", "allocation", "allocate 64 KiB", "new Uint8Array"],
  ["`new Uint8Array`, 16 MiB", "allocation", "allocate 16 MiB", "new Uint8Array"],
  ["`Buffer.allocUnsafe`, 64 B", "allocation", "allocate 64 B", "Buffer.allocUnsafe"],
  ["`@thi.ng/malloc`, 64 B", "allocation", "allocate 64 B, beside views of one buffer", "@thi.ng/malloc"],
  [
    "a view of a buffer that exists: the floor",
    "allocation",
    "allocate 64 B, beside views of one buffer",
    "view of a buffer",
  ],
  ["ten `new Uint8Array(64)`, for a scope", "scopes", "ten blocks of 64 B", "new Uint8Array"],
  [
    '`encode(text + "\\0")`, 30 characters',
    "ffi",
    "a C string of 30 ASCII characters, made and passed",
    'encode(s + "\\0")',
  ],
  [
    "a server, 4 × 64 KiB a request",
    "server",
    "four buffers of 64 KiB for each request: requests per second",
    "new Uint8Array",
  ],
  [
    "a server, 4 × 1 MiB a request",
    "server",
    "four buffers of 1024 KiB for each request: requests per second",
    "new Uint8Array",
  ],
  ["`new Uint8Array`, first fill of 1 GiB (with `hugePages`)", "memory", "first fill of 1024 MiB", "new Uint8Array"],
] as const;

const BEGIN = "<!-- figures: written by deno task bench:report -->\n\n";
const END = "\n<!-- end of figures -->\n";

/** The README with its table made anew from the results of all benches. */
export function withFigures(readme: string, all: readonly Results[]): string {
  const begin = readme.indexOf(BEGIN);
  const end = readme.indexOf(END);
  if (begin < 0 || end < begin) throw new Error("the README has no place for the figures");
  return readme.slice(0, begin + BEGIN.length) + renderFigures(all) + renderStart(all) + readme.slice(end);
}

/** What a program pays before its first block: a sentence below the table. */
function renderStart(all: readonly Results[]): string {
  const figures = all.find(({ bench }) => bench === "startup")?.figures ?? [];
  const find = (what: string) => {
    const figure = figures.find((figure) => figure.what === what);
    if (figure === undefined) throw new Error(`startup has no figure "${what}"`);
    return figure;
  };
  const time = (what: string) => {
    const { spread, peers } = find(`${what}, more than an empty script`);
    return { own: amount(spread.median, "ms"), sketch: amount(peers![0].spread.median, "ms") };
  };
  const memory = (what: string) => {
    return amount(find(`${what}: resident memory, more than an empty script`).spread.median, "MiB");
  };
  const empty = amount(find("an empty script").spread.median, "ms");
  const whole = time("import and first block");
  return `\n**At start** importing adds ${
    time("import").own
  } to an empty script of ${empty}; importing and the first block, ` +
    `${whole.own} and ${
      memory("import and first block")
    } of RAM. The least that gives memory through the FFI, one file with one ` +
    `function of libc, adds ${whole.sketch} and ${memory("a sketch of an allocator over mmap")}.\n`;
}

function renderFigures(all: readonly Results[]): string {
  const lines = ["| instead of | that | `@bump/alloc` | better by |", "|---|---|---|---|"];
  for (const [label, bench, what, peer] of ROWS) {
    const figure = all.find((results) => results.bench === bench)?.figures.find((figure) => figure.what === what);
    const other = figure?.peers?.find(({ name }) => name === peer);
    if (figure === undefined || other === undefined) {
      throw new Error(`${bench} has no figure "${what}" against ${peer}`);
    }
    const [that, own] = [other.spread.median, figure.spread.median].map((value) => amount(value, figure.unit));
    lines.push(`| ${label} | ${that} | ${own} | ${format(Number(other.ratio.median.toPrecision(2)))} × |`);
  }
  return lines.join("\n") + "\n";
}

const UNITS = ["ns", "µs", "ms", "s"];

/** Two or three digits, in the unit that they fit. */
function amount(value: number, unit: string): string {
  let step = UNITS.indexOf(unit);
  if (step < 0) return `${format(value)} ${unit}`.replace(" /s", "/s");
  for (; value >= 1000 && step < UNITS.length - 1; step++) value /= 1000;
  return `${format(value)} ${UNITS[step]}`;
}
