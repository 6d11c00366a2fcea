/** Operations on an `ArrayBuffer`. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  canMarkUntransferable,
  detach,
  isDetached,
  lengthOf,
  MARKS_SINCE,
  markUntransferable,
  renew,
} from "../src/buffers.ts";
import { isBefore, testSince } from "./support/skip.ts";
import { callDeep } from "./support/stack.ts";

Deno.test("renew keeps the bytes and detaches the views; a transferred buffer cannot be renewed", () => {
  const buffer = new ArrayBuffer(100);
  const view = new Uint8Array(buffer, 10, 20).fill(7);
  const renewed = renew(buffer)!;
  assertEquals([view.length, buffer.byteLength, renewed.byteLength], [0, 0, 100]);
  assertEquals([...new Uint8Array(renewed, 9, 3)], [0, 7, 7]);
  assertEquals([isDetached(buffer), isDetached(renewed), lengthOf(buffer), lengthOf(renewed)], [true, false, 0, 100]);
  assertEquals(renew(buffer), null);
});

Deno.test("detach ends the views, and returns whether the buffer was still attached", () => {
  const buffer = new ArrayBuffer(100);
  const views = [new Uint8Array(buffer), new DataView(buffer).buffer];
  assertEquals(detach(buffer), true);
  assertEquals(views.map(({ byteLength }) => byteLength), [0, 0]);
  assertEquals(detach(buffer), false);
  const empty = new ArrayBuffer(0);
  assertEquals([isDetached(empty), detach(empty), isDetached(empty)], [false, true, true]);
});

Deno.test("neither a buffer's own property nor a patched prototype keeps a view alive", () => {
  const { transfer } = ArrayBuffer.prototype;
  const buffers = [new ArrayBuffer(8), new ArrayBuffer(8)];
  const views = buffers.map((buffer) => new Uint8Array(buffer));
  for (const buffer of buffers) {
    Object.defineProperty(buffer, "transfer", { value: () => new ArrayBuffer(1) });
    Object.defineProperty(buffer, "detached", { value: true });
    Object.defineProperty(buffer, "byteLength", { value: 5 });
    assertEquals([isDetached(buffer), lengthOf(buffer)], [false, 8]);
  }
  ArrayBuffer.prototype.transfer = function () {
    return this;
  };
  try {
    assert(detach(buffers[0]) && renew(buffers[1]) !== null);
  } finally {
    ArrayBuffer.prototype.transfer = transfer;
  }
  assertEquals(views.map((view) => view.length), [0, 0]);
  assertEquals(buffers.map(isDetached), [true, true]);
});

Deno.test("on a stack overflow detach and renew throw, and the buffer stays", () => {
  for (let padding = 0; padding < 8; padding++) {
    let detached: boolean | undefined;
    callDeep(() => void (detached = detach(new ArrayBuffer(8))), padding);
    let renewed: ArrayBuffer | null | undefined;
    callDeep(() => void (renewed = renew(new ArrayBuffer(8))), padding);
    assertEquals([detached, renewed?.byteLength], [true, 8]);
  }
});

testSince(
  MARKS_SINCE,
  "there is no such mark that holds",
  "a marked buffer stays: no transfer, no end of its views",
  () => {
    const buffer = new ArrayBuffer(8);
    const view = new Uint8Array(buffer).fill(3);
    markUntransferable(buffer);
    assertThrows(() => structuredClone(buffer, { transfer: [buffer] }));
    assertThrows(() => structuredClone(view, { transfer: [buffer] }));
    assertThrows(() => buffer.transfer(), TypeError);
    const { port1, port2 } = new MessageChannel();
    try {
      assertThrows(() => port1.postMessage(buffer, [buffer]));
    } finally {
      port1.close();
      port2.close();
    }
    assertEquals([renew(buffer), detach(buffer), isDetached(buffer), view.join()], [
      null,
      false,
      false,
      "3,3,3,3,3,3,3,3",
    ]);
  },
);

Deno.test("canMarkUntransferable agrees with the version", () => {
  assertEquals(canMarkUntransferable(), !isBefore(MARKS_SINCE));
});
