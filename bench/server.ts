/**
 * `deno task bench:server`: the service of examples/server.ts and its twin on plain typed arrays under load, at 4 KiB,
 * 64 KiB and 1 MiB for each of the four buffers of a request.
 *
 * Each server is a process of its own. They are measured in turn, several rounds; the table gives medians.
 *
 * @module
 */
import { CONNECTIONS, type Load, Server } from "./load.ts";

const quick = Deno.args.includes("--quick");
const ROUNDS = quick ? 1 : 5;
const SECONDS = quick ? 1 : 4;

interface Result extends Load {
  /** Highest resident memory, bytes. */
  readonly peak: number;
}

async function measure(limit: number, plain: boolean): Promise<Result> {
  await using server = await Server.start(limit, plain);
  if (!quick) await server.load({ duration: 1 }); // compiles
  const load = await server.load({ duration: SECONDS });
  return { ...load, peak: server.memory("highest") };
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

function summary(results: readonly Result[]): Result {
  const of = (name: keyof Result) => median(results.map((result) => result[name]));
  return { rate: of("rate"), p50: of("p50"), p99: of("p99"), peak: of("peak") };
}

console.log(`${CONNECTIONS} connections, bodies of 4 KiB, ${ROUNDS} rounds of ${SECONDS} s each; medians\n`);
console.log("| each of four buffers | memory | requests/s | p50 ms | p99 ms | peak memory MiB |");
console.log("|---|---|---|---|---|---|");
for (const limit of [4096, 65536, 2 ** 20]) {
  const pooled: Result[] = [];
  const plain: Result[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    pooled.push(await measure(limit, false));
    plain.push(await measure(limit, true));
  }
  const own = summary(pooled);
  const other = summary(plain);
  const row = (name: string, { rate, p50, p99, peak }: Result) =>
    console.log(
      `| ${limit / 1024} KiB | ${name} | ${rate.toFixed(0)} | ${p50} | ${p99} | ${(peak / 2 ** 20).toFixed(0)} |`,
    );
  row("BumpPool", own);
  row("new Uint8Array", other);
  const ratio = (a: number, b: number) => (a / b).toFixed(2);
  console.log(
    `| ${limit / 1024} KiB | ratio | ${ratio(own.rate, other.rate)} | ${ratio(own.p50, other.p50)} | ` +
      `${ratio(own.p99, other.p99)} | ${ratio(own.peak, other.peak)} |`,
  );
}
