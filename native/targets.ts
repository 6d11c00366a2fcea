/**
 * The prebuilt libraries: the library for six platforms, and what Linux preloads to whole programs, with the commands that
 * compile and link each.
 *
 * @module
 */

/** Version of clang, lld and llvm. Other versions give other bytes. */
export const LLVM = "19";

/** Flags of every target. */
export const COMMON = [
  "-std=c11",
  "-Oz",
  "-ffreestanding",
  "-nostdlibinc", // keeps out the system headers of the build machine
  "-fvisibility=hidden",
  "-fno-asynchronous-unwind-tables",
  "-fno-unwind-tables",
  "-fno-stack-protector",
  "-fno-ident",
  "-ffunction-sections",
  "-fdata-sections",
  "-Wall",
  "-Wextra",
  "-Werror",
];

/** Names of the source and the object file, which end up in the output. */
export const SOURCE = "library.c";
const OBJECT = "library.o";

/** The same for what is preloaded. */
export const PRELOAD_SOURCE = "preload.c";
const PRELOAD_OBJECT = "preload.o";
/** Sources that the library does without. */
export const PRELOAD_ONLY = [PRELOAD_SOURCE, "runs.c"];

/** One library for one operating system and processor. */
export interface Target {
  /** As Deno.build has them: `linux_x86_64`. */
  readonly platform: string;
  /** The one file of native/ that is compiled, and the object that comes of it. */
  readonly source: string;
  readonly object: string;
  readonly triple: string;
  readonly flags: readonly string[];
  /** File name of the linked library. */
  readonly file: string;
  /** The command that links `object` to `file`. */
  readonly link: readonly [string, ...string[]];
  /** The generated module, from the checkout's folder on. */
  readonly module: string;
}

/** What all targets of the library have in common. */
function library(platform: string): Pick<Target, "platform" | "source" | "object" | "module"> {
  return { platform, source: SOURCE, object: OBJECT, module: `src/native/prebuilt/${platform}.ts` };
}

function linux(arch: "x86_64" | "aarch64"): Target {
  return {
    ...library(`linux_${arch}`),
    triple: `${arch}-unknown-linux-gnu`,
    // Calls between own functions bypass the linkage table, because no other library may replace them. Out-of-line
    // atomics would call a runtime library that is not linked.
    flags: [
      "-fPIC",
      "-fno-plt",
      "-fno-semantic-interposition",
      ...(arch === "aarch64" ? ["-mno-outline-atomics"] : []),
    ],
    file: "bump_alloc.so",
    link: linkLinux(OBJECT, "bump_alloc.so"),
  };
}

function linkLinux(object: string, file: string): Target["link"] {
  return [
    `ld.lld-${LLVM}`,
    "-shared",
    "-o",
    file,
    object,
    // One small file for 4, 16 and 64 KiB pages.
    ...["-z", "max-page-size=65536", "-z", "noseparate-code"],
    ...["-z", "relro", "-z", "now", "-z", "noexecstack"],
    "--build-id=none",
    "--hash-style=gnu",
    "--gc-sections",
    "--strip-all",
    `-soname=${file}`,
  ];
}

/** The library that replaces a program's `malloc`: made for speed, with the names of C's own functions. */
function preload(arch: "x86_64" | "aarch64"): Target {
  const { platform, triple, flags } = linux(arch);
  return {
    platform,
    source: PRELOAD_SOURCE,
    object: PRELOAD_OBJECT,
    triple,
    flags: [...flags, "-O2"],
    file: "bump_preload.so",
    link: linkLinux(PRELOAD_OBJECT, "bump_preload.so"),
    module: `src/preload/prebuilt/${platform}.ts`,
  };
}

function darwin(arch: "x86_64" | "aarch64"): Target {
  const apple = arch === "aarch64" ? "arm64" : arch;
  return {
    ...library(`darwin_${arch}`),
    triple: `${apple}-apple-macos12`,
    flags: ["-fPIC"],
    file: "bump_alloc.dylib",
    link: [
      `ld64.lld-${LLVM}`,
      "-dylib",
      ...["-arch", apple, "-platform_version", "macos", "12.0", "12.0"],
      ...["-o", "bump_alloc.dylib", "-install_name", "@rpath/bump_alloc.dylib"],
      OBJECT,
      "libSystem.tbd",
      "-fixup_chains",
      "-adhoc_codesign",
      "-dead_strip",
      "-x",
    ],
  };
}

function windows(arch: "x86_64" | "aarch64"): Target {
  const machine = arch === "aarch64" ? "arm64" : "x64";
  return {
    ...library(`windows_${arch}`),
    triple: `${arch}-pc-windows-msvc`,
    flags: ["-fms-extensions"],
    file: "bump_alloc.dll",
    link: [
      `lld-link-${LLVM}`,
      "/dll",
      `/machine:${machine}`,
      "/nodefaultlib",
      "/entry:DllMain",
      "/out:bump_alloc.dll",
      ...["/Brepro", "/dynamicbase", "/nxcompat", "/highentropyva", "/opt:ref"],
      OBJECT,
      "kernel32.lib",
    ],
  };
}

/** All targets. */
export const TARGETS: readonly Target[] = [
  linux("x86_64"),
  linux("aarch64"),
  darwin("x86_64"),
  darwin("aarch64"),
  windows("x86_64"),
  windows("aarch64"),
  preload("x86_64"),
  preload("aarch64"),
];
