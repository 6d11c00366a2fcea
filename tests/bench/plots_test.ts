import { assert, assertEquals } from "@std/assert";
import type { Figure, Results } from "../../bench/lib/measure.ts";
import { renderPlots } from "../../bench/lib/plots.ts";

const spread = (median: number) => ({ median, lower: median * 0.9, upper: median * 1.1 });
const figure = (what: string, unit: string, name: string, peer: string): Figure => ({
  what,
  unit,
  rounds: 3,
  name,
  spread: spread(16),
  peers: [{ name: peer, spread: spread(160), ratio: spread(10) }],
});
const machine = { cpu: "a processor", cores: 2, memoryGiB: 24, system: "linux", deno: "2.9.6", v8: "15.0" };
const results = (bench: string, figures: Figure[]): Results => ({ bench, quick: false, machine, figures });

Deno.test("Plots are drawn from results, in light and dark, with every peer and size", async () => {
  const sizes = ["64 B", "1 KiB", "16 MiB"];
  const plots = await renderPlots([
    results("allocation", sizes.map((size) => figure(`allocate ${size}`, "ns", "alloc", "new Uint8Array"))),
    results("server", [
      figure("four buffers of 64 KiB for each request: requests per second", "/s", "BumpPool", "plain"),
    ]),
  ]);
  assertEquals(Object.keys(plots).sort(), ["allocation-dark", "allocation-light", "server-dark", "server-light"]);
  for (const text of [...sizes, "alloc", "new Uint8Array"]) {
    assert(plots["allocation-light"].includes(`>${text}<`), text);
  }
  for (const text of ["BumpPool", "plain", "64 KiB"]) assert(plots["server-dark"].includes(`>${text}<`), text);
  assert(plots["server-dark"] !== plots["server-light"]);
});

Deno.test("Plots without results are left out", async () => {
  assertEquals(await renderPlots([results("ffi", [])]), {});
});
