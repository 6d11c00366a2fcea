// Works on a shared region as the test requests, and answers with what it saw.
import { BumpAlloc, type BumpHandle } from "../../mod.ts";

/** A request of a test. */
export type ShareRequest =
  | { kind: "attach"; handle: BumpHandle }
  | { kind: "alloc"; byteLength: number; value: number }
  | { kind: "read"; offset: number; byteLength: number }
  | { kind: "reset" }
  | { kind: "own"; byteLength: number }
  | { kind: "close" }
  | { kind: "throw" };

let allocator: BumpAlloc | undefined;

function answer(request: ShareRequest): unknown {
  switch (request.kind) {
    case "attach":
      allocator = BumpAlloc.attach(request.handle);
      return allocator.capacity;
    case "alloc": {
      const view = allocator!.alloc(request.byteLength);
      view.fill(request.value);
      return Number(allocator!.addressOf(view) - allocator!.address);
    }
    case "read":
      return [...new Set(allocator!.view(request.offset, request.byteLength))];
    case "reset":
      return allocator!.reset();
    case "own": {
      // A region that this Worker makes and shares.
      allocator = new BumpAlloc();
      const offset = allocator.offset(request.byteLength);
      allocator.view(offset, request.byteLength).fill(42);
      return { handle: allocator.share(), offset };
    }
    case "close":
      allocator!.close();
      return allocator!.closed;
    case "throw":
      setTimeout(() => {
        throw new Error("on purpose");
      });
  }
}

globalThis.addEventListener("message", (event) => {
  const { data } = event as MessageEvent<ShareRequest>;
  (globalThis as unknown as Worker).postMessage(answer(data));
});
