// The twin of soak_workers_worker.ts without this module: plain typed arrays.
import { fillPattern, randomOf } from "../tests/support/pattern.ts";

globalThis.addEventListener("message", () => {
  const random = randomOf(Date.now());
  const burst = () => {
    for (let i = 0; i < 500; i++) fillPattern(new Uint8Array(1 + random(random(50) === 0 ? 200_000 : 2000)), i);
    setTimeout(burst);
  };
  burst();
});

(globalThis as unknown as Worker).postMessage("loaded");
