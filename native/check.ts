/**
 * `deno task build:check`: checks that the committed modules match the sources, and that each library has the structure
 * for loading it safely.
 *
 * @module
 */
import { buildAll, type Built, moduleUrl } from "./build.ts";
import { LLVM, PRELOAD_SOURCE, type Target, TARGETS } from "./targets.ts";

const failures: string[] = [];
let checks = 0;

function check({ module: target }: Target, what: string, holds: boolean, seen: unknown = ""): void {
  checks++;
  if (!holds) failures.push(`${target}: ${what}${seen === "" ? "" : `, but: ${seen}`}`);
}

async function tool(name: string, ...args: string[]): Promise<string> {
  const output = await new Deno.Command(`${name}-${LLVM}`, { args }).output();
  if (!output.success) throw new Error(`${name}-${LLVM} failed: ${new TextDecoder().decode(output.stderr)}`);
  return new TextDecoder().decode(output.stdout);
}

/** The names that a target's sources export: the library's headers, or the one file of what is preloaded. */
async function declaredExports({ source }: Target): Promise<string[]> {
  if (source === PRELOAD_SOURCE) {
    const text = await Deno.readTextFile(new URL(source, import.meta.url));
    return [...text.matchAll(/^BUMP_EXPORT\s[^;{]*?\bPRELOADED\((\w+)\)/gm)].map(([, name]) => name).sort();
  }
  const names: string[] = [];
  for await (const entry of Deno.readDir(new URL("./", import.meta.url))) {
    if (!entry.name.endsWith(".h")) continue;
    const text = await Deno.readTextFile(new URL(entry.name, import.meta.url));
    for (const match of text.matchAll(/^BUMP_API\s[^;{]*?\b(bump_\w+)\s*[(\[;]/gm)) names.push(match[1]);
  }
  return [...new Set(names)].sort();
}

/** All functions that allocate, because a block of a function that is not replaced is freed by one that is. */
const MALLOC_FAMILY = [
  ...["malloc", "calloc", "realloc", "reallocarray", "free", "posix_memalign", "aligned_alloc", "memalign", "valloc"],
  ...["pvalloc", "malloc_usable_size", "free_sized", "free_aligned_sized"],
];

/** What the preloaded library may import besides. */
const PRELOAD_IMPORTS = ["environ", "getrlimit"];

/** The functions that the library may import, by system. */
const IMPORTS: Record<string, readonly string[]> = {
  linux: [
    ...[
      "__cxa_atexit",
      "__cxa_finalize",
      "__errno_location",
      "clock_gettime",
      "close",
      "dladdr",
      "dlopen",
      "getentropy",
      "getpagesize",
      "gnu_get_libc_version",
      "madvise",
      "memcpy",
      "memmove",
      "memset",
    ],
    ...["mincore", "mmap", "mprotect", "munmap", "open", "pipe2", "pthread_key_create", "pthread_key_delete"],
    ...["pthread_self", "pthread_setspecific", "read", "sched_yield", "write"],
  ],
  darwin: [
    ...[
      "___cxa_atexit",
      "___cxa_finalize",
      "___error",
      "_bzero",
      "_clock_gettime",
      "_close",
      "_dladdr",
      "_dlopen",
      "_getentropy",
      "_getpagesize",
      "_madvise",
      "_memcpy",
    ],
    ...["_memmove", "_memset", "_mincore", "_mmap", "_mprotect", "_munmap", "_pipe"],
    ...["_pthread_key_create", "_pthread_key_delete", "_pthread_self", "_pthread_setspecific", "_read", "_sched_yield"],
    ...["_write", "dyld_stub_binder"],
  ],
  windows: [
    ...[
      "GetCurrentProcess",
      "GetCurrentThreadId",
      "GetLastError",
      "GetModuleHandleExA",
      "GetProcAddress",
      "GetSystemInfo",
      "GetTickCount64",
    ],
    ...["K32QueryWorkingSetEx", "LoadLibraryExA", "ReadProcessMemory", "SwitchToThread", "VirtualAlloc"],
    ...["VirtualFree", "VirtualQuery", "VirtualUnlock"],
  ],
};

function checkNames(target: Target, exports: string[], declared: string[], imports: string[]): void {
  const same = exports.length === declared.length && exports.every((name, i) => name === declared[i]);
  const odd = [...exports.filter((n) => !declared.includes(n)), ...declared.filter((n) => !exports.includes(n))];
  check(target, "exports exactly what the sources declare", same, odd.join(" "));
  const allowed = [
    ...IMPORTS[target.platform.split("_")[0]],
    ...(target.source === PRELOAD_SOURCE ? PRELOAD_IMPORTS : []),
  ];
  const unexpected = imports.filter((name) => !allowed.includes(name));
  check(target, "imports nothing unexpected", unexpected.length === 0, unexpected.join(" "));
  check(target, "imports something", imports.length > 0);
}

async function checkElf(target: Target, file: string, declared: string[]): Promise<void> {
  const header = await tool("llvm-readelf", "-h", file);
  const machine = target.platform.endsWith("x86_64") ? "Advanced Micro Devices X86-64" : "AArch64";
  check(target, `is for ${machine}`, header.includes(machine));
  const dynamic = await tool("llvm-readelf", "-d", file);
  for (const tag of ["NEEDED", "RPATH", "RUNPATH", "TEXTREL"]) {
    check(target, `has no ${tag}`, !dynamic.includes(`(${tag})`));
  }
  check(target, "binds now", /BIND_NOW|\bNOW\b/.test(dynamic));
  const segments = await tool("llvm-readelf", "-lW", file);
  check(target, "has RELRO", segments.includes("GNU_RELRO"));
  const stack = segments.split("\n").find((line) => line.includes("GNU_STACK")) ?? "";
  check(target, "has a stack that is not executable", /\bRW\s/.test(stack) && !stack.includes("E "), stack);
  const writable = segments.split("\n").filter((line) => line.includes("LOAD") && /\bRWE\b/.test(line));
  check(target, "has no page both writable and executable", writable.length === 0);
  const symbols = (await tool("llvm-readelf", "--dyn-syms", "-W", file)).split("\n")
    .map((line) => line.trim().split(/\s+/)).filter((fields) => fields.length >= 8 && /^\d+:$/.test(fields[0]));
  const name = (fields: string[]) => fields[7].split("@")[0];
  checkNames(
    target,
    symbols.filter((fields) => fields[6] !== "UND").map(name).sort(),
    declared,
    symbols.filter((fields) => fields[6] === "UND").map(name),
  );
}

async function checkMachO(target: Target, file: string, declared: string[], bytes: Uint8Array): Promise<void> {
  const header = await tool("llvm-objdump", "--macho", "--private-headers", file);
  check(target, "is for its processor", header.includes(target.platform.endsWith("x86_64") ? "X86_64" : "ARM64"));
  check(target, "runs from macOS 12 on", /minos 12\.0/.test(header));
  check(target, "has a UUID", header.includes("LC_UUID"));
  const libraries = [...header.matchAll(/cmd LC_LOAD_DYLIB\n[^]*?name (\S+)/g)].map((match) => match[1]);
  check(target, "needs libSystem only", libraries.join() === "/usr/lib/libSystem.B.dylib", libraries.join());
  check(target, "has no RPATH", !header.includes("LC_RPATH"));
  const external = async (...flags: string[]) =>
    (await tool("llvm-nm", "-j", ...flags, file)).split("\n").filter((name) => name !== "").sort();
  checkNames(
    target,
    (await external("-gU")).map((name) => name.replace(/^_/, "")),
    declared,
    await external("-u"),
  );
  const owners = await exitHandlerOwners(file);
  check(
    target,
    "registers its unloading before its notice of the exit, which then comes first",
    owners.length === 2 && owners[0] === 0 && owners[1] > 0,
    owners.join(),
  );
  await checkSignature(target, bytes);
}

/** The owner that each initializer passes to `__cxa_atexit`, in order; 0, the image's header, for a destructor. */
async function exitHandlerOwners(file: string): Promise<number[]> {
  const section = await tool("llvm-objdump", "-s", "--section=__init_offsets", file);
  const words = section.split("\n").filter((line) => /^ [0-9a-f]+ /.test(line))
    .flatMap((line) => line.slice(0, line.indexOf("  ")).trim().split(" ").slice(1));
  return await Promise.all(words.map(async (word) => {
    const start = parseInt(word.match(/../g)!.reverse().join(""), 16);
    const range = [`--start-address=${start}`, `--stop-address=${start + 32}`];
    const code = await tool("llvm-objdump", "-d", "--no-show-raw-insn", ...range, file);
    // arm64: adr x2, 0x0; x86_64: leaq -0x3681(%rip), %rdx ## 0x0
    return parseInt(code.match(/(?:adr\s+x2,|%rdx\s+##) 0x([0-9a-f]+)/)?.[1] ?? "-1", 16);
  }));
}

/** Recomputes the hash of each page that the ad-hoc signature lists. */
async function checkSignature(target: Target, bytes: Uint8Array): Promise<void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const LC_CODE_SIGNATURE = 0x1d;
  const CODE_DIRECTORY = 0xfade0c02;
  let at = 32; // behind the 64-bit Mach-O header
  let start = 0;
  for (let i = view.getUint32(16, true); i > 0; i--) {
    if (view.getUint32(at, true) === LC_CODE_SIGNATURE) start = view.getUint32(at + 8, true);
    at += view.getUint32(at + 4, true);
  }
  check(target, "has a code signature", start > 0);
  if (start === 0) return;
  // The signature's own numbers are big-endian. Its first blob is the code directory.
  const directory = start + view.getUint32(start + 16);
  check(target, "has a code directory", view.getUint32(directory) === CODE_DIRECTORY);
  const hashes = directory + view.getUint32(directory + 16);
  const slots = view.getUint32(directory + 28);
  const limit = view.getUint32(directory + 32);
  const page = 1 << view.getUint8(directory + 39);
  check(target, "signs all that is before the signature", limit === start && slots === Math.ceil(limit / page));
  for (let slot = 0; slot < slots; slot++) {
    const part = bytes.slice(slot * page, Math.min((slot + 1) * page, limit));
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", part));
    const signed = bytes.subarray(hashes + 32 * slot, hashes + 32 * (slot + 1));
    check(target, `page ${slot} has the signed hash`, hash.every((byte, i) => byte === signed[i]));
  }
}

async function checkPe(target: Target, file: string, declared: string[]): Promise<void> {
  const text = await tool("llvm-readobj", "--file-headers", "--coff-exports", "--coff-imports", file);
  const machine = target.platform.endsWith("x86_64") ? "IMAGE_FILE_MACHINE_AMD64" : "IMAGE_FILE_MACHINE_ARM64";
  check(target, `is for ${machine}`, text.includes(machine));
  for (const flag of ["DYNAMIC_BASE", "NX_COMPAT", "HIGH_ENTROPY_VA"]) {
    check(target, `has ${flag}`, text.includes(`IMAGE_DLL_CHARACTERISTICS_${flag}`));
  }
  const exports = [...text.matchAll(/Export \{[^}]*?Name: (\S+)/g)].map((match) => match[1]).sort();
  const libraries = [...text.matchAll(/Import \{\s*Name: (\S+)/g)].map((match) => match[1]);
  check(target, "needs kernel32 only", libraries.join().toLowerCase() === "kernel32.dll", libraries.join());
  checkNames(target, exports, declared, [...text.matchAll(/Symbol: (\w+)/g)].map((match) => match[1]));
}

async function checkStructure({ target, bytes }: Built): Promise<void> {
  const { platform, source } = target;
  const declared = await declaredExports(target);
  if (source === PRELOAD_SOURCE) {
    const lacking = MALLOC_FAMILY.filter((name) => !declared.includes(name));
    check(target, "replaces all of malloc's family", lacking.length === 0, lacking.join(" "));
  }
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeFile(file, bytes);
    if (platform.startsWith("linux")) await checkElf(target, file, declared);
    else if (platform.startsWith("darwin")) await checkMachO(target, file, declared, bytes);
    else await checkPe(target, file, declared);
  } finally {
    await Deno.remove(file);
  }
}

/** Builds a copy of the sources in another folder, with another clock and language. */
async function buildElsewhere(): Promise<Map<string, string>> {
  const folder = await Deno.makeTempDir({ prefix: "another place, ä " });
  try {
    for (const path of ["native/", "src/native/"]) {
      const from = new URL(`../${path}`, import.meta.url);
      await Deno.mkdir(`${folder}/${path}`, { recursive: true });
      for await (const { name, isFile } of Deno.readDir(from)) {
        if (!isFile) continue;
        await Deno.copyFile(new URL(name, from), `${folder}/${path}${name}`);
        await Deno.utime(`${folder}/${path}${name}`, new Date("2001-02-03"), new Date("2001-02-03"));
      }
    }
    const output = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-config", "--no-check", `${folder}/native/build.ts`],
      env: {
        TZ: "Pacific/Chatham",
        LC_ALL: "tr_TR.UTF-8",
        LANG: "tr_TR.UTF-8",
        SOURCE_DATE_EPOCH: "981158400",
        HOME: folder,
      },
      cwd: folder,
    }).output();
    if (!output.success) throw new Error(new TextDecoder().decode(output.stderr));
    const modules = TARGETS.map(async ({ module }): Promise<[string, string]> => [
      module,
      await Deno.readTextFile(`${folder}/${module}`),
    ]);
    return new Map(await Promise.all(modules));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const built = await buildAll();
const elsewhere = await buildElsewhere();
for (const one of built) {
  const committed = await Deno.readTextFile(moduleUrl(one.target)).catch(() => "nothing");
  check(one.target, "the committed module matches the sources", committed === one.module);
  const same = elsewhere.get(one.target.module) === one.module;
  check(one.target, "is the same if built in another folder, time zone and language", same);
}
await Promise.all(built.map(checkStructure));
for (const failure of failures) console.error(`build:check: ${failure}`);
console.log(`${built.length} targets: ${checks - failures.length} checks hold`);
if (failures.length > 0) Deno.exit(1);
