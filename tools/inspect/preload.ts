// Runs before the inspected program, in its realm.
import { formatBytes } from "../../src/format.ts";
import { renderSnapshots } from "./map.ts";
import { peaks, watch } from "./record.ts";

/** Allocators that are drawn; of more, the largest. */
const MOST = 8;

function draw(): void {
  const states = peaks();
  const file = Deno.env.get("BUMP_INSPECT_OUT") ?? "bump.svg";
  if (states.length === 0) {
    console.error("No allocator of this checkout was used: nothing is drawn");
    return;
  }
  Deno.writeTextFileSync(file, renderSnapshots(states.slice(0, MOST)));
  console.error(
    `${file}: ${Math.min(states.length, MOST)} of ${states.length} allocators at their peak, ` +
      `the largest with ${formatBytes(states[0].used)}`,
  );
}

watch();
// An uncaught error ends a program without unloading it; one that the program handles is drawn twice.
for (const end of ["unload", "error", "unhandledrejection"]) globalThis.addEventListener(end, draw);
