/**
 * `deno task bench reading`: files and request bodies in scratch memory, against Deno's own ways.
 *
 * @module
 */
import { BumpAlloc } from "../mod.ts";
import { type Asked, Bench, cpuTime, memoryOf } from "./lib/measure.ts";
import { firstLine } from "./lib/load.ts";

const bench = new Bench("reading", { rounds: 9 });
const KIB = 1024;
const MIB = 1024 * KIB;

// ---- files -------------------------------------------------------------------------------------

bench.about(
  "The same file read again and again, against Deno's own function, which makes a new array each time.",
);
const scratch = new BumpAlloc();
const path = await Deno.makeTempFile();
for (
  const [what, byteLength, asked] of [
    ["a file of 20 KB", 20_000, { atLeast: 1 }],
    ["a file of 1 MiB", MIB, {}],
    ["a file of 32 MiB", 32 * MIB, { atLeast: 10 }],
  ] as const
) {
  if (!bench.wants(what)) continue;
  Deno.writeFileSync(path, new Uint8Array(byteLength).fill(7));
  await bench.compare({
    what,
    own: ["readFileSync in a scope", (count) => {
      let sum = 0;
      for (let i = 0; i < count; i++) {
        using scope = scratch.scope();
        sum += scope.readFileSync(path)[byteLength - 1];
      }
      return sum;
    }],
    peers: [["Deno.readFileSync", (count) => {
      let sum = 0;
      for (let i = 0; i < count; i++) sum += Deno.readFileSync(path)[byteLength - 1];
      return sum;
    }, asked]],
  }, { milliseconds: 300 });
}
await Deno.remove(path);

// ---- bodies ------------------------------------------------------------------------------------

/** Runs a server in its own process. Returns its processor time for each request, and its peak memory. */
async function serve(plain: boolean, byteLength: number, requests: number): Promise<{ cpu: number; peak: number }> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-check",
      new URL("reading_server.ts", import.meta.url).pathname,
      ...plain ? ["--plain"] : [],
    ],
    stdout: "piped",
  }).spawn();
  try {
    const url = await firstLine(child.stdout);
    const body = new Uint8Array(byteLength).fill(7);
    const post = async () => void await (await fetch(url, { method: "POST", body })).text();
    for (let i = 0; i < requests / 4; i++) await post(); // compiles
    const before = cpuTime(child.pid);
    for (let i = 0; i < requests; i++) await post();
    return { cpu: (cpuTime(child.pid) - before) / requests, peak: memoryOf(child.pid, "VmHWM") / MIB };
  } finally {
    child.kill("SIGKILL");
    await child.status;
  }
}

bench.about(
  "A server that reads each request's body into a lease, against request.bytes(): processor time and " +
    "peak memory, which decide how many requests a machine can serve.",
);
for (
  const [size, byteLength, requests, cpu, peak] of [
    ["64 KiB", 64 * KIB, 1000, {}, {}],
    ["1 MiB", MIB, 400, { atLeast: 1 }, { atLeast: 2 }],
    ["16 MiB", 16 * MIB, 40, { atLeast: 1.2 }, { atLeast: 2 }],
  ] as [string, number, number, Asked, Asked][]
) {
  const what = `a server's bodies of ${size}`;
  if (!bench.wants(what)) continue;
  const count = bench.quick ? Math.ceil(requests / 10) : requests;
  const results: Record<"own" | "plain", { cpu: number; peak: number }[]> = { own: [], plain: [] };
  for (let round = 0; round < Math.min(5, bench.rounds); round++) {
    results.own.push(await serve(false, byteLength, count));
    results.plain.push(await serve(true, byteLength, count));
  }
  const report = (name: string, unit: string, of: (result: { cpu: number; peak: number }) => number, asked: Asked) =>
    bench.compared(unit, {
      what: `${what}: ${name}`,
      own: ["readAll in a lease", results.own.map(of)],
      peers: [["request.bytes()", results.plain.map(of), asked]],
    });
  report("processor time for each", "ms", ({ cpu }) => cpu, cpu);
  report("peak memory", "MiB", ({ peak }) => peak, peak);
}
bench.finish();
