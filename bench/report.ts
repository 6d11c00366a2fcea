/**
 * `deno task bench:report`: runs every bench, writes what each measured to bench/results/NAME.json, all of it as one table
 * to bench/results/README.md, draws it into bench/results/plots, and puts the figures of the README into it. `--quick` runs
 * everything shortly and leaves nothing behind, because it measures nothing; `--out FOLDER` writes somewhere else.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { drawPlots } from "./lib/plots.ts";
import { withFigures } from "./lib/readme.ts";
import { renderReport } from "./lib/table.ts";
import type { Results } from "./lib/measure.ts";

/** The benches, with the seconds that each takes on two slow cores: for the time that is left. */
const BENCHES: Record<string, number> = {
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
  server: 150,
  startup: 20,
};

const { values } = parseArgs({
  args: [...Deno.args],
  options: { quick: { type: "boolean", default: false }, out: { type: "string" } },
});
const root = new URL("..", import.meta.url);
const thrownAway = values.quick && values.out === undefined;
const folder = values.out ?? (thrownAway ? Deno.makeTempDirSync() : new URL("bench/results", root).pathname);
Deno.mkdirSync(folder, { recursive: true });

const names = Object.keys(BENCHES);
const begin = performance.now();
let expected = 0; // seconds that the benches so far were to take
const failed: string[] = [];
const all: Results[] = [];
for (const [i, name] of names.entries()) {
  const rest = names.slice(i).reduce((sum, other) => sum + BENCHES[other], 0);
  const taken = (performance.now() - begin) / 1000;
  const pace = expected > 0 ? taken / expected : values.quick ? 0.1 : 1;
  console.error(`[${i + 1}/${names.length}] ${name}: ${minutes(taken)} gone, about ${minutes(rest * pace)} left`);
  const file = `${folder}/${name}.json`;
  const args = ["run", "-A", "--v8-flags=--expose-gc,--no-flush-bytecode"];
  args.push("--import-map=tests/offline/import_map.json", `bench/${name}.ts`, "--json", file);
  if (values.quick) args.push("--quick");
  const { success } = await new Deno.Command(Deno.execPath(), { args, cwd: root }).spawn().status;
  if (success) all.push(JSON.parse(Deno.readTextFileSync(file)));
  else failed.push(name);
  expected += BENCHES[name];
}
Deno.writeTextFileSync(`${folder}/README.md`, renderReport(all));
await drawPlots(folder);
// Only a whole report in its place speaks for the README.
if (values.out === undefined && !values.quick && failed.length === 0) {
  const readme = new URL("README.md", root);
  Deno.writeTextFileSync(readme, withFigures(Deno.readTextFileSync(readme), all));
}
console.error(`${folder}/README.md written after ${minutes((performance.now() - begin) / 1000)}`);
if (thrownAway) Deno.removeSync(folder, { recursive: true });
if (failed.length > 0) {
  console.error(`These benches failed: ${failed.join(", ")}`);
  Deno.exit(1);
}

function minutes(seconds: number): string {
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}
