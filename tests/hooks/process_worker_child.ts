// A Worker names the process's own allocator, gives its callbacks away, and is terminated; run by hooks_test.ts.
import { assert, assertEquals, assertThrows } from "../offline/assert.ts";
import { BumpAlloc, SharedError } from "../../mod.ts";
import { isMapped } from "../support/process_memory.ts";
import { until } from "../support/until.ts";
import type { Answer } from "./process_worker.ts";

const answers: Answer[] = [];
for (let round = 0; round < 3; round++) {
  const worker = new Worker(new URL("./process_worker.ts", import.meta.url), { type: "module" });
  answers.push(await new Promise<Answer>((resolve) => worker.onmessage = ({ data }) => resolve(data)));
  worker.terminate();
}
// Terminating is asynchronous: it is done once the Workers' other regions are unmapped.
await until(() => !answers.some(({ plain }) => isMapped(plain)));
assert(!answers.some(({ plain }) => isMapped(plain)), "a Worker's other regions go with it");

// All Workers share one library on Windows if its file is in the user's own folder: the first one's arena is the process's there.
const given = answers.map(({ given }) => given).filter((given) => given !== null);
const one = Deno.build.os === "windows" && given.length === 1;
assertEquals(given.length, one ? 1 : 3);

for (const { malloc, free, block } of given) {
  assertEquals(new Deno.UnsafePointerView(Deno.UnsafePointer.create(block)!).getCString(), "from a Worker");
  const native = (address: bigint) => Deno.UnsafePointer.create(address) as never;
  const allocate = new Deno.UnsafeFnPointer(native(malloc), { parameters: ["usize"], result: "pointer" });
  const release = new Deno.UnsafeFnPointer(native(free), { parameters: ["pointer"], result: "void" });
  const fresh = allocate.call(100_000n)!;
  assert(Deno.UnsafePointer.value(fresh) > block);
  new Uint8Array(new Deno.UnsafePointerView(fresh).getArrayBuffer(100_000)).fill(1);
  release.call(fresh);
}
// Each Worker can have one, this one too.
using scratch = new BumpAlloc();
if (one) assertThrows(() => scratch.hooks.process, SharedError, "there is one already");
else assert(scratch.hooks.process.malloc !== null);
console.log(JSON.stringify("as documented"));
