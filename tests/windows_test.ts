/** The windows of one level, over ordinary buffers. */
import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { isDetached, MARKS_SINCE, markUntransferable } from "../src/buffers.ts";
import { NO_WINDOW, type Window, type WindowMaker, Windows } from "../src/windows.ts";
import { testSince } from "./support/skip.ts";
import { callDeep } from "./support/stack.ts";
import { times } from "./support/times.ts";

type Range = [from: number, to: number];

class Maker implements WindowMaker {
  readonly window: number;
  readonly transferable: boolean;
  readonly made: Range[] = [];
  readonly lost: Range[] = [];

  constructor(window = 4096, transferable = true) {
    this.window = window;
    this.transferable = transferable;
  }

  makeWindow(base: number, byteLength: number): ArrayBuffer {
    this.made.push([base, base + byteLength]);
    return new ArrayBuffer(byteLength);
  }

  lose(base: number, end: number): void {
    this.lost.push([base, end]);
  }
}

const NO_LIMIT = 2 ** 30;
const rangeOf = ({ base, end }: Window): Range => [base, end];

/** Makes a list with windows over these ranges, which are multiples of 4096. */
function ledger(ranges: Range[], maker = new Maker()): { windows: Windows; maker: Maker; list: Window[] } {
  const windows = new Windows(maker);
  return { windows, maker, list: ranges.map(([from, to]) => windows.open(from, to, to, 0)) };
}

/** Number of windows in the list, fresh or not. Empties the list. */
function ledgerSize(windows: Windows): number {
  return windows.release().length;
}

Deno.test("a window begins in the block's page, shows the block and more by the policy, and ends below the limit", () => {
  const { windows, maker } = ledger([], new Maker(65536));
  assertEquals(rangeOf(windows.open(5000, 5100, NO_LIMIT, 0)), [4096, 4096 + 65536]);
  assertEquals(rangeOf(windows.open(70_000, 70_001, NO_LIMIT, 65536)), [69_632, 69_632 + 131_072]);
  assertEquals(rangeOf(windows.open(300_000, 1_000_000, NO_LIMIT, 0)), [299_008, 1_000_000]);
  assertEquals(rangeOf(windows.open(2 ** 21, 2 ** 21 + 10, 2 ** 21 + 50, 2 ** 20)), [2 ** 21, 2 ** 21 + 50]);
  assertEquals([maker.made.length, windows.count], [4, 4]);
  assertEquals(rangeOf(windows.open(5000, 69_632, NO_LIMIT, 2 ** 20)), [4096, 4096 + 65536]); // exists already
  assertEquals(maker.made.length, 4);
});

Deno.test("showing and of find a window that shows the bytes if there is one, however windows overlap", () => {
  const page = fc.nat({ max: 12 });
  const range = fc.tuple(page, page).map(([a, b]): Range => [Math.min(a, b) * 4096, (Math.max(a, b) + 1) * 4096]);
  const asked = fc.tuple(
    fc.oneof(fc.nat({ max: 53_000 }), page.map((page) => page * 4096)),
    fc.integer({ min: 1, max: 20_000 }),
  );
  fc.assert(
    fc.property(fc.array(range, { maxLength: 10 }), fc.array(page), fc.array(asked), (ranges, gone, asked) => {
      const { windows, list } = ledger(ranges);
      for (const i of new Set(gone)) if (i < list.length && !isDetached(list[i].buffer)) list[i].buffer.transfer();
      for (const [start, byteLength] of asked) {
        const end = start + byteLength;
        const shows = ({ base, end: windowEnd, buffer }: Window) =>
          base <= start && end <= windowEnd && !isDetached(buffer);
        const found = windows.showing(start, end);
        assertEquals(found === NO_WINDOW, !list.some(shows));
        if (found === NO_WINDOW) continue;
        assert(shows(found));
        assertEquals(windows.of(found.buffer), found);
      }
      assertEquals(windows.count, new Set(list).size);
      assertEquals(windows.lost.length, new Set(list.filter(({ buffer }) => isDetached(buffer))).size);
    }),
    { numRuns: times(200) },
  );
});

Deno.test("the buffer of another level is not found in this one", () => {
  const { windows } = ledger([[0, 4096]]);
  for (const buffer of [new ArrayBuffer(8), new SharedArrayBuffer(8), ledger([[0, 4096]]).list[0].buffer]) {
    assertEquals(windows.of(buffer), NO_WINDOW);
  }
  assertEquals(windows.showing(0, 4097), NO_WINDOW);
});

// ---- the end of views ----------------------------------------------------------------------------

Deno.test("end detaches all, and keeps the first window's memory, fresh, for the next user", () => {
  const { windows, maker, list } = ledger([[8192, 16_384], [0, 4096], [4096, 12_288]]);
  const buffers = list.map(({ buffer }) => buffer);
  new Uint8Array(buffers[1]).fill(7);
  windows.end();
  assertEquals(buffers.map(isDetached), [true, true, true]);
  assertEquals([windows.count, windows.hasLost, maker.lost], [0, false, []]);
  const first = windows.open(10, 20, NO_LIMIT, 0);
  assertEquals([rangeOf(first), first.fresh, windows.count, new Uint8Array(first.buffer)[0]], [[0, 4096], false, 1, 7]);
  assertEquals(maker.made.length, 3);
  windows.end();
  windows.end(); // is fresh already
  assertEquals([isDetached(first.buffer), windows.count], [false, 0]);
  assertEquals(rangeOf(windows.showing(0, 4096)), [0, 4096]);
});

