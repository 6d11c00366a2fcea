/**
 * `deno task test:windows`: runs the tests in the real deno.exe, under Debian 12's wine. Further arguments go to its
 * tests. `--quick` runs the tests that differ most on Windows: loading, pools, Workers, native code.
 *
 * It works around two gaps of wine 8. Wine has no bcryptprimitives.dll, so a small one is built. Its VirtualAlloc2 is
 * incomplete, so deno.exe is patched not to find it; V8 then does without, as on old Windows. Needs npm, tar, and
 * `apt-get install wine wine64 clang-19 lld-19 llvm-19`.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { LLVM } from "../../native/targets.ts";
import { prebuilt } from "../../src/native/prebuilt.ts";
import { denoFor, run as runCommand, unpackFromNpm } from "../../tests/support/npm.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** Kept between runs: deno.exe, wine's own files, and Deno's cache. */
const FOLDER = `${ROOT}.cache/windows`;
const DENO = `${FOLDER}/${Deno.version.deno}/deno.exe`;

/** Wine may hang. */
const LIMIT_SECONDS = 600;

const QUICK = [
  ...["native/load_test.ts", "native/stable_file_test.ts", "hooks/hooks_test.ts", "hooks/zlib_test.ts"],
  ...["pool_test.ts", "arena_test.ts", "text_test.ts", "workers/share_test.ts", "lifetimes/pins_test.ts"],
].map((name) => `tests/${name}`);

const ENV = {
  WINEPREFIX: `${FOLDER}/prefix`,
  WINEDEBUG: "-all",
  // Disables .NET, the browser and menu entries, for which wine would open dialogs.
  WINEDLLOVERRIDES: "mscoree,mshtml=;winemenubuilder.exe=d",
  // The folder of zlib, which comes with wine.
  WINEPATH: "/usr/x86_64-w64-mingw32/lib",
  DENO_NO_UPDATE_CHECK: "1",
};

function run(command: string, args: string[], cwd = ROOT): Promise<string> {
  return runCommand(command, args, { cwd, env: ENV, signal: AbortSignal.timeout(300_000) });
}

