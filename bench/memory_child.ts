// One measurement in its own process, for bench/memory.ts. Prints a number and the memory of the process; to stderr,
// because the engine's trace goes to stdout.
import { BumpAlloc, type BumpAllocOptions } from "../mod.ts";

/** Milliseconds. */
function time(run: () => void): number {
  const start = performance.now();
  run();
  return performance.now() - start;
}

/** Milliseconds to make an allocator, allocate all of it, and fill it. */
function firstFill(byteLength: number, options: BumpAllocOptions): number {
  return time(() => void new BumpAlloc({ size: byteLength, ...options }).alloc(byteLength).fill(1));
}

/** Makes garbage: small objects and arrays, some of which live for a while. */
function churn(count: number): void {
  const kept: unknown[] = [];
  for (let i = 0; i < count; i++) {
    kept[i % 200_000] = { id: i, name: `object ${i}`, bytes: i % 16 === 0 ? new Uint8Array(1024) : null };
  }
}

/** An allocator of 16 GiB, 64 MiB of it in use. */
function reserved(): BumpAlloc {
  const scratch = BumpAlloc.withSize(16 * 2 ** 30);
  for (let i = 0; i < 64; i++) scratch.alloc(2 ** 20).fill(1);
  return scratch;
}

const measures: Record<string, (amount: number) => number> = {
  "fill plain": (byteLength) => time(() => void new Uint8Array(byteLength).fill(1)),
  "fill small pages": (byteLength) => firstFill(byteLength, {}),
  "fill huge pages": (byteLength) => firstFill(byteLength, { hugePages: true }),
  "fill warm": (byteLength) => {
    const scratch = BumpAlloc.withSize(byteLength);
    scratch.alloc(byteLength).fill(1);
    scratch.reset();
    return time(() => void scratch.alloc(byteLength).fill(1));
  },
  "memory nothing": () => 0,
  // The part of Deno that is resident in every program that calls a native function.
  "memory one FFI call": () => Deno.dlopen("libc.so.6", { getpid: { parameters: [], result: "i32" } }).symbols.getpid(),
  "memory reserved": (byteLength) => new BumpAlloc().alloc(byteLength).fill(1).length,
  "churn nothing": (count) => time(() => churn(count)),
  "churn reserved": (count) => {
    using _scratch = reserved();
    return time(() => churn(count));
  },
  // The reason for windows: the engine counts a buffer's whole length as memory in use.
  "churn one buffer": (count) => {
    using scratch = reserved();
    const all = Deno.UnsafePointerView.getArrayBuffer(
      Deno.UnsafePointer.create(scratch.address)!,
      scratch.capacity,
    );
    return time(() => churn(count)) + 0 * all.byteLength;
  },
};

const value = measures[Deno.args[0]](Number(Deno.args[1]));
console.error(JSON.stringify({ value, ...memory() }));

/** Resident memory in bytes: in all, and anonymous, which excludes pages of files. */
function memory(): { resident: number; anonymous: number } {
  if (Deno.build.os !== "linux") return { resident: 0, anonymous: 0 };
  const fields = Deno.readTextFileSync("/proc/self/smaps_rollup").matchAll(/^(\w+): +(\d+) kB$/gm);
  const bytes = Object.fromEntries([...fields].map(([, name, kibibytes]) => [name, Number(kibibytes) * 1024]));
  return { resident: bytes.Rss, anonymous: bytes.Anonymous };
}
