/**
 * A service that hides e-mail addresses and long numbers in uploaded text, before it goes into a log:
 *
 * ```sh
 * deno run --allow-ffi --allow-net examples/server.ts --port 8000
 * curl --data-binary "Call 0123456789, or write to ann@example.org" http://127.0.0.1:8000
 * ```
 *
 * Each request has its own lease of a pool. With `--plain` the same work is done in plain typed arrays, for comparison.
 * `--limit` sets the most bytes of a body, and so the size of a request's three working buffers.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type BumpAlloc, BumpPool } from "../mod.ts";
import { type Memory, scrub } from "./scrub.ts";

/** The source of a request's memory. */
interface RequestMemory extends Memory {
  body(request: Request): Promise<Uint8Array>;
}

/** The way without a pool: new arrays for each request. */
const plain = (limit: number): RequestMemory => ({
  body: async (request) => {
    const body = await request.bytes();
    if (body.length > limit) throw new RangeError("The body is too large");
    return body;
  },
  alloc: (byteLength) => new Uint8Array(byteLength),
  allocArray: (type, length) => new type(length),
});

const pooled = (scratch: BumpAlloc, limit: number): RequestMemory => ({
  body: (request) => scratch.readAll(request, { limit }),
  alloc: (byteLength) => scratch.alloc(byteLength),
  allocArray: (type, length) => scratch.allocArray(type, length),
});

async function answer(request: Request, memory: RequestMemory, limit: number): Promise<Response> {
  try {
    const body = await memory.body(request);
    // A Response copies the bytes that it is given, so that they may end with the lease.
    return new Response(scrub(memory, body, limit));
  } catch (error) {
    if (error instanceof RangeError) return new Response(`At most ${limit} bytes\n`, { status: 413 });
    throw error;
  }
}

/** The service. `pool` null: plain arrays. */
export function makeHandler(pool: BumpPool | null, limit: number): (request: Request) => Promise<Response> {
  if (pool === null) return (request) => answer(request, plain(limit), limit);
  return async (request) => {
    if (request.method === "GET") return Response.json(pool.stats());
    return await pool.use((scratch) => answer(request, pooled(scratch, limit), limit));
  };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8000" },
      limit: { type: "string", default: "65536" },
      plain: { type: "boolean", default: false },
    },
  });
  const limit = Number(values.limit);
  const pool = values.plain ? null : new BumpPool({ size: 4 * limit + 65536, window: 4 * limit });
  Deno.serve({
    port: Number(values.port),
    hostname: "127.0.0.1",
    onListen: ({ port }) => console.log(`http://127.0.0.1:${port}`),
  }, makeHandler(pool, limit));
}
