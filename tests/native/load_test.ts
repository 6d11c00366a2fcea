// Each way of loading the library, and what may prevent it.
import { assert, assertEquals } from "@std/assert";
import { join } from "@std/path";
import { extractToFile } from "../../src/native/extract.ts";
import { memoryFile } from "../../src/native/memory_file.ts";
import { platform, prebuilt } from "../../src/native/prebuilt.ts";
import { ABI, symbols } from "../../src/native/symbols.ts";
import { LOADING } from "../support/permissions.ts";
import { missing, succeeds, testUnless } from "../support/skip.ts";
import { assertAllocates, assertRefused, DENIED, MOD, run, type Start, withTemporary } from "./child.ts";

const notLinux = Deno.build.os === "linux" ? null : "it is for Linux";
const isWindows = Deno.build.os === "windows" ? "Windows has another way: stable_file_test.ts" : null;

Deno.test("there is a library for this platform", () => {
  const bytes = prebuilt();
  assert(bytes !== null, `none for ${platform}`);
  assert(bytes.length > 4096);
});

// ---- from memory -----------------------------------------------------------

/** Loads from a file and calls one function. */
function loads(path: string): boolean {
  const library = Deno.dlopen(path, { bump_abi: symbols.bump_abi });
  const abi = library.symbols.bump_abi();
  library.close();
  return abi === ABI;
}

function isMemoryFile(path: string): boolean {
  try {
    return Deno.readLinkSync(path).includes("memfd:bump_alloc");
  } catch {
    return false; // closed, or the number of another file by now
  }
}

testUnless(notLinux, "a memory file's descriptor is closed once the library is loaded", () => {
  for (let i = 0; i < 20; i++) {
    const file = memoryFile(prebuilt()!);
    assert(isMemoryFile(file.path));
    assert(loads(file.path));
    assert(!isMemoryFile(file.path));
    file.remove(true);
  }
});

testUnless(notLinux, "a memory file that is not loaded is closed, and never another file with its number", () => {
  const refused = memoryFile(new TextEncoder().encode("no library"));
  assert(isMemoryFile(refused.path));
  refused.remove(false);
  assert(!isMemoryFile(refused.path));

  // The library was loaded and closed the descriptor; then a symbol was missing.
  const file = memoryFile(prebuilt()!);
  const number = file.path.split("/").at(-1);
  assert(loads(file.path));
  const opened: Deno.FsFile[] = [];
  const isTaken = () => existing(`/proc/self/fd/${number}`);
  while (!isTaken() && opened.length < 100) opened.push(Deno.openSync("/dev/zero"));
  assert(isTaken());
  file.remove(false);
  assert(isTaken());
  for (const one of opened) one.close();
});

const noCompiler = notLinux ?? missing("cc");

testUnless(
  noCompiler,
  "where memfd_create is refused, the library is loaded from a file, which is removed",
  () =>
    withMemfdAllowed("never", async (start) => {
      await assertAllocates({ ...start, flags: ["--allow-ffi", "--allow-write"] });
      await assertRefused({ ...start, flags: ["--allow-ffi"] }, DENIED, "--allow-write");
    }),
);

for (const allowed of ["flagged", "unflagged"]) {
  testUnless(
    noCompiler,
    `where only a memfd_create that is ${allowed} is permitted, it is loaded from memory`,
    () => withMemfdAllowed(allowed, (start) => assertAllocates({ ...start, flags: ["--allow-ffi"] })),
  );
}

/** Runs `use` with a temporary folder, where only such calls of memfd_create succeed (no_memfd.c). */
async function withMemfdAllowed(allowed: string, use: (start: Omit<Start, "flags">) => Promise<void>): Promise<void> {
  await withTemporary(async (TMPDIR) => {
    const program = `${TMPDIR}/no_memfd`;
    const source = decodeURIComponent(new URL("no_memfd.c", import.meta.url).pathname);
    assert(succeeds(["cc", "-Wall", "-Werror", "-o", program, source]));
    await use({ env: { TMPDIR }, under: [program, allowed] });
    await Deno.remove(program);
  });
}

// ---- from a file -----------------------------------------------------------

testUnless(isWindows, "a file is in a folder that only this user enters, and is removed after loading", () => {
  const file = extractToFile(prebuilt()!);
  const folder = file.path.slice(0, file.path.lastIndexOf("/"));
  assertEquals(Deno.statSync(folder).mode! & 0o777, 0o700);
  assert(loads(file.path));
  file.remove(true);
  assertEquals(existing(folder), false);
});

testUnless(isWindows, "a folder that cannot be removed after loading does not matter", () => {
  const file = extractToFile(prebuilt()!);
  assert(loads(file.path));
  const { removeSync } = Deno;
  Deno.removeSync = () => {
    throw new Error("the file is in use");
  };
  try {
    file.remove(true);
  } finally {
    Deno.removeSync = removeSync;
  }
  assert(existing(file.path));
  file.remove(true);
});

