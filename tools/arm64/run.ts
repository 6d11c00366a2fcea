/**
 * `deno task test:arm64`: the C library's tests and the test suite on Linux arm64, with pages of 4, 16 and 64 KiB,
 * under an emulator. It is some twenty times slower than the host, so tests repeat less (tests/support/times.ts).
 *
 * `--pages=16` selects page sizes in KiB; `--quick` runs the part that CI runs. Further arguments go to the tests:
 * `deno task test:arm64 --pages=16,64 tests/pool_test.ts`.
 *
 * Needs an x64 Debian's apt-get, dpkg-deb, npm and tar, and `apt-get install clang-19 lld-19`.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { CC, deno, DENO_DIR, emulator, PAGE_SIZES, prepare } from "./emulator.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const env = { CC, CXX: CC, DENO_DIR, NO_COLOR: "1", EMULATED: "1", TEST_REPETITIONS: "0.05", FUZZ_RUNS: "20" };

const quick = Deno.args.includes("--quick");

/** The limit for commands that hang under the emulator. */
const LIMIT_MINUTES = quick ? 10 : 60;

/** A short part of the test suite. */
const QUICK = [
  "tests/bump_alloc_test.ts",
  "tests/workers/share_test.ts",
  "tests/hooks/zlib_test.ts",
];

async function start(options: Deno.CommandOptions, command: string, ...args: string[]): Promise<Uint8Array> {
  const limited = ["--kill-after=5", `${LIMIT_MINUTES}m`, command, ...args];
  const child = new Deno.Command("timeout", { cwd: root, ...options, env: { ...env, ...options.env }, args: limited })
    .spawn();
  const stdout = options.stdout === "piped" ? new Response(child.stdout).bytes() : new Uint8Array();
  const { code } = await child.status;
  if (code === 0) return await stdout;
  await Deno.stdout.write(await stdout);
  const why = code === 124 ? `is not done after ${LIMIT_MINUTES} minutes` : `ended with ${code}`;
  console.error(`${command} ${args.join(" ")} ${why}`);
  Deno.exit(1);
}

async function runCTests(pageSize: number): Promise<void> {
  const printed = await start({ stdout: "piped", env: { RUN: emulator(pageSize) } }, "native/tests/run.sh");
  console.log(`== C tests, arm64, pages of ${pageSize} KiB`);
  await Deno.stdout.write(printed);
}

async function runTests(pageSize: number, args: string[]): Promise<void> {
  console.log(`== tests, arm64, pages of ${pageSize} KiB`);
  await start({}, deno(pageSize), "run", "-A", "tests/run.ts", "--no-check", ...args);
}

const chosen = Deno.args.find((arg) => arg.startsWith("--pages="))?.slice("--pages=".length).split(",").map(Number);
const args = Deno.args.filter((arg) => arg !== "--quick" && !arg.startsWith("--pages="));
const sizes = chosen ?? PAGE_SIZES;
const unknown = sizes.filter((size) => !(PAGE_SIZES as readonly number[]).includes(size));
if (unknown.length > 0) {
  throw new RangeError(`Cannot emulate pages of ${unknown} KiB: only of ${PAGE_SIZES.join(", ")}`);
}

await prepare();
if (quick) {
  await Promise.all([...sizes.map(runCTests), runTests(16, QUICK)]);
} else {
  if (args.length === 0) {
    await start({}, deno(4), "run", "-A", "tests/hooks/build_yyjson.ts");
    for (const size of sizes) await runCTests(size);
  }
  for (const size of sizes) await runTests(size, args);
}
