/**
 * `deno task bench:startup`: what importing the module and the first allocation add to the run of an empty script. Whole
 * processes, started in turn, with everything in Deno's cache; medians.
 *
 * @module
 */
const quick = Deno.args.includes("--quick");
const ROUNDS = quick ? 3 : 61;

const module = new URL("../mod.ts", import.meta.url).href;
const SCRIPTS = {
  "an empty script": "",
  "import": `import { BumpAlloc } from "${module}"; void BumpAlloc;`,
  "import, and the first allocation written":
    `import { BumpAlloc } from "${module}"; new BumpAlloc().alloc(64)[0] = 1;`,
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

const median = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];

const folder = Deno.makeTempDirSync();
try {
  const files = Object.values(SCRIPTS).map((text, i) => {
    const file = `${folder}/script${i}.ts`;
    Deno.writeTextFileSync(file, text);
    return file;
  });
  const times: number[][] = files.map(() => []);
  for (let round = -2; round < ROUNDS; round++) {
    files.forEach((file, i) => {
      const time = milliseconds(file);
      if (round >= 0) times[i].push(time); // two fill the caches
    });
  }
  console.log("| script | ms | more than the empty one, ms |");
  console.log("|---|---|---|");
  Object.keys(SCRIPTS).forEach((name, i) => {
    const more = median(times[i].map((time, round) => time - times[0][round]));
    console.log(`| ${name} | ${median(times[i]).toFixed(1)} | ${more.toFixed(1)} |`);
  });
} finally {
  Deno.removeSync(folder, { recursive: true });
}
