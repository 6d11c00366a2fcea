/**
 * `deno task bench [NAME …] [WORD]`: runs benches, each in its own process. With names and no flag it prints their
 * tables. A word that is not the name of a bench selects figures: `deno task bench allocation "64 B"`.
 *
 * Without names it runs all benches and saves the results: bench/results/NAME.json, one page of tables, plots, and the
 * figures in the package's README.
 *
 * - `--keep` also saves the results of named benches: `deno task bench filled startup server --keep` renews the
 * README's figures.
 * - `--render` measures nothing and writes the pages again from the saved results.
 * - `--quick` runs everything briefly, to see that it works, and saves nothing.
 *
 * `deno task soak [NAME …]` runs the long checks that memory stays flat, and saves nothing.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { Results } from "./lib/measure.ts";
import { drawPlots } from "./lib/plots.ts";
import { PAGES_WITH_FIGURES, withFigures } from "./lib/readme.ts";
import { renderReport } from "./lib/table.ts";

/** The benches, and the seconds that each takes on two slow cores, for the estimate of the time left. */
const BENCHES: Record<string, number> = {
  filled: 75,
  startup: 40,
  allocation: 190,
  scopes: 30,
  reading: 60,
  writer: 20,
  text: 30,
  memory: 130,
  ffi: 60,
  hooks: 90,
  sqlite: 40,
  workers: 60,
  server: 160,
  preload: 240,
  debug: 10,
};

/** The long runs, and the file of each. */
const SOAKS: Record<string, string> = {
  requests: "soak",
  workers: "soak_workers",
  watch: "soak_watch",
  debug: "soak_debug",
};

const ROOT = new URL("..", import.meta.url);
const RESULTS = new URL("bench/results", ROOT).pathname;

const { values, positionals } = parseArgs({
  args: [...Deno.args],
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    keep: { type: "boolean", default: false },
    render: { type: "boolean", default: false },
    soak: { type: "boolean", default: false },
  },
});

const known = Object.keys(values.soak ? SOAKS : BENCHES);
const named = known.filter((name) => positionals.includes(name));
const words = positionals.filter((name) => !known.includes(name));
if (words.length > 1 || (words.length === 1 && named.length === 0)) {
  console.error(`Cannot run ${words.join(", ")}: there are ${known.join(", ")}`);
  Deno.exit(1);
}

if (values.render) await render(RESULTS);
else if (values.soak) await run(named.length > 0 ? named : known, null);
else if (values.quick && named.length === 0) {
  // A rehearsal, which renders the pages too.
  const folder = Deno.makeTempDirSync();
  await run(known, folder);
  await render(folder);
  Deno.removeSync(folder, { recursive: true });
} else if (named.length > 0 && (!values.keep || values.quick || words.length > 0)) await run(named, null);
else {
  await run(named.length > 0 ? named : known, RESULTS);
  await render(RESULTS);
}

/** Runs benches or soaks, and writes their results to the folder, if any. Ends the process if one fails. */
async function run(names: readonly string[], folder: string | null): Promise<void> {
  const begin = performance.now();
  const failed: string[] = [];
  let expected = 0; // seconds that the benches so far should have taken
  for (const [i, name] of names.entries()) {
    const taken = (performance.now() - begin) / 1000;
    const rest = names.slice(i).reduce((sum, other) => sum + (BENCHES[other] ?? 0), 0);
    const pace = expected > 0 ? taken / expected : values.quick ? 0.1 : 1;
    const left = values.soak ? "" : `, about ${minutes(rest * pace)} left`;
    console.error(`[${i + 1}/${names.length}] ${name}: ${minutes(taken)} gone${left}`);
    const args = ["run", "-A", "--v8-flags=--expose-gc,--no-flush-bytecode"];
    args.push("--import-map=tests/offline/import_map.json", `bench/${values.soak ? SOAKS[name] : name}.ts`, ...words);
    if (folder !== null) args.push("--json", `${folder}/${name}.json`);
    if (values.quick) args.push("--quick");
    const { success } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT }).spawn().status;
    if (!success) failed.push(name);
    expected += BENCHES[name] ?? 0;
  }
  if (failed.length === 0) return;
  console.error(`These failed: ${failed.join(", ")}`);
  Deno.exit(1);
}

/** Writes the page of tables and the plots from a folder's JSON files, and the figures of other pages from saved results. */
async function render(folder: string): Promise<void> {
  const kept = new Set([...Deno.readDirSync(folder)].map(({ name }) => name));
  const all = Object.keys(BENCHES).filter((name) => kept.has(`${name}.json`))
    .map((name): Results => JSON.parse(Deno.readTextFileSync(`${folder}/${name}.json`)));
  Deno.writeTextFileSync(`${folder}/README.md`, renderReport(all));
  await drawPlots(folder);
  for (const page of PAGES_WITH_FIGURES) {
    const url = new URL(page, ROOT);
    const text = withFigures(page, Deno.readTextFileSync(url), all);
    if (folder === RESULTS) Deno.writeTextFileSync(url, text);
  }
}

function minutes(seconds: number): string {
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
