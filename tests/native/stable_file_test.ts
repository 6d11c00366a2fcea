// The library's file on Windows: one file in the temporary folder, compared byte by byte, and reused by later
// processes. Tests that need no Windows run everywhere.
import { assert, assertEquals, assertNotEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { join } from "@std/path";
import { extractToStableFile } from "../../src/native/extract.ts";
import { prebuilt } from "../../src/native/prebuilt.ts";
import { ABI, symbols } from "../../src/native/symbols.ts";
import { testUnless } from "../support/skip.ts";

const windows = Deno.build.os === "windows";
const notWindows = windows ? null : "elsewhere the library is not loaded from there";
const MOD = new URL("../../mod.ts", import.meta.url).href;
const bytes = prebuilt()!;

/** Environment that sets the temporary folder, on any system. */
function temporary(folder: string): Record<string, string> {
  return { TMPDIR: folder, TMP: folder, TEMP: folder };
}

/** Runs a test with its own temporary folder in a user's profile, whose name is an unusual user name. */
async function inFolder(
  test: (folder: string) => void | Promise<void>,
  within = ["AppData", "Local", "Temp"],
): Promise<void> {
  const former = Object.keys(temporary("")).map((name) => [name, Deno.env.get(name)] as const);
  const outer = await Deno.makeTempDir();
  const folder = join(outer, "Zoë ユーザー #1", ...within);
  await Deno.mkdir(folder, { recursive: true });
  for (const [name, value] of Object.entries(temporary(folder))) Deno.env.set(name, value);
  try {
    await test(folder);
  } finally {
    for (const [name, value] of former) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    await Deno.remove(outer, { recursive: true });
  }
}

function names(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
}

function open(path: string): Deno.DynamicLibrary<{ bump_abi: typeof symbols.bump_abi }> {
  return Deno.dlopen(path, { bump_abi: symbols.bump_abi });
}

/** Loads the extracted library, calls it, and unloads it. */
function assertLoads(path: string): void {
  const library = open(path);
  assertEquals(library.symbols.bump_abi(), ABI);
  library.close();
}

/** Runs a program that allocates in its own process. */
async function allocate(
  flags: string[],
  env: Record<string, string>,
  clearEnv = false,
): Promise<{ out: string; error: string }> {
  const code = `import { BumpAlloc } from ${JSON.stringify(MOD)};
    using scratch = new BumpAlloc();
    console.log(scratch.alloc(100).fill(1).length);`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--no-check",
      "--no-prompt",
      "--no-config",
      ...flags,
      "data:text/typescript," + encodeURIComponent(code),
    ],
    env: { NO_COLOR: "1", ...env },
    clearEnv,
    stdin: "null",
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  return { out: text(stdout), error: text(stderr) };
}

Deno.test("the first load writes the file, the second finds it, and nothing else is left", () =>
  inFolder((folder) => {
    const { path } = extractToStableFile(bytes);
    assertEquals(Deno.readFileSync(path), bytes);
    assertLoads(path);
    const { mtime } = Deno.statSync(path);
    const library = open(path); // loaded, as by another process that is still running
    try {
      assertEquals(extractToStableFile(bytes).path, path);
      assertEquals(Deno.statSync(path).mtime, mtime);
      assertEquals(names(folder).map((name) => join(folder, name)), [join(path)]);
    } finally {
      library.close();
    }
  }));

const FOREIGN: Record<string, (path: string) => void> = {
  "other bytes": (path) => Deno.writeFileSync(path, bytes.map((byte, i) => i === 5000 ? byte ^ 1 : byte)),
  "half of the bytes": (path) => Deno.writeFileSync(path, bytes.subarray(0, bytes.length / 2)),
  "the bytes and more": (path) => Deno.writeFileSync(path, new Uint8Array([...bytes, 0])),
  "no bytes": (path) => Deno.writeFileSync(path, new Uint8Array()),
  "a folder": (path) => Deno.mkdirSync(path),
};

for (const [what, make] of Object.entries(FOREIGN)) {
  Deno.test(`${what} under its name: never loaded, never overwritten; another name is used, and found again`, () =>
    inFolder((folder) => {
      const { path } = extractToStableFile(bytes);
      Deno.removeSync(path);
      make(path);
      const before = Deno.statSync(path);
      const second = extractToStableFile(bytes).path;
      assertNotEquals(second, path);
      assertEquals(Deno.readFileSync(second), bytes);
      assertLoads(second);
      assertEquals(extractToStableFile(bytes).path, second);
      const { size, mtime, isDirectory } = Deno.statSync(path);
      assertEquals([size, mtime, isDirectory], [before.size, before.mtime, before.isDirectory]);
      assertEquals(names(folder).length, 2);
    }));
}

