/**
 * The six targets of the prebuilt library, and how each is compiled and linked.
 *
 * @module
 */

/** Version of clang, lld and llvm: other versions give other bytes. */
export const LLVM = "19";

/** Flags of every target. */
export const COMMON = [
  "-std=c11",
  "-Oz",
  "-ffreestanding",
  "-nostdlibinc", // no system header of the machine that builds gets in
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

/** One operating system and processor. */
export interface Target {
  /** As Deno.build has them: `linux_x86_64`. */
  readonly name: string;
  readonly triple: string;
  readonly flags: readonly string[];
  /** What is compiled; the rest of the sources is for other systems. */
  readonly sources: readonly string[];
  /** What the library is called when it is linked: names end up in the bytes. */
  readonly file: string;
  /** The command that links `objects` to `file`; `extra` is an import library or stub. */
  link(objects: string[]): [string, ...string[]];
}

function linux(arch: "x86_64" | "aarch64"): Target {
  return {
    name: `linux_${arch}`,
    triple: `${arch}-unknown-linux-gnu`,
    // Out-of-line atomics would be calls into a runtime library that is not there.
    flags: ["-fPIC", "-fno-plt", "-flto", ...(arch === "aarch64" ? ["-mno-outline-atomics"] : [])],
    sources: ["bump.c", "hooks.c", "memory_file.c", "os_posix.c"],
    file: "bump_alloc.so",
    link: (objects) => [
      `ld.lld-${LLVM}`,
      "-shared",
      "-o",
      "bump_alloc.so",
      ...objects,
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
    sources: ["bump.c", "hooks.c", "os_posix.c"],
    file: "bump_alloc.dylib",
    link: (objects) => [
      `ld64.lld-${LLVM}`,
      "-dylib",
      ...["-arch", apple, "-platform_version", "macos", "12.0", "12.0"],
      ...["-o", "bump_alloc.dylib", "-install_name", "@rpath/bump_alloc.dylib"],
      ...objects,
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
    sources: ["bump.c", "hooks.c", "os_windows.c"],
    file: "bump_alloc.dll",
    link: (objects) => [
      `lld-link-${LLVM}`,
      "/dll",
      `/machine:${machine}`,
      "/nodefaultlib",
      "/entry:DllMain",
      "/out:bump_alloc.dll",
      ...["/Brepro", "/dynamicbase", "/nxcompat", "/highentropyva", "/opt:ref"],
      ...objects,
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
