// The Worker that stays, for bench/soak_workers.ts: allocates while others are terminated, and checks all its blocks.
import { BumpAlloc, type BumpHandle } from "../mod.ts";
import { fillPattern, patternHolds } from "../tests/support/pattern.ts";

/** `begin` is answered at once. `end` closes the allocator, and is answered with the number of blocks, all checked. */
export type BystanderRequest = { kind: "begin"; handle: BumpHandle } | { kind: "end" };

const PERIOD = 5; // milliseconds
const AT_A_TIME = 20;

let allocator: BumpAlloc;
let views: Uint8Array[];
let timer: ReturnType<typeof setInterval>;

function allocateSome(): void {
  for (let i = 0; i < AT_A_TIME; i++) {
    const view = allocator.alloc(1 + (views.length * 7919) % 2000);
    fillPattern(view, views.length);
    views.push(view);
  }
}

globalThis.addEventListener("message", (event) => {
  const request = (event as MessageEvent<BystanderRequest>).data;
  if (request.kind === "begin") {
    allocator = BumpAlloc.attach(request.handle);
    views = [];
    allocateSome();
    timer = setInterval(allocateSome, PERIOD);
  } else {
    clearInterval(timer);
    const wrong = views.filter((view, i) => !patternHolds(view, i)).length;
    if (wrong > 0) throw new Error(`${wrong} blocks of the Worker that stays are wrong`);
    allocator.close();
  }
  (globalThis as unknown as Worker).postMessage(views.length);
});
