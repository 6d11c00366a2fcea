/**
 * A service that makes thumbnails. It takes an image in netpbm's format (PPM, `P6`) and answers with one of at most 256
 * pixels a side, each the mean of the pixels that it replaces.
 *
 * ```sh
 * deno run --allow-ffi --allow-net examples/images.ts --port 8000
 * convert photo.jpg ppm:- | curl --data-binary @- http://127.0.0.1:8000 > small.ppm
 * ```
 *
 * The body and the sums of a request are in a lease of a pool; the answer is copied before the lease ends. With
 * `--plain` the same work is done with `request.bytes()` and new arrays, for comparison.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { BumpPool } from "../mod.ts";

/** Most pixels a side of a thumbnail. */
const SIDE = 256;

/** Most bytes of an upload. */
const LIMIT = 50_000_000;

/** The source of a request's memory. */
interface Memory {
  body(request: Request): Promise<Uint8Array>;
  sums(length: number): Float64Array;
  bytes(byteLength: number): Uint8Array<ArrayBuffer>;
}

const heap: Memory = {
  body: async (request) => {
    const body = await request.bytes();
    if (body.length > LIMIT) throw new RangeError("The image is too large");
    return body;
  },
  sums: (length) => new Float64Array(length),
  bytes: (byteLength) => new Uint8Array(byteLength),
};

class NoImage extends Error {}

/** Parses the header: `P6` and three decimal numbers, separated by white space and comments. */
function header(bytes: Uint8Array): { width: number; height: number; start: number } {
  const text = new TextDecoder("latin1").decode(bytes.subarray(0, 200));
  const match = /^P6(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+(\d+)(?:\s|#[^\n]*\n)+255\s/.exec(text);
  if (match === null) throw new NoImage("This is no PPM image (P6, 255)");
  const [width, height] = [Number(match[1]), Number(match[2])];
  const start = match[0].length;
  if (width === 0 || height === 0 || start + 3 * width * height > bytes.length) {
    throw new NoImage("The image is cut off");
  }
  return { width, height, start };
}

/** The thumbnail of an image, in the same format. */
function shrunk(bytes: Uint8Array, memory: Memory): Uint8Array<ArrayBuffer> {
  const { width, height, start } = header(bytes);
  const scale = Math.max(1, Math.ceil(Math.max(width, height) / SIDE));
  const [outWidth, outHeight] = [Math.ceil(width / scale), Math.ceil(height / scale)];
  const head = new TextEncoder().encode(`P6\n${outWidth} ${outHeight}\n255\n`);
  const result = memory.bytes(head.length + 3 * outWidth * outHeight);
  result.set(head);
  const sums = memory.sums(3 * outWidth);
  for (let y = 0, at = start; y < height; y++) {
    if (y % scale === 0) sums.fill(0);
    for (let x = 0, to = 0; x < width; to += 3) {
      const end = Math.min(width, x + scale);
      let red = 0;
      let green = 0;
      let blue = 0;
      for (; x < end; x++, at += 3) {
        red += bytes[at];
        green += bytes[at + 1];
        blue += bytes[at + 2];
      }
      sums[to] += red;
      sums[to + 1] += green;
      sums[to + 2] += blue;
    }
    if (y % scale < scale - 1 && y < height - 1) continue;
    const rows = y % scale + 1;
    const row = head.length + 3 * outWidth * Math.floor(y / scale);
    for (let i = 0; i < sums.length; i++) {
      const columns = Math.min(scale, width - scale * Math.floor(i / 3));
      result[row + i] = Math.round(sums[i] / (rows * columns));
    }
  }
  return result;
}

async function answer(request: Request, memory: Memory): Promise<Response> {
  try {
    const thumbnail = shrunk(await memory.body(request), memory);
    // A Response copies the bytes that it is given, so that they may end with the lease.
    return new Response(thumbnail, { headers: { "content-type": "image/x-portable-pixmap" } });
  } catch (error) {
    if (error instanceof NoImage) return new Response(`${error.message}\n`, { status: 400 });
    if (error instanceof RangeError) return new Response("The image is too large\n", { status: 413 });
    throw error;
  }
}

/** The service. `pool` null: new arrays for each request. */
export function makeHandler(pool: BumpPool | null): (request: Request) => Promise<Response> {
  if (pool === null) return (request) => answer(request, heap);
  return (request) =>
    pool.use((scratch) =>
      answer(request, {
        body: (request) => scratch.readAll(request, { limit: LIMIT }),
        sums: (length) => scratch.allocArray(Float64Array, length),
        bytes: (byteLength) => scratch.alloc(byteLength),
      })
    );
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { port: { type: "string", default: "8000" }, plain: { type: "boolean", default: false } },
  });
  Deno.serve({
    port: Number(values.port),
    hostname: "127.0.0.1",
    onListen: ({ port }) => console.log(`http://127.0.0.1:${port}`),
  }, makeHandler(values.plain ? null : new BumpPool({ size: 2 * LIMIT })));
}
