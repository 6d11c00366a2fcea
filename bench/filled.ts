/**
 * `deno task bench filled`: the README's table. A block is allocated, filled and given back, by size, in each way that a
 * program could choose.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { BumpAlloc } from "../mod.ts";
import { Bench, type Loop, STEADY } from "./lib/measure.ts";

const bench = new Bench("filled", { rounds: 7, quickRounds: 1 });
const KIB = 1024;
const MIB = 1024 * KIB;
const SIZES: Record<string, number> = {
  "64 B": 64,
  "1 KiB": KIB,
  "16 KiB": 16 * KIB,
  "64 KiB": 64 * KIB,
  "1 MiB": MIB,
  "16 MiB": 16 * MIB,
};

const scratch = new BumpAlloc();

/**
 * Each way fills `byteLength` bytes `count` times. It returns the last view, so that the engine cannot optimise it
 * away.
 */
function ways(byteLength: number): Record<string, Loop> {
  const reused = new Uint8Array(byteLength);
  return {
    "new Uint8Array": (count) => {
      let view;
      for (let i = 0; i < count; i++) (view = new Uint8Array(byteLength)).fill(i);
      return view;
    },
    "Buffer.allocUnsafe": (count) => {
      let view;
      for (let i = 0; i < count; i++) (view = Buffer.allocUnsafe(byteLength)).fill(i);
      return view;
    },
    "scope": (count) => {
      let view;
      for (let i = 0; i < count; i++) {
        const scope = scratch.scope();
        (view = scope.alloc(byteLength)).fill(i);
        scope.end();
      }
      return view;
    },
    "frame": (count) => {
      let view;
      for (let i = 0; i < count; i++) {
        const frame = scratch.frame();
        (view = frame.alloc(byteLength)).fill(i);
        frame.end();
      }
      return view;
    },
    "mark, rewind": (count) => {
      let view;
      for (let i = 0; i < count; i++) {
        const mark = scratch.mark();
        (view = scratch.alloc(byteLength)).fill(i);
        scratch.rewind(mark);
      }
      return view;
    },
    "one array, reused by hand": (count) => {
      for (let i = 0; i < count; i++) reused.fill(i);
      return reused;
    },
  };
}

bench.about(
  "One block, allocated, filled and given back, in each way that a program could choose. This is the " +
    "whole cost of scratch memory; the best possible is one array, made once and reused by hand.",
);
for (const [name, byteLength] of Object.entries(SIZES)) {
  const { frame, ...peers } = ways(byteLength);
  await bench.compare({
    what: `${name}: allocated, filled and given back`,
    own: ["frame", frame],
    peers: Object.entries(peers),
  }, { milliseconds: STEADY });
}
bench.finish();
