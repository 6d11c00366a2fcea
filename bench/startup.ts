/**
 * `deno task bench startup`: the cost of importing the package and of the first allocation, in time and resident
 * memory, beyond an empty script. The peer is the least code that gets memory through the FFI. Also a process that uses
 * one huge buffer once. Whole processes, started in turn; medians.
 *
 * Each script has its own cache and has run before, because Deno caches data about a program's modules in its first
 * run. The package is the published one, imported from a file; from JSR, Deno reads two more files.
 *
 * @module
 */
import { buildPackage } from "../tools/package/build.ts";
import { Bench, type Way } from "./lib/measure.ts";

const bench = new Bench("startup", { rounds: 61, quickRounds: 1 });
const folder = Deno.makeTempDirSync();
await buildPackage(`${folder}/package`);
const importing = `import { BumpAlloc } from "./package/mod.js";`;
const SKETCH_NAME = "a sketch of an allocator over mmap";
const SCRIPTS = {
  "an empty script": "",
  [SKETCH_NAME]: 'import { Sketch } from "./sketch.ts"; new Sketch().alloc(64)[0] = 1;',
  "import": `${importing} void BumpAlloc;`,
  "import and first block": `${importing} new BumpAlloc().alloc(64)[0] = 1;`,
};
/** The least code that gets memory through the FFI: one file with one function of libc. */
const SKETCH = `
const { mmap } = Deno.dlopen("libc.so.6", {
  mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
}).symbols;
const PROT_READ_WRITE = 3, MAP_PRIVATE_ANONYMOUS_NORESERVE = 0x4022;
export class Sketch {
  #cursor = 0;
  #buffer = Deno.UnsafePointerView.getArrayBuffer(
    mmap(0n, 2n ** 30n, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1, 0n)!,
    2 ** 30,
  );
  alloc(size: number): Uint8Array {
    const offset = this.#cursor;
    this.#cursor = offset + size;
    return new Uint8Array(this.#buffer, offset, size);
  }
}
`;
const HUGE = "2 ** 28";
const HUGE_SCRIPTS = {
  "import, alloc, fill": `${importing} new BumpAlloc().alloc(${HUGE}).fill(1);`,
  "new Uint8Array, fill": `new Uint8Array(${HUGE}).fill(1);`,
};

/** Runs a script in its own process, and returns its output. */
function run(script: string): string {
  const { success, stdout } = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--allow-ffi", `${folder}/${script}.ts`],
    env: { DENO_DIR: `${folder}/${script}_cache` },
    stderr: "inherit",
  }).outputSync();
  if (!success) throw new Error(`${script} failed`);
  return new TextDecoder().decode(stdout);
}

function milliseconds(script: string): number {
  const start = performance.now();
  run(script);
  return performance.now() - start;
}

/** Makes each script a way to measure; `end` is appended to it. */
function ways(
  scripts: Record<string, string>,
  measure: (script: string) => number,
  end = "",
): (readonly [string, () => number])[] {
  return Object.entries(scripts).map(([name, text]) => {
    const script = `${name} ${measure.name}`.replaceAll(/\W/g, "_");
    Deno.writeTextFileSync(`${folder}/${script}.ts`, text + end);
    return [name, () => measure(script)];
  });
}

/** The others' samples less the first one's, round by round. */
function moreThanFirst([first, ...others]: readonly Way[]): readonly (readonly number[])[] {
  return others.map(({ samples }) => samples.map((sample, round) => sample - first.samples[round]));
}

/** Resident MiB at the end of the script. */
function resident(script: string): number {
  return Number(run(script)) / 2 ** 20;
}

const warmUp = bench.quick ? 1 : 2; // they fill the caches

async function measureTime(): Promise<void> {
  bench.about(
    "Whole processes, less an empty script: the price of importing the package and of its first block. A " +
      "short script pays it once. The peer is the least that gives memory through the FFI, one file with " +
      "one function of libc.",
  );
  const measured = await bench.inTurn(ways(SCRIPTS, milliseconds), { warmUp });
  bench.value(measured[0].name, "ms", measured[0].samples);
  const [sketch, ...own] = moreThanFirst(measured);
  const atMost = [0.7, 1.5];
  for (const [i, samples] of own.entries()) {
    bench.compared("ms", {
      what: `${measured[i + 2].name}, more than an empty script`,
      own: ["the package", samples],
      peers: [[SKETCH_NAME, sketch, { atMost: atMost[i] }]],
    });
  }
}

async function measureMemory(): Promise<void> {
  bench.about(
    "Resident memory of the same processes, because small containers pay for it.",
  );
  const print = "\nconsole.log(Deno.memoryUsage().rss);";
  const rounds = Math.min(15, bench.rounds);
  const measured = await bench.inTurn(ways(SCRIPTS, resident, print), { warmUp, rounds });
  const [sketch, imported, whole] = moreThanFirst(measured);
  bench.value(`${SKETCH_NAME}: resident memory, more than an empty script`, "MiB", sketch);
  bench.value("import: resident memory, more than an empty script", "MiB", imported);
  const [, more] = moreThanFirst(measured.slice(1));
  bench.value("import and first block: resident memory, more than an empty script", "MiB", whole);
  bench.value("import and first block: resident memory, more than the sketch", "MiB", more, { atMost: 2.5 });
}

try {
  Deno.writeTextFileSync(`${folder}/sketch.ts`, SKETCH);
  await measureTime();
  await measureMemory();
  const what = "a whole process that fills 256 MiB once";
  if (bench.wants(what)) {
    bench.about(
      "One huge buffer that is filled once: nothing is reused, so scratch memory has nothing to gain.",
    );
    const rounds = Math.min(9, bench.rounds);
    const [own, peer] = await bench.inTurn(ways(HUGE_SCRIPTS, milliseconds), { warmUp: 1, rounds });
    bench.compared("ms", { what, own: [own.name, own.samples], peers: [[peer.name, peer.samples]] });
  }
} finally {
  Deno.removeSync(folder, { recursive: true });
}
bench.finish();
