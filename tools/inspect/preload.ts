// Runs before the inspected program, in its realm.
import { formatBytes } from "../../src/format.ts";
import { renderSnapshots } from "./map.ts";
import { peaks, watch } from "./record.ts";

/** Most allocators that are drawn: the largest ones. */
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
// An uncaught error ends a program without an unload event. If the program handles the error, the map is drawn twice.
for (const end of ["unload", "error", "unhandledrejection"]) globalThis.addEventListener(end, draw);
