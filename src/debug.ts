/**
 * Debug mode: finds late writes, leaks, and who is open. Nothing here runs, and no field is there, while it is off.
 *
 * A late write changes poison. Memory that was taken back is remembered until it is handed out again or leaves the
 * allocator, and looked at then, now and then by a timer, at close and at exit.
 */

import type { Chunks } from "./chunks.ts";
import { StaleWriteError } from "./errors.ts";

/** Byte that memory which was taken back is filled with. */
export const POISON = 0xdd;

const POISON_WORD = 0xdddddddd;

/** Turns debug mode on for a whole process, where `--allow-env` permits to see it. */
const VARIABLE = "BUMP_ALLOC_DEBUG";

/** How often memory that was taken back is looked at, in milliseconds, and how many times. */
const INTERVAL = 250;
const LOOKS = 8;

/** Closed regions wait so long for late writes, unless more than this many do, or they hold more bytes. */
const MOST_CLOSED = 64;
const MOST_CLOSED_BYTES = 2 ** 28;

/** How many stacks an error lists. */
const MOST_LISTED = 5;

/** The event that tells of a leak. */
const LEAK = "bumpleak";

let byDefault: boolean | undefined;

/** Whether the environment asks for debug mode. It is never a prompt. */
export function isDebugDefault(): boolean {
  return byDefault ??= Deno.permissions.querySync({ name: "env", variable: VARIABLE }).state === "granted" &&
    Deno.env.get(VARIABLE) === "1";
}

/** What the package's own lines of a stack contain. */
const OWN_FILES = import.meta.url.endsWith("/src/debug.ts") ? new URL(".", import.meta.url).href : import.meta.url;

/**
 * The stack of whoever called the package. To take it costs some microseconds, and to make text of it twenty times that: so
 * that is left until somebody reads it. Until then V8 keeps the objects whose methods the stack names, so that those would
 * never be collected: the timer's next turn makes text of what is still there.
 */
class Trace {
  #error: Error | null;
  #text = "";

  constructor() {
    this.#error = new Error();
    startTimer();
  }

  toString(): string {
    if (this.#error === null) return this.#text;
    const lines = `${this.#error.stack}`.split("\n").slice(1);
    const theirs = lines.filter((line) => !line.includes(OWN_FILES));
    this.#text = (theirs.length > 0 ? theirs : lines).join("\n");
    this.#error = null;
    return this.#text;
  }
}

/** Something that must be ended: by whom it was opened. It refers to no object of the program. */
interface Holder {
  readonly kind: string;
  readonly openedAt: Trace;
  /** Offset where its memory begins. */
  readonly start: number;
}

/** What this file asks of an arena that begins. */
interface Opened {
  readonly kind: string;
  /** 0 is the allocator or lease, 1 its scope, and so on. */
  readonly depth: number;
  /** Offset where its memory begins. */
  readonly start: number;
}

/** Memory that was taken back, and not handed out again. */
interface Ended {
  readonly from: number;
  readonly to: number;
  readonly holder: Holder;
  readonly endedAt: Trace;
}

/** What this file asks of a hold. */
export interface Memory {
  readonly chunks: Chunks;
  /** Sees which windows were transferred away: what receivers write is no late write. */
  reportLost(): void;
  /** Calls `use` with committed bytes. */
  withBytes(from: number, to: number, use: (bytes: Uint8Array<ArrayBuffer>) => void): void;
}

/** What debug mode knows of one hold. */
export class Debug {
  readonly #memory: Memory;
  /** Who is open: the allocator or lease, its scope, and so on. */
  readonly #holders: Holder[] = [];
  readonly #pins = new Map<object, { depth: number; openedAt: Trace }>();
  /** Disjoint. */
  #ended: Ended[] = [];
  #looks = 0;
  #release: (() => void) | null = null;

  constructor(memory: Memory) {
    this.#memory = memory;
    live.add(this);
    prepare();
  }

  // ---- who is open -----------------------------------------------------------------------------

  /** An allocator, lease or scope begins; `object` is what its user has. */
  open({ kind, depth, start }: Opened, object: object): void {
    const holder = { kind, openedAt: new Trace(), start };
    this.#holders[depth] = holder;
    open.add(holder);
    collected.register(object, holder, holder);
  }

  /** What is open from a depth on has ended. */
  close(depth: number): void {
    for (const holder of this.#holders.splice(depth)) {
      open.delete(holder);
      collected.unregister(holder);
    }
  }

