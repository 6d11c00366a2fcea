/** What a caller may do to buffers, and what must hold all the same: nothing is read that is not mapped, nobody's bytes change. */
import { assert, assertEquals } from "@std/assert";
import { BumpAlloc } from "../mod.ts";

/** Bytes of the region that native code takes, so that the next lease does not continue the last one. */
function takeNatively(scratch: BumpAlloc, byteLength: number): void {
  const { customAlloc, opaque } = scratch.hooks.zstd;
  const type = { parameters: ["pointer", "usize"], result: "pointer" } as const;
  new Deno.UnsafeFnPointer(customAlloc as Deno.PointerObject<typeof type>, type).call(opaque, BigInt(byteLength));
}

function transferred(view: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return structuredClone(view, { transfer: [view.buffer] });
}

Deno.test("a transferred window over several leases stays whole, over reset and close", () => {
  const scratch = new BumpAlloc({ window: 65536 });
  scratch.alloc(60_000);
  takeNatively(scratch, 1000);
  const last = scratch.alloc(60_000).fill(9);
  const end = Number(scratch.addressOf(last) - scratch.address) + last.length;
  const received = transferred(scratch.view(0, end));
  scratch.reset();
  assertEquals([received.length, received[end - 1]], [end, 9]);
  scratch.alloc(2 ** 20).fill(1);
  scratch.close();
  assertEquals(received[end - 1], 9);
});

Deno.test("a transferred window over others' leases stays whole when the last of them closes", () => {
  const scratch = new BumpAlloc({ window: 65536 });
  const other = BumpAlloc.attach(scratch.share());
  scratch.alloc(60_000);
  other.alloc(1000);
  const last = scratch.alloc(600_000).fill(9);
  const end = Number(scratch.addressOf(last) - scratch.address) + last.length;
  const received = transferred(scratch.view(0, end));
  other.close();
  scratch.close();
  assertEquals(received[end - 1], 9);
});

Deno.test("a transferred window that begins in the page where another lease ends is never handed out again", () => {
  using scratch = new BumpAlloc({ window: 5000 });
  scratch.alloc(4000, 1);
  const scope = scratch.scope();
  scope.alloc(900, 1);
  takeNatively(scratch, 16);
  const received = transferred(scope.alloc(3000).fill(5));
  scope.end();
  scratch.alloc(20_000).fill(7);
  assert(received.every((byte) => byte === 5));
});

Deno.test("a buffer that the caller marked untransferable is never handed out again, and outlives the allocator", () => {
  const { markAsUntransferable } = process.getBuiltinModule("node:worker_threads");
  const scratch = new BumpAlloc();
  const first = scratch.alloc(10).fill(3);
  markAsUntransferable(first.buffer);
  scratch.reset();
  scratch.alloc(2 ** 20).fill(4);
  const scope = scratch.scope();
  const second = scope.alloc(10).fill(5);
  markAsUntransferable(second.buffer);
  scope.end();
  scratch.alloc(2 ** 20).fill(6);
  scratch.close();
  assert(first.every((byte) => byte === 3) && second.every((byte) => byte === 5));
});

Deno.test("neither a buffer's own property nor a patched prototype keeps a view alive", () => {
  const scratch = new BumpAlloc();
  const view = scratch.alloc(10);
  Object.defineProperty(view.buffer, "transfer", { value: () => new ArrayBuffer(1) });
  Object.defineProperty(view.buffer, "detached", { value: true });
  scratch.close();
  assertEquals(view.length, 0);
  const other = new BumpAlloc();
  const alive = other.alloc(10);
  const { transfer } = ArrayBuffer.prototype;
  ArrayBuffer.prototype.transfer = function () {
    return this;
  };
  try {
    other.close();
  } finally {
    ArrayBuffer.prototype.transfer = transfer;
  }
  assertEquals(alive.length, 0);
});

declare const process: {
  getBuiltinModule(id: string): { markAsUntransferable(object: object): void };
};
