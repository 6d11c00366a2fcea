/**
 * `deno task bench:plots [FOLDER]`: draws bench/results/*.json as SVG, light and dark, into bench/results/plots, as
 * `deno task bench:report` does when it has measured.
 *
 * @module
 */
import { drawPlots } from "./lib/plots.ts";

await drawPlots(Deno.args[0] ?? new URL("./results", import.meta.url).pathname);
