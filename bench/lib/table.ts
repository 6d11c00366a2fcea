/** Results as a Markdown page. */
import { type Asked, format, isReached, type Results, type Spread, wordsOf } from "./measure.ts";

/** One section for each bench, and one table for each of its groups. Rows in which a peer wins say so. */
export function renderReport(all: readonly Results[]): string {
  const lines = ["# What was measured", ""];
  for (const { bench, quick, machine, figures } of all) {
    const { cpu, cores, memoryGiB, system, deno, v8 } = machine;
    lines.push(`## ${bench}`, "");
    if (quick) lines.push("A quick run, to see that it works. Its figures mean nothing.", "");
    lines.push(
      `${cpu}, ${cores} cores, ${memoryGiB} GiB, ${system}; Deno ${deno}, V8 ${v8}. Medians; quartiles in brackets.`,
    );
    for (const [i, { what, unit, name, spread, peers, note, about, atLeast, atMost }] of figures.entries()) {
      if (about !== undefined) lines.push("", about);
      if (about !== undefined || i === 0) lines.push("", ...HEAD);
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

const HEAD = ["| what | against | asked | measured | own / other | |", "|---|---|---|---|---|---|"];

function row(what: string, peer: string, asked: Asked, measured: Spread, unit: string, times: string, remark: string) {
  const { median, lower, upper } = measured;
  const missed = isReached(asked, median) ? "" : ", missed";
  const figure = `${format(median)} ${unit} (${format(lower)} to ${format(upper)})${missed}`;
  return `| ${what} | ${peer} | ${wordsOf(asked)} | ${figure} | ${times} | ${remark} |`;
}
