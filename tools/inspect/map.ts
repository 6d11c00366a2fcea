/** Draws a region as an SVG map. */

import { formatBytes } from "../../src/format.ts";
import type { ScratchArena } from "../../src/scratch_arena.ts";
import { type Range, type Snapshot, snapshot } from "./record.ts";

const COLUMNS = 128;
const ROWS = 16;
const CELL = 7;
const MARGIN = 32;
const WIDTH = COLUMNS * CELL + 2 * MARGIN;
/** Number of open scopes with a line of their own; deeper ones are listed in words. */
const SCOPES = 4;
const BAR = 18;
/**
 * Most characters of a scope's name, so that it fits the width together with its place and size, even in a wide font.
 */
const LONGEST_NAME = 64;

// Colours that colour-blind readers can tell apart; padding is hatched as well. No CSS variables, because some
// renderers ignore them.
const STYLE = `
  svg { font: 13px system-ui, sans-serif; } .title { font-size: 16px; font-weight: 600; }
  text { fill: #222; } .soft { fill: #555; } .back { fill: #fff; }
  .used { fill: #0072b2; } .padding { fill: url(#hatch); } .taken { fill: #b0bec5; }
  .committed { fill: #eceff1; } .resident { fill: #009e73; } .scope { fill: #d55e00; stroke: #d55e00; stroke-width: 2; }
  @media (prefers-color-scheme: dark) {
    text { fill: #eceff1; } .soft { fill: #b0bec5; } .back { fill: #15191c; }
    .used { fill: #56b4e9; } .taken { fill: #546e7a; } .committed { fill: #2b363c; }
  }`;

/** Draws the present state of an allocator as an SVG. Blocks and scopes are shown if the recorder watched them. */
export function renderMap(allocator: ScratchArena): string {
  return renderSnapshots([snapshot(allocator)]);
}

