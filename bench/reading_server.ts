/** A server that reads the bodies of its requests, for bench/reading.ts: into a lease, or with `--plain` by `request.bytes()`. */
import { BumpPool } from "../mod.ts";

const pool = new BumpPool();
const plain = Deno.args.includes("--plain");

/** Work that reads every page. */
function sum(bytes: Uint8Array): Response {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 4096) sum += bytes[i];
  return new Response(String(sum));
}

Deno.serve(
  { port: 0, hostname: "127.0.0.1", onListen: ({ port }) => console.log(`http://127.0.0.1:${port}`) },
  plain
    ? async (request) => sum(await request.bytes())
    : (request) => pool.use(async (scratch) => sum(await scratch.readAll(request))),
);