Deno.test("other contents under all names: an error that says what to remove, and no further file is left", () =>
  inFolder((folder) => {
    const paths: string[] = [];
    for (let i = 0; i < 16; i++) {
      const { path } = extractToStableFile(bytes);
      paths.push(path);
      Deno.writeFileSync(path, new Uint8Array([i]));
    }
    const error = assertThrows(() => extractToStableFile(bytes), Error);
    assertStringIncludes(error.message, paths[0]);
    assertStringIncludes(error.message, "remove them");
    assertEquals(names(folder).length, 16);
    Deno.removeSync(paths[7]);
    assertEquals(extractToStableFile(bytes).path, paths[7]);
  }));

/** Runs a test in which something happens between the search for a file and the renaming to its name. */
function beforeRenaming(happens: (path: string) => void, test: () => void): void {
  const { renameSync } = Deno;
  Deno.renameSync = (from, to) => {
    happens(String(to));
    renameSync(from, to);
  };
  try {
    test();
  } finally {
    Deno.renameSync = renameSync;
  }
}

Deno.test("another process writes and loads the file at the same moment: its file is used", () =>
  inFolder((folder) => {
    let loaded: ReturnType<typeof open> | undefined;
    const other = (path: string) => {
      Deno.writeFileSync(path, bytes);
      loaded = open(path);
    };
    beforeRenaming(other, () => {
      const { path } = extractToStableFile(bytes);
      assertEquals(names(folder).map((name) => join(folder, name)), [join(path)]);
      assertLoads(path);
    });
    loaded!.close();
  }));

Deno.test("a folder takes the name at the last moment: the next name is used", () =>
  inFolder((folder) => {
    let taken: string | undefined;
    const other = (path: string) => {
      if (taken === undefined) Deno.mkdirSync(taken = path);
    };
    beforeRenaming(other, () => {
      const { path } = extractToStableFile(bytes);
      assertNotEquals(path, taken);
      assertLoads(path);
      assertEquals(names(folder).length, 2);
    });
  }));

Deno.test("a scanner holds the file for a moment: it is renamed afterwards", () =>
  inFolder((folder) => {
    let times = 0;
    const held = () => {
      if (++times < 4) throw new Deno.errors.Busy("a scanner holds it");
    };
    beforeRenaming(held, () => {
      const { path } = extractToStableFile(bytes);
      assertEquals([times, names(folder).map((name) => join(folder, name))], [4, [path]]);
    });
    const { path } = extractToStableFile(bytes);
    assertEquals(names(folder).map((name) => join(folder, name)), [path]);
  }));

Deno.test("a file that cannot be renamed is loaded by its first name, and removed if loading fails", () =>
  inFolder((folder) => {
    const held = () => {
      throw new Deno.errors.PermissionDenied("a scanner holds it");
    };
    beforeRenaming(held, () => {
      const [loaded, refused] = [extractToStableFile(bytes), extractToStableFile(bytes)];
      assertNotEquals(loaded.path, refused.path);
      assertEquals(Deno.readFileSync(loaded.path), bytes);
      assertLoads(loaded.path);
      loaded.remove(true);
      refused.remove(false);
      assertEquals(names(folder).map((name) => join(folder, name)), [loaded.path]);
    });
  }));

Deno.test("a missing permission to rename is an error, not a reason to use another file", () =>
  inFolder((folder) => {
    const denied = () => {
      throw new Deno.errors.NotCapable("no write access");
    };
    beforeRenaming(denied, () => {
      assertThrows(() => extractToStableFile(bytes), Deno.errors.NotCapable);
    });
    assertEquals(names(folder), []);
  }));

