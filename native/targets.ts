/**
 * The six targets of the prebuilt library, with the commands that compile and link each.
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
export const OBJECT = "library.o";

/** One operating system and processor. */
export interface Target {
  /** Named like Deno.build: `linux_x86_64`. */
  readonly name: string;
  readonly triple: string;
  readonly flags: readonly string[];
  /** File name of the linked library. */
  readonly file: string;
  /** The command that links {@linkcode OBJECT} to `file`. */
  readonly link: readonly [string, ...string[]];
}

function linux(arch: "x86_64" | "aarch64"): Target {
  return {
    name: `linux_${arch}`,
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
    link: [
      `ld.lld-${LLVM}`,
      "-shared",
      "-o",
      "bump_alloc.so",
      OBJECT,
      // One small file for 4, 16 and 64 KiB pages.
      ...["-z", "max-page-size=65536", "-z", "noseparate-code"],
      ...["-z", "relro", "-z", "now", "-z", "noexecstack"],
      "--build-id=none",
      "--hash-style=gnu",
      "--gc-sections",
      "--strip-all",
      "-soname=bump_alloc.so",
    ],
  };
}

function darwin(arch: "x86_64" | "aarch64"): Target {
  const apple = arch === "aarch64" ? "arm64" : arch;
  return {
    name: `darwin_${arch}`,
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
    name: `windows_${arch}`,
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
];