Deno.test("a fresh window that does not show the requested bytes is dropped", () => {
  const { windows, list } = ledger([[0, 4096]]);
  windows.end();
  const { buffer } = list[0];
  const next = windows.open(4000, 5000, NO_LIMIT, 0);
  assertEquals([isDetached(buffer), windows.count], [true, 1]);
  assertEquals(windows.showing(0, 5000), next);
  assertEquals(ledgerSize(windows), 1);
});

Deno.test("clear ends every view, and drops the fresh window too", () => {
  for (const isFresh of [false, true]) {
    const { windows, maker, list } = ledger([[0, 4096], [4096, 8192]]);
    if (isFresh) windows.end();
    windows.clear();
    assertEquals(list.map(({ buffer }) => isDetached(buffer)), [true, true]);
    assertEquals([windows.count, windows.showing(0, 1), ledgerSize(windows), maker.lost], [0, NO_WINDOW, 0, []]);
  }
});

Deno.test("release returns all windows, the fresh one too, and ends no view", () => {
  const { windows, list } = ledger([[0, 4096], [4096, 8192]]);
  assertEquals(windows.release(), list);
  assertEquals([windows.count, windows.showing(0, 1)], [0, NO_WINDOW]);
  assertEquals(list.map(({ buffer }) => buffer.byteLength), [4096, 4096]);
  const fresh = ledger([[0, 4096]]);
  fresh.windows.end();
  assertEquals(fresh.windows.release().map(({ fresh }) => fresh), [true]);
});

Deno.test("if nothing can be transferred, no view ends, and the next user has the same windows", () => {
  const { windows, maker, list } = ledger([[0, 4096], [4096, 8192]], new Maker(4096, false));
  const buffers = list.map(({ buffer }) => buffer);
  windows.end();
  windows.clear();
  assertEquals(buffers.map(isDetached), [false, false]);
  assertEquals(windows.open(4096, 5000, NO_LIMIT, 0).buffer, buffers[1]);
  assertEquals([windows.count, maker.made.length, maker.lost], [2, 2, []]);
});

// ---- lost windows --------------------------------------------------------------------------------

Deno.test("a lost window shows nothing, and is reported with its whole range no later than at the end", () => {
  for (const ends of ["end", "clear"] as const) {
    for (let taken = 0; taken < 8; taken++) {
      const ranges: Range[] = [[0, 4096], [4096, 12_288], [8192, 16_384]];
      const { windows, maker, list } = ledger(ranges);
      const lost = ranges.filter((_, i) => taken & (1 << i));
      const received = list.filter((_, i) => taken & (1 << i)).map(({ buffer }) => buffer.transfer());
      assertEquals([windows.hasLost, windows.lost.map(rangeOf)], [taken > 0, lost]);
      if (taken & 1) assertEquals(windows.showing(0, 1), NO_WINDOW);
      windows.reportLost();
      assertEquals(maker.lost, lost);
      maker.lost.length = 0;
      windows[ends]();
      assertEquals(maker.lost.toSorted(([a], [b]) => a - b), lost);
      assertEquals([windows.hasLost, windows.count, list.every(({ fresh, buffer }) => fresh || isDetached(buffer))], [
        false,
        0,
        true,
      ]);
      assertEquals(ledgerSize(windows), ends === "end" && !(taken & 1) ? 1 : 0);
      assert(received.every((buffer) => !isDetached(buffer)));
    }
  }
});

testSince(
  MARKS_SINCE,
  "there is no such mark that holds",
  "a window that was marked untransferable is lost at the end",
  () => {
    for (const ends of ["end", "clear"] as const) {
      const { windows, maker, list } = ledger([[0, 4096], [4096, 8192]]);
      for (const { buffer } of list) markUntransferable(buffer);
      assertEquals(windows.hasLost, false);
      windows[ends]();
      assertEquals(maker.lost, [[4096, 8192], [0, 4096]]);
      assertEquals([windows.count, ledgerSize(windows), list[0].buffer.byteLength], [0, 0, 4096]);
    }
  },
);

Deno.test("after a stack overflow in an end it can be called again: all views end, and none is forgotten", () => {
  for (const ends of ["end", "clear"] as const) {
    for (let padding = 0; padding < 12; padding++) {
      const { windows, maker, list } = ledger([[0, 4096], [4096, 8192], [8192, 12_288]]);
      const buffers = list.map(({ buffer }) => buffer);
      buffers[1].transfer();
      callDeep(() => windows[ends](), padding);
      assertEquals(buffers.map(isDetached), [true, true, true]);
      // The loss is reported at least once, and nothing else is reported.
      assert(maker.lost.length > 0 && maker.lost.every(([base, end]) => base === 4096 && end === 8192));
      assertEquals(ledgerSize(windows), ends === "end" ? 1 : 0);
    }
  }
});
