/**
 * `deno task bench server`: the service of examples/server.ts and its twin on plain typed arrays under load. Of each request's
 * four buffers either all is filled and read, because bodies are as large as the buffers; or little, because buffers are
 * for the worst case and bodies have 4 KiB: then plain arrays pay for zeroing memory that nobody touches.
 *
 * Each server is a process of its own. They are measured in turn, several rounds; the table gives medians. The memory of
 * the last round's servers, from their first request on, is kept as it goes.
 *
 * @module
 */
import { CONNECTIONS, type Load, Server } from "./lib/load.ts";
import { Bench, format } from "./lib/measure.ts";

const bench = new Bench("server", { rounds: 3, quickRounds: 1 });
const SECONDS = bench.quick ? 1 : 4;

interface Result extends Load {
  /** Highest resident memory, bytes. */
  readonly peak: number;
  /** Resident memory over time. */
  readonly memory: readonly (readonly [seconds: number, byteLength: number])[];
}

async function measure(limit: number, body: number, plain: boolean): Promise<Result> {
  await using server = await Server.start(limit, plain);
  const { result: load, samples: memory } = await server.sampled(async () => {
    if (!bench.quick) await server.load({ duration: 1 }, body); // compiles
    return await server.load({ duration: SECONDS }, body);
  });
  return { ...load, peak: server.memory("highest"), memory };
}

console.log(`${CONNECTIONS} connections, ${bench.rounds} rounds of ${SECONDS} s each\n`);
const SMALL = 4096;
const KINDS = [[4096, SMALL], [65536, SMALL], [2 ** 20, SMALL], [65536, 65536], [2 ** 20, 2 ** 20]];
for (const [limit, body] of KINDS) {
  const isFilled = body > SMALL;
  const buffers = `four buffers of ${limit / 1024} KiB${isFilled ? ", filled," : ""} for each request`;
  if (!bench.wants(buffers)) continue;
  const note = body < limit ? `bodies of 4 KiB: ${format(100 * (1 - body / limit))} % is never touched` : undefined;
  const pooled: Result[] = [];
  const plain: Result[] = [];
  for (let round = 0; round < bench.rounds; round++) {
    pooled.push(await measure(limit, body, false));
    plain.push(await measure(limit, body, true));
  }
  const report = (what: string, unit: string, of: (result: Result) => number, better: "less" | "more" = "less") =>
    bench.compared(unit, {
      what: `${buffers}: ${what}`,
      own: ["BumpPool", pooled.map(of)],
      peers: [["new Uint8Array", plain.map(of)]],
    }, { better, note });
  report("requests per second", "/s", (result) => result.rate, "more");
  report("median latency", "ms", (result) => result.p50);
  report("99 % latency", "ms", (result) => result.p99);
  report("processor time for each request", "ms", (result) => result.cpu);
  report("peak memory", "MiB", (result) => result.peak / 2 ** 20);
  for (const [name, results] of [["BumpPool", pooled], ["new Uint8Array", plain]] as const) {
    const points = results.at(-1)!.memory.map(([seconds, byteLength]) => [seconds, byteLength / 2 ** 20] as const);
    bench.series({ what: `${buffers}: memory over time`, unit: "MiB", name, points });
  }
}
bench.finish();