  /** Where what is open at a depth was opened: for an error. */
  openAt(depth: number): string {
    const holder = this.#holders.at(depth);
    return holder === undefined ? "" : `\nThe ${holder.kind} was opened\n${holder.openedAt}`;
  }

  pin(pin: object, depth: number): void {
    this.#pins.set(pin, { depth, openedAt: new Trace() });
  }

  unpin(pin: object): void {
    this.#pins.delete(pin);
  }

  /** Where the pins from a depth on were made. */
  pinsFrom(depth: number): string {
    const places = [...this.#pins.values()].filter((pin) => pin.depth >= depth).map((pin) => `${pin.openedAt}`);
    return list("It was pinned", places);
  }

  // ---- late writes -----------------------------------------------------------------------------

  /** [from, to) was taken back, and is poison now. */
  reclaim(from: number, to: number): void {
    const endedAt = new Trace();
    const holders = this.#holders;
    for (let depth = 0; depth < holders.length; depth++) {
      const holder = holders[depth];
      const low = Math.max(from, holder.start);
      const high = Math.min(to, holders[depth + 1]?.start ?? Infinity);
      this.#memory.chunks.forEach(low, high, (from, to) => {
        this.forget(from, to);
        this.#ended.push({ from, to, holder, endedAt });
      });
    }
    this.#looks = LOOKS;
    watched.add(this);
  }

