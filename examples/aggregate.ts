/**
 * Groups the lines of a large CSV file by one column, and aggregates another: count, minimum, mean and maximum.
 *
 * ```sh
 * deno task demo [FILE] [--by COLUMN] [--of COLUMN] [--separator C]
 * ```
 *
 * The whole file is read into scratch memory and processed as bytes: no line, field or number becomes a string. The
 * same is done with `readTextFile` and `split`, and the results are compared. Without FILE it makes a file of a million
 * lines. The first line names the columns; fields have no quotes.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { BumpAlloc, type Scratch } from "../mod.ts";

/** A query of a file. */
export interface Query {
  /** Name of the column whose values make the groups. */
  readonly by: string;
  /** Name of the column of numbers. */
  readonly of: string;
  /** The separator of fields: one ASCII character. */
  readonly separator: string;
}

/** The aggregates of a group. */
export interface Group {
  readonly count: number;
  readonly least: number;
  readonly mean: number;
  readonly most: number;
}

/** The obvious way. */
export function aggregatePlainly(path: string, { by, of, separator }: Query): Map<string, Group> {
  const [head, ...lines] = Deno.readTextFileSync(path).split("\n");
  const columns = withoutReturn(head).split(separator);
  const [byIndex, ofIndex] = [by, of].map((name) => columnOf(columns, name));
  const groups = new Map<string, { count: number; least: number; most: number; sum: number }>();
  for (const line of lines) {
    if (line === "" || line === "\r") continue;
    const fields = withoutReturn(line).split(separator);
    const value = Number(fields[ofIndex] ?? "");
    const key = fields[byIndex] ?? "";
    const group = groups.get(key);
    if (group === undefined) {
      groups.set(key, { count: 1, least: value, most: value, sum: value });
      continue;
    }
    group.count++;
    group.sum += value;
    if (value < group.least) group.least = value;
    if (value > group.most) group.most = value;
  }
  return new Map(
    Array.from(groups, ([key, { count, least, most, sum }]) => [key, { count, least, mean: sum / count, most }]),
  );
}

function withoutReturn(line: string): string {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}

function columnOf(columns: string[], name: string): number {
  const index = columns.indexOf(name);
  if (index < 0) throw new TypeError(`There is no column ${name}; there are ${columns.join(", ")}`);
  return index;
}

const NEWLINE = 10;
const RETURN = 13;
const MINUS = 45;
const DOT = 46;
const ZERO = 48;

/** Numbers in a group's row: the place of its key, and its aggregates. */
const ROW = 6;
const [KEY, KEY_LENGTH, COUNT, LEAST, MOST, SUM] = [0, 1, 2, 3, 4, 5];

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The same on bytes, with a hash table; all of it in scratch memory that is given back at the end. */
export function aggregate(scratch: Scratch, path: string, { by, of, separator }: Query): Map<string, Group> {
  using scope = scratch.scope();
  const bytes = scope.readFileSync(path);
  const comma = separator.charCodeAt(0);
  let headEnd = bytes.indexOf(NEWLINE);
  if (headEnd < 0) headEnd = bytes.length;
  const columns = withoutReturn(decoder.decode(bytes.subarray(0, headEnd))).split(separator);
  const [byIndex, ofIndex] = [by, of].map((name) => columnOf(columns, name));
  let rows = scope.allocArray(Float64Array, ROW * 1024);
  let count = 0;
  /** The number of a group plus one, at the slot of its hash or behind it; 0 in empty slots. */
  let table = scope.allocArrayZeroed(Uint32Array, 4096);
  const { length } = bytes;
  for (let at = headEnd + 1; at < length; at++) {
    const lineStart = at;
    let keyStart = at;
    let keyEnd = at;
    let valueStart = at;
    let valueEnd = at;
    for (let column = 0;; at++, column++) {
      const start = at;
      let byte = NEWLINE;
      while (at < length && (byte = bytes[at]) !== comma && byte !== NEWLINE) at++;
      if (column === byIndex) {
        keyStart = start;
        keyEnd = at;
      }
      if (column === ofIndex) {
        valueStart = start;
        valueEnd = at;
      }
      if (at >= length || byte === NEWLINE) break;
    }
    const lineEnd = bytes[at - 1] === RETURN ? at - 1 : at;
    if (lineEnd <= lineStart) continue;
    if (keyEnd > lineEnd) keyEnd = lineEnd;
    const keyLength = keyEnd - keyStart;
    const value = numberOf(bytes, valueStart, Math.min(valueEnd, lineEnd));
    const hash = hashOf(bytes, keyStart, keyEnd);
    let place = hash & table.length - 1;
    for (;; place = place + 1 & table.length - 1) {
      const number = table[place];
      if (number === 0) {
        if (count * ROW === rows.length) rows = scope.realloc(rows, 2 * rows.length);
        rows.set([keyStart, keyLength, 1, value, value, value], ROW * count);
        table[place] = ++count;
        if (2 * count > table.length) table = rehashed(scope, bytes, rows, count, 2 * table.length);
        break;
      }
      const row = ROW * (number - 1);
      if (rows[row + KEY_LENGTH] !== keyLength || !sameBytes(bytes, rows[row + KEY], keyStart, keyLength)) continue;
      rows[row + COUNT]++;
      rows[row + SUM] += value;
      if (value < rows[row + LEAST]) rows[row + LEAST] = value;
      if (value > rows[row + MOST]) rows[row + MOST] = value;
      break;
    }
  }
  const groups = new Map<string, Group>();
  for (let row = 0; row < ROW * count; row += ROW) {
    const key = decoder.decode(bytes.subarray(rows[row + KEY], rows[row + KEY] + rows[row + KEY_LENGTH]));
    const mean = rows[row + SUM] / rows[row + COUNT];
    groups.set(key, { count: rows[row + COUNT], least: rows[row + LEAST], mean, most: rows[row + MOST] });
  }
  return groups;
}

