/**
 * `deno task bench memory`: the cost of using memory for the first time, resident memory, and the effect of a large
 * reservation on the garbage collector. Each measurement runs in its own process. Those that count collections have a small
 * heap that always grows by the same ratio: otherwise the engine collects so rarely, and depends so much on the clock, that
 * counts would mean little.
 *
 * @module
 */
import { Bench } from "./lib/measure.ts";

const bench = new Bench("memory", { rounds: 5, quickRounds: 1 });
const MIB = 2 ** 20;
const SMALL_HEAP = ["--max-semi-space-size=1", "--heap-growing-percent=30"];

interface Child {
  readonly value: number;
  /** Memory of the process at its end, in bytes. */
  readonly resident: number;
  readonly anonymous: number;
  /** How often the engine collected its whole heap. */
  readonly collections: number;
}

function run(what: string, amount: number, v8Flags: readonly string[] = []): Child {
  const script = new URL("./memory_child.ts", import.meta.url).pathname;
  const flags = [
    "--no-check",
    "-A",
    "--import-map",
    "tests/offline/import_map.json",
    `--v8-flags=${["--trace-gc", ...v8Flags]}`,
  ];
  const { success, stdout, stderr } = new Deno.Command(Deno.execPath(), {
    args: ["run", ...flags, script, what, String(amount)],
    cwd: new URL("..", import.meta.url),
  }).outputSync();
  const [trace, printed] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes).trimEnd().split("\n"));
  if (!success) throw new Error(printed.join("\n"));
  const collections = trace.filter((line) => line.includes("Mark-Compact")).length;
  return { ...JSON.parse(printed.at(-1)!), collections };
}

const byteLength = bench.quick ? 16 * MIB : 1024 * MIB;
const fills = `first fill of ${byteLength / MIB} MiB`;
if (bench.wants(fills)) {
  bench.about(
    "Filling a large block. The first fill pays for page faults, whoever allocates; huge pages take fewer " +
      "of them. Memory that was filled before pays nothing: that is the gain of keeping it.",
  );
  const pages = Deno.build.os === "linux" ? hugePages() : "unknown";
  const note = `huge pages here: ${pages}`;
  const [huge, small, warm, plain] = await bench.inTurn(
    ["huge pages", "small pages", "warm", "plain"].map((way) => [way, () => run(`fill ${way}`, byteLength).value]),
    { warmUp: 0, rounds: Math.min(3, bench.rounds) }, // a round is ten seconds
  );
  for (const { name, samples } of [huge, small, warm]) {
    bench.compared("ms", {
      what: name === "warm" ? `fill of ${byteLength / MIB} MiB that were used before` : fills,
      own: [name === "warm" ? "alloc" : `alloc, ${name}`, samples],
      peers: [["new Uint8Array", plain.samples, name === "huge pages" ? { atLeast: 4 } : {}]],
    }, { note: name === "huge pages" ? note : undefined });
  }
}

const written = "1 GiB reserved, 1 MiB written";
if (bench.wants(written)) {
  bench.about(
    "Resident memory of a process that reserves a gigabyte and writes a megabyte: reserved memory takes " +
      "no RAM.",
  );
  const memory: Record<string, Child[]> = { nothing: [], "one FFI call": [], reserved: [] };
  for (let round = 0; round < bench.rounds; round++) {
    for (const [way, children] of Object.entries(memory)) children.push(run(`memory ${way}`, MIB));
  }
  const more = (kind: "resident" | "anonymous", than: string, asked = {}) => {
    const bytes = memory.reserved.map((child, round) => child[kind] - memory[than][round][kind]);
    bench.value(`${written}: ${kind} memory, more than ${than}`, "MiB", bytes.map((count) => count / MIB), asked);
  };
  // Resident memory that is not anonymous is clean pages of files, most of them of Deno's executable, which any FFI call
  // needs. The kernel may drop them, and other processes share them.
  more("resident", "nothing", { atMost: 3 });
  more("resident", "one FFI call");
  more("anonymous", "nothing");
}

const objects = bench.quick ? 400_000 : 2_500_000;
const churned = `${objects} objects made`;
if (bench.wants(churned)) {
  bench.about(
    "Full collections while a program makes objects: V8 counts a large buffer as memory in use and " +
      "collects more often. A reservation must not do that; the second peer shows one buffer over the same " +
      "range.",
  );
  const churn = (way: string) => [way, () => run(`churn ${way}`, objects, SMALL_HEAP).collections] as const;
  const [with16, without, whole] = await bench.inTurn([churn("reserved"), churn("nothing"), churn("one buffer")], {
    warmUp: 0,
    rounds: Math.min(3, bench.rounds), // a round is ten seconds
  });
  bench.compared("full collections", {
    what: churned,
    own: ["16 GiB reserved", with16.samples],
    peers: [["nothing reserved", without.samples, { atMost: 1.1 }], ["one ArrayBuffer over 16 GiB", whole.samples]],
  });
}
bench.finish();

/** The kernel's setting for huge pages, in its own words. */
function hugePages(): string {
  try {
    const text = Deno.readTextFileSync("/sys/kernel/mm/transparent_hugepage/enabled");
    return /\[(\w+)\]/.exec(text)![1];
  } catch {
    return "not in this kernel";
  }
}
