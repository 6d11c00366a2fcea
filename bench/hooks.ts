/**
 * `deno task bench hooks`: native libraries fed from an arena, against `malloc`: zlib's deflate streams, Lua states, cJSON.
 * Pairs are run in turn in one process; the ratio is the median over the rounds. Page faults are the kernel's count.
 *
 * @module
 */
import { BumpAlloc } from "../mod.ts";
import { type Asked, Bench, spreadOf } from "./lib/measure.ts";
import { measureProcess } from "./lib/process_work.ts";

const bench = new Bench("hooks", { quickRounds: 1 });

/** Minor page faults of this process so far; null if the system does not report them. */
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

/** Reports how many times as long `malloc` takes as `arena`, for one of `count`; `before` is not timed. */
async function compare(
  what: string,
  asked: Asked,
  count: number,
  arena: () => void,
  malloc: () => void,
  before: () => void = () => {},
): Promise<void> {
  if (!bench.wants(what)) return;
  const faults: [number[], number[]] = [[], []];
  const measured = (i: 0 | 1, run: () => void) => {
    const figures = measure(run, count);
    faults[i].push(figures.faults);
    return figures.microseconds;
  };
  const [own, other] = await bench.inTurn([["arena", () => measured(0, arena)], ["malloc", () => {
    before();
    return measured(1, malloc);
  }]], { warmUp: bench.quick ? 0 : 2 });
  const [few, many] = faults.map((list) => spreadOf(list.slice(-bench.rounds)).median.toFixed(1));
  bench.compared("µs", {
    what,
    own: [own.name, own.samples],
    peers: [[other.name, other.samples, asked]],
  }, { note: `${few} / ${many} page faults` });
}

// ---- zlib ----------------------------------------------------------------------------------------

const STREAMS = bench.quick ? 50 : 1000;
const STREAM_SIZE = 112;
const FINISH = 4;
const STREAM_END = 1;

/**
 * glibc trims its heap by itself when the top is free. In a program that keeps a later allocation the heap stays, and the
 * next streams take no page faults.
 */
function mallocTrim(): ((keep: bigint) => number) | null {
  try {
    return Deno.dlopen("libc.so.6", { malloc_trim: { parameters: ["usize"], result: "i32" } }).symbols.malloc_trim;
  } catch {
    return null;
  }
}

async function deflateStreams(): Promise<void> {
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
  bench.about(
    "zlib streams on 1 KiB, set up, run and dropped: an arena takes all back with one reset, malloc frees " +
      "each block. The second row is malloc after it has returned its pages, as glibc does when the top of " +
      "its heap is free.",
  );
  const together = [() => {
    for (const stream of streams) setUp(stream, true);
    for (const stream of streams) run(stream);
    scratch.reset();
  }, () => {
    for (const stream of streams) setUp(stream, false);
    for (const stream of streams) run(stream);
    for (const stream of streams) deflateEnd(stream.bytes);
  }] as const;
  await compare("deflate streams, all set up, run and dropped", { atLeast: 1.3 }, STREAMS, ...together);
  const trim = mallocTrim();
  if (trim !== null) {
    await compare("the same when malloc has given its pages back", {}, STREAMS, ...together, () => trim(0n));
  }
  bench.about(
    "The same streams one after the other, by how the arena's memory comes back. The work of deflate " +
      "dominates, and malloc reuses bytes in the cache.",
  );
  const oneByOne = () => {
    for (const stream of streams) {
      setUp(stream, false);
      run(stream);
      deflateEnd(stream.bytes);
    }
  };
  await compare("deflate streams one after the other, a reset after each", {}, STREAMS, () => {
    for (const stream of streams) {
      setUp(stream, true);
      run(stream);
      scratch.reset();
    }
  }, oneByOne);
  await compare("deflate streams one after the other, each ended, no reset", { atLeast: 1 }, STREAMS, () => {
    for (const stream of streams) {
      setUp(stream, true);
      run(stream);
      deflateEnd(stream.bytes);
    }
  }, oneByOne);
  await compare("deflate streams one after the other, dropped, one reset at the end", {}, STREAMS, () => {
    for (const stream of streams) {
      setUp(stream, true);
      run(stream);
    }
    scratch.reset();
  }, oneByOne);
}

// ---- Lua -----------------------------------------------------------------------------------------

const TABLES = (rows: number) => `
  local rows, names = {}, {}
  for i = 1, ${rows} do rows[i] = { id = i, name = "item " .. i, tags = { "a", "b", i % 7 } } end
  for i, row in ipairs(rows) do names[i] = row.name:upper() .. #row.tags end
  return table.concat(names, ",")`;

/** Objects live for a while, and memory that the collector frees is reused. */
const COLLECTED = `
  local live, sum = {}, 0
  for i = 1, 300000 do
    local key = i * 7919 % 20011
    local before = live[key]
    if before then sum = sum + #before.name end
    live[key] = { name = "n" .. i, sub = { i, i + 1 }, call = i % 3 == 0 and function() return i end or nil }
  end
  return sum`;

const GARBAGE = `
  local sum = 0
  for i = 1, 50000 do local pair = { i, tostring(i) } sum = sum + #pair[2] end
  return sum`;

async function luaStates(): Promise<void> {
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
  const scripts: [what: string, asked: Asked, script: string, count: number][] = [
    ["the libraries only", {}, "return 1", 500],
    ["200 tables and strings", { atLeast: 1.5 }, TABLES(200), 200],
    ["5,000 tables and strings", { atLeast: 1.3 }, TABLES(5000), 10],
    ["100,000 short-lived objects", { atLeast: 1.2 }, GARBAGE, 5],
    ["a program that collects for long", { atLeast: 1.1 }, COLLECTED, 1],
  ];
  bench.about(
    "Lua states: many small objects that die together, where an arena gains most. lua_close visits each " +
      "object, a reset moves one number.",
  );
  for (const [what, asked, text, count] of scripts) {
    const script = new TextEncoder().encode(text);
    const times = bench.quick ? 1 : count;
    await compare(`a Lua state, ${what}, thrown away`, asked, times, () => {
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

// ---- cJSON ---------------------------------------------------------------------------------------

async function documents(): Promise<void> {
  const what = "a JSON document of 1.6 MB parsed and freed, again and again";
  if (!bench.wants(what)) return;
  bench.about(
    "cJSON documents, in a process of their own, because cJSON has one allocator for the whole process.",
  );
  const measured = (hooked: boolean) => () => measureProcess("json", bench.quick ? 2 : 20, hooked).microseconds;
  const [own, other] = await bench.inTurn([["arena", measured(true)], ["malloc", measured(false)]], {
    warmUp: 0,
    rounds: bench.quick ? 1 : 7,
  });
  bench.compared("µs", { what, own: [own.name, own.samples], peers: [[other.name, other.samples]] });
}

for (const part of [deflateStreams, luaStates, documents]) {
  try {
    await part();
  } catch (error) {
    if (!(error as Error).message.includes("cannot open shared object file")) throw error;
    console.error(`${part.name}: not measured, the library is not installed`);
  }
}
bench.finish();
