// `@bump/alloc/run`: whole programs from the command line. Each test's temporary folder must be empty in the end.
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { withTemporary } from "../native/child.ts";
import { missing, testUnless } from "../support/skip.ts";
import { until } from "../support/until.ts";
import { type Ended, noPreload, outputOf, RUN } from "./support.ts";

/** The command that runs a program with no signal ignored, whatever started the tests. */
function command(...args: string[]): string[] {
  return [
    "env",
    "--default-signal",
    Deno.execPath(),
    "run",
    "-A",
    "--no-config",
    "--no-check",
    "--quiet",
    RUN,
    ...args,
  ];
}

function options(TMPDIR: string): Deno.CommandOptions {
  return { env: { NO_COLOR: "1", TMPDIR, LD_PRELOAD: "" } };
}

/** Starts a command apart from the terminal that the tests may run in: a signal of one's own is then passed on. */
const APART = ["setsid"];

/** Runs it to its end. */
async function run(...args: string[]): Promise<Ended> {
  let ended: Ended | undefined;
  await withTemporary(async (folder) => {
    ended = await outputOf([...APART, ...command(...args)], options(folder));
  });
  return ended!;
}

const shell = (script: string, ...args: string[]) => run("sh", "-c", script, "sh", ...args);

// ---- the command line ------------------------------------------------------

testUnless(noPreload, "run: the program has its memory from the library, which goes with it", async () => {
  const { out, error, end } = await shell("grep -o -m1 '/.*/bump_preload.so' /proc/self/maps; echo $LD_PRELOAD");
  const [mapped, preloaded] = out.split("\n");
  assertEquals({ mapped, error, end }, { mapped: preloaded, error: "", end: 0 });
  assertMatch(preloaded, /^\/.*\/bump_preload\.so$/);
});

testUnless(noPreload, "run: options come before the program, and what follows its name is the program's", async () => {
  const variables = async (...flags: string[]) =>
    (await run(...flags, "sh", "-c", "env | grep ^BUMP_PRELOAD | sort")).out.trim().split("\n");
  assertEquals(await variables(), [""]);
  assertEquals(await variables("--size=4GiB", "--no-recycle", "--no-huge-pages"), [
    "BUMP_PRELOAD_HUGE_PAGES=0",
    "BUMP_PRELOAD_RECYCLE=0",
    "BUMP_PRELOAD_SIZE=4294967296",
  ]);
  assertEquals(await variables("--size", "1048576", "--"), ["BUMP_PRELOAD_SIZE=1048576"]);
  assertEquals((await run("echo", "--size=3", "--help", "-x", "--", "a b")).out, "--size=3 --help -x -- a b\n");
});

testUnless(noPreload, "run: --help says how it is used", async () => {
  for (const flag of ["--help", "-h"]) {
    const { out, error, end } = await run(flag);
    assertStringIncludes(out, "deno run -A jsr:@bump/alloc/run [OPTION ...] PROGRAM [ARGUMENT ...]");
    assertEquals({ error, end }, { error: "", end: 0 });
  }
});

testUnless(noPreload, "run: what is wrong on the command line is said, and the status is 125", async () => {
  const wrong = async (message: string, ...args: string[]) => {
    const { out, error, end } = await run(...args);
    assertEquals({ out, end }, { out: "", end: 125 }, error);
    assertStringIncludes(error, message);
    assertEquals(error.trim().split("\n").length, 1, error);
  };
  await wrong("Cannot run a program: none is named. --help");
  await wrong("Cannot run a program: none is named. --help", "--no-recycle");
  await wrong("Cannot run a program: Unknown option '--recycle'", "--recycle", "true");
  await wrong("Cannot run a program: Unknown option '-x'", "-x", "true");
  await wrong("Cannot run a program: Option '--size <value>' argument missing", "--size");
  await wrong("Cannot run a program: the size must be bytes, or as in 512MiB, 4GiB, not 4GB", "--size=4GB", "true");
  await wrong("Cannot preload: the size must be from 1 MiB to 16 TiB, not 3 B", "--size=3", "true");
});

testUnless(noPreload, "run: a program that cannot be run: 127 where there is none, 126 where it is none", async () => {
  assertEquals(await run("/no/such/program"), {
    out: "",
    error: "Cannot run /no/such/program: it is not found\n",
    end: 127,
  });
  assertEquals((await run("no_such_program_anywhere")).end, 127);
  const { error, end } = await run("/etc/passwd");
  assertEquals(end, 126);
  assertStringIncludes(error, "Cannot run /etc/passwd: ");
});

// ---- how it ends -----------------------------------------------------------

testUnless(noPreload, "run: the program's status", async () => {
  for (const status of [0, 1, 7, 127, 255]) assertEquals((await shell(`exit ${status}`)).end, status);
});

testUnless(noPreload, "run: a signal that ends the program ends it, or gives its number and 128", async () => {
  for (const signal of ["SIGHUP", "SIGINT", "SIGTERM", "SIGKILL"]) {
    assertEquals((await shell(`kill -${signal.slice(3)} $$`)).end, signal);
  }
  assertEquals((await shell("kill -SEGV $$")).end, 128 + 11);
  assertEquals((await shell("kill -ABRT $$")).end, 128 + 6);
  assertEquals((await shell("kill -USR1 $$")).end, 128 + 10);
});

