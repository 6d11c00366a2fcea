/** Starts a service of the examples in its own process, and puts load on it. */
import { Buffer } from "node:buffer";
import autocannon from "autocannon";
import { cpuTime, memoryOf } from "./measure.ts";

/** An upload for examples/server.ts: a text of `byteLength` bytes with e-mail addresses and numbers. */
export function logOf(byteLength: number): string {
  const line = "2026-11-24 10:00:00 INFO ann@example.org logged in from 0123456789, session 42\n";
  return line.repeat(byteLength / line.length + 1).slice(0, byteLength);
}

/** An upload for examples/images.ts: a square image of about `byteLength` bytes. */
export function imageOf(byteLength: number): Uint8Array {
  const side = Math.floor(Math.sqrt(byteLength / 3));
  const pixels = Uint8Array.from({ length: 3 * side * side }, (_, i) => i * 31);
  return new Uint8Array([...new TextEncoder().encode(`P6\n${side} ${side}\n255\n`), ...pixels]);
}

/** Clients at once. */
export const CONNECTIONS = 32;

/** The results of a load. */
export interface Load {
  /** Requests per second. */
  readonly rate: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  /** Milliseconds of processor time for each request, over all threads of the server. */
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

  /** Starts a script of the folder examples with its own flags. */
  static async start(script: string, ...flags: string[]): Promise<Server> {
    const path = new URL(`../../examples/${script}`, import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "--allow-ffi", "--allow-net", path, "--port", "0", ...flags],
      stdout: "piped",
      stderr: "null", // the end of a load cuts off uploads, which Deno reports; failed requests are counted below
    }).spawn();
    return new Server(child, await firstLine(child.stdout));
  }

  /** Puts load on the server, for some seconds or for a number of requests, each of which uploads `body`. */
  async load(amount: { duration: number } | { amount: number }, body: string | Uint8Array): Promise<Load> {
    const before = cpuTime(this.#child.pid);
    const result = await autocannon({
      url: this.#url,
      method: "POST",
      body: typeof body === "string" ? body : Buffer.from(body),
      connections: CONNECTIONS,
      ...amount,
    });
    const failed = result.errors + result.non2xx;
    if (failed > 0) throw new Error(`${failed} requests failed`);
    const cpu = (cpuTime(this.#child.pid) - before) / result.requests.total;
    return { rate: result.requests.average, p50: result.latency.p50, p99: result.latency.p99, cpu };
  }

  /** Resident memory in bytes, now or at its peak; 0 if the system does not report it. */
  memory(when: "now" | "highest"): number {
    return memoryOf(this.#child.pid, when === "now" ? "VmRSS" : "VmHWM");
  }

  /**
   * Samples resident memory in bytes while `run` runs, ten times a second and at both ends. Samples may be late under
   * load, so each has its time in seconds.
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
