// Real programs write byte for byte the same with all their memory from a region, and end the same.
import { assertEquals } from "@std/assert";
import { makeInputs, type Program, programs } from "../../bench/lib/programs.ts";
import { preload } from "../../src/preload/preload.ts";
import { testUnless } from "../support/skip.ts";
import { type Ended, noPreload, outputOf } from "./support.ts";

/** What the bench does not measure, for want of work for an allocator. */
const OTHERS: Record<string, [string, ...string[]]> = {
  "find": ["find", ".", "-name", "*.ts", "-size", "+1k", "-print"],
  "tar": ["tar", "--sort=name", "-cf", "-", "sources"],
  "gzip": ["gzip", "-c", "rows.json"],
  "xz": ["xz", "-c", "-3", "rows.json"],
  "make": ["make", "-f", "Makefile"],
  "bc": ["bc", "-q", "work.bc"],
  "ffmpeg": ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=duration=1:size=64x64", "-f", "md5", "-"],
  "deno check": ["deno", "check", "--quiet", "--no-config", "work.ts"],
};

const INPUTS: Record<string, string> = {
  "Makefile": "all: one two\n\t@echo all\n%:\n\t@echo $@ $(words $(wildcard sources/*.ts))\n",
  "work.bc": "scale = 300\n4 * a(1)\nquit\n",
  "work.ts":
    'const rows = new Map<string, number[]>([["a", [1, 2]]]);\nconsole.log(rows.get("a")?.map((n) => n * 2));\n',
};

/** Those that do not end with 0. */
const STATUSES: Record<string, number> = { diff: 1 };

const inputs = Deno.makeTempDirSync({ prefix: "bump_inputs_" });
if (noPreload === null) {
  await makeInputs(inputs, 0.1);
  for (const [name, text] of Object.entries(INPUTS)) Deno.writeTextFileSync(`${inputs}/${name}`, text);
}

/** A program's output with these variables; nothing is left of the last time that it ran. */
async function run({ command }: Program, env: Record<string, string>): Promise<Ended> {
  const cache = await Deno.makeTempDir({ prefix: "bump_cache_" });
  try {
    const fixed = { NO_COLOR: "1", LC_ALL: "C.UTF-8", DENO_DIR: cache, DENO_NO_UPDATE_CHECK: "1", LD_PRELOAD: "" };
    return await outputOf(command, { cwd: inputs, env: { ...fixed, GIT_CONFIG_GLOBAL: "/dev/null", ...env } });
  } finally {
    await Deno.remove(cache, { recursive: true });
  }
}

for (const program of [...programs(), ...programs(OTHERS)]) {
  const { name, missing } = program;
  const reason = noPreload ?? (missing === null ? null : `no ${missing}`);
  testUnless(reason, `${name}: the same with the library, recycling or not, as without`, async () => {
    const plain = await run(program, {});
    assertEquals(plain.end, STATUSES[name] ?? 0, plain.error);
    for (const recycle of [true, false]) {
      using bump = preload({ recycle });
      assertEquals(await run(program, bump.env), plain);
    }
  });
}

globalThis.addEventListener("unload", () => Deno.removeSync(inputs, { recursive: true }));
