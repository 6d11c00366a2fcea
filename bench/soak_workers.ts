/**
 * `deno task soak workers`: a thousand Workers that attach to a shared region, allocate and fill. Each is terminated at
 * a random moment, even while loading. The blocks of the main thread and of a Worker that stays are checked throughout,
 * and each step ends with a `reset`. A twin without this module fills plain typed arrays.
 *
 * Fails if a byte is wrong, if a terminated Worker still holds the region, or if descriptors leak. `--quick` for 60
 * Workers.
 *
 * @module
 */
import { Bench, spreadOf } from "./lib/measure.ts";
import type { SoakStep } from "./soak_workers_child.ts";

const bench = new Bench("soak_workers");
const WORKERS = bench.quick ? 60 : 1000;
const STEPS = bench.quick ? 3 : 20;

/** Runs one kind in its own process. */
async function soak(kind: "region" | "plain"): Promise<SoakStep[]> {
  const child = new URL("./soak_workers_child.ts", import.meta.url).href;
  const imports = new URL("../tests/offline/import_map.json", import.meta.url).href;
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--v8-flags=--expose-gc", `--import-map=${imports}`, child, kind, `${WORKERS}`, `${STEPS}`],
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`the Workers with ${kind} memory failed`);
  return new TextDecoder().decode(stdout).trim().split("\n").map((line) => JSON.parse(line));
}

const region = await soak("region");
const plain = await soak("plain");

const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
/** Descriptors that Deno may have open at the end of a step, for Workers that are still ending and its own use. */
const SOME = 20;

console.log(
  "| terminated | region: while loading | VmSize, MiB | VmRSS, MiB | descriptors | twin: while loading | VmSize | VmRSS | descriptors |",
);
console.log("|---|---|---|---|---|---|---|---|---|");
for (let i = 0; i < region.length; i++) {
  const cells = [region[i], plain[i]].map((step) =>
    `${step.loading} | ${mib(step.size)} | ${mib(step.resident)} | ${step.descriptors}`
  );
  console.log(`| ${region[i].terminated} | ${cells.join(" | ")} |`);
}
console.log();
const quarter = Math.ceil(STEPS / 4);
bench.about("Memory of a process after many terminated Workers: the region must neither grow nor stay held.");
for (const [name, steps] of [["region", region], ["twin", plain]] as const) {
  for (const field of ["size", "resident"] as const) {
    const bytes = steps.map((step) => step[field]);
    const early = spreadOf(bytes.slice(quarter, 2 * quarter)).median;
    const what = `${name}: ${field === "size" ? "VmSize" : "VmRSS"}, last quarter against the second`;
    bench.value(what, "×", bytes.slice(-quarter).map((late) => late / early), name === "region" ? { atMost: 1.1 } : {});
  }
}
const last = region.at(-1)!;
console.log(
  `\n${last.terminated} Workers terminated, ${last.blocks} blocks checked, none wrong; attached at the end: ${last.attached}`,
);
if (last.descriptors > SOME) throw new Error(`${last.descriptors} descriptors lost`);
bench.finish();