  /** Nobody looks at [from, to) any more. */
  forget(from: number, to: number): void {
    if (!this.#ended.some((ended) => ended.from < to && ended.to > from)) return;
    this.#ended = this.#ended.flatMap((ended) => {
      const rest: Ended[] = [];
      if (ended.from < from) rest.push({ ...ended, to: Math.min(ended.to, from) });
      if (ended.to > to) rest.push({ ...ended, from: Math.max(ended.from, to) });
      return rest;
    });
  }

  /** [from, to) is about to be handed out, or its pages to go: throws when it was written. */
  leave(from: number, to: number): void {
    const error = this.look(from, to);
    if (error !== null) throw error;
    this.forget(from, to);
  }

  /** Whether memory in [from, to) that was taken back was written: the first place. It is poison again then. */
  look(from = 0, to = Infinity): StaleWriteError | null {
    if (this.#holdsPoison(from, to)) return null;
    this.#memory.reportLost();
    let error: StaleWriteError | null = null;
    this.#each(from, to, (ended, low, bytes) => {
      const first = firstDamage(bytes);
      if (first < 0) return;
      const { openedAt, kind } = ended.holder;
      const last = bytes.findLastIndex((byte) => byte !== POISON);
      error ??= new StaleWriteError({
        offset: low + first,
        byteLength: last - first + 1,
        kind,
        openedAt: `${openedAt}`,
        endedAt: `${ended.endedAt}`,
      });
      bytes.fill(POISON);
    });
    return error;
  }

  #holdsPoison(from: number, to: number): boolean {
    let holds = true;
    this.#each(from, to, (_ended, _low, bytes) => holds &&= firstDamage(bytes) < 0);
    return holds;
  }

  #each(from: number, to: number, use: (ended: Ended, low: number, bytes: Uint8Array) => void): void {
    for (const ended of this.#ended) {
      const low = Math.max(from, ended.from);
      const high = Math.min(to, ended.to);
      if (low >= high) continue;
      try {
        this.#memory.withBytes(low, high, (bytes) => use(ended, low, bytes));
      } catch (error) {
        // Without the permission for FFI nobody can look.
        if (!(error instanceof Deno.errors.NotCapable)) throw error;
      }
    }
  }

  // ---- the end ---------------------------------------------------------------------------------

  /** The hold was closed: `release` runs when late writes to it had time to come. */
  outlive(release: () => void): void {
    this.#release = release;
    this.#looks = LOOKS;
    watched.add(this);
    startTimer();
    closed.add(this);
    let bytes = 0;
    for (const debug of closed) bytes += debug.#bytes;
    for (const debug of closed) {
      if (closed.size <= MOST_CLOSED && bytes <= MOST_CLOSED_BYTES) return;
      bytes -= debug.#bytes;
      debug.#finish();
    }
  }

  get #bytes(): number {
    return this.#ended.reduce((sum, { from, to }) => sum + to - from, 0);
  }

  /** Looks for the last time, and releases what was closed. */
  #finish(): void {
    const error = this.look();
    this.drop();
    this.#release?.();
    this.#release = null;
    if (error !== null) reportError(error);
  }

  /** The hold is gone. */
  drop(): void {
    watched.delete(this);
    closed.delete(this);
    live.delete(this);
  }

  /** Makes text of the stacks. */
  settleTraces(): void {
    for (const { openedAt } of this.#holders) `${openedAt}`;
    for (const { openedAt } of this.#pins.values()) `${openedAt}`;
    for (const { holder, endedAt } of this.#ended) `${holder.openedAt}${endedAt}`;
  }

  /** The timer's turn, while late writes may come. */
  tick(): void {
    if (--this.#looks > 0) return report(this.look());
    watched.delete(this);
    if (this.#release !== null) this.#finish();
    else report(this.look());
  }
}

/** Index of the first byte that is no poison, or -1. */
function firstDamage(bytes: Uint8Array): number {
  const { buffer, byteOffset, length } = bytes;
  let i = 0;
  while (i < length && (byteOffset + i) % 4 !== 0) if (bytes[i++] !== POISON) return i - 1;
  const words = new Uint32Array(buffer, byteOffset + i, Math.floor((length - i) / 4));
  let word = 0;
  while (word < words.length && words[word] === POISON_WORD) word++;
  for (i += 4 * word; i < length; i++) if (bytes[i] !== POISON) return i;
  return -1;
}

/** A late write that no call of the program could be told: as an error in a timer. */
function report(error: StaleWriteError | null): void {
  if (error !== null) reportError(error);
}

/** A late write that a pool found when a lease came back: whoever returned it has no part in it. */
export function reportStale(error: unknown): void {
  if (error instanceof StaleWriteError) reportError(error);
}

/** Where the leases of a pool that is full were opened, the longest-held first. */
export function listLeases(holds: Iterable<{ readonly debug: Debug | null }>): string {
  const places: string[] = [];
  for (const { debug } of holds) if (debug !== null) places.push(debug.openAt(0).split("\n").slice(2).join("\n"));
  return list("A lease was opened", places);
}

function list(what: string, places: readonly string[]): string {
  const shown = places.slice(0, MOST_LISTED).map((place) => `\n${what}\n${place}`);
  if (places.length > MOST_LISTED) shown.push(`\nand ${places.length - MOST_LISTED} more`);
  return shown.join("");
}

// ---- the whole realm ---------------------------------------------------------------------------

/** What is open, in the order of opening. */
const open = new Set<Holder>();
/** Every hold in debug mode. */
const live = new Set<Debug>();
/** Those that the timer looks at, in the order of their last end. */
const watched = new Set<Debug>();
/** Those of them that were closed and wait, in the order of closing. */
const closed = new Set<Debug>();
let hasTimer = false;
// Taken once, because tests replace it by one whose time stands still; not at import, because Deno loads Node's timers with
// it: 9 ms and 3 MiB, which programs without debug mode do not pay.
let setRealTimeout: typeof setTimeout | undefined;

const collected = new FinalizationRegistry<Holder>((holder) => {
  if (open.delete(holder)) reportLeak(holder, "was collected, and nobody had ended it");
});

function startTimer(): void {
  if (hasTimer) return;
  hasTimer = true;
  Deno.unrefTimer(setRealTimeout!(() => {
    hasTimer = false;
    for (const debug of [...watched]) debug.tick();
    for (const debug of live) debug.settleTraces();
    if (watched.size > 0) startTimer();
  }, INTERVAL));
}

/** Before the first use. */
function prepare(): void {
  if (setRealTimeout !== undefined) return;
  setRealTimeout = setTimeout;
  addEventListener("unload", atExit);
}

/** Reports what is still open, and throws the first late write: the process then fails. */
function atExit(): void {
  const late: StaleWriteError[] = [];
  for (const debug of live) {
    const error = debug.look();
    if (error !== null) late.push(error);
  }
  for (const holder of open) reportLeak(holder, "is still open at exit");
  open.clear();
  for (const error of late.slice(1)) console.error(error);
  if (late.length > 0) throw late[0];
}

/** Once for each: an event, or a line on stderr when nobody takes it. */
function reportLeak({ kind, openedAt }: Holder, why: string): void {
  const error = new Error(`The ${kind} ${why}. It was opened\n${openedAt}`);
  error.name = "LeakError";
  error.stack = `${error.name}: ${error.message}`;
  if (dispatchEvent(new ErrorEvent(LEAK, { cancelable: true, error, message: error.message }))) {
    console.error(`@bump/alloc: ${error.message}`);
  }
}
