/**
 * Downloads an arm64 Deno, the arm64 Debian packages that it needs, and an emulator into .cache/arm64. Nothing is
 * installed.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import { denoFor, run as runCommand, unpackFromNpm } from "../../tests/support/npm.ts";

const DENO = denoFor("linux-arm64-glibc");

/** Debian 12. The emulator comes from its backports, because the one in the release is three times slower. */
const RELEASE = "bookworm";

/** The C library with its headers, and the libraries that the tests of the hooks load. */
const PACKAGES = [
  ...["libc6-dev", "libgcc-12-dev", "libstdc++6"],
  ...["zlib1g", "libzstd1", "liblua5.4-0", "libpcre2-8-0", "libexpat1", "libsqlite3-0", "libcjson1", "libxml2"],
  ...["libfreetype6", "libcurl4"],
];

/** The page sizes of arm64 kernels, in KiB. */
export const PAGE_SIZES = [4, 16, 64] as const;

const CACHE = fileURLToPath(new URL("../../.cache/arm64", import.meta.url));

/** Compiles C for arm64. */
export const CC = `${CACHE}/cc`;

/** Deno's cache. It contains compiled code, so it is separate from the cache of x64. */
export const DENO_DIR = `${CACHE}/deno_dir`;

/** A script that runs an arm64 program with pages of `pageSize` KiB. */
export function emulator(pageSize: number): string {
  return `${CACHE}/${pageSize}k/run`;
}

/** A script that runs the arm64 Deno. */
export function deno(pageSize: number): string {
  return `${CACHE}/${pageSize}k/deno`;
}

/** Makes all of the above, unless they exist already. */
export async function prepare(): Promise<void> {
  const sources = ["emulator.ts", "emulated.c", "page_size.c"].map((name) => here(name));
  const recipe = [CACHE, DENO, ...await Promise.all(sources.map((path) => Deno.readTextFile(path)))].join("\n");
  const made = `${CACHE}/made_from`;
  if (await Deno.readTextFile(made).catch(() => "") === recipe) return;
  if (`${Deno.build.os} ${Deno.build.arch}` !== "linux x86_64") {
    throw new Error("Cannot emulate arm64 here: only on Linux x64");
  }
  console.log(`Getting ${DENO}, the emulator and ${PACKAGES.length} arm64 packages into ${CACHE}`);
  await Deno.remove(CACHE, { recursive: true }).catch(() => {});
  await Deno.mkdir(`${CACHE}/packages/partial`, { recursive: true });
  await Promise.all([getDeno(), getPackages()]);
  await Deno.remove(`${CACHE}/packages`, { recursive: true });

  await writeScript(CC, `exec clang-19 --target=aarch64-linux-gnu --sysroot='${CACHE}/root' -fuse-ld=lld "$@"`);
  const compile = (name: string, output: string, ...flags: string[]) =>
    run(CC, "-O2", "-Wall", "-Wextra", "-Werror", ...flags, here(name), "-o", `${CACHE}/${output}`);
  await compile("emulated.c", "emulated.so", "-fPIC", "-shared");
  await compile("page_size.c", "page_size");
  const original = await Deno.readFile(`${CACHE}/root/usr/bin/qemu-aarch64`);
  for (const size of PAGE_SIZES) {
    await Deno.mkdir(`${CACHE}/${size}k`);
    const qemu = `${CACHE}/${size}k/qemu`;
    await Deno.writeFile(qemu, size === 4 ? original : withPageSize(original, size), { mode: 0o755 });
    const start = `exec '${qemu}' -L '${CACHE}/root' -E "LD_PRELOAD=${CACHE}/emulated.so\${LD_PRELOAD:+:\$LD_PRELOAD}"`;
    await writeScript(emulator(size), `${start} "$@"`);
    await writeScript(deno(size), `${start} -0 '${deno(size)}' '${CACHE}/package/deno' "$@"`);
    const kept = Number(await run(emulator(size), `${CACHE}/page_size`));
    if (kept !== size * 1024) throw new Error(`Cannot emulate pages of ${size} KiB: the emulator has ${kept} bytes`);
  }
  await Deno.remove(`${CACHE}/root/usr/bin`, { recursive: true }); // the emulators of all processors: 200 MB
  await Deno.writeTextFile(made, recipe);
}

