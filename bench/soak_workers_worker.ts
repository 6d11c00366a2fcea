// A Worker that is terminated, for bench/soak_workers.ts. It attaches, allocates and fills until then.
import { BumpAlloc, type BumpHandle } from "../mod.ts";
import { fillPattern, randomOf } from "../tests/support/pattern.ts";

globalThis.addEventListener("message", (event) => {
  const allocator = BumpAlloc.attach((event as MessageEvent<BumpHandle>).data);
  const random = randomOf(Date.now());
  const start = allocator.mark();
  // Deno does not interrupt an endless loop, so the Worker returns to its event loop again and again.
  const burst = () => {
    for (let i = 0; i < 500; i++) {
      // New chunks, large requests, and reused memory.
      const view = allocator.alloc(1 + random(random(50) === 0 ? 200_000 : 2000), 1 << random(8));
      fillPattern(view, i);
    }
    if (random(4) === 0) allocator.rewind(start);
    setTimeout(burst);
  };
  burst();
});

(globalThis as unknown as Worker).postMessage("loaded");
