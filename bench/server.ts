/**
 * `deno task bench:server`: the service of examples/server.ts and its twin on plain typed arrays under load, at 4 KiB,
 * 64 KiB and 1 MiB for each of the four buffers of a request.
 *
 * Each server is a process of its own. They are measured in turn, several rounds; the table gives medians.
 *
 * @module
 */
import autocannon from "autocannon";

const quick = Deno.args.includes("--quick");
const ROUNDS = quick ? 1 : 5;
const SECONDS = quick ? 1 : 4;
const CONNECTIONS = 32;
/** What is uploaded: 4 KiB of text with something to hide in it. */
const BODY = "2026-11-24 10:00:00 INFO ann@example.org logged in from 0123456789, session 42\n".repeat(52).slice(
  0,
  4096,
);

interface Result {
  /** Requests per second. */
  readonly rate: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Highest resident memory, bytes. */
  readonly peak: number;
}

/** Highest resident memory of a process, or 0 where the system does not tell. */
function peakMemory(pid: number): number {
  if (Deno.build.os !== "linux") return 0;
  return Number(/VmHWM:\s+(\d+) kB/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))![1]) * 1024;
}

async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.includes("\n")) break;
  }
  return text.trim();
}

async function measure(limit: number, plain: boolean): Promise<Result> {
  const server = new URL("../examples/server.ts", import.meta.url).pathname;
  const flags = ["--port", "0", "--limit", String(limit), ...(plain ? ["--plain"] : [])];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-check", "--allow-ffi", "--allow-net", server, ...flags],
    stdout: "piped",
  }).spawn();
  try {
    const url = await firstLine(child.stdout);
    const load = (duration: number) =>
      autocannon({ url, method: "POST", body: BODY, connections: CONNECTIONS, duration });
    if (!quick) await load(1); // compiles
    const result = await load(SECONDS);
    if (result.errors + result.non2xx > 0) throw new Error(`${result.errors + result.non2xx} requests failed`);
    return {
      rate: result.requests.average,
      p50: result.latency.p50,
      p99: result.latency.p99,
      peak: peakMemory(child.pid),
    };
  } finally {
    child.kill();
    await child.status;
  }
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
