// The reader of docs/workers.md: sleeps until the bell rings, reads the block while it is FULL, and hands it back.
import { BumpAlloc, type BumpHandle } from "../../mod.ts";
import { patternHolds } from "../support/pattern.ts";

const FREE = 0, FULL = 1;

/** A block, its flag (an `Int32` in the region) and the bells for both directions. */
export interface Handover {
  handle: BumpHandle;
  block: { offset: number; byteLength: number };
  flag: number;
  /** Two cells in a `SharedArrayBuffer`: for hand-overs and for hand-backs. */
  bells: Int32Array<SharedArrayBuffer>;
  rounds: number;
}

globalThis.addEventListener("message", (event) => {
  const { handle, block, flag, bells, rounds } = (event as MessageEvent<Handover>).data;
  const peer = BumpAlloc.attach(handle);
  const cell = peer.view(flag, 4);
  const state = new Int32Array(cell.buffer, cell.byteOffset, 1);
  const wrong: number[] = [];
  for (let round = 0; round < rounds; round++) {
    Atomics.wait(bells, 0, round);
    const bytes = peer.view(block.offset, block.byteLength);
    if (Atomics.load(state, 0) !== FULL || !patternHolds(bytes, round)) wrong.push(round);
    bytes.fill(255 - round % 200); // the block belongs to the reader until it hands it back
    Atomics.store(state, 0, FREE);
    Atomics.add(bells, 1, 1);
    Atomics.notify(bells, 1);
  }
  peer.close();
  (globalThis as unknown as Worker).postMessage(wrong);
});
