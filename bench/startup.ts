/**
 * `deno task bench:startup`: what importing the module and the first allocation add to the run of an empty script, and
 * what becomes of a process that uses one huge buffer once. Whole processes, started in turn; medians.
 *
 * Each script has a cache of its own, and has run before: Deno keeps the code that a program compiled in its first run, and
 * would else keep only what the first of these scripts needs.
 *
 * @module
 */
import { Bench } from "./lib/measure.ts";

const bench = new Bench("startup", { rounds: 61, quickRounds: 1 });
const module = new URL("../mod.ts", import.meta.url).href;
const importing = `import { BumpAlloc } from "${module}";`;
const WHOLE = "import and first allocation, written";
const SCRIPTS = {
  "an empty script": "",
  "a sketch of an allocator over mmap, and first allocation":
    'import { Sketch } from "./sketch.ts"; new Sketch().alloc(64)[0] = 1;',
  "import": `${importing} void BumpAlloc;`,
  [WHOLE]: `${importing} new BumpAlloc().alloc(64)[0] = 1;`,
};
/** The least that gives memory through the FFI, one file with one function of libc. */
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

function milliseconds(script: string, DENO_DIR: string): number {
  const start = performance.now();
  const { success } = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--allow-ffi", script],
    env: { DENO_DIR },
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
    const script = `${folder}/${name.replaceAll(/\W/g, "_")}`;
    Deno.writeTextFileSync(`${script}.ts`, text);
    return [name, () => milliseconds(`${script}.ts`, `${script}_cache`)];
  });
}

try {
  Deno.writeTextFileSync(`${folder}/sketch.ts`, SKETCH);
  const warmUp = bench.quick ? 1 : 2; // they fill the caches
  const [empty, ...others] = await bench.inTurn(ways(SCRIPTS), { warmUp });
  bench.value(empty.name, "ms", empty.samples);
  for (const { name, samples } of others) {
    const more = samples.map((time, round) => time - empty.samples[round]);
    bench.value(`${name}: more than the empty script`, "ms", more, name === WHOLE ? { atMost: 6 } : {});
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
