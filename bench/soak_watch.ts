/**
 * `deno task soak watch`: runs a program that allocates under `deno run --watch --allow-ffi`, changes its file a
 * hundred times, and records the memory of the process after each reload. A twin without this module runs beside it.
 * The program never closes its allocators, and every second version keeps running after its last line, as a server
 * does. Fails if a reload leaves a region behind.
 *
 * `--quick` for 12 reloads.
 *
 * @module
 */
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { Bench, memoryOf, spreadOf } from "./lib/measure.ts";

const bench = new Bench("soak_watch");
const RELOADS = bench.quick ? 12 : 100;
/**
 * Growth per reload, in bytes, that shows a leak. The program reserves 2 GiB and writes 9 MiB. The twin grows too: each
 * thread has an arena of malloc, of 64 MiB of addresses.
 */
const KEPT = { size: 128 * 2 ** 20, resident: 3 * 2 ** 20 };
/** Milliseconds. */
const RETRY = 1500;
const TRIES = 20;

interface Memory {
  size: number;
  resident: number;
}

const ENDING = `
console.log(reload);
if (reload % 2 === 0) setInterval(() => {}, 2 ** 30);
`;

const PROGRAMS = {
  module: `import { BumpAlloc } from ${JSON.stringify(new URL("../mod.ts", import.meta.url).href)};
const scratch = new BumpAlloc();
for (let i = 0; i < 8; i++) scratch.alloc(2 ** 20).fill(1);
const shared = new BumpAlloc();
const attached = BumpAlloc.attach(shared.share());
attached.alloc(2 ** 20).fill(1);
shared.hooks.lua;
`,
  twin: "for (let i = 0; i < 9; i++) new Uint8Array(2 ** 20).fill(1);\n",
};

/** Memory after each reload. */
async function soak(program: keyof typeof PROGRAMS): Promise<Memory[]> {
  const folder = await Deno.makeTempDir();
  const file = `${folder}/program.js`;
  const write = (reload: number) => Deno.writeTextFile(file, `${PROGRAMS[program]}const reload = ${reload};${ENDING}`);
  await write(0);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--watch", "--allow-ffi", "--no-config", file],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  // The watcher misses a change made before it watches again, so the change is repeated.
  let tries = 0;
  let next = 0;
  const timer = setInterval(async () => {
    if (++tries < TRIES) return await write(next);
    console.error(`the program (${program}) was not loaded again in ${TRIES * RETRY / 1000} s`);
    child.kill();
    Deno.exit(1);
  }, RETRY);
  const memory: Memory[] = [];
  try {
    for await (const line of createInterface({ input: Readable.fromWeb(child.stdout as never) })) {
      if (Number(line) !== next) continue; // a change that was seen twice
      memory.push({ size: memoryOf(child.pid, "VmSize"), resident: memoryOf(child.pid, "VmRSS") });
      if (memory.length > RELOADS) break;
      tries = 0;
      next++;
      await new Promise((resolve) => setTimeout(resolve, 50));
      await write(next);
    }
  } finally {
    clearInterval(timer);
    child.kill();
    await child.status;
    await Deno.remove(folder, { recursive: true });
  }
  if (memory.length <= RELOADS) throw new Error(`the program (${program}) ended after ${memory.length} loads`);
  return memory;
}

if (Deno.build.os !== "linux") {
  console.log("not measured: only Linux has /proc/self/status");
  Deno.exit();
}

const [module, twin] = await Promise.all([soak("module"), soak("twin")]);
const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(1);
console.log("| reloads | VmSize, MiB | VmRSS, MiB | twin: VmSize | twin: VmRSS |");
console.log("|---|---|---|---|---|");
for (let i = 0; i <= RELOADS; i += bench.quick ? 2 : 10) {
  console.log(
    `| ${i} | ${[module[i], twin[i]].map(({ size, resident }) => `${mib(size)} | ${mib(resident)}`).join(" | ")} |`,
  );
}
console.log();
bench.about(
  "Memory of a process after many reloads by --watch: a reload must leave no region behind.",
);
const tenth = Math.floor(RELOADS / 10);
for (const field of ["size", "resident"] as const) {
  for (const [name, memory] of [["with this module", module], ["the twin", twin]] as const) {
    const bytes = memory.map((at) => at[field]);
    const early = spreadOf(bytes.slice(tenth, 2 * tenth + 1)).median;
    const what = `${field === "size" ? "VmSize" : "VmRSS"}, ${name}: last tenth against the second`;
    const ratios = bytes.slice(-tenth - 1).map((late) => late / early);
    bench.value(what, "×", ratios, memory === module ? { atMost: 1.05 } : {});
    // Checked in quick runs too: a reload must leave behind neither a region nor the pages written to one.
    const grown = (spreadOf(bytes.slice(-tenth - 1)).median - early) / RELOADS;
    if (memory === module && grown > KEPT[field]) throw new Error(`${mib(grown)} MiB more of ${field} for each reload`);
  }
}
bench.finish();
