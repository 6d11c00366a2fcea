/** Memory that native code and pointers still use after its end: no crash, and no resource is used up. */
import { assertEquals, assertMatch } from "@std/assert";
import { outputOf } from "../support/program.ts";
import { testUnless } from "../support/skip.ts";
import { canMarkUntransferable, MARKS_SINCE } from "../../src/buffers.ts";

const noMark = canMarkUntransferable() ? null : `it needs Deno ${MARKS_SINCE}`;

const notPosix = Deno.build.os === "windows" ? "pipes and FILEs are POSIX's" : null;
const notLinux = Deno.build.os === "linux" ? null : "it needs /proc";

/** A nonblocking memcpy of the C library, which writes once the program lets it. */
const LATE = `
  const libc = Deno.dlopen(Deno.build.os === "darwin" ? "libSystem.B.dylib" : "libc.so.6", {
    pipe: { parameters: ["buffer"], result: "i32" },
    fdopen: { parameters: ["i32", "buffer"], result: "pointer" },
    fgets: { parameters: ["pointer", "i32", "pointer"], result: "pointer", nonblocking: true },
    write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  }).symbols;
  const bytes = (text) => new TextEncoder().encode(text);
  const late = () => {
    const ends = new Int32Array(2);
    libc.pipe(new Uint8Array(ends.buffer));
    const file = libc.fdopen(ends[0], bytes("r\\0"));
    return {
      start: (pointer) => libc.fgets(pointer, 1000, file),
      go: () => libc.write(ends[1], bytes("x".repeat(900) + "\\n"), 901n),
    };
  };
  const WAYS = {
    close: (work) => {
      const scratch = new BumpAlloc();
      const done = work.start(scratch.pointerOf(scratch.alloc(1000)));
      scratch.close();
      return done;
    },
    drop: (work) => {
      const scratch = new BumpAlloc();
      return work.start(scratch.pointerOf(scratch.alloc(1000)));
    },
    "close one that others hold no more": (work) => {
      const scratch = new BumpAlloc();
      const other = BumpAlloc.attach(scratch.share());
      const done = work.start(other.pointerOf(other.alloc(1000)));
      scratch.close();
      other.close();
      return done;
    },
    "move by a reset": (work) => {
      const scratch = new BumpAlloc();
      const done = work.start(scratch.pointerOf(scratch.alloc(1000)));
      const far = scratch.alloc(2 ** 21);
      far.buffer.transfer();
      scratch.reset();
      scratch.close();
      return done;
    },
    "close a pool's lease and the pool": (work) => {
      const pool = new BumpPool();
      const lease = pool.lease();
      const done = work.start(lease.pointerOf(lease.alloc(1000)));
      lease.close();
      pool.close();
      return done;
    },
  };
`;

testUnless(
  notPosix,
  "a nonblocking call that still writes to closed, dropped or moved memory does no harm",
  async () => {
    const output = await outputOf(`
    ${LATE}
    for (const [name, begin] of Object.entries(WAYS)) {
      const work = late();
      const done = begin(work);
      if (name === "drop") await collect();
      const live = new BumpAlloc();
      const view = live.alloc(2 ** 20).fill(5);
      work.go();
      await done;
      console.log(name, view.every((byte) => byte === 5));
      live.close();
    }`);
    assertEquals(output.split("\n").map((line) => line.split(" ").at(-1)), ["true", "true", "true", "true", "true"]);
  },
);

Deno.test("a pointer into an allocator that was dropped or closed can still be read", async () => {
  const output = await outputOf(`
    const pointers = [true, false].map((closes) => {
      const scratch = new BumpAlloc();
      const pointer = scratch.pointerOf(scratch.alloc(100).fill(7));
      if (closes) scratch.close();
      return pointer;
    });
    await collect();
    console.log(pointers.map((pointer) => typeof new Deno.UnsafePointerView(pointer).getUint8(99)).join(" "));`);
  assertEquals(output, "number number");
});