/** Draws one map below the other. */
export function renderSnapshots(snapshots: readonly Snapshot[]): string {
  let y = MARGIN;
  const parts: string[] = [];
  for (const state of snapshots) {
    const { svg, height } = drawRegion(state, y);
    parts.push(svg);
    y += height + MARGIN;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img">
<title>Memory of ${snapshots.length} allocator${snapshots.length === 1 ? "" : "s"}</title>
<style>${STYLE}</style>
<defs><pattern id="hatch" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="4" height="4" fill="#e69f00"/><rect width="1.5" height="4" fill="#222"/></pattern></defs>
<rect class="back" width="${WIDTH}" height="${y}"/>
${parts.join("\n")}
</svg>
`;
}

function drawRegion(state: Snapshot, top: number): { svg: string; height: number } {
  const { capacity, used, committed, blocks, padding, chunks, scopes, resident, pageSize } = state;
  let cellBytes = pageSize;
  while (committed / cellBytes > COLUMNS * ROWS) cellBytes *= 2;
  const cells = Math.max(1, Math.ceil(committed / cellBytes));
  const bytesIn = (ranges: readonly Range[]) => spread(ranges, cells, cellBytes);
  const usedIn = bytesIn(blocks);
  const paddingIn = bytesIn(padding);
  const chunkIn = bytesIn(chunks);
  const residentIn = resident === null ? null : spread(runs(resident, pageSize), cells, cellBytes);
  const lines = Math.min(scopes.length, SCOPES);
  const lineHeight = 16;
  const rowHeight = BAR + 10;
  const out: string[] = [];
  let y = top;
  const text = (x: number, at: number, content: string, type = "") =>
    out.push(`<text x="${x}" y="${at}" class="${type}">${escape(content)}</text>`);
  const sum = (ranges: readonly Range[]) => ranges.reduce((bytes, { start, end }) => bytes + end - start, 0);
  text(MARGIN, y + 14, `${formatBytes(used)} used of ${formatBytes(capacity)}`, "title");
  text(
    MARGIN,
    y + 34,
    `${blocks.length} allocations · ${formatBytes(sum(padding))} padding · ${formatBytes(committed)} committed · ` +
      (residentIn === null ? "resident: not known here" : `${formatBytes(sum(runs(resident!, pageSize)))} resident`) +
      ` · one cell is ${formatBytes(cellBytes)}`,
    "soft",
  );
  y += 48;
  let x = MARGIN;
  for (const [type, label] of LEGEND) {
    out.push(`<rect x="${x}" y="${y}" width="12" height="12" class="${type}"/>`);
    text(x + 18, y + 11, label);
    x += 40 + label.length * 7;
  }
  y += 28;
  for (let i = 0; i < lines; i++) {
    const { name, start, end } = scopes[i];
    text(MARGIN, y + 12, `scope ${i + 1}: ${shorten(name)}, ${formatBytes(end - start)} from ${formatBytes(start)}`);
    y += lineHeight;
  }
  if (scopes.length > lines) {
    const more = scopes.length - lines;
    text(MARGIN, y + 12, `and ${more} scope${more === 1 ? "" : "s"} inside`, "soft");
    y += lineHeight;
  }
  y += 6;
  const rows = Math.ceil(cells / COLUMNS);
  for (let row = 0; row < rows; row++) {
    const rowCells = Math.min(COLUMNS, cells - row * COLUMNS);
    const first = row * COLUMNS;
    for (let i = 0; i < lines; i++) {
      const from = Math.max(scopes[i].start / cellBytes - first, 0);
      const to = Math.min(scopes[i].end / cellBytes - first, rowCells);
      if (to <= from) continue;
      const at = y + 1.5 + 3 * i;
      const wide = Math.max((to - from) * CELL, 2);
      out.push(`<path class="scope" d="M${round(MARGIN + from * CELL)} ${at}h${round(wide)}" data-scope="${i + 1}"/>`);
    }
    const barTop = y + 3 * lines + 2;
    out.push(`<rect class="committed" x="${MARGIN}" y="${barTop}" width="${rowCells * CELL}" height="${BAR}"/>`);
    out.push(...bars("taken", chunkIn, null, first, rowCells, cellBytes, barTop, BAR));
    out.push(...bars("used", usedIn, null, first, rowCells, cellBytes, barTop, BAR));
    out.push(...bars("padding", paddingIn, usedIn, first, rowCells, cellBytes, barTop, BAR));
    if (residentIn) out.push(...bars("resident", residentIn, null, first, rowCells, cellBytes, barTop + BAR + 1, 4));
    y = barTop + rowHeight;
  }
  return { svg: `<g>${out.join("\n")}</g>`, height: y - top };
}

const LEGEND = [
  ["used", "used"],
  ["padding", "padding"],
  ["taken", "taken, not used"],
  ["committed", "committed"],
  ["resident", "in RAM"],
  ["scope", "scopes, outermost above"],
] as const;

/** Draws cells as bars, whose height is the used part of the cell. Equal neighbours are one bar. */
function bars(
  type: string,
  bytes: Float64Array,
  below: Float64Array | null,
  first: number,
  count: number,
  cellBytes: number,
  top: number,
  height: number,
): string[] {
  const out: string[] = [];
  // Even a few bytes are visible.
  const heightOf = (value: number) => value === 0 ? 0 : Math.max(value / cellBytes * height, 2);
  for (let i = 0; i < count;) {
    const from = i;
    const value = bytes[first + i];
    const under = below?.[first + i] ?? 0;
    while (i < count && bytes[first + i] === value && (below?.[first + i] ?? 0) === under) i++;
    if (value === 0) continue;
    const tall = heightOf(value);
    const y = Math.max(top + height - heightOf(under) - tall, top);
    out.push(
      `<rect class="${type}" x="${MARGIN + from * CELL}" y="${round(y)}" width="${(i - from) * CELL}" height="${
        round(tall)
      }" data-bytes="${value * (i - from)}"/>`,
    );
  }
  return out;
}

/** The number of bytes of each cell that lie in the ranges. */
function spread(ranges: readonly Range[], cells: number, cellBytes: number): Float64Array {
  const bytes = new Float64Array(cells);
  for (const { start, end } of ranges) {
    for (let at = start; at < end;) {
      const cell = Math.floor(at / cellBytes);
      const next = Math.min(end, (cell + 1) * cellBytes);
      if (cell < cells) bytes[cell] += next - at;
      at = next;
    }
  }
  return bytes;
}

function runs(pages: Uint8Array, pageSize: number): Range[] {
  const ranges: Range[] = [];
  for (let i = 0; i < pages.length; i++) {
    if (pages[i] === 1) ranges.push({ start: i * pageSize, end: (i + 1) * pageSize });
  }
  return ranges;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** Shortens a scope's name to fit on its line. It keeps the end, which has the file and the line. */
function shorten(name: string): string {
  return name.length <= LONGEST_NAME ? name : `…${name.slice(1 - LONGEST_NAME)}`;
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
