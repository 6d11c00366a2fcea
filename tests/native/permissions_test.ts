// Permissions: Deno is started with exactly these flags.
import { assert, assertEquals } from "@std/assert";
import { missing, testUnless } from "../support/skip.ts";
import {
  assertAllocates,
  assertRefused,
  DENIED,
  isEmulated,
  mounting,
  noHiding,
  noMounts,
  type Start,
  withCommand,
  WITHOUT_PROC,
  withTemporary,
} from "./child.ts";

const notLinux = Deno.build.os === "linux" ? null : "elsewhere the library has to be written to a file";

testUnless(notLinux, "--allow-ffi alone is enough on Linux", async () => {
  await assertAllocates({ flags: ["--allow-ffi"] });
  const others = ["read", "write", "env", "net", "run", "sys"].map((name) => `--deny-${name}`);
  await assertAllocates({ flags: ["--allow-ffi", ...others] });
});

testUnless(notLinux, "--allow-ffi alone works with or without a temporary folder", async () => {
  for (const TMPDIR of ["/does/not/exist", "/dev/null", "/proc"]) {
    await assertAllocates({ flags: ["--allow-ffi"], env: { TMPDIR } });
  }
});

testUnless(
  noMounts,
  "--allow-ffi alone: the temporary folder may be read-only or noexec",
  () =>
    withTemporary(async (TMPDIR) => {
      for (const options of ["ro", "noexec"]) {
        await assertAllocates({ flags: ["--allow-ffi"], env: { TMPDIR }, under: mounting([options, TMPDIR]) });
      }
    }),
);

testUnless(
  noHiding,
  "--allow-ffi alone: without /proc the library has to be written, and NotCapable says so",
  () =>
    withTemporary(async (TMPDIR) => {
      const how = { env: { TMPDIR }, under: WITHOUT_PROC };
      await assertRefused({ ...how, flags: ["--allow-ffi"] }, DENIED, "--allow-write");
      await assertRefused({ ...how, flags: ["--allow-ffi", "--deny-write"] }, DENIED, "write access");
    }),
);

testUnless(
  noHiding,
  "--allow-ffi and --allow-write: without /proc the library is loaded from a file, which is removed",
  () =>
    withTemporary(async (TMPDIR) => {
      const how = { env: { TMPDIR }, under: WITHOUT_PROC };
      await assertAllocates({ ...how, flags: ["--allow-ffi", "--allow-write"] });
      await assertAllocates({ ...how, flags: ["--allow-ffi", `--allow-write=${TMPDIR}`] });
    }),
);

testUnless(
  noHiding,
  "without /proc and a writable folder, the error says what is needed",
  () =>
    withTemporary(async (TMPDIR) => {
      await assertFolderRefused("ro", TMPDIR, "Read-only file system");
      const missing = { flags: WRITING, env: { TMPDIR: "/does/not/exist" }, under: WITHOUT_PROC };
      await assertRefused(missing, "Cannot load the library", "No such file or directory", "temporary folder");
    }),
);

testUnless(
  noHiding ?? (isEmulated ? "the emulator maps a program's files itself, and executes any readable file" : null),
  "without /proc and a folder to execute from, the error says what is needed",
  () => withTemporary((TMPDIR) => assertFolderRefused("noexec", TMPDIR, `${TMPDIR}/bump_alloc_`)),
);

const WRITING = ["--allow-ffi", "--allow-write"];

/** Without /proc, and with a temporary folder mounted with these options. */
async function assertFolderRefused(options: string, TMPDIR: string, part: string): Promise<void> {
  const under = mounting(["size=4k", "/proc"], [options, TMPDIR]);
  const start = { flags: WRITING, env: { TMPDIR }, under };
  await assertRefused(start, "Cannot load the library", "/proc", "mounted noexec", part);
}

Deno.test("--allow-ffi=<path>: Deno refuses raw pointers then, and the error says so", async () => {
  for (const path of ["/tmp", Deno.execPath()]) {
    await assertRefused({ flags: [`--allow-ffi=${path}`] }, DENIED, "A scoped grant", "raw pointers");
  }
});

