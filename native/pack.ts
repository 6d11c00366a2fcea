/**
 * Packs a library for its module, with as few steps to unpack as the size allows: src/native/unpack.ts unpacks it at
 * start-up, when no code is warm.
 *
 * A packed library is a sequence of steps. A step is a byte (high half: number of literal bytes; low half: length of a
 * copy - 4), bytes that add to the number of literals, the literals, the distance of the copy - 1 (one byte below
 * 128, else two with seven bits in the first), and bytes that add to its length. A half of 15 has further bytes, each added
 * until one is below 255. The last step ends behind its literals.
 *
 * @module
 */

const MIN_COPY = 4;
const MAX_DISTANCE = 1 << 15;
/** A copy of this length is taken as it is: runs of zeros, which would take hours to plan. */
const LONG = 64;
/** So many earlier places are compared. */
const MAX_TRIED = 1000;
/** What a step costs besides its bytes: unpacking one takes as long as reading so many characters. */
const STEP_COST = 0.6;

interface Copy {
  readonly length: number;
  readonly distance: number;
}

/** The longest copies to each position that a short and a long distance give. */
function findCopies(bytes: Uint8Array): Copy[][] {
  const seen = new Map<number, number[]>();
  const copies: Copy[][] = [];
  for (let i = 0; i + MIN_COPY <= bytes.length; i++) {
    const key = (bytes[i] | bytes[i + 1] << 8 | bytes[i + 2] << 16 | bytes[i + 3] << 24) >>> 0;
    const places = seen.get(key) ?? [];
    const longest: (Copy | undefined)[] = [undefined, undefined];
    const oldest = Math.max(0, places.length - MAX_TRIED);
    for (let p = places.length - 1; p >= oldest && i - places[p] <= MAX_DISTANCE; p--) {
      const distance = i - places[p];
      // What is one byte into a copy goes on as long as that: else runs of zeros are compared from each of their bytes.
      const before = copies[i - 1]?.find((copy) => copy.distance === distance);
      let length = Math.max(MIN_COPY, (before?.length ?? 0) - 1);
      while (i + length < bytes.length && bytes[places[p] + length] === bytes[i + length]) length++;
      const kind = distance <= 128 ? 0 : 1;
      if (length > (longest[kind]?.length ?? 0)) longest[kind] = { length, distance };
      if (length >= LONG) break;
    }
    copies.push(longest.filter((copy) => copy !== undefined));
    places.push(i);
    seen.set(key, places);
  }
  while (copies.length < bytes.length) copies.push([]);
  return copies;
}

/** The cheapest way from each position to the end: a copy, or null for a literal. */
function plan(bytes: Uint8Array): (Copy | null)[] {
  const copies = findCopies(bytes);
  const cost = new Float64Array(bytes.length + 1);
  const choice: (Copy | null)[] = new Array(bytes.length).fill(null);
  for (let i = bytes.length - 1; i >= 0; i--) {
    cost[i] = cost[i + 1] + 1;
    for (const { length: longest, distance } of copies[i]) {
      for (let length = longest >= LONG ? longest : MIN_COPY; length <= longest; length++) {
        const price = cost[i + length] + STEP_COST + (distance <= 128 ? 2 : 3) + extraLength(length - MIN_COPY);
        if (price < cost[i]) {
          cost[i] = price;
          choice[i] = { length, distance };
        }
      }
    }
  }
  return choice;
}

/** The bytes that add to a half of 15. */
function extra(count: number): number[] {
  const bytes: number[] = [];
  for (let rest = count - 15; rest >= 0; rest -= 255) bytes.push(Math.min(rest, 255));
  return bytes;
}

/** How many bytes {@linkcode extra} gives. */
function extraLength(count: number): number {
  return count < 15 ? 0 : Math.floor((count - 15) / 255) + 1;
}

/** Packs `bytes`. */
export function pack(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const choice = plan(bytes);
  const packed: number[] = [];
  let from = 0;
  for (let i = 0; i <= bytes.length;) {
    const copy = i < bytes.length ? choice[i] : undefined;
    if (copy === null) {
      i++;
      continue;
    }
    const literals = i - from;
    packed.push(Math.min(literals, 15) << 4 | (copy === undefined ? 0 : Math.min(copy.length - MIN_COPY, 15)));
    packed.push(...extra(literals), ...bytes.subarray(from, i));
    if (copy === undefined) break;
    const distance = copy.distance - 1;
    if (distance < 128) packed.push(distance);
    else packed.push(128 | distance & 127, distance >> 7);
    packed.push(...extra(copy.length - MIN_COPY));
    i += copy.length;
    from = i;
  }
  return Uint8Array.from(packed);
}
