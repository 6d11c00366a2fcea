/**
 * `deno task bench:plots [FOLDER]`: draws bench/results/*.json as SVG, light and dark, into bench/results/plots.
 *
 * @module
 */
import { renderPlots } from "./lib/plots.ts";
import type { Results } from "./lib/measure.ts";

const folder = Deno.args[0] ?? new URL("./results", import.meta.url).pathname;
const all = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.endsWith(".json")).sort()
  .map((name): Results => JSON.parse(Deno.readTextFileSync(`${folder}/${name}`)));
Deno.mkdirSync(`${folder}/plots`, { recursive: true });
for (const [name, svg] of Object.entries(await renderPlots(all))) {
  Deno.writeTextFileSync(`${folder}/plots/${name}.svg`, svg);
  console.log(`${folder}/plots/${name}.svg`);
}
