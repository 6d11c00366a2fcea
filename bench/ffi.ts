/**
 * `deno task bench:ffi`: what a call frame costs, beside the usual way, as ratios of pairs measured in turn in one run.
 *
 * @module
 */
import { BumpAlloc } from "../mod.ts";

const quick = Deno.args.includes("--quick");
const ROUNDS = quick ? 3 : 15;
const CALLS = quick ? 2_000 : 200_000;

const name = { linux: "libc.so.6", darwin: "libSystem.B.dylib" }[Deno.build.os as string] ?? "ucrtbase.dll";
const { symbols: libc } = Deno.dlopen(name, {
  strlen: { parameters: ["buffer"], result: "usize" },
  frexp: { parameters: ["f64", "buffer"], result: "f64" },
  time: { name: name === "ucrtbase.dll" ? "_time64" : "time", parameters: ["buffer"], result: "i64" },
});

const ASCII = "thirty characters of plain tex";
const OTHER = "dreißig Zeichen: Äpfel, Öl, Üb";
const encoder = new TextEncoder();
const scratch = new BumpAlloc();

/** Runs `body` in frames of a hundred calls, as a program would that opens a scope for each piece of work. */
function frames(body: (frame: Pick<BumpAlloc, "cstring" | "out">) => unknown): (count: number) => unknown {
  return (count) => {
    let sink: unknown;
    for (let i = 0; i < count; i += 100) {
      using frame = scratch.scope();
      for (let j = 0; j < 100; j++) sink = body(frame);
    }
    return sink;
  };
}

function loop(body: () => unknown): (count: number) => unknown {
  return (count) => {
    let sink: unknown;
    for (let i = 0; i < count; i++) sink = body();
    return sink;
  };
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

function nanoseconds(run: (count: number) => unknown): number {
  const start = performance.now();
  run(CALLS);
  return (performance.now() - start) * 1e6 / CALLS;
}

function compare(what: string, asked: string, own: (count: number) => unknown, other: (count: number) => unknown) {
  const pairs: [number, number][] = [];
  for (let round = 0; round < ROUNDS + 2; round++) {
    const pair: [number, number] = [nanoseconds(own), nanoseconds(other)];
    if (round >= 2) pairs.push(pair); // two compile the loops
  }
  const ratio = median(pairs.map(([a, b]) => b / a));
  const [a, b] = [0, 1].map((i) => median(pairs.map((pair) => pair[i])));
  console.log(`| ${what} | ${asked} | ${ratio.toPrecision(3)} | ${a.toFixed(0)} | ${b.toFixed(0)} |`);
}

console.log("| what | asked | ratio | own ns | other ns |");
console.log("|---|---|---|---|---|");
compare(
  'C string of 30 ASCII characters, made and passed, against encode(s + "\\0")',
  ">= 8",
  frames((frame) => libc.strlen(frame.cstring(ASCII))),
  loop(() => libc.strlen(encoder.encode(ASCII + "\0"))),
);
compare(
  "the same with characters beyond ASCII",
  ">= 4",
  frames((frame) => libc.strlen(frame.cstring(OTHER))),
  loop(() => libc.strlen(encoder.encode(OTHER + "\0"))),
);
const passed = encoder.encode(ASCII + "\0");
compare(
  "(passing alone, against the whole usual way)",
  "",
  loop(() => libc.strlen(passed)),
  loop(() => libc.strlen(encoder.encode(ASCII + "\0"))),
);
compare(
  "out-parameter int, made, passed and read, against Int32Array(1)",
  ">= 5",
  frames((frame) => {
    const out = frame.out("i32");
    libc.frexp(8, out.view);
    return out.value;
  }),
  loop(() => {
    const out = new Int32Array(1);
    libc.frexp(8, out);
    return out[0];
  }),
);
compare(
  "out-parameter int64_t, made, passed and read, against BigUint64Array(1)",
  ">= 5",
  frames((frame) => {
    const out = frame.out("u64");
    libc.time(out.view);
    return out.value;
  }),
  loop(() => {
    const out = new BigUint64Array(1);
    libc.time(out);
    return out[0];
  }),
);
const view = scratch.alloc(64);
compare(
  "addressOf against UnsafePointer.value(UnsafePointer.of)",
  ">= 20",
  loop(() => scratch.addressOf(view)),
  loop(() => Deno.UnsafePointer.value(Deno.UnsafePointer.of(view))),
);
compare(
  "pointerOf against UnsafePointer.of",
  ">= 4",
  loop(() => scratch.pointerOf(view)),
  loop(() => Deno.UnsafePointer.of(view)),
);
