/**
 * `deno task bench:startup`: what importing the module and the first allocation add to the run of an empty script, and
 * what becomes of a process that uses one huge buffer once. Whole processes, started in turn, with everything in Deno's
 * cache; medians.
 *
 * @module
 */
import { Bench } from "./lib/measure.ts";

const bench = new Bench("startup", { rounds: 61, quickRounds: 1 });
const module = new URL("../mod.ts", import.meta.url).href;
const importing = `import { BumpAlloc } from "${module}";`;
const SCRIPTS = {
  "an empty script": "",
  "import": `${importing} void BumpAlloc;`,
  "import and first allocation, written": `${importing} new BumpAlloc().alloc(64)[0] = 1;`,
};
const HUGE = "2 ** 28";
const HUGE_SCRIPTS = {
  "import, alloc, fill": `${importing} new BumpAlloc().alloc(${HUGE}).fill(1);`,
  "new Uint8Array, fill": `new Uint8Array(${HUGE}).fill(1);`,
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
/** Each script as a way to be measured. */
function ways(scripts: Record<string, string>): (readonly [string, () => number])[] {
  return Object.entries(scripts).map(([name, text]) => {
    const file = `${folder}/${name.replaceAll(/\W/g, "_")}.ts`;
    Deno.writeTextFileSync(file, text);
    return [name, () => milliseconds(file)];
  });
}

try {
  const warmUp = bench.quick ? 1 : 2; // they fill the caches
  const [empty, ...others] = await bench.inTurn(ways(SCRIPTS), { warmUp });
  bench.value(empty.name, "ms", empty.samples);
  for (const { name, samples } of others) {
    const more = samples.map((time, round) => time - empty.samples[round]);
    bench.value(`${name}: more than the empty script`, "ms", more, name === "import" ? {} : { atMost: 6 });
  }
  const what = "a whole process that fills 256 MiB once";
  if (bench.wants(what)) {
    const [own, peer] = await bench.inTurn(ways(HUGE_SCRIPTS), { warmUp: 1, rounds: Math.min(9, bench.rounds) });
    bench.compared("ms", { what, own: [own.name, own.samples], peers: [[peer.name, peer.samples]] });
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
bench.finish();
