import { assert, assertEquals } from "@std/assert";
import type { Figure, Results, Series } from "../../bench/lib/measure.ts";
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
const results = (bench: string, figures: Figure[], series?: Series[]): Results => ({
  bench,
  quick: false,
  machine,
  figures,
  series,
});
const memory = (size: string, name: string): Series => ({
  what: `worst case, three buffers of ${size}: memory over time`,
  unit: "MiB",
  name,
  points: [[0, 60], [0.1, 90], [0.2, 85]],
});

Deno.test("Plots are drawn from results, in light and dark, with every peer and size", async () => {
  const sizes = ["64 B", "1 KiB", "16 MiB"];
  const plots = await renderPlots([
    results(
      "filled",
      sizes.map((size) => figure(`${size}: allocated, filled and given back`, "ns", "frame", "new Uint8Array")),
    ),
    results("server", [
      figure("worst case, three buffers of 64 KiB: requests per second", "/s", "BumpPool", "plain"),
    ], ["64 KiB", "1024 KiB"].flatMap((size) => ["BumpPool", "plain"].map((name) => memory(size, name)))),
  ]);
  const names = ["filled", "memory", "server"].flatMap((name) => [`${name}-dark`, `${name}-light`]);
  assertEquals(Object.keys(plots).sort(), names);
  for (const text of [...sizes, "frame", "new Uint8Array"]) {
    assert(plots["filled-light"].includes(`>${text}<`), text);
  }
  for (const text of ["BumpPool", "plain", "64 KiB"]) assert(plots["server-dark"].includes(`>${text}<`), text);
  for (const text of ["BumpPool", "plain", "worst case, 64 KiB", "worst case, 1024 KiB", "seconds"]) {
    assert(plots["memory-light"].includes(`>${text}<`), text);
  }
  assertEquals(plots["memory-light"].match(/aria-roledescription="line mark"/g)?.length, 4);
  assert(plots["server-dark"] !== plots["server-light"]);
});

Deno.test("Plots without results are left out", async () => {
  assertEquals(await renderPlots([results("ffi", [])]), {});
});
