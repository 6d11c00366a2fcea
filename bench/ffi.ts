/**
 * `deno task bench ffi`: arguments of FFI calls, against the usual code and against careful manual code, as ratios of pairs measured in turn.
 *
 * @module
 */
import { BumpAlloc } from "../mod.ts";
import { Bench, type Loop, STEADY } from "./lib/measure.ts";

const bench = new Bench("ffi");

const name = { linux: "libc.so.6", darwin: "libSystem.B.dylib" }[Deno.build.os as string] ?? "ucrtbase.dll";
const { symbols: libc } = Deno.dlopen(name, {
  strlen: { parameters: ["buffer"], result: "usize" },
  frexp: { parameters: ["f64", "buffer"], result: "f64" },
  strtod: { parameters: ["buffer", "buffer"], result: "f64" },
  time: { name: name === "ucrtbase.dll" ? "_time64" : "time", parameters: ["buffer"], result: "i64" },
});

const ASCII = "thirty characters of plain tex";
const OTHER = "dreißig Zeichen: Äpfel, Öl, Üb";
const encoder = new TextEncoder();
const scratch = new BumpAlloc();

/** Runs `body` in scopes of a hundred calls, like a program that opens a scope for each task. */
function frames(body: (frame: Pick<BumpAlloc, "cstring" | "out">) => unknown): Loop {
  return (count) => {
    let sink: unknown;
    for (let i = 0; i < count; i += 100) {
      using frame = scratch.scope();
      for (let j = 0; j < 100; j++) sink = body(frame);
    }
    return sink;
  };
}

function loop(body: () => unknown): Loop {
  return (count) => {
    let sink: unknown;
    for (let i = 0; i < count; i++) sink = body();
    return sink;
  };
}

const steady = { batch: 100, milliseconds: STEADY };
/** Made once, outside of the loops: careful code has to size and share these by hand. */
const textAtHand = new Uint8Array(128);
const endAtHand = new BigUint64Array(1);
const encodeAtHand = (text: string) => {
  const { written } = encoder.encodeInto(text, textAtHand);
  textAtHand[written] = 0;
  return textAtHand;
};
bench.about(
  "A C string made and passed to strlen, against encodeInto into an array made once, the best that a " +
    "program could write, and against encode, which most programs write. A hundred calls share a scope. " +
    "The last row is the floor: passing a string that exists already.",
);
await bench.compare({
  what: "a C string of 30 ASCII characters, made and passed",
  own: ["cstring", frames((frame) => libc.strlen(frame.cstring(ASCII)))],
  peers: [['encode(s + "\\0")', loop(() => libc.strlen(encoder.encode(ASCII + "\0"))), { atLeast: 8 }], [
    "encodeInto, an array made once",
    loop(() => libc.strlen(encodeAtHand(ASCII))),
  ]],
}, steady);
await bench.compare({
  what: "the same with characters beyond ASCII",
  own: ["cstring", frames((frame) => libc.strlen(frame.cstring(OTHER)))],
  peers: [['encode(s + "\\0")', loop(() => libc.strlen(encoder.encode(OTHER + "\0"))), { atLeast: 4 }], [
    "encodeInto, an array made once",
    loop(() => libc.strlen(encodeAtHand(OTHER))),
  ]],
}, steady);
const passed = encoder.encode(ASCII + "\0");
await bench.compare({
  what: "an existing C string, passed: the floor",
  own: ["passed", loop(() => libc.strlen(passed))],
  peers: [['encode(s + "\\0")', loop(() => libc.strlen(encoder.encode(ASCII + "\0")))]],
}, steady);
bench.about(
  "An out-parameter made, passed and read, against a new array of one element.",
);
await bench.compare({
  what: "out-parameter int, made, passed and read",
  own: [
    'out("i32")',
    frames((frame) => {
      const out = frame.out("i32");
      libc.frexp(8, out.view);
      return out.value;
    }),
  ],
  peers: [[
    "new Int32Array(1)",
    loop(() => {
      const out = new Int32Array(1);
      libc.frexp(8, out);
      return out[0];
    }),
    { atLeast: 5 },
  ]],
}, steady);
await bench.compare({
  what: "out-parameter int64_t, made, passed and read",
  own: [
    'out("u64")',
    frames((frame) => {
      const out = frame.out("u64");
      libc.time(out.view);
      return out.value;
    }),
  ],
  peers: [[
    "new BigUint64Array(1)",
    loop(() => {
      const out = new BigUint64Array(1);
      libc.time(out);
      return out[0];
    }),
    { atLeast: 5 },
  ]],
}, steady);
bench.about(
  "A whole call with a frame of its own: a C string and an out-parameter. The first peer is careful " +
    "code whose arrays are made once; the second is the code that most programs contain.",
);
const NUMBER = "1984.5 and more, 30 characters";
await bench.compare({
  what: "a call with a C string of 30 characters and an out-parameter, which is read: a frame for each",
  own: [
    "frame()",
    loop(() => {
      const frame = scratch.frame();
      const end = frame.out("u64");
      libc.strtod(frame.cstring(NUMBER), end.view);
      const value = end.value;
      frame.end();
      return value;
    }),
  ],
  peers: [
    [
      "encodeInto and arrays, made once by hand",
      loop(() => {
        libc.strtod(encodeAtHand(NUMBER), endAtHand);
        return endAtHand[0];
      }),
      { atMost: 1.2 },
    ],
    [
      'encode(s + "\\0") and a new array',
      loop(() => {
        const end = new BigUint64Array(1);
        libc.strtod(encoder.encode(NUMBER + "\0"), end);
        return end[0];
      }),
    ],
  ],
}, steady);
bench.about(
  "The address of scratch memory, for structs and for pointer arguments, against Deno's own functions.",
);
const view = scratch.alloc(64);
await bench.compare({
  what: "the address of a view",
  own: ["addressOf", loop(() => scratch.addressOf(view))],
  peers: [[
    "UnsafePointer.value(UnsafePointer.of)",
    loop(() => Deno.UnsafePointer.value(Deno.UnsafePointer.of(view))),
    { atLeast: 20 },
  ]],
});
await bench.compare({
  what: "a pointer to a view",
  own: ["pointerOf", loop(() => scratch.pointerOf(view))],
  peers: [["UnsafePointer.of", loop(() => Deno.UnsafePointer.of(view)), { atLeast: 4 }]],
});
bench.finish();