Deno.test("no permission and no terminal: Deno's own error reaches the caller", async () => {
  await assertRefused({ flags: [] }, DENIED, "--allow-ffi");
  await assertRefused({ flags: ["--deny-ffi"] }, DENIED, "--allow-ffi");
  await assertRefused({ flags: ["--allow-read", "--allow-write", "--allow-env"] }, DENIED, "--allow-ffi");
});

// ---- a terminal ------------------------------------------------------------

const noTerminal = Deno.build.os === "linux" ? missing("script") : "it is for Linux";

/** Makes an allocator twice, prints the results, and ends when told to. */
const PROGRAM = `
for (let i = 0; i < 2; i++) {
  try {
    new BumpAlloc().close();
    console.log("allocated");
  } catch (error) {
    console.log(error instanceof Deno.errors.NotCapable ? "refused" : error);
  }
}
Deno.addSignalListener("SIGUSR1", () => Deno.exit());
setInterval(() => {}, 1000);
console.log("process", Deno.pid);
`;

/**
 * The output in a terminal whose user gives this answer to every prompt. `look` inspects the process before it ends.
 */
async function inTerminal(start: Start, answer: string, look?: (pid: string) => void): Promise<string> {
  return await withCommand({ program: PROGRAM, ...start }, async (command) => {
    const line = command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    const child = new Deno.Command("script", {
      args: ["--quiet", "--return", "--command", line, "/dev/null"],
      env: { NO_COLOR: "1", ...start.env },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const keyboard = child.stdin.getWriter();
    const key = new TextEncoder().encode(`${answer}\n`);
    // Deno discards keys typed before it begins to listen, which is some time after the prompt appears. So repeat the
    // key.
    const typing = setInterval(() => keyboard.write(key).catch(() => {}), 200);
    const impatience = setTimeout(() => child.kill("SIGKILL"), 60_000);
    let seen = "";
    let pid: string | undefined;
    for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
      seen += part;
      if (pid !== undefined) continue;
      pid = seen.match(/^process (\d+)\r?$/m)?.[1];
      if (pid === undefined) continue;
      look?.(pid);
      Deno.kill(Number(pid), "SIGUSR1");
    }
    clearInterval(typing);
    clearTimeout(impatience);
    await keyboard.close().catch(() => {});
    assertEquals((await child.status).code, 0, seen);
    return seen;
  });
}

function questions(seen: string): number {
  return seen.split("Allow?").length - 1;
}

/** Number of lines that consist of this word. */
function lines(seen: string, word: string): number {
  return seen.split(/\r?\n/).filter((line) => line === word).length;
}

testUnless(noTerminal, "a terminal: one prompt, and after yes it allocates", async () => {
  const seen = await inTerminal({ flags: [] }, "y");
  assertEquals(questions(seen), 1, seen);
  assert(seen.includes("requests ffi access"), seen);
  assertEquals(lines(seen, "allocated"), 2, seen);
});

testUnless(
  noTerminal,
  "a terminal: one prompt; after no, NotCapable reaches the caller, and nothing is left",
  () =>
    withTemporary(async (TMPDIR) => {
      let looked = false;
      const seen = await inTerminal({ flags: [], env: { TMPDIR } }, "n", (pid) => {
        const open = [...Deno.readDirSync(`/proc/${pid}/fd`)].map(({ name }) =>
          Deno.readLinkSync(`/proc/${pid}/fd/${name}`)
        );
        const mapped = Deno.readTextFileSync(`/proc/${pid}/maps`);
        assert(!/bump_alloc/.test(open.join() + mapped), "something is left open");
        looked = true;
      });
      assertEquals([questions(seen), lines(seen, "refused"), looked], [1, 2, true], seen);
    }),
);

testUnless(
  noTerminal ?? noHiding,
  "a terminal and no /proc: a second prompt, for the file; after no, NotCapable",
  () =>
    withTemporary(async (TMPDIR) => {
      const seen = await inTerminal({ flags: [], env: { TMPDIR }, under: WITHOUT_PROC }, "y");
      assertEquals([questions(seen), lines(seen, "allocated")], [2, 2], seen);
      const refused = await inTerminal({ flags: ["--allow-ffi"], env: { TMPDIR }, under: WITHOUT_PROC }, "n");
      assertEquals([questions(refused), lines(refused, "refused")], [1, 2], refused);
    }),
);
