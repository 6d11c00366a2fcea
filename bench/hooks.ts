/**
 * `deno task bench:hooks`: native libraries fed from an arena, against `malloc`: zlib's deflate streams and Lua states.
 * Pairs are run in turn in one process; the ratio is the median over the rounds. Page faults are the kernel's count.
 *
 * `--quick` runs everything once; a word runs only the rows that hold it: `deno task bench:hooks Lua`.
 *
 * @module
 */
import { BumpAlloc } from "../mod.ts";

const quick = Deno.args.includes("--quick");
const only = Deno.args.find((arg) => !arg.startsWith("-")) ?? "";
const ROUNDS = quick ? 1 : 15;
const WARM_UP = quick ? 0 : 2;

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

/** Page faults of this process so far that needed no disk; null where the system does not tell. */
function pageFaults(): number | null {
  if (Deno.build.os !== "linux") return null;
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1].split(" ");
  return Number(fields[7]); // minflt
}

interface Figures {
  readonly microseconds: number;
  readonly faults: number;
}

function measure(run: () => void, count: number): Figures {
  const faults = pageFaults() ?? 0;
  const start = performance.now();
  run();
  const microseconds = (performance.now() - start) * 1000 / count;
  return { microseconds, faults: ((pageFaults() ?? 0) - faults) / count };
}

/** Prints how many times as long `malloc` takes as `arena`, and both for one of `count`; `before` is not timed. */
function compare(
  what: string,
  asked: string,
  count: number,
  arena: () => void,
  malloc: () => void,
  before: () => void = () => {},
): void {
  if (!what.includes(only)) return;
  const rounds: [Figures, Figures][] = [];
  for (let round = 0; round < WARM_UP + ROUNDS; round++) {
    // Whoever is second in one round is first in the next.
    const ownFirst = round % 2 === 0;
    let own = ownFirst ? measure(arena, count) : null;
    before();
    const other = measure(malloc, count);
    own ??= measure(arena, count);
    if (round >= WARM_UP) rounds.push([own, other]);
  }
  const ratio = median(rounds.map(([own, other]) => other.microseconds / own.microseconds));
  const [own, other] = [0, 1].map((i) => ({
    time: median(rounds.map((pair) => pair[i].microseconds)).toPrecision(3),
    faults: median(rounds.map((pair) => pair[i].faults)).toFixed(1),
  }));
  console.log(
    `| ${what} | ${asked} | ${ratio.toFixed(2)} | ${own.time} | ${other.time} | ${own.faults} | ${other.faults} |`,
  );
}

console.log(
  "| what | asked | ratio | arena µs | malloc µs | arena faults | malloc faults |\n|---|---|---|---|---|---|---|",
);

// ---- zlib ----------------------------------------------------------------------------------------

const STREAMS = quick ? 50 : 1000;
const STREAM_SIZE = 112;
const FINISH = 4;
const STREAM_END = 1;

/**
 * What glibc does by itself when the top of its heap is free: in a program that keeps something that it allocated
 * meanwhile the heap stays, and the next streams need no page fault.
 */
function mallocTrim(): ((keep: bigint) => number) | null {
  try {
    return Deno.dlopen("libc.so.6", { malloc_trim: { parameters: ["usize"], result: "i32" } }).symbols.malloc_trim;
  } catch {
    return null;
  }
}

