/** Results as a Markdown page. */
import { type Asked, format, isReached, type Results, type Spread, wordsOf } from "./measure.ts";

/** One table for each bench; where a peer wins, it says so. */
export function renderReport(all: readonly Results[]): string {
  const lines = ["# What was measured", ""];
  for (const { bench, quick, machine, figures } of all) {
    const { cpu, cores, memoryGiB, system, deno, v8 } = machine;
    lines.push(`## ${bench}`, "");
    if (quick) lines.push("A quick run, to see that it works: these are no figures to go by.", "");
    lines.push(
      `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}; Deno ${deno}, V8 ${v8}. Medians; quartiles in brackets.`,
      "",
      "| what | against | asked | measured | own / other | |",
      "|---|---|---|---|---|---|",
    );
    for (const { what, unit, name, spread, peers, note, atLeast, atMost } of figures) {
      if (peers === undefined) {
        lines.push(row(what, "", { atLeast, atMost }, spread, unit, "", ""));
        continue;
      }
      for (const { name: peer, spread: other, ratio, ...asked } of peers) {
        const times = `${format(spread.median)} / ${format(other.median)} ${unit}`;
        const lost = asked.atMost === undefined ? ratio.median < 0.95 : ratio.median > 1.05;
        const remark = [lost ? "the other wins" : "", note ?? ""].filter((text) => text !== "").join("; ");
        lines.push(row(`${what}: ${name}`, peer, asked, ratio, "×", times, remark));
      }
    }
    lines.push("");
  }
  return lines.join("\n");
}

function row(what: string, peer: string, asked: Asked, measured: Spread, unit: string, times: string, remark: string) {
  const { median, lower, upper } = measured;
  const missed = isReached(asked, median) ? "" : ", missed";
  const figure = `${format(median)} ${unit} (${format(lower)} to ${format(upper)})${missed}`;
  return `| ${what} | ${peer} | ${wordsOf(asked)} | ${figure} | ${times} | ${remark} |`;
}