// ---- signals ---------------------------------------------------------------

/** A running program that has said that it is ready. */
async function started(
  [program, ...args]: readonly string[],
  use: (child: Deno.ChildProcess, read: () => Promise<string>) => Promise<void>,
): Promise<void> {
  await withTemporary(async (folder) => {
    const child = new Deno.Command(program, { args, ...options(folder), stdin: "piped", stdout: "piped" }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    /** The next line; nothing at the end. */
    const read = async () => {
      while (!text.includes("\n")) {
        const { value, done } = await reader.read();
        if (done) break;
        text += value;
      }
      const line = text.slice(0, text.indexOf("\n"));
      text = text.slice(line.length + 1);
      return line.trim();
    };
    assertEquals(await read(), "ready");
    await use(child, read);
    await child.stdin.close();
    await child.status;
    await reader.cancel();
  });
}

const SAYS = 'for s in HUP INT QUIT TERM USR1 USR2 ALRM WINCH; do trap "echo $s" $s; done; echo ready; echo $$; ';

testUnless(
  noPreload,
  "run: signals reach the program, once each",
  () =>
    started([...APART, ...command("sh", "-c", `${SAYS} while :; do sleep 0.01; done`)], async (child, read) => {
      const program = Number(await read());
      // SIGUSR1 is left out: Deno opens its debugger, too.
      for (const signal of ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR2", "SIGALRM", "SIGWINCH"] as const) {
        child.kill(signal);
        assertEquals(await read(), signal.slice(3));
      }
      child.kill("SIGHUP");
      assertEquals(await read(), "HUP");
      Deno.kill(program, "SIGKILL");
      const { signal } = await child.status;
      assertEquals(signal, "SIGKILL");
    }),
);

testUnless(
  noPreload,
  "run: what ends a program that does not listen ends both",
  () =>
    started([...APART, ...command("sh", "-c", "echo ready; exec sleep 1000")], async (child) => {
      child.kill("SIGTERM");
      const { signal } = await child.status;
      assertEquals(signal, "SIGTERM");
    }),
);

/** The last that it listens to. */
const SIGWINCH = 28;

testUnless(noPreload, "run: under nohup a hangup ends neither", () => {
  const [env, ...rest] = command("sh", "-c", "echo ready; read line; echo survived; exit 3");
  return started([...APART, env, "--ignore-signal=HUP", ...rest.slice(1)], async (child, read) => {
    // A program that ignores signals is started before this process listens: what it catches says that it does.
    const catches = (signal: number) => {
      const [, hex] = /^SigCgt:\s+([0-9a-f]+)$/m.exec(Deno.readTextFileSync(`/proc/${child.pid}/status`))!;
      return (BigInt(`0x${hex}`) >> BigInt(signal - 1) & 1n) === 1n;
    };
    await until(() => catches(SIGWINCH));
    child.kill("SIGHUP");
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("\n"));
    writer.releaseLock();
    assertEquals(await read(), "survived");
    assertEquals((await child.status).code, 3);
  });
});

testUnless(noPreload ?? missing("script"), "run: Ctrl-C in a terminal reaches the program once", () => {
  const program = "'trap \"echo got it; read line; exit 4\" INT; echo ready; read line'";
  // Without exec some shells would wait here, and the signal would end them.
  const line = `exec ${command("sh", "-c").join(" ")} ${program}`;
  return started(["script", "--quiet", "--return", "--command", line, "/dev/null"], async (child, read) => {
    const writer = child.stdin.getWriter();
    const type = (text: string) => writer.write(new TextEncoder().encode(text));
    await type("\x03");
    assertMatch(await read(), /got it$/);
    await type("\n");
    const { code } = await child.status;
    writer.releaseLock();
    assertEquals(code, 4);
    assertEquals((await read()).includes("got it"), false);
  });
});

// ---- streams ---------------------------------------------------------------

testUnless(noPreload, "run: 64 MiB go through the program as they are", () =>
  withTemporary(async (folder) => {
    const [program, ...args] = command("cat");
    const piped = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
    const child = new Deno.Command(program, { args, ...options(folder), ...piped }).spawn();
    const COUNT = 64;
    const block = (i: number) => new Uint8Array(2 ** 20).fill(i * 37);
    const writing = (async () => {
      const writer = child.stdin.getWriter();
      for (let i = 0; i < COUNT; i++) await writer.write(block(i));
      await writer.close();
    })();
    const { stdout, stderr, success } = await child.output();
    await writing;
    assertEquals([success, stderr.length, stdout.length], [true, 0, COUNT * 2 ** 20]);
    for (let i = 0; i < COUNT; i++) {
      const seen = stdout.subarray(i * 2 ** 20, (i + 1) * 2 ** 20);
      assert(seen.every((byte) => byte === (i * 37) % 256), `block ${i}`);
    }
  }));

testUnless(noPreload, "run: standard error is apart, and the end of a pipe ends the program", async () => {
  const { out, error } = await shell("echo to stdout; echo to stderr >&2");
  assertEquals({ out, error }, { out: "to stdout\n", error: "to stderr\n" });
  await withTemporary(async (folder) => {
    const pipe = ["sh", "-c", '"$@" | head -n 1', "sh", ...command("yes")];
    assertEquals(await outputOf(pipe, options(folder)), { out: "y\n", error: "", end: 0 });
  });
});
