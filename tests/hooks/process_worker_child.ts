// A Worker names the process's own allocator, gives its callbacks away, and is terminated; run by hooks_test.ts.
import { assert, assertEquals } from "../offline/assert.ts";
import { BumpAlloc } from "../../mod.ts";

interface Given {
  malloc: bigint;
  free: bigint;
  block: bigint;
  plain: bigint;
}

const given: Given[] = [];
for (let round = 0; round < 3; round++) {
  const worker = new Worker(new URL("./process_worker.ts", import.meta.url), { type: "module" });
  given.push(await new Promise<Given>((resolve) => worker.onmessage = ({ data }) => resolve(data)));
  worker.terminate();
}
// Terminating is asynchronous: the Workers' other regions tell when it is done.
const isMapped = (address: bigint) =>
  Deno.readTextFileSync("/proc/self/maps").split("\n").some((line) => {
    const [from, to] = line.split(" ")[0].split("-").map((hex) => BigInt(`0x${hex || 0}`));
    return from <= address && address < to;
  });
for (let i = 0; i < 500 && given.some(({ plain }) => isMapped(plain)); i++) {
  await new Promise((resolve) => setTimeout(resolve, 10));
}
assert(!given.some(({ plain }) => isMapped(plain)), "a Worker's other regions go with it");

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
// Each Worker has one; so has this one.
using scratch = new BumpAlloc();
assert(scratch.hooks.process.malloc !== null);
console.log(JSON.stringify("as documented"));