async function getDeno(): Promise<void> {
  await Deno.chmod(await unpackFromNpm(DENO, "deno", CACHE), 0o755);
}

/** Downloads the packages with apt, which finds dependencies and checks signatures; with its own lists and settings. */
async function getPackages(): Promise<void> {
  const format = ["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Identifier: Packages"];
  const lines = (await run("apt-get", ...format)).split("\n");
  const archive = lines.find((line) => line.startsWith("Debian http"))?.replace("Debian ", "");
  if (archive === undefined) throw new Error("Cannot find Debian's archive in apt's lists: run apt-get update");
  const suites = [RELEASE, `${RELEASE}-backports`];
  const key = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg";
  const state = `${CACHE}/packages`;
  await Deno.mkdir(`${state}/lists/partial`, { recursive: true });
  await Deno.writeTextFile(
    `${state}/sources.list`,
    suites.map((suite) => `deb [${key}] ${archive} ${suite} main\n`).join(""),
  );
  await Deno.writeTextFile(`${state}/status`, "");
  await Deno.writeTextFile(
    `${state}/apt.conf`,
    `Dir::State "${state}"; Dir::State::status "${state}/status"; Dir::Cache "${state}"; Dir::Cache::archives "${state}";
     Dir::Etc::sourcelist "${state}/sources.list"; Dir::Etc::sourceparts "/dev/null";
     APT::Architecture "arm64"; APT::Architectures { "arm64"; "amd64"; };
     APT::Sandbox::User "root"; Acquire::Languages "none"; APT::Install-Recommends "false";`,
  );
  const apt = (...args: string[]) => run("env", `APT_CONFIG=${state}/apt.conf`, "apt-get", "--yes", "--quiet", ...args);
  await apt("update");
  await apt("install", "--download-only", ...PACKAGES, `qemu-user:amd64/${RELEASE}-backports`);
  for await (const { name } of Deno.readDir(state)) {
    if (name.endsWith(".deb")) await run("dpkg-deb", "--extract", `${state}/${name}`, `${CACHE}/root`);
  }
}

/**
 * Patches the emulator's page size. In one place the emulator passes the bits of the host's page size to a function;
 * the patch passes a constant.
 */
function withPageSize(original: Uint8Array<ArrayBuffer>, pageSize: number): Uint8Array<ArrayBuffer> {
  const patched = original.slice();
  const places: number[] = [];
  for (let at = patched.indexOf(0xf3); at >= 0; at = patched.indexOf(0xf3, at + 1)) {
    // tzcnt edi, eax; call; call: f3 0f bc f8, e8 and four bytes, e8 and four bytes.
    const matches = patched[at + 1] === 0x0f && patched[at + 2] === 0xbc && patched[at + 3] === 0xf8;
    if (matches && patched[at + 4] === 0xe8 && patched[at + 9] === 0xe8) places.push(at);
  }
  if (places.length !== 1) {
    throw new Error(
      `Cannot emulate pages of ${pageSize} KiB: this emulator contains ${places.length} places to patch, not one`,
    );
  }
  // push bits; pop rdi; nop
  patched.set([0x6a, Math.log2(pageSize * 1024), 0x5f, 0x90], places[0]);
  return patched;
}

async function writeScript(path: string, command: string): Promise<void> {
  await Deno.writeTextFile(path, `#!/bin/sh\n${command}\n`, { mode: 0o755 });
}

function here(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

function run(command: string, ...args: string[]): Promise<string> {
  return runCommand(command, args);
}
