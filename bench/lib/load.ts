/** Starts the service of examples/server.ts in a process of its own and puts load on it: for the benches. */
import autocannon from "autocannon";
import { cpuTime, memoryOf } from "./measure.ts";

/** A text of so many bytes with something to hide in it. */
function bodyOf(byteLength: number): string {
  const line = "2026-11-24 10:00:00 INFO ann@example.org logged in from 0123456789, session 42\n";
  return line.repeat(byteLength / line.length + 1).slice(0, byteLength);
}

/** Clients at once. */
export const CONNECTIONS = 32;

/** What a load measured. */
export interface Load {
  /** Requests per second. */
  readonly rate: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Milliseconds of processor time that the server took for each request, all its threads together. */
  readonly cpu: number;
}

/** A running server. */
export class Server {
  readonly #child: Deno.ChildProcess;
  readonly #url: string;

  private constructor(child: Deno.ChildProcess, url: string) {
    this.#child = child;
    this.#url = url;
  }

  /** `limit`: bytes of each of a request's four buffers. `plain`: typed arrays in place of a pool. */
  static async start(limit: number, plain: boolean): Promise<Server> {
    const script = new URL("../../examples/server.ts", import.meta.url).pathname;
    const flags = ["--port", "0", "--limit", String(limit), ...(plain ? ["--plain"] : [])];
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--allow-ffi", "--allow-net", script, ...flags],
      stdout: "piped",
      stderr: "null", // the end of a load cuts bodies off, and Deno tells; whether requests fail is counted here
    }).spawn();
    return new Server(child, await firstLine(child.stdout));
  }

  /** So many seconds of load, or so many requests, each of which uploads so many bytes. */
  async load(amount: { duration: number } | { amount: number }, byteLength = 4096): Promise<Load> {
    const before = cpuTime(this.#child.pid);
    const result = await autocannon({
      url: this.#url,
      method: "POST",
      body: bodyOf(byteLength),
      connections: CONNECTIONS,
      ...amount,
    });
    const failed = result.errors + result.non2xx;
    if (failed > 0) throw new Error(`${failed} requests failed`);
    const cpu = (cpuTime(this.#child.pid) - before) / result.requests.total;
    return { rate: result.requests.average, p50: result.latency.p50, p99: result.latency.p99, cpu };
  }

  /** Resident memory in bytes, now or at its highest; 0 where the system does not tell. */
  memory(when: "now" | "highest"): number {
    return memoryOf(this.#child.pid, when === "now" ? "VmRSS" : "VmHWM");
  }

  /**
   * Samples resident memory in bytes, ten times a second and at both ends, while `run` does. A process that has no time to
   * sample does it later: each sample says when it was, in seconds.
   */
  async sampled<T>(run: () => Promise<T>): Promise<{ result: T; samples: [seconds: number, byteLength: number][] }> {
    const samples: [number, number][] = [];
    const start = performance.now();
    const sample = () => samples.push([(performance.now() - start) / 1000, this.memory("now")]);
    sample();
    const timer = setInterval(sample, 100);
    try {
      const result = await run();
      sample();
      return { result, samples };
    } finally {
      clearInterval(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill();
    await this.#child.status;
  }
}

export async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const part of stream.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.includes("\n")) break;
  }
  return text.trim();
}