Deno.test("a buffer that a node Worker transfers after dispatching an unload event itself stays readable", async () => {
  const module = JSON.stringify(new URL("../../mod.ts", import.meta.url).href);
  const worker = `
    import { parentPort } from "node:worker_threads";
    import { BumpAlloc } from ${module};
    const view = new BumpAlloc().alloc(500_000).fill(5);
    dispatchEvent(new Event("unload"));
    parentPort.postMessage(view, [view.buffer]);`;
  const output = await outputOf(
    `
    import { Worker } from "node:worker_threads";
    const worker = new Worker(new URL("data:text/javascript," + encodeURIComponent(${JSON.stringify(worker)})));
    const received = await new Promise((resolve, reject) => {
      worker.on("message", resolve);
      worker.on("error", reject);
    });
    await worker.terminate();
    await new Promise((resolve) => setTimeout(resolve, 100));
    console.log(received.length, received.every((byte) => byte === received[0]));`,
    "--allow-read",
    "--allow-env",
  );
  assertMatch(output, /^500000 true$/);
});

Deno.test("a buffer that a Worker transfers after dispatching an unload event itself stays readable", async () => {
  const module = JSON.stringify(new URL("../../mod.ts", import.meta.url).href);
  const worker = `
    import { BumpAlloc } from ${module};
    const view = new BumpAlloc().alloc(500_000).fill(5);
    dispatchEvent(new Event("unload"));
    postMessage(view.buffer, [view.buffer]);
    self.close();`;
  const output = await outputOf(
    `
    const worker = new Worker("data:text/javascript," + encodeURIComponent(${
      JSON.stringify(worker)
    }), { type: "module" });
    const received = new Uint8Array(await new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data)));
    worker.terminate();
    await new Promise((resolve) => setTimeout(resolve, 100));
    console.log(received.length, received.every((byte) => byte === received[0]));`,
    "--allow-read",
  );
  assertMatch(output, /^\d+ true$/);
});

testUnless(
  notLinux,
  "regions up to the system's limit of mappings: an error that names the limit, and the program continues",
  async () => {
    const output = await outputOf(
      `
    const limit = Number(Deno.readTextFileSync("/proc/sys/vm/max_map_count"));
    if (limit > 100_000) {
      console.log("more than can be tried");
      Deno.exit();
    }
    const all = [];
    let failure;
    while (failure === undefined && all.length <= limit) {
      try {
        const scratch = BumpAlloc.withSize(4096 * (1 + all.length % 3));
        scratch.alloc(8).fill(all.length);
        all.push(scratch);
      } catch (error) {
        failure = error;
      }
    }
    console.log(failure.name, failure.code, failure.message.includes("vm.max_map_count"));
    console.log(all.length * 2.5 > limit * 0.9);
    // V8 can still grow, and other allocators still work.
    const heap = Array.from({ length: 200 }, () => new Array(100_000).fill(1.5));
    console.log(heap.length, attempt(() => all[0].alloc(8).fill(1).length), attempt(() => all.at(-1).reset()));
    for (const scratch of all) scratch.close();
    console.log(new BumpAlloc().alloc(8).length);`,
      "--allow-all",
    );
    if (output === "more than can be tried") return;
    assertEquals(output.split("\n"), ["ReserveError 12 true", "true", "200 8 done", "8"]);
  },
);