Deno.test("outside of a user's profile each process has its own file, and later processes remove old ones", () =>
  inFolder((folder) => {
    const [first, second] = [extractToStableFile(bytes), extractToStableFile(bytes)];
    assertNotEquals(first.path, second.path);
    for (const { path } of [first, second]) {
      assertEquals(Deno.readFileSync(path), bytes);
      assertLoads(path);
    }
    const yesterday = new Date(Date.now() - 86_400_000);
    const foreign = join(folder, "bump_alloc_other.dll");
    Deno.writeFileSync(foreign, new Uint8Array());
    for (const path of [first.path, foreign]) Deno.utimeSync(path, yesterday, yesterday);
    const third = extractToStableFile(bytes);
    const left = [second.path, third.path, foreign].sort();
    assertEquals(names(folder).map((name) => join(folder, name)), left);
  }, ["Temp"]));

/** Opens a file as scanners do: others may read it, but not rename or write it. Returns a function that closes it. */
function hold(path: string): () => void {
  const { symbols: kernel32 } = Deno.dlopen("kernel32.dll", {
    CreateFileW: { parameters: ["buffer", "u32", "u32", "pointer", "u32", "u32", "pointer"], result: "isize" },
    CloseHandle: { parameters: ["isize"], result: "i32" },
  });
  const wide = Uint16Array.from(`${path}\0`, (char) => char.charCodeAt(0));
  const [GENERIC_READ, FILE_SHARE_READ, OPEN_EXISTING] = [0x80000000, 1, 3];
  const handle = kernel32.CreateFileW(wide, GENERIC_READ, FILE_SHARE_READ, null, OPEN_EXISTING, 0, null);
  assertNotEquals(BigInt(handle), -1n, "it cannot be held");
  return () => assertEquals(kernel32.CloseHandle(handle), 1);
}

testUnless(
  notWindows,
  "on Windows a held file is renamed once it is released, or else loaded while it is held",
  () =>
    inFolder((folder) => {
      for (const patience of [3, Infinity]) {
        let release: (() => void) | undefined;
        let times = 0;
        beforeRenaming(() => {
          release ??= hold(join(folder, names(folder).find((name) => name.startsWith("bump_alloc_fresh_"))!));
          if (++times === patience) release();
        }, () => {
          const { path } = extractToStableFile(bytes);
          assertEquals(path.includes("fresh"), patience === Infinity, path);
          assertLoads(path);
          if (patience === Infinity) release!();
          Deno.removeSync(path);
        });
      }
    }),
);

testUnless(notWindows, "eight processes that start at once share one file", () =>
  inFolder(async (folder) => {
    const flags = ["--allow-ffi", "--allow-read", "--allow-write"];
    const results = await Promise.all(Array.from({ length: 8 }, () => allocate(flags, {})));
    for (const result of results) assertEquals(result, { out: "100", error: "" });
    assertEquals(names(folder).length, 1, names(folder).join());
  }));

testUnless(
  notWindows,
  "on Windows a load needs --allow-ffi, --allow-read and --allow-write; the error names the missing one",
  () =>
    inFolder(async () => {
      assertEquals(await allocate(["--allow-ffi", "--allow-read", "--allow-write"], {}), { out: "100", error: "" });
      const write = await allocate(["--allow-ffi", "--allow-read"], {});
      assertStringIncludes(write.error, "NotCapable");
      assertStringIncludes(write.error, "--allow-write");
      const read = await allocate(["--allow-ffi", "--allow-write"], {});
      assertStringIncludes(read.error, "NotCapable");
      assertStringIncludes(read.error, "--allow-read");
    }),
);

testUnless(
  notWindows,
  "on Windows a temporary folder that is missing, or is no folder, is an error that names it",
  () =>
    inFolder(async (folder) => {
      const file = join(folder, "file");
      await Deno.writeTextFile(file, "");
      for (const none of ["C:\\does\\not\\exist", file]) {
        const { out, error } = await allocate(["-A"], temporary(none));
        assertEquals(out, "");
        assertStringIncludes(error, "Cannot load the library for windows_");
        assertStringIncludes(error, "which TMP or TEMP names: it must exist");
      }
    }),
);

testUnless(notWindows, "on Windows TEMP, TMP and LOCALAPPDATA need not be set", async () => {
  // Deno itself does not start without these.
  const env: Record<string, string> = {};
  for (const name of ["SystemRoot", "USERPROFILE"]) env[name] = Deno.env.get(name) ?? "";
  env.DENO_DIR = Deno.env.get("DENO_DIR") ?? join(env.USERPROFILE, "deno");
  const { out, error } = await allocate(["-A"], env, true);
  assert(out === "100", error);
});
