/**
 * `deno task bench server`: services under load, with a pool and with plain typed arrays, of three kinds. Buffers that are
 * filled and read; buffers reserved for the worst case and used little (both examples/server.ts); and a service where the
 * work dominates (examples/images.ts).
 *
 * Each server runs in its own process. They are measured in turn, for several rounds; the table gives medians. The memory of
 * the servers of the last round is recorded from the first request on.
 *
 * @module
 */
import { formatBytes } from "../src/format.ts";
import { CONNECTIONS, imageOf, type Load, logOf, Server } from "./lib/load.ts";
import { Bench, format, UNTOUCHED } from "./lib/measure.ts";

const bench = new Bench("server", { rounds: 3, quickRounds: 1 });
const SECONDS = bench.quick ? 1 : 4;
const KIB = 1024;
const SMALL = 4 * KIB;

interface Result extends Load {
  /** Highest resident memory, bytes. */
  readonly peak: number;
  /** Resident memory over time. */
  readonly memory: readonly (readonly [seconds: number, byteLength: number])[];
}

/** A service, and the upload of each request. */
interface Service {
  readonly name: string;
  readonly start: readonly string[];
  readonly body: string | Uint8Array;
  readonly note?: string;
}

function scrub(name: string, limit: number, body: number): Service {
  const note = body < limit ? `${UNTOUCHED}: ${format(100 * (1 - body / limit))} % of each buffer` : undefined;
  return {
    name: `${name}, three buffers of ${formatBytes(limit)}`,
    start: ["server.ts", "--limit", String(limit)],
    body: logOf(body),
    note,
  };
}

const KINDS: readonly [about: string, services: readonly Service[]][] = [
  [
    "Buffers that are filled and read: three for each request, all as large as the upload. Nothing is reserved in vain, so " +
    "this shows the gain of reusing warm memory, less the cost of a lease.",
    [SMALL, 64 * KIB, 1024 * KIB].map((size) => scrub("filled and read", size, size)),
  ],
  [
    `Buffers reserved for the worst case and used little: the same service, but each upload has only 4 KiB. Plain arrays pay ` +
    `for zeroing memory that no request touches; a pool does not. Many services allocate like this, and the gain grows with ` +
    `the size of the buffers.`,
    [64 * KIB, 1024 * KIB].map((size) => scrub("worst case", size, SMALL)),
  ],
  [
    "A real service where the work dominates: thumbnails of uploaded images of 1 MiB. The time goes into the pixels, so the " +
    "pool can save memory but hardly any time.",
    [{ name: "images of 1 MiB", start: ["images.ts"], body: imageOf(1024 * KIB) }],
  ],
];

async function measure({ start: [script, ...flags], body }: Service, plain: boolean): Promise<Result> {
  await using server = await Server.start(script, ...flags, ...(plain ? ["--plain"] : []));
  const { result: load, samples: memory } = await server.sampled(async () => {
    if (!bench.quick) await server.load({ duration: 1 }, body); // compiles
    return await server.load({ duration: SECONDS }, body);
  });
  return { ...load, peak: server.memory("highest"), memory };
}

console.log(`${CONNECTIONS} connections, ${bench.rounds} rounds of ${SECONDS} s each`);
for (const [about, services] of KINDS) {
  bench.about(about);
  for (const service of services) {
    const { name, note } = service;
    if (!bench.wants(name)) continue;
    const pooled: Result[] = [];
    const plain: Result[] = [];
    for (let round = 0; round < bench.rounds; round++) {
      pooled.push(await measure(service, false));
      plain.push(await measure(service, true));
    }
    const report = (what: string, unit: string, of: (result: Result) => number, better: "less" | "more" = "less") =>
      bench.compared(unit, {
        what: `${name}: ${what}`,
        own: ["BumpPool", pooled.map(of)],
        peers: [["new Uint8Array", plain.map(of)]],
      }, { better, note });
    report("requests per second", "/s", (result) => result.rate, "more");
    report("median latency", "ms", (result) => result.p50);
    report("99 % latency", "ms", (result) => result.p99);
    report("processor time for each request", "ms", (result) => result.cpu);
    report("peak memory", "MiB", (result) => result.peak / 2 ** 20);
    for (const [way, results] of [["BumpPool", pooled], ["new Uint8Array", plain]] as const) {
      const points = results.at(-1)!.memory.map(([seconds, byteLength]) => [seconds, byteLength / 2 ** 20] as const);
      bench.series({ what: `${name}: memory over time`, unit: "MiB", name: way, points });
    }
  }
}
bench.finish();
