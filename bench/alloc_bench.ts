/**
 * `deno task bench`: with Deno's own runner, allocation by size, each way against the bare view; `offset` against C; arrays,
 * buffers that grow, scopes, reset; the first fill of a gigabyte; start-up.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { MemPool } from "@thi.ng/malloc";
import { BumpAlloc } from "../mod.ts";
import { compileAtomicBump } from "./lib/atomic_bump.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

for (
  const [size, name] of [[16, "16 B"], [64, "64 B"], [KIB, "1 KiB"], [64 * KIB, "64 KiB"], [MIB, "1 MiB"], [
    16 * MIB,
    "16 MiB",
  ]] as const
) {
  const group = name;
  const scratch = new BumpAlloc({ window: 64 * MIB });
  const start = scratch.mark();
  // As many allocations as fit 64 MiB, then from the start again: the same for all that bump.
  const count = Math.min(10_000, Math.floor(64 * MIB / size));
  const buffer = new ArrayBuffer(64 * MIB);
  let at = 0;
  Deno.bench({ name: `bare view, ${name}`, group, baseline: true }, () => {
    new Uint8Array(buffer, at * size, size);
    if (++at === count) at = 0;
  });
  let taken = 0;
  Deno.bench({ name: `BumpAlloc.alloc, ${name}`, group }, () => {
    scratch.alloc(size);
    if (++taken === count) {
      taken = 0;
      scratch.rewind(start);
    }
  });
  Deno.bench({ name: `new Uint8Array, ${name}`, group }, () => void new Uint8Array(size));
  Deno.bench({ name: `Buffer.allocUnsafe, ${name}`, group }, () => void Buffer.allocUnsafe(size));
  const memory = new WebAssembly.Memory({ initial: 1024 });
  let cursor = 0;
  Deno.bench({ name: `bump over WebAssembly.Memory, ${name}`, group }, () => {
    new Uint8Array(memory.buffer, cursor, size);
    cursor += size;
    if (cursor + size > 64 * MIB) cursor = 0;
  });
  const pool = new MemPool({ size: 65 * MIB });
  Deno.bench({ name: `@thi.ng/malloc and free, ${name}`, group }, () => {
    const address = pool.malloc(size);
    new Uint8Array(pool.buf, address, size);
    pool.free(address);
  });
  const pointer = Deno.UnsafePointer.of(new Uint8Array(buffer));
  Deno.bench({ name: `getArrayBuffer, ${name}`, group }, () => {
    new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer!, size, 0));
  });
}

const scratch = new BumpAlloc();
Deno.bench({ name: "a scope with ten allocations of 64 B", group: "scope", baseline: true }, () => {
  using scope = scratch.scope();
  for (let i = 0; i < 10; i++) scope.alloc(64);
});
Deno.bench({ name: "ten new Uint8Array(64)", group: "scope" }, () => {
  for (let i = 0; i < 10; i++) new Uint8Array(64);
});
Deno.bench({ name: "a scope with one allocation", group: "scope" }, () => {
  using scope = scratch.scope();
  scope.alloc(64);
});
Deno.bench({ name: "mark, alloc, rewind", group: "scope" }, () => {
  const mark = scratch.mark();
  scratch.alloc(64);
  scratch.rewind(mark);
});
Deno.bench({ name: "alloc, reset", group: "scope" }, () => {
  scratch.alloc(64);
  scratch.reset();
});

const group = "a thousand offsets";
Deno.bench({ name: "a thousand offsets", group, baseline: true }, () => {
  scratch.reset();
  for (let i = 0; i < 1000; i++) scratch.offset(64);
});
const atomicBump = compileAtomicBump();
if (atomicBump !== null) {
  Deno.bench({ name: "a thousand atomic bumps in C", group }, () => void atomicBump(1000, 64, 2 ** 30));
}

// A thousand at a time: a reset costs as much as ten arrays.
Deno.bench({ name: "a thousand allocArray(Float64Array, 100)", group: "array", baseline: true }, () => {
  scratch.reset();
  for (let i = 0; i < 1000; i++) scratch.allocArray(Float64Array, 100);
});
Deno.bench({ name: "a thousand new Float64Array(100)", group: "array" }, () => {
  for (let i = 0; i < 1000; i++) new Float64Array(100);
});

Deno.bench({ name: "a buffer grows from 64 B to 64 KiB: realloc", group: "grow", baseline: true }, () => {
  scratch.reset();
  let bytes = scratch.alloc(64);
  for (let size = 128; size <= 65536; size *= 2) bytes = scratch.realloc(bytes, size);
});
Deno.bench({ name: "a buffer grows from 64 B to 64 KiB: new Uint8Array and set", group: "grow" }, () => {
  let bytes = new Uint8Array(64);
  for (let size = 128; size <= 65536; size *= 2) {
    const grown = new Uint8Array(size);
    grown.set(bytes);
    bytes = grown;
  }
});

for (const [name, byteLength] of [["64 B", 64], ["512 MiB", 2 ** 29]] as const) {
  Deno.bench({ name: `reset after alloc of ${name}`, group: "reset", baseline: byteLength === 64 }, () => {
    scratch.alloc(byteLength);
    scratch.reset();
  });
}

// Each is several seconds on a machine whose page faults are dear.
const once = { group: "first fill of 1 GiB", n: 2, warmup: 0 };
Deno.bench({ name: "new Uint8Array(2 ** 30), fill", ...once, baseline: true }, () => {
  new Uint8Array(2 ** 30).fill(1);
});
for (const hugePages of [true, false]) {
  Deno.bench({ name: `new BumpAlloc({ hugePages: ${hugePages} }), alloc, fill`, ...once }, () => {
    using fresh = new BumpAlloc({ size: 2 ** 30, hugePages });
    fresh.alloc(2 ** 30).fill(1);
  });
}

const module = new URL("../mod.ts", import.meta.url).href;
const folder = Deno.makeTempDirSync();
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
for (
  const [name, text] of [
    ["an empty script", ""],
    ["import to first byte", `import { BumpAlloc } from "${module}"; new BumpAlloc().alloc(1)[0] = 1;`],
  ]
) {
  const script = `${folder}/${name.replaceAll(" ", "_")}.ts`;
  Deno.writeTextFileSync(script, text);
  const start = { group: "start-up, a whole process", n: 20, warmup: 2, baseline: text === "" };
  Deno.bench({ name, ...start }, () => {
    const args = ["run", "--no-check", "--allow-ffi", script];
    const { success } = new Deno.Command(Deno.execPath(), { args }).outputSync();
    if (!success) throw new Error(`${script} failed`);
  });
}