testUnless(
  notLinux ?? noMark,
  "regions made and closed, or dropped in any state: addresses, mappings and RAM level off",
  async () => {
    const output = await outputOf(
      `
    Deno.env.delete("BUMP_ALLOC_DEBUG"); // in debug mode closed regions wait, with their pages
    const status = (name) => Number(new RegExp(name + ":\\\\s+(\\\\d+)").exec(Deno.readTextFileSync("/proc/self/status"))[1]);
    const figures = () => ({
      size: status("VmSize") / 2 ** 20, // GiB
      rss: status("VmRSS") / 1024, // MiB
      mappings: Deno.readTextFileSync("/proc/self/maps").split("\\n").length,
    });
    // Regions that have waited for a second are unmapped by later calls.
    const settle = async () => {
      await collect();
      await new Promise((resolve) => setTimeout(resolve, 1100));
      await collect();
      for (let j = 0; j < 500; j++) new BumpAlloc({ size: 65536 }).close();
    };
    const CASES = {
      "made and closed": (count) => {
        for (let i = 0; i < count * 20; i++) {
          const scratch = new BumpAlloc();
          scratch.alloc(5000).fill(1);
          scratch.close();
        }
      },
      dropped: (count) => {
        for (let i = 0; i < count; i++) new BumpAlloc().alloc(5000).fill(1);
      },
      "dropped after a rewind to an older window": (count) => {
        for (let i = 0; i < count; i++) {
          const scratch = new BumpAlloc({ window: 4096 });
          scratch.alloc(100);
          const mark = scratch.mark();
          scratch.alloc(10_000);
          scratch.alloc(100_000).fill(1);
          scratch.rewind(mark);
          if (i % 2 === 0) scratch.alloc(8);
        }
      },
      "dropped, not transferable": (count) => {
        for (let i = 0; i < count; i++) {
          const scratch = new BumpAlloc({ transferable: false, window: 4096 });
          scratch.alloc(5000);
          scratch.scope().alloc(10_000).fill(1);
        }
      },
      "closed, not transferable, with several windows": (count) => {
        for (let i = 0; i < count; i++) {
          using scratch = new BumpAlloc({ transferable: false, window: 4096 });
          scratch.alloc(5000);
          scratch.alloc(100_000).fill(1);
        }
      },
      "dropped with hooks": (count) => {
        for (let i = 0; i < count; i++) {
          const scratch = new BumpAlloc();
          void scratch.hooks.zlib;
          scratch.alloc(5000).fill(1);
        }
      },
      "dropped with frames and scopes": (count) => {
        for (let i = 0; i < count; i++) {
          const scratch = new BumpAlloc({ window: 4096 });
          scratch.frame((frame) => frame.alloc(10_000).fill(1));
          scratch.scope().frame().alloc(5000).fill(1);
        }
      },
      "dropped with scopes open, one of them unused": (count) => {
        for (let i = 0; i < count; i++) new BumpAlloc().scope().scope().alloc(8);
      },
      "dropped while attached to each other": (count) => {
        for (let i = 0; i < count; i++) {
          const scratch = new BumpAlloc();
          BumpAlloc.attach(scratch.share()).alloc(5000).fill(1);
          if (i % 2 === 0) scratch.close();
        }
      },
    };
    const runAll = async (count) => {
      for (const run of Object.values(CASES)) run(count);
      await settle();
    };
    await runAll(30);
    const before = figures();
    await runAll(100);
    const after = figures();
    const grown = [after.size - before.size, after.rss - before.rss, after.mappings - before.mappings];
    console.log(grown[0] < 40, grown[1] < 24, grown[2] < 80, grown.join(" "));`,
      "--allow-all",
    );
    assertMatch(output, /^true true true/);
  },
);

testUnless(
  notLinux ?? noMark,
  "with transferable: false, the windows kept after each reset, scope's end or return to a pool level off",
  async () => {
    const output = await outputOf(`
    const scratch = new BumpAlloc({ transferable: false, window: 4096 });
    const pool = new BumpPool({ transferable: false, window: 4096 });
    const ROUNDS = {
      reset: () => {
        scratch.alloc(5000);
        scratch.alloc(100_000);
        scratch.reset();
      },
      scope: () => {
        using scope = scratch.scope();
        scope.alloc(5000);
        scope.alloc(100_000);
      },
      frame: () => {
        using frame = scratch.frame();
        frame.alloc(5000);
        frame.alloc(100_000);
      },
      lease: () => {
        using lease = pool.lease();
        lease.alloc(5000);
        lease.alloc(100_000);
      },
    };
    for (const [name, round] of Object.entries(ROUNDS)) {
      for (let i = 0; i < 50; i++) round();
      const { external } = Deno.memoryUsage();
      for (let i = 0; i < 1000; i++) round();
      const grown = Deno.memoryUsage().external - external;
      console.log(name, grown < 2 ** 20 ? "levels off" : grown);
    }
    console.log(scratch.stats().windows < 10);`);
    assertEquals(output.split("\n"), [
      "reset levels off",
      "scope levels off",
      "frame levels off",
      "lease levels off",
      "true",
    ]);
  },
);
