// `deno task soak debug`: plants a thousand late writes at random, and counts how many debug mode finds.
import { BumpAlloc, StaleWriteError } from "../mod.ts";

const WRITES = Deno.args.includes("--quick") ? 200 : 1000;
let seed = 1;

/** A random number below `limit`; the same sequence in each run. */
function random(limit: number): number {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return Math.floor(seed / 2 ** 32 * limit);
}

const counts = { found: 0, overwritten: 0, missed: 0, alarms: 0 };

/** Whether the call finds a late write. */
function looks(fn: () => void): boolean {
  try {
    fn();
    return false;
  } catch (error) {
    if (error instanceof StaleWriteError) return true;
    throw error;
  }
}

for (let i = 0; i < WRITES; i++) {
  const scratch = new BumpAlloc({ size: 2 ** 22, debug: true });
  let found = false;
  scratch.alloc(1 + random(1000));
  const mark = scratch.mark(); // stale views after a rewind stand for work that continues
  const blocks = Array.from({ length: 1 + random(20) }, () => scratch.alloc(1 + random(5000)));
  scratch.rewind(mark);
  // Some of the memory is allocated again before the write, and some after.
  for (let n = random(4); n > 0; n--) scratch.alloc(1 + random(5000));
  if (random(2) === 0) looks(() => scratch.alloc(1)) && counts.alarms++;
  const view = blocks[random(blocks.length)];
  const at = random(view.length);
  const place = scratch.mark().offset;
  const isTaken = view.byteOffset + at < place; // the first window begins at offset 0
  view[at] = random(0xdd);
  for (let n = random(6); n > 0 && !found; n--) found = looks(() => scratch.alloc(1 + random(5000)));
  found = looks(() => scratch.close()) || found;
  if (found) counts.found++;
  else if (isTaken) counts.overwritten++;
  else counts.missed++;
}
console.log(
  `${WRITES} late writes: ${counts.found} found, ${counts.overwritten} into memory that its next owner had already, ` +
    `${counts.missed} missed, ${counts.alarms} false alarms`,
);
if (counts.missed > 0 || counts.alarms > 0) Deno.exit(1);
