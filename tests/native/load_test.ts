import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { extractToFile } from "../../src/native/extract.ts";
import { memoryFile } from "../../src/native/memory_file.ts";
import { platform, prebuilt } from "../../src/native/prebuilt.ts";
import { ABI, symbols } from "../../src/native/symbols.ts";
import { LOADING } from "../permissions.ts";

const MOD = new URL("../../mod.ts", import.meta.url).href;
const linux = Deno.build.os === "linux";

/** Starts Deno with exactly these flags on a program that allocates, and prints what it allocated or the error. */
async function allocateWith(
  flags: string[],
  env: Record<string, string> = {},
): Promise<{ out: string; error: string; success: boolean }> {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(
      file,
      `import { BumpAlloc } from ${JSON.stringify(MOD)};
       using scratch = new BumpAlloc();
       console.log(scratch.alloc(100).fill(1).length);`,
    );
    const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--no-check", "--no-prompt", "--no-config", ...flags, file],
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
    }).output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
    return { out: text(stdout), error: text(stderr), success };
  } finally {
    await Deno.remove(file);
  }
}

async function assertAllocates(flags: string[], env?: Record<string, string>): Promise<void> {
  assertEquals(await allocateWith(flags, env), { out: "100", error: "", success: true });
}

Deno.test({
  name: "on Linux --allow-ffi alone is enough",
  ignore: !linux, // elsewhere the library has to be written to a file
  fn: () => assertAllocates(["--allow-ffi"]),
});

Deno.test({
  name: "on Linux no temporary folder is needed",
  ignore: !linux,
  async fn() {
    for (const TMPDIR of ["/proc", "/does/not/exist", "/dev/null"]) await assertAllocates(["--allow-ffi"], { TMPDIR });
    await assertAllocates(["--allow-ffi", "--deny-write", "--deny-read"]);
  },
});

Deno.test("without permission Deno's own error reaches the caller, and asks nothing", async () => {
  const { error, success } = await allocateWith([]);
  assert(!success);
  assertStringIncludes(error, "NotCapable");
  assertStringIncludes(error, "--allow-ffi");
});

Deno.test("a scoped grant is refused with the reason", async () => {
  const { error, success } = await allocateWith(["--allow-ffi=/tmp"]);
  assert(!success);
  assertStringIncludes(error, "NotCapable");
  assertStringIncludes(error, "A scoped grant");
});

Deno.test("BUMP_ALLOC_LIB names another file; what fails says which", async () => {
  const flags = ["--allow-ffi", "--allow-env", "--allow-read"];
  const missing = await allocateWith(flags, { BUMP_ALLOC_LIB: "/does/not/exist.so" });
  assertStringIncludes(missing.error, "/does/not/exist.so");
  assertStringIncludes(missing.error, "BUMP_ALLOC_LIB");
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, "no library");
    const wrong = await allocateWith([...flags, "--allow-write"], { BUMP_ALLOC_LIB: file });
    assert(!wrong.success);
    assertStringIncludes(wrong.error, file);
    await Deno.writeFile(file, prebuilt!.bytes());
    await assertAllocates([...flags, ...LOADING], { BUMP_ALLOC_LIB: file });
    // Without --allow-env it is not looked at.
    await assertAllocates([...LOADING], { BUMP_ALLOC_LIB: "/does/not/exist.so" });
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("there is a library for this platform", () => {
  assert(prebuilt !== null, `none for ${platform}`);
  assert(prebuilt.bytes().length > 4096);
});

/** Loads from a file and calls one function. */
function loads(path: string): boolean {
  const library = Deno.dlopen(path, { bump_abi: symbols.bump_abi });
  const abi = library.symbols.bump_abi();
  library.close();
  return abi === ABI;
}

Deno.test({
  name: "the fallback: a private folder, removed after loading",
  ignore: Deno.build.os === "windows", // a loaded library cannot be removed there
  fn() {
    const file = extractToFile(prebuilt!.bytes());
    const folder = file.path.slice(0, file.path.lastIndexOf("/"));
    assertEquals(Deno.statSync(folder).mode! & 0o777, 0o700);
    assert(loads(file.path));
    file.remove();
    assertEquals(existing(folder), false);
  },
});

Deno.test({
  name: "a memory file's descriptor is closed once the library is loaded",
  ignore: !linux,
  fn() {
    for (let i = 0; i < 20; i++) {
      const file = memoryFile(prebuilt!.bytes());
      assert(isMemoryFile(file.path));
      assert(loads(file.path));
      file.remove();
      assert(!isMemoryFile(file.path));
    }
  },
});

function isMemoryFile(path: string): boolean {
  try {
    return Deno.readLinkSync(path).includes("memfd:bump_alloc");
  } catch {
    return false; // closed, and the number may be another file's by now
  }
}

function existing(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