function deflateStreams(): void {
  const { zlibVersion, deflateInit2_, deflate, deflateEnd } = Deno.dlopen("libz.so.1", {
    zlibVersion: { parameters: [], result: "pointer" },
    deflateInit2_: { parameters: ["buffer", "i32", "i32", "i32", "i32", "i32", "pointer", "i32"], result: "i32" },
    deflate: { parameters: ["buffer", "i32"], result: "i32" },
    deflateEnd: { parameters: ["buffer"], result: "i32" },
  }).symbols;
  const version = zlibVersion();
  using scratch = new BumpAlloc();
  const { zalloc, zfree, opaque } = scratch.hooks.zlib;
  const callbacks = [zalloc, zfree, opaque].map((pointer) => Deno.UnsafePointer.value(pointer));

  const input = Deno.readFileSync(new URL(import.meta.url)).slice(0, 1024);
  const output = new Uint8Array(4096);
  const addresses = [input, output].map((bytes) => Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes)));
  const streams = Array.from({ length: STREAMS }, () => {
    const words = new BigUint64Array(STREAM_SIZE / 8);
    return { words, bytes: new Uint8Array(words.buffer), halves: new Uint32Array(words.buffer) };
  });
  type Stream = typeof streams[number];

  function setUp(stream: Stream, hooked: boolean): void {
    stream.words.fill(0n);
    if (hooked) stream.words.set(callbacks, 8);
    const result = deflateInit2_(stream.bytes, 6, 8, 15, 8, 0, version, STREAM_SIZE);
    if (result !== 0) throw new Error(`deflateInit2_: ${result}`);
  }
  function run(stream: Stream): void {
    stream.words[0] = addresses[0];
    stream.halves[2] = input.length;
    stream.words[3] = addresses[1];
    stream.halves[8] = output.length;
    const result = deflate(stream.bytes, FINISH);
    if (result !== STREAM_END) throw new Error(`deflate: ${result}`);
  }
  const together = [() => {
    for (const stream of streams) setUp(stream, true);
    for (const stream of streams) run(stream);
    scratch.reset();
  }, () => {
    for (const stream of streams) setUp(stream, false);
    for (const stream of streams) run(stream);
    for (const stream of streams) deflateEnd(stream.bytes);
  }] as const;
  compare("deflate streams, all set up, run and dropped", "1.3", STREAMS, ...together);
  const trim = mallocTrim();
  if (trim !== null) {
    compare("the same when malloc has given its pages back", "", STREAMS, ...together, () => trim(0n));
  }
  const oneByOne = () => {
    for (const stream of streams) {
      setUp(stream, false);
      run(stream);
      deflateEnd(stream.bytes);
    }
  };
  compare("deflate streams one after the other, a reset after each", "", STREAMS, () => {
    for (const stream of streams) {
      setUp(stream, true);
      run(stream);
      scratch.reset();
    }
  }, oneByOne);
  compare("deflate streams one after the other, one reset at the end", "", STREAMS, () => {
    for (const stream of streams) {
      setUp(stream, true);
      run(stream);
    }
    scratch.reset();
  }, oneByOne);
  compare("the same with retain: 0", "", STREAMS, () => {
    for (const stream of streams) {
      setUp(stream, true);
      run(stream);
    }
    scratch.reset({ retain: 0 });
  }, oneByOne);
}

// ---- Lua -----------------------------------------------------------------------------------------

const TABLES = (rows: number) => `
  local rows, names = {}, {}
  for i = 1, ${rows} do rows[i] = { id = i, name = "item " .. i, tags = { "a", "b", i % 7 } } end
  for i, row in ipairs(rows) do names[i] = row.name:upper() .. #row.tags end
  return table.concat(names, ",")`;

const GARBAGE = `
  local sum = 0
  for i = 1, 50000 do local pair = { i, tostring(i) } sum = sum + #pair[2] end
  return sum`;

function luaStates(): void {
  const lua = Deno.dlopen("liblua5.4.so.0", {
    luaL_newstate: { parameters: [], result: "pointer" },
    lua_newstate: { parameters: ["pointer", "pointer"], result: "pointer" },
    lua_close: { parameters: ["pointer"], result: "void" },
    luaL_openlibs: { parameters: ["pointer"], result: "void" },
    luaL_loadbufferx: { parameters: ["pointer", "buffer", "usize", "buffer", "pointer"], result: "i32" },
    lua_pcallk: { parameters: ["pointer", "i32", "i32", "i32", "isize", "pointer"], result: "i32" },
  }).symbols;
  using scratch = new BumpAlloc();
  const { alloc, ud } = scratch.hooks.lua;
  const name = new TextEncoder().encode("=script\0");

  function run(state: Deno.PointerValue, script: Uint8Array<ArrayBuffer>): void {
    lua.luaL_openlibs(state);
    const loaded = lua.luaL_loadbufferx(state, script, BigInt(script.length), name, null);
    const result = loaded === 0 ? lua.lua_pcallk(state, 0, 1, 0, 0n, null) : loaded;
    if (result !== 0) throw new Error(`Lua: ${result}`);
  }
  const scripts: [what: string, asked: string, script: string, count: number][] = [
    ["the libraries only", "", "return 1", 500],
    ["200 tables and strings", "1.2", TABLES(200), 200],
    ["5,000 tables and strings", "1.2", TABLES(5000), 10],
    ["100,000 short-lived objects", "", GARBAGE, 5],
  ];
  for (const [what, asked, text, count] of scripts) {
    const script = new TextEncoder().encode(text);
    const times = quick ? 1 : count;
    compare(`a Lua state, ${what}, thrown away`, asked, times, () => {
      for (let i = 0; i < times; i++) {
        run(lua.lua_newstate(alloc, ud), script);
        scratch.reset();
      }
    }, () => {
      for (let i = 0; i < times; i++) {
        const state = lua.luaL_newstate();
        run(state, script);
        lua.lua_close(state);
      }
    });
  }
}

for (const part of [deflateStreams, luaStates]) {
  try {
    part();
  } catch (error) {
    if (!(error as Error).message.includes("cannot open shared object file")) throw error;
    console.log(`| ${part.name}: the library is not installed | | | | | | |`);
  }
}