/** A larger table of the same groups. */
function rehashed(
  scope: Scratch,
  bytes: Uint8Array,
  rows: Float64Array,
  count: number,
  length: number,
): Uint32Array<ArrayBuffer> {
  const table = scope.allocArrayZeroed(Uint32Array, length);
  for (let number = 1; number <= count; number++) {
    const start = rows[ROW * (number - 1) + KEY];
    const end = start + rows[ROW * (number - 1) + KEY_LENGTH];
    let place = hashOf(bytes, start, end) & length - 1;
    while (table[place] !== 0) place = place + 1 & length - 1;
    table[place] = number;
  }
  return table as Uint32Array<ArrayBuffer>;
}

function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return hash ^ hash >>> 15;
}

function sameBytes(bytes: Uint8Array, a: number, b: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (bytes[a + i] !== bytes[b + i]) return false;
  return true;
}

/** Parses a number. Anything but digits and a point is left to `Number`. */
function numberOf(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  const negative = bytes[at] === MINUS;
  if (negative) at++;
  // Up to nine digits fit an integer exactly, as does the power of ten, so one division rounds only once.
  if (end - at <= 10) {
    let digits = 0;
    let count = 0;
    let scale = 0;
    for (; at < end; at++) {
      const byte = bytes[at];
      if (byte >= ZERO && byte <= ZERO + 9) {
        digits = 10 * digits + byte - ZERO | 0;
        if (++count > 9) break;
        scale *= 10;
      } else if (byte === DOT && scale === 0) scale = 1;
      else break;
    }
    if (at === end && count > 0) {
      const value = scale > 1 ? digits / scale : digits;
      return negative ? -value : value;
    }
  }
  return Number(decoder.decode(bytes.subarray(start, end)));
}

/** Writes a file of readings, with the same lines each time. */
export function writeReadings(path: string, lines: number): void {
  using scratch = new BumpAlloc();
  const writer = scratch.writer().text("station,day,temperature,humidity\n");
  let state = 1;
  const random = (below: number) => (state = state * 48271 % 0x7fffffff) % below;
  for (let i = 0; i < lines; i++) {
    const day = `2026-${String(1 + random(12)).padStart(2, "0")}-${String(1 + random(28)).padStart(2, "0")}`;
    writer.text(`station ${random(400)},${day},${(random(600) - 200) / 10},${random(101)}\n`);
  }
  Deno.writeFileSync(path, writer.finish());
}

function main(): void {
  const { values: { by, of, separator, lines }, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      by: { type: "string", default: "station" },
      of: { type: "string", default: "temperature" },
      separator: { type: "string", default: "," },
      lines: { type: "string", default: "1000000" },
    },
  });
  const path = positionals[0] ?? Deno.makeTempFileSync({ suffix: ".csv" });
  if (positionals.length === 0) writeReadings(path, Number(lines));
  const query: Query = { by, of, separator };
  using scratch = BumpAlloc.withSize(Math.max(BumpAlloc.DEFAULT_SIZE, 2 * Deno.statSync(path).size));
  const ways = {
    "in scratch memory": () => aggregate(scratch, path, query),
    "read, split": () => aggregatePlainly(path, query),
  };
  const times: number[][] = [[], []];
  let results: Map<string, Group>[] = [];
  for (let round = 0; round < 3; round++) {
    results = Object.values(ways).map((way, i) => {
      const start = performance.now();
      const result = way();
      times[i].push(performance.now() - start);
      return result;
    });
  }
  if (positionals.length === 0) Deno.removeSync(path);
  const [own, plain] = results;
  console.table(Object.fromEntries([...own].slice(0, 10)));
  const same = own.size === plain.size &&
    [...plain].every(([key, group]) => Deno.inspect(own.get(key)) === Deno.inspect(group));
  console.log(`${own.size} groups; both results are ${same ? "the same" : "DIFFERENT"}`);
  const [ownTime, plainTime] = times.map((all) => Math.min(...all));
  console.log(`in scratch memory  ${ownTime.toFixed(0).padStart(6)} ms`);
  console.log(
    `read, split        ${plainTime.toFixed(0).padStart(6)} ms   ${(plainTime / ownTime).toFixed(1)} times as long`,
  );
  if (!same) Deno.exit(1);
}

if (import.meta.main) main();
