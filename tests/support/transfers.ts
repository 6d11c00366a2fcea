/** Ways to transfer a view's whole buffer away. */
import { receiveMessageOnPort } from "node:worker_threads";

/** Transfers the view's buffer away. Returns the same bytes as the receiver sees them. */
export function transferred(view: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return structuredClone(view, { transfer: [view.buffer] });
}

/** Every way to transfer a view's whole buffer away. Each returns the receiver's buffer. */
export const TRANSFERS: Record<string, (view: Uint8Array<ArrayBuffer>) => ArrayBuffer | Promise<ArrayBuffer>> = {
  "structuredClone": (view) => structuredClone(view, { transfer: [view.buffer] }).buffer,
  "ArrayBuffer.prototype.transfer": (view) => view.buffer.transfer(),
  "postMessage": (view) => {
    const { port1, port2 } = new MessageChannel();
    try {
      port1.postMessage(view.buffer, [view.buffer]);
      return receiveMessageOnPort(port2 as never)!.message;
    } finally {
      port1.close();
      port2.close();
    }
  },
  "enqueue on a byte stream": async (view) => {
    let controller!: ReadableByteStreamController;
    const stream = new ReadableStream({ type: "bytes", start: (its) => void (controller = its) });
    controller.enqueue(view);
    const { value } = await stream.getReader().read();
    return value!.buffer as ArrayBuffer;
  },
  "read of a BYOB reader": async (view) => {
    // The source reports that it has filled the view, but does not change the bytes.
    const stream = new ReadableStream({
      type: "bytes",
      pull: ({ byobRequest }) => byobRequest!.respond(byobRequest!.view!.byteLength),
    });
    const { value } = await stream.getReader({ mode: "byob" }).read(view);
    return value!.buffer;
  },
};
