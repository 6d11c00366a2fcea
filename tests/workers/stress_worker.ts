// Allocates blocks of random sizes and alignments, fills each with its own pattern, and checks all at the end.
import { BumpAlloc, type BumpHandle } from "../../mod.ts";
import { fillPattern, patternHolds, randomOf } from "../support/pattern.ts";

export interface StressRequest {
  handle: BumpHandle;
  seed: number;
  /** Blocks to allocate. */
  count: number;
  /** Alignments are powers of two below `1 << alignBits`. */
  alignBits: number;
}

/** Offsets, lengths: [offset, byteLength, offset, byteLength, …]. */
export interface StressAnswer {
  blocks: Float64Array;
  wrong: number;
  unused: number;
}

// Kept until the Worker ends: on a slow machine it might be collected too early.
let allocator: BumpAlloc;

globalThis.addEventListener("message", (event) => {
  const { handle, seed, count, alignBits } = (event as MessageEvent<StressRequest>).data;
  allocator = BumpAlloc.attach(handle);
  const random = randomOf(seed);
  const blocks = new Float64Array(count * 2);
  const views: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    const byteLength = 1 + random(random(100) === 0 ? 4000 : 96);
    const view = allocator.alloc(byteLength, 1 << random(alignBits));
    fillPattern(view, seed + i);
    blocks[2 * i] = Number(allocator.addressOf(view) - allocator.address);
    blocks[2 * i + 1] = byteLength;
    if (i % 8 === 0) views.push(view);
    else views.push(allocator.view(blocks[2 * i], byteLength));
  }
  let wrong = 0;
  for (let i = 0; i < count; i++) if (!patternHolds(views[i], seed + i)) wrong++;
  const { unused } = allocator.stats();
  const answer: StressAnswer = { blocks, wrong, unused };
  (globalThis as unknown as Worker).postMessage(answer, [blocks.buffer]);
});
