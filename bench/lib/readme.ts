/** Writes the figures of the last report into pages of documentation. */
import { format, type Results, type Spread } from "./measure.ts";

const BEGIN = "<!-- figures: written by deno task bench -->\n\n";
const END = "\n<!-- end of figures -->\n";

/** The columns of the table: ways of the bench `filled`. */
const WAYS = ["new Uint8Array", "Buffer.allocUnsafe", "scope", "frame", "mark, rewind", "one array, reused by hand"];
const HEADS: Record<string, string> = {
  "new Uint8Array": "`new Uint8Array`",
  "Buffer.allocUnsafe": "`Buffer.allocUnsafe`",
  "scope": "**scope**",
  "frame": "**frame**",
  "mark, rewind": "**mark, rewind**",
};

/** The pages with figures, and how each is made. The results must include the benches that the page shows. */
const PAGES: Readonly<Record<string, (all: readonly Results[]) => string>> = {
  "README.md": (all) => renderFilled(all) + renderStart(all),
  "docs/preload.md": renderPrograms,
  "docs/debugging.md": renderDebug,
};

/** Paths of these pages in the checkout. */
export const PAGES_WITH_FIGURES: readonly string[] = Object.keys(PAGES);

/** Text of a page with figures from these results. */
export function withFigures(page: string, text: string, all: readonly Results[]): string {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${page} has no place for the figures`);
  return text.slice(0, begin + BEGIN.length) + PAGES[page](all) + text.slice(end);
}

/** The table: the cost of a block in each way, by size. */
function renderFilled(all: readonly Results[]): string {
  const lines = [
    `| block | ${WAYS.map((way) => HEADS[way] ?? way).join(" | ")} |`,
    `|---|${"--:|".repeat(WAYS.length)}`,
  ];
  for (const { what, unit, name, spread, peers = [] } of figuresOf(all, "filled")) {
    const cells = WAYS.map((way) => {
      const median = way === name ? spread.median : peers.find((peer) => peer.name === way)?.spread.median;
      if (median === undefined) throw new Error(`filled has no way "${way}"`);
      return amount(median, unit);
    });
    lines.push(`| ${what.split(":")[0]} | ${cells.join(" | ")} |`);
  }
  return lines.join("\n") + "\n";
}

/** The list below the table: start-up, one huge block, servers. */
function renderStart(all: readonly Results[]): string {
  const find = (what: string, bench = "startup") => figureOf(all, bench, what);
  const medians = (what: string) => {
    const { spread, peers } = find(what, "server");
    return [spread, peers![0].spread].map(({ median }) => format(median));
  };
  const load = (service: string) => {
    const [rate, plainRate] = medians(`${service}: requests per second`);
    const [peak, plainPeak] = medians(`${service}: peak memory`);
    return `${rate} requests a second and ${peak} MiB with a pool,
    ${plainRate} and ${plainPeak} MiB with plain arrays`;
  };
  const time = ({ median }: Spread) => amount(median, "ms");
  const memory = (what: string) =>
    amount(find(`${what}: resident memory, more than an empty script`).spread.median, "MiB");
  const start = find("import and first block, more than an empty script");
  const huge = find("a whole process that fills 256 MiB once");
  return `
Other costs:

- **Start-up.** Importing the package and allocating a first block add ${time(start.spread)} and
  ${memory("import and first block")} of RAM to an empty script, which takes ${time(find("an empty script").spread)}.
  Every use of the FFI pays a large part of that: a minimal script that calls one function of libc
  adds ${time(start.peers![0].spread)} and ${memory("a sketch of an allocator over mmap")}.
- **One huge buffer, used once**, gains nothing. A whole process that fills 256 MiB takes
  ${time(huge.spread)} with this package and ${time(huge.peers![0].spread)} with \`new Uint8Array\`.
- **A server** gains speed if it reserves more memory than it touches. If not, it only needs less
  memory. Three kinds under load, with their peak memory:
  - three buffers of 64 KiB for each request, all filled and read:
    ${load("filled and read, three buffers of 64 KiB")};
  - the same buffers reserved for the worst case, with bodies of 4 KiB (most memory is untouched):
    ${load("worst case, three buffers of 64 KiB")};
  - a service where the work dominates, thumbnails of images of 1 MiB:
    ${load("images of 1 MiB")}.
`;
}

/** What allocators take over all programs, and what each program takes on a region; glibc is 1. */
function renderPrograms(all: readonly Results[]): string {
  const figures = figuresOf(all, "preload");
  const value = (what: string) => {
    const figure = figureOf(all, "preload", what);
    return `${format(figure.spread.median)} ${figure.unit}`;
  };
  const lines = [
    "| allocator | processor time: median | the worst program | peak memory: median | the worst program | start of a program |",
    "|---|--:|--:|--:|--:|--:|",
  ];
  const names = figures.map(({ what }) => /^all programs: processor time, (.*) \/ glibc$/.exec(what)?.[1]);
  for (const name of names.filter((name) => name !== undefined)) {
    const cells = ["processor time", "peak memory"].flatMap((field) =>
      ["all programs", "the worst program"].map((which) => value(`${which}: ${field}, ${name} / glibc`))
    );
    const start = value(`start of true: processor time, more with ${name} than with glibc`);
    lines.push(`| ${name === "preload" ? "**this library**" : name} | ${cells.join(" | ")} | ${start} more |`);
  }
  lines.push("", "| program | processor time | |", "|---|--:|---|");
  for (const { what, peers, note } of figures) {
    if (peers !== undefined) lines.push(`| ${what} | ${format(peers[0].ratio.median)} × | ${note ?? ""} |`);
  }
  return lines.join("\n") + "\n";
}

/** How many times as long things take in debug mode. */
function renderDebug(all: readonly Results[]): string {
  const times = (name: string) => {
    const { peers } = figureOf(all, "debug", name);
    return `${format(Number(peers![0].ratio.median.toPrecision(2)))} times`;
  };
  return `On, an allocation takes ${times("alloc")} as long as off. With one block of 64 B each, \`frame(fn)\` takes
${times("frame(fn)")} as long, a scope ${times("a scope")}, a pool's lease ${times("a lease")}, and an allocator ${
    times("an allocator")
  }.
`;
}

function figureOf(all: readonly Results[], bench: string, what: string): Results["figures"][number] {
  const figure = figuresOf(all, bench).find((figure) => figure.what === what);
  if (figure === undefined) throw new Error(`${bench} has no figure "${what}"`);
  return figure;
}

function figuresOf(all: readonly Results[], bench: string): Results["figures"] {
  return all.find((results) => results.bench === bench)?.figures ?? [];
}

const UNITS = ["ns", "µs", "ms", "s"];

/** Three significant digits, in the unit that suits them. */
function amount(value: number, unit: string): string {
  let step = UNITS.indexOf(unit);
  if (step < 0) return `${format(value)} ${unit}`;
  for (; value >= 999.5 && step < UNITS.length - 1; step++) value /= 1000;
  return `${format(value)} ${UNITS[step]}`;
}
