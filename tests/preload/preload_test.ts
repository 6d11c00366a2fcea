// Programs that a Deno program starts, with all their memory from a region.
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { fileURLToPath } from "node:url";
import { preload } from "../../src/preload/preload.ts";
import { mounting, noMounts, withTemporary } from "../native/child.ts";
import { missing, testUnless } from "../support/skip.ts";
import { type Ended, noPreload, outputOf, PRELOAD } from "./support.ts";

const ROOT = new URL("../../", import.meta.url);

/** Without what the tests' own process preloads. */
const CLEAN = { LD_PRELOAD: "" };

// ---- options and errors ----------------------------------------------------

testUnless(noPreload, "only the options that are given reach the program", () => {
  using bump = preload();
  assertEquals(Object.keys(bump.env), ["LD_PRELOAD"]);
  using other = preload({ size: 2 ** 40, recycle: false, hugePages: true });
  const { LD_PRELOAD: _, ...variables } = other.env;
  assertEquals(variables, {
    BUMP_PRELOAD_SIZE: "1099511627776",
    BUMP_PRELOAD_RECYCLE: "0",
    BUMP_PRELOAD_HUGE_PAGES: "1",
  });
});

Deno.test("wrong options are refused in words, whatever the system", () => {
  const refused = (options: unknown, type: new () => Error, message: string) =>
    assertThrows(() => preload(options as undefined), type, message);
  refused(null, TypeError, "Cannot preload: options must be an object, as in { size: 2 ** 32 }, not null");
  refused({ size: "4GiB" }, TypeError, "Cannot preload: the size must be a number, not a string");
  refused({ size: -1 }, RangeError, "Cannot preload: the size must be a whole number");
  refused({ size: 1.5 }, RangeError, "Cannot preload: the size must be a whole number");
  refused({ size: NaN }, RangeError, "Cannot preload: the size must be a whole number");
  refused({ size: 0 }, RangeError, "Cannot preload: the size must be from 1 MiB to 16 TiB, not 0 B");
  refused({ size: 2 ** 45 }, RangeError, "Cannot preload: the size must be from 1 MiB to 16 TiB, not 32 TiB");
  refused({ recycle: 0 }, TypeError, "Cannot preload: recycle must be true or false, not a number");
  refused({ hugePages: "no" }, TypeError, "Cannot preload: hugePages must be true or false, not a string");
});

testUnless(
  Deno.build.os === "linux" ? "there is a library for this system" : null,
  "where there is no library, the error says for which systems there is one",
  () => {
    const error = assertThrows(
      () => preload(),
      Error,
      "Cannot preload: there is a library for Linux on x64 and arm64 only",
    );
    assertStringIncludes(error.message, `${Deno.build.os}_${Deno.build.arch}`);
  },
);

Deno.test("importing the package loads nothing of it", async () => {
  const { out } = await outputOf([Deno.execPath(), "info", "--json", "mod.ts"], { cwd: fileURLToPath(ROOT) });
  const modules: { specifier: string }[] = JSON.parse(out).modules;
  assert(modules.length > 20);
  assertEquals(modules.filter(({ specifier }) => specifier.includes("/preload/")), []);
});

// ---- the file --------------------------------------------------------------

testUnless(noPreload, "the file is private and goes when it is disposed of, which may be done again", () => {
  const bump = preload();
  const folder = bump.path.slice(0, bump.path.lastIndexOf("/"));
  assertEquals(Deno.statSync(folder).mode! & 0o777, 0o700);
  assertEquals(Deno.statSync(bump.path).mode! & 0o777, 0o700);
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["bump_preload.so"]);
  bump[Symbol.dispose]();
  assertThrows(() => Deno.statSync(folder), Deno.errors.NotFound);
  bump[Symbol.dispose]();
});

testUnless(noPreload, "two at once have a file each", () => {
  using first = preload();
  {
    using second = preload();
    assert(first.path !== second.path);
  }
  assert(Deno.statSync(first.path).isFile);
});

/** What a program in a process of its own does. */
const STARTS = `
using bump = preload();
const { stdout, success } = new Deno.Command("grep", {
  args: ["-c", bump.path, "/proc/self/maps"],
  env: bump.env,
  stderr: "inherit",
}).outputSync();
console.log(success && Number(new TextDecoder().decode(stdout)) > 0 ? "preloaded" : "not preloaded");`;