async function isThere(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Gets deno.exe from npm, and patches it not to find VirtualAlloc2. */
async function getDeno(folder: string): Promise<void> {
  const bytes = await Deno.readFile(await unpackFromNpm(denoFor("win32-x64"), "deno.exe", folder));
  // V8 looks the function up by name.
  const name = new TextEncoder().encode("\0VirtualAlloc2\0");
  let count = 0;
  for (let at = bytes.indexOf(name[1]); at !== -1; at = bytes.indexOf(name[1], at + 1)) {
    if (name.some((byte, i) => bytes[at - 1 + i] !== byte)) continue;
    bytes[at] = "v".charCodeAt(0);
    count++;
  }
  if (count !== 1) throw new Error(`deno.exe names VirtualAlloc2 ${count} times, not once`);
  await Deno.writeFile(`${folder}/deno.exe`, bytes);
}

/** Builds the library that wine 8 lacks. */
async function buildShim(folder: string): Promise<void> {
  await Deno.writeTextFile(`${folder}/advapi32.def`, "LIBRARY advapi32.dll\nEXPORTS\nSystemFunction036\n");
  await run(`llvm-dlltool-${LLVM}`, ["-m", "i386:x86-64", "-d", "advapi32.def", "-l", "advapi32.lib"], folder);
  const source = fileURLToPath(new URL("process_prng.c", import.meta.url));
  const flags = [
    "--target=x86_64-pc-windows-msvc",
    "-O2",
    "-ffreestanding",
    "-nostdlibinc",
    "-Wall",
    "-Wextra",
    "-Werror",
  ];
  await run(`clang-${LLVM}`, [...flags, "-c", source, "-o", "process_prng.o"], folder);
  const link = ["/dll", "/machine:x64", "/nodefaultlib", "/entry:DllMain", "/out:bcryptprimitives.dll"];
  await run(`lld-link-${LLVM}`, [...link, "process_prng.o", "advapi32.lib"], folder);
}

/** Makes the missing parts of the folder. */
async function prepare(): Promise<void> {
  await Deno.mkdir(FOLDER, { recursive: true });
  if (!await isThere(ENV.WINEPREFIX)) {
    const fresh = `${ENV.WINEPREFIX}.new`;
    await Deno.remove(fresh, { recursive: true }).catch(() => {});
    await run("env", [`WINEPREFIX=${fresh}`, "sh", "-c", "wineboot --init && wineserver --wait"]);
    await Deno.rename(fresh, ENV.WINEPREFIX);
  }
  if (!await isThere(DENO)) {
    const folder = await Deno.makeTempDir({ dir: FOLDER });
    try {
      await Promise.all([getDeno(folder), buildShim(folder)]);
      await Deno.mkdir(DENO.slice(0, DENO.lastIndexOf("/")), { recursive: true });
      // Deno goes last, because its file shows that the folder is complete.
      for (const name of ["bcryptprimitives.dll", "deno.exe"]) {
        await Deno.rename(`${folder}/${name}`, `${DENO.slice(0, DENO.lastIndexOf("/"))}/${name}`);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }
}

/** Builds the C tests for Windows and runs them. `test_dll.c` tests the library as it is shipped. */
async function testC(quick: boolean): Promise<void> {
  const compiler = "x86_64-w64-mingw32-gcc";
  if (!await new Deno.Command(compiler, { args: ["--version"] }).output().then(({ success }) => success, () => false)) {
    console.log(`The C tests are skipped: there is no ${compiler} (Debian: gcc-mingw-w64-x86-64-win32)`);
    return;
  }
  const tests: Record<string, string[]> = {
    ...(quick ? {} : { offset: ["test_offset.c"] }), // arithmetic is the same everywhere
    bump: ["test_bump.c", "../library.c"],
    life: ["test_life.c", "../library.c"],
    threads: ["test_threads.c", "../library.c"],
    stress: ["test_stress.c", "stress.c", "../library.c"],
    hooks: ["test_hooks.c", "../library.c"],
    dll: ["test_dll.c"],
  };
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeFile(`${folder}/bump_alloc.dll`, prebuilt("windows_x86_64")!);
    const flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-static"];
    for (const [name, sources] of Object.entries(tests)) {
      const program = `${folder}/${name}.exe`;
      await run(compiler, [...flags, ...sources, "-lpthread", "-o", program], `${ROOT}native/tests`);
      console.log(await run("wine", [program, "bump_alloc.dll"], folder));
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/**
 * Runs refusal.ts under a limit on the memory of wine's process, which limits committed memory. The last line printed
 * shows success, because wine itself does not always exit cleanly under such a limit.
 */
async function testRefusal(): Promise<void> {
  const limited =
    `ulimit -d 4000000; wine "$0" run --allow-ffi --allow-read --allow-write --no-check --quiet "$1"; echo "ended with $?"`;
  const message = await run("sh", ["-c", limited, DENO, "tools/windows/refusal.ts"]);
  if (!message.startsWith("Cannot allocate 8 GiB: ")) throw new Error(message);
  console.log(`Where the system refuses to commit: ${message}`);
}

await prepare();
console.log(`${await run("wine", ["--version"])}: ${(await run("wine", [DENO, "--version"])).split("\n")[0].trim()}`);
const quick = Deno.args.includes("--quick");
if (quick || Deno.args.length === 0) {
  await testC(quick);
  await testRefusal();
}
const args = Deno.args.flatMap((arg) => arg === "--quick" ? QUICK : arg);
const paths = args.filter((arg) => !arg.startsWith("-"));
const child = new Deno.Command("wine", {
  args: [
    ...[DENO, "test", "-A", "--no-check", "--v8-flags=--expose-gc", "--preload=tests/support/load_first.ts"],
    ...["--import-map=tests/offline/import_map.json", ...args],
    ...(paths.length > 0 ? [] : ["tests/"]),
  ],
  cwd: ROOT,
  env: ENV,
  stdin: "null",
}).spawn();
let late = false;
const timer = setTimeout(() => {
  late = true;
  console.error(`the tests did not end within ${LIMIT_SECONDS} s`);
  child.kill("SIGKILL");
}, LIMIT_SECONDS * 1000);
const { code } = await child.status;
clearTimeout(timer);
await run("wineserver", ["--kill"]).catch(() => {}); // processes that did not end
Deno.exit(late ? 1 : code);