function existing(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

// ---- another library -------------------------------------------------------

const OVERRIDING = [...new Set(["--allow-ffi", "--allow-env", "--allow-read", ...LOADING])];

/** File name of another library. Windows adds an extension to a name that has none. */
const LIBRARY = Deno.build.os === "windows" ? "library.dll" : "library";

/** Writes this platform's library to a file. */
async function library(path: string): Promise<string> {
  await Deno.writeFile(path, prebuilt()!);
  return path;
}

Deno.test("BUMP_ALLOC_LIB names another file, if --allow-env permits reading it", () =>
  withTemporary(async (folder) => {
    const BUMP_ALLOC_LIB = await library(join(folder, LIBRARY));
    await assertAllocates({ flags: OVERRIDING, env: { BUMP_ALLOC_LIB } });
    await assertAllocates({ flags: [...LOADING], env: { BUMP_ALLOC_LIB: "/does/not/exist" } });
    const unreadable = { flags: ["--allow-ffi", "--allow-env"], env: { BUMP_ALLOC_LIB } };
    await assertRefused(unreadable, DENIED, "read access", BUMP_ALLOC_LIB);
    await Deno.remove(BUMP_ALLOC_LIB);
  }));

Deno.test("BUMP_ALLOC_LIB: the file is loaded from its own path, also if that is relative to the current folder", () =>
  withTemporary(async (folder) => {
    await library(join(folder, LIBRARY));
    // A loaded library's file is mapped; Windows refuses to remove it.
    const program = `
      using scratch = new BumpAlloc();
      try {
        const path = ${JSON.stringify(join(folder, LIBRARY))};
        if (Deno.build.os === "linux") console.log(Deno.readTextFileSync("/proc/self/maps").includes(path));
        else Deno.removeSync(path), console.log(Deno.build.os !== "windows");
      } catch {
        console.log(Deno.build.os === "windows");
      }`;
    for (const BUMP_ALLOC_LIB of [join(folder, LIBRARY), LIBRARY, join(".", LIBRARY)]) {
      const ended = await run({ flags: ["-A"], env: { BUMP_ALLOC_LIB }, cwd: folder, program });
      assertEquals(ended, { out: "true", error: "", end: 0 });
      await library(join(folder, LIBRARY));
    }
    await Deno.remove(join(folder, LIBRARY));
  }));

Deno.test("BUMP_ALLOC_LIB: Workers share the loaded library, and the end of a Worker still ends its holds", () =>
  withTemporary(async (folder) => {
    const BUMP_ALLOC_LIB = await library(join(folder, LIBRARY));
    const program = `
      using scratch = new BumpAlloc();
      const worker = \`
        import { BumpAlloc } from \${JSON.stringify(MOD)};
        self.onmessage = ({ data }) => {
          self.kept = BumpAlloc.attach(data);
          self.kept.alloc(100);
          postMessage(null);
        };\`;
      const counts = [];
      for (let i = 0; i < 3; i++) {
        const one = new Worker("data:text/javascript," + encodeURIComponent(worker), { type: "module" });
        one.postMessage(scratch.share());
        await new Promise((resolve) => one.onmessage = resolve);
        const held = scratch.stats().attached;
        one.terminate();
        while (scratch.stats().attached === held) await new Promise((resolve) => setTimeout(resolve, 5));
        counts.push(held - scratch.stats().attached);
      }
      console.log(counts.join(), scratch.alloc(100).fill(7).every((byte) => byte === 7));`;
    assertEquals(
      await run({ flags: ["-A"], env: { BUMP_ALLOC_LIB }, program: `const MOD = ${JSON.stringify(MOD)};${program}` }),
      {
        out: "1,1,1 true",
        error: "",
        end: 0,
      },
    );
    await Deno.remove(BUMP_ALLOC_LIB);
  }));

Deno.test("BUMP_ALLOC_LIB names a missing file, a folder, or no library: an error that names both", () =>
  withTemporary(async (folder) => {
    const file = `${folder}/library`;
    const start = { flags: OVERRIDING, env: { BUMP_ALLOC_LIB: file } };
    const parts = ["Cannot load", file, "BUMP_ALLOC_LIB"];
    await assertRefused(start, ...parts);
    await Deno.mkdir(file);
    await assertRefused(start, ...parts);
    await Deno.remove(file);
    for (const text of ["", "\x7fELF", "no library".repeat(1000)]) {
      await Deno.writeTextFile(file, text);
      await assertRefused(start, ...parts);
    }
    await Deno.remove(file);
  }));

Deno.test("BUMP_ALLOC_LIB names a truncated library: an error, and no SIGBUS", () =>
  withTemporary(async (folder) => {
    const file = `${folder}/library`;
    const bytes = prebuilt()!;
    for (const length of [40, 64, 100, 1000, 4096, bytes.length >> 1, bytes.length - 2000]) {
      await Deno.writeFile(file, bytes.subarray(0, length));
      await assertRefused({ flags: OVERRIDING, env: { BUMP_ALLOC_LIB: file } }, "Cannot load", file, "BUMP_ALLOC_LIB");
    }
    await Deno.remove(file);
  }));

/** A library that is not ours. */
function foreignLibrary(): string | undefined {
  return Deno.readTextFileSync("/proc/self/maps").match(/\/\S*libc\.so\.6$/m)?.[0];
}

testUnless(
  notLinux,
  "a library that is not ours is refused at every attempt, and leaves no descriptor",
  () =>
    withTemporary(async (folder) => {
      const foreign = foreignLibrary();
      assert(foreign !== undefined);
      const text = `${folder}/text`;
      await Deno.writeTextFile(text, "no library");
      for (const BUMP_ALLOC_LIB of [foreign, text]) {
        const program = `
        let refused = 0;
        const descriptors = () => [...Deno.readDirSync("/proc/self/fd")].length;
        const attempt = () => {
          try {
            new BumpAlloc();
          } catch (error) {
            if (error.message.includes("Cannot load " + Deno.env.get("BUMP_ALLOC_LIB"))) refused++;
          }
        };
        attempt();
        const before = descriptors();
        for (let i = 0; i < 20; i++) attempt();
        console.log(refused, descriptors() - before);`;
        const ended = await run({ flags: ["-A"], env: { BUMP_ALLOC_LIB, TMPDIR: folder }, program });
        assertEquals(ended, { out: "21 0", error: "", end: 0 });
      }
      await Deno.remove(text);
    }),
);

// ---- other platforms -------------------------------------------------------

/** Code that makes Deno report another platform. */
function pretend(os: string, arch: string): string {
  return `Object.defineProperty(Deno, "build", { value: { ...Deno.build, os: "${os}", arch: "${arch}" } });`;
}

Deno.test("a platform without a library: importing works, and the error names the platform", async () => {
  const start = { flags: ["--allow-ffi"], before: pretend("freebsd", "riscv64") };
  await assertRefused(start, "Cannot load the native library: there is none for freebsd_riscv64", "BUMP_ALLOC_LIB");
  const imported = await run({ ...start, program: "console.log(typeof BumpAlloc);" });
  assertEquals(imported, { out: "function", error: "", end: 0 });
});

const REFUSED: Record<string, string[]> = {
  linux: ["needs /proc", "mounted noexec"],
  darwin: ["hardened runtime", "com.apple.security.cs.disable-library-validation"],
  windows: ["TMP or TEMP", "Smart App Control"],
};

for (const [os, words] of Object.entries(REFUSED)) {
  testUnless(
    notLinux,
    `${os}: a library that the system does not load is an error that names the usual causes`,
    () =>
      withTemporary(async (TMPDIR) => {
        // A library for another processor, and a file that is no library.
        const env = { TMPDIR };
        const other = Deno.build.arch === "x86_64" ? "aarch64" : "x86_64";
        const flags = ["-A"];
        const name = `Cannot load the library for ${os}_${other}: `;
        await assertRefused({ flags, env, before: pretend(os, other) }, name, ...words);
        const BUMP_ALLOC_LIB = `${TMPDIR}/library`;
        await Deno.writeTextFile(BUMP_ALLOC_LIB, "no library");
        const start = { flags, env: { ...env, BUMP_ALLOC_LIB }, before: pretend(os, other) };
        await assertRefused(start, `Cannot load ${BUMP_ALLOC_LIB}, which BUMP_ALLOC_LIB names: `, words.at(-1)!);
        await Deno.remove(BUMP_ALLOC_LIB);
      }),
  );
}

testUnless(
  isWindows,
  "a platform without a library: the one that deno task build:host made in the checkout is loaded",
  async () => {
    const checkout = await Deno.makeTempDir();
    try {
      const source = new URL("../../", import.meta.url);
      await Deno.mkdir(`${checkout}/native/out`, { recursive: true });
      await copyFolder(new URL("src/", source), `${checkout}/src`);
      await Deno.copyFile(new URL("mod.ts", source), `${checkout}/mod.ts`);
      const start = {
        flags: ["--allow-ffi", "--allow-read", "--allow-write"],
        before: pretend("linux", "riscv64"),
        mod: `file://${checkout}/mod.ts`,
      };
      await assertRefused(start, "there is none for linux_riscv64", "deno task build:host");
      await library(`${checkout}/native/out/libbump.so`);
      await assertAllocates(start);
    } finally {
      await Deno.remove(checkout, { recursive: true });
    }
  },
);

async function copyFolder(from: URL, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyFolder(new URL(`${name}/`, from), `${to}/${name}`);
    else await Deno.copyFile(new URL(name, from), `${to}/${name}`);
  }
}

Deno.test("Deno 1, which has no NotCapable, gets an error that says which version is needed", async () => {
  const start = { flags: ["--allow-ffi"], before: "delete Deno.errors.NotCapable;" };
  await assertRefused(start, `it needs Deno 2.0.0 or newer, and this is ${Deno.version.deno}`);
});
