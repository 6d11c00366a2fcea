// Allocates as fast as it can, for bench/workers.ts.
import { BumpAlloc, type BumpHandle } from "../mod.ts";

/** `count` allocations of 64 bytes, then a rewind, `rounds` times. */
export interface BurstRequest {
  kind: "burst";
  handle: BumpHandle;
  count: number;
  rounds: number;
}

/** A large result, handed over in the region or copied by the message. */
export interface ResultRequest {
  kind: "result";
  handle: BumpHandle;
  byteLength: number;
  copy: boolean;
}

let attached: BumpAlloc | undefined;
let result: Uint8Array<ArrayBuffer> | undefined;

/** Nanoseconds for each allocation. */
function burst(allocator: BumpAlloc, count: number, rounds: number): number {
  const mark = allocator.mark();
  const start = performance.now();
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < count; i++) allocator.alloc(64);
    allocator.rewind(mark);
  }
  return (performance.now() - start) * 1e6 / (count * rounds);
}

globalThis.addEventListener("message", (event) => {
  const request = (event as MessageEvent<BurstRequest | ResultRequest>).data;
  const post = (answer: unknown) => (globalThis as unknown as Worker).postMessage(answer);
  attached ??= BumpAlloc.attach(request.handle);
  if (request.kind === "burst") return post(burst(attached, request.count, request.rounds));
  result ??= attached.alloc(request.byteLength).fill(7);
  post(
    request.copy
      ? result.slice()
      : { offset: Number(attached.addressOf(result) - attached.address), byteLength: result.length },
  );
});