/** Runs a program that may import `preload`, with exactly these permissions. */
async function program(
  body: string,
  flags: readonly string[],
  { env = CLEAN, under = [], cwd }: { env?: Record<string, string>; under?: readonly string[]; cwd?: string } = {},
): Promise<Ended> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(file, `import { preload } from ${JSON.stringify(PRELOAD)};\n${body}`);
    const deno = [Deno.execPath(), "run", "--quiet", "--no-check", "--no-config", "--no-prompt"];
    return await outputOf([...under, ...deno, ...flags, file], { env: { NO_COLOR: "1", ...env }, cwd });
  } finally {
    await Deno.remove(file);
  }
}

function assertRefused({ out, error, end }: Ended, ...parts: string[]): void {
  const lacking = parts.filter((part) => !error.includes(part));
  assertEquals({ out, end, lacking }, { out: "", end: 1, lacking: [] }, error);
}

testUnless(
  noPreload,
  "--allow-write and --allow-run suffice, and the first for the temporary folder only",
  () =>
    withTemporary(async (TMPDIR) => {
      const env = { ...CLEAN, TMPDIR };
      const preloaded = { out: "preloaded\n", error: "", end: 0 };
      assertEquals(await program(STARTS, ["--allow-write", "--allow-run"], { env }), preloaded);
      assertEquals(await program(STARTS, [`--allow-write=${TMPDIR}`, "--allow-run"], { env }), preloaded);
      assertEquals(await program(STARTS, ["-A"], { env }), preloaded);
    }),
);

testUnless(
  noPreload,
  "without --allow-write, or with --allow-run for one program, Deno refuses",
  () =>
    withTemporary(async (TMPDIR) => {
      const env = { ...CLEAN, TMPDIR };
      assertRefused(await program(STARTS, ["--allow-run"], { env }), "NotCapable", "write access");
      assertRefused(await program(STARTS, ["--allow-write"], { env }), "NotCapable", "run");
      const scoped = await program(STARTS, ["--allow-write", "--allow-run=grep"], { env });
      assertRefused(scoped, "NotCapable", "LD_PRELOAD");
    }),
);

testUnless(noPreload, "what LD_PRELOAD held before is kept behind the library, where it may be read", async () => {
  const body = `using bump = preload(); console.log(bump.env.LD_PRELOAD.replace(bump.path, "own"));`;
  const env = { LD_PRELOAD: "libm.so.6 libdl.so.2" };
  const read = async (...flags: string[]) => (await program(body, ["--allow-write", ...flags], { env })).out;
  assertEquals(await read("--allow-env=LD_PRELOAD"), "own:libm.so.6 libdl.so.2\n");
  assertEquals(await read(), "own\n");
  assertEquals(await read("--allow-env=TMPDIR"), "own\n");
});

const FLAGS = ["--allow-write", "--allow-run"];

testUnless(
  noPreload,
  "a temporary folder that LD_PRELOAD cannot name is refused, and nothing is left there",
  () =>
    withTemporary(async (folder) => {
      for (const name of ["a folder", "a:folder", "a$folder"]) {
        const TMPDIR = `${folder}/${name}`;
        Deno.mkdirSync(TMPDIR);
        const ended = await program(STARTS, FLAGS, { env: { ...CLEAN, TMPDIR } });
        assertRefused(ended, `Cannot preload: the path ${TMPDIR}/bump_preload_`, "set TMPDIR to another folder");
        Deno.removeSync(TMPDIR); // it is empty
      }
      Deno.mkdirSync(`${folder}/relative`);
      // With fewer permissions Deno gives an absolute path.
      const ended = await program(STARTS, ["-A"], { env: { ...CLEAN, TMPDIR: "relative" }, cwd: folder });
      assertRefused(ended, "Cannot preload: the path relative/bump_preload_", "must be absolute");
      Deno.removeSync(`${folder}/relative`);
    }),
);

