/** Ways in which a program takes a view's whole buffer away. */
import { receiveMessageOnPort } from "node:worker_threads";

/** Takes the view's buffer away; the same bytes as the receiver has them. */
export function transferred(view: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return structuredClone(view, { transfer: [view.buffer] });
}

/** All that take a view's whole buffer away. Each gives the receiver's buffer. */
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
    // The source says that it has filled the view, and leaves the bytes as they are.
    const stream = new ReadableStream({
      type: "bytes",
      pull: ({ byobRequest }) => byobRequest!.respond(byobRequest!.view!.byteLength),
    });
    const { value } = await stream.getReader({ mode: "byob" }).read(view);
    return value!.buffer;
  },
};
