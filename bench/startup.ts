/**
 * `deno task bench:startup`: what importing the module and the first allocation add to the run of an empty script. Whole
 * processes, started in turn, with everything in Deno's cache; medians.
 *
 * @module
 */
import { Bench } from "./lib/measure.ts";

const bench = new Bench("startup", { rounds: 61, quickRounds: 3 });
const module = new URL("../mod.ts", import.meta.url).href;
const SCRIPTS = {
  "an empty script": "",
  "import": `import { BumpAlloc } from "${module}"; void BumpAlloc;`,
  "import and first allocation, written": `import { BumpAlloc } from "${module}"; new BumpAlloc().alloc(64)[0] = 1;`,
};

function milliseconds(script: string): number {
  const start = performance.now();
  const { success } = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--allow-ffi", script],
    stdout: "null",
    stderr: "inherit",
  }).outputSync();
  if (!success) throw new Error(`${script} failed`);
  return performance.now() - start;
}

const folder = Deno.makeTempDirSync();
try {
  const ways = Object.entries(SCRIPTS).map(([name, text], i) => {
    const file = `${folder}/script${i}.ts`;
    Deno.writeTextFileSync(file, text);
    return [name, () => milliseconds(file)] as const;
  });
  const [empty, ...others] = await bench.inTurn(ways, { warmUp: 2 }); // they fill the caches
  bench.value(empty.name, "ms", empty.samples);
  for (const { name, samples } of others) {
    const more = samples.map((time, round) => time - empty.samples[round]);
    bench.value(`${name}: more than the empty script`, "ms", more, name === "import" ? {} : { atMost: 6 });
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
bench.finish();