testUnless(noPreload, "a temporary folder that does not exist is refused", async () => {
  const ended = await program(STARTS, FLAGS, { env: { ...CLEAN, TMPDIR: "/no/such/folder" } });
  assertRefused(ended, "Cannot preload: its file cannot be written: ", "set TMPDIR to another folder");
});

testUnless(
  noPreload ?? noMounts,
  "a temporary folder that is mounted noexec is refused",
  () =>
    withTemporary(async (TMPDIR) => {
      const mounted = { env: { ...CLEAN, TMPDIR }, under: mounting(["noexec", TMPDIR]) };
      const ended = await program(STARTS, FLAGS, mounted);
      assertRefused(ended, `Cannot preload: nothing in ${TMPDIR}/bump_preload_`, "is mounted noexec", "set TMPDIR");
      const { error, end } = await program("using _bump = preload();", ["--allow-write"], mounted);
      assertEquals({ error, end }, { error: "", end: 0 }, "without --allow-run nothing can be tried");
    }),
);

// ---- programs --------------------------------------------------------------

testUnless(noPreload, "a program whose variables are cleared is given these", async () => {
  using bump = preload();
  const env = { ...bump.env, PATH: "/usr/bin:/bin" };
  const { out } = await outputOf(["grep", "-o", "-m1", bump.path, "/proc/self/maps"], { clearEnv: true, env });
  assertEquals(out, `${bump.path}\n`);
});

testUnless(noPreload, "a program that starts others hands the library on", async () => {
  using bump = preload();
  const script = `sh -c 'grep -o -m1 ${bump.path} /proc/self/maps; true'; true`;
  assertEquals(await outputOf(["sh", "-c", script], { env: bump.env }), { out: `${bump.path}\n`, error: "", end: 0 });
});

testUnless(noPreload, "a program that has begun goes on when the file is removed", async () => {
  const bump = preload();
  const child = new Deno.Command("sh", {
    args: ["-c", "echo ready; read line; echo $line$line"],
    env: bump.env,
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  assertEquals((await reader.read()).value, "ready\n");
  bump[Symbol.dispose]();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode("again\n"));
  await writer.close();
  assertEquals((await reader.read()).value, "againagain\n");
  await reader.cancel();
  assertEquals((await child.status).success, true);
});

/** Compiles allocates.c, and gives how it ends with the library and without. */
async function allocates(compiler: string, ...flags: string[]): Promise<{ plain: Ended; preloaded: Ended }> {
  const folder = await Deno.makeTempDir();
  try {
    const source = fileURLToPath(new URL("allocates.c", import.meta.url));
    const file = `${folder}/allocates`;
    const compiled = await outputOf([compiler, "-std=c11", "-O1", "-Wall", "-Werror", ...flags, source, "-o", file]);
    assertEquals(compiled, { out: "", error: "", end: 0 });
    using bump = preload();
    return {
      plain: await outputOf([file], { env: CLEAN }),
      preloaded: await outputOf([file], { env: bump.env }),
    };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const PLAIN: Ended = { out: "not preloaded, blocks in the heap\n", error: "", end: 0 };
const PRELOADED: Ended = { out: "preloaded, nothing in the heap\n", error: "", end: 0 };

testUnless(noPreload ?? missing("cc"), "all blocks of a program come from the library", async () => {
  assertEquals(await allocates("cc"), { plain: PLAIN, preloaded: PRELOADED });
});

const noMusl = noPreload ?? (Deno.build.arch === "x86_64" ? missing("musl-gcc") : "it is for x64");

testUnless(noMusl, "and so do those of a program with musl", async () => {
  const { preloaded } = await allocates("musl-gcc");
  assertEquals(preloaded, PRELOADED);
});

testUnless(noPreload ?? missing("cc"), "a static program runs as ever, on memory of its own", async () => {
  assertEquals(await allocates("cc", "-static"), { plain: PLAIN, preloaded: PLAIN });
});

testUnless(noPreload, "without the file the loader says so, and the program runs as ever", async () => {
  const bump = preload();
  bump[Symbol.dispose]();
  const { out, error, end } = await outputOf(["echo", "hello"], { env: bump.env });
  assertEquals({ out, end }, { out: "hello\n", end: 0 });
  assertMatch(error, /bump_preload\.so.* cannot be preloaded/);
});
