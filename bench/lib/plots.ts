/** Draws results as SVG, light and dark. */
import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import type { Results } from "./measure.ts";

// The Okabe–Ito palette, which colour-blind readers can tell apart; marks differ as well.
const COLOURS = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"],
  dark: ["#56b4e9", "#e69f00", "#2bc79a", "#cc79a7", "#f0e442", "#d55e00", "#bbbbbb"],
};
const INK = { light: "#24292f", dark: "#e6edf3" };
const PAPER = { light: "#ffffff", dark: "#0d1117" };
const GRID = { light: "#d8dee4", dark: "#30363d" };

/** Returns the SVG texts by name. Plots without results are left out. */
export async function renderPlots(all: readonly Results[]): Promise<Record<string, string>> {
  const specs = { "filled": filled(all), "server": server(all), "memory": memory(all) };
  const texts: Record<string, string> = {};
  for (const [name, spec] of Object.entries(specs)) {
    if (spec === null) continue;
    for (const theme of ["light", "dark"] as const) texts[`${name}-${theme}`] = await render(spec, theme);
  }
  return texts;
}

/** Draws the results in a folder's JSON files into its folder plots. */
export async function drawPlots(folder: string): Promise<void> {
  const all = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => name.endsWith(".json")).sort()
    .map((name): Results => JSON.parse(Deno.readTextFileSync(`${folder}/${name}`)));
  Deno.mkdirSync(`${folder}/plots`, { recursive: true });
  for (const [name, svg] of Object.entries(await renderPlots(all))) {
    Deno.writeTextFileSync(`${folder}/plots/${name}.svg`, svg);
    console.log(`${folder}/plots/${name}.svg`);
  }
}

async function render(spec: Record<string, unknown>, theme: "light" | "dark"): Promise<string> {
  const ink = INK[theme];
  const text = { labelColor: ink, titleColor: ink, labelFontSize: 13, titleFontSize: 13 };
  const config = {
    background: PAPER[theme],
    font: "sans-serif",
    padding: 16,
    range: { category: COLOURS[theme] },
    axis: { ...text, gridColor: GRID[theme], domainColor: ink, tickColor: ink },
    legend: { ...text, symbolSize: 120, labelLimit: 0 },
    header: text,
    title: { color: ink, fontSize: 16, anchor: "start", offset: 12 },
    view: { stroke: null },
  };
  const { spec: vega } = compile({ ...spec, config } as unknown as TopLevelSpec);
  return await new View(parse(vega), { renderer: "none" }).toSVG();
}

/** Panels whose frames line up; the spacing leaves room for axis labels. */
const PANELS = { bounds: "flush", spacing: 90 };

function panelTitle(text: string): Record<string, unknown> {
  return { text, fontSize: 14, frame: "group" };
}

/** Time by size, in each way, on logarithmic axes. */
function filled(all: readonly Results[]): Record<string, unknown> | null {
  const figures = all.find(({ bench }) => bench === "filled")?.figures ?? [];
  const values = figures.flatMap(({ what, name, spread, peers = [] }) =>
    [{ name, spread }, ...peers].map(({ name, spread }) => ({ size: sizeOf(what), way: name, ns: spread.median }))
  );
  if (values.length === 0) return null;
  const sizes = [...new Set(values.map(({ size }) => size))].sort((a, b) => a - b);
  const ways = [...new Set(values.map(({ way }) => way))];
  return {
    title: "A block allocated, filled and given back, by its size",
    width: 560,
    height: 380,
    data: { values },
    mark: { type: "line", point: { size: 90, filled: true }, strokeWidth: 2 },
    encoding: {
      x: {
        field: "size",
        type: "quantitative",
        scale: { type: "log", base: 2 },
        title: "size",
        axis: {
          values: sizes,
          labelOverlap: false,
          labelExpr: "datum.value < 1024 ? datum.value + ' B' : datum.value < 1048576 ? datum.value / 1024 + ' KiB'" +
            " : datum.value / 1048576 + ' MiB'",
        },
      },
      y: {
        field: "ns",
        type: "quantitative",
        scale: { type: "log" },
        title: "time (median)",
        axis: {
          tickCount: 6,
          labelExpr: "datum.value < 1e3 ? datum.value + ' ns' : datum.value < 1e6 ? datum.value / 1e3 + ' µs'" +
            " : datum.value / 1e6 + ' ms'",
        },
      },
      color: { field: "way", type: "nominal", title: null, sort: ways },
      shape: { field: "way", type: "nominal", title: null, sort: ways },
    },
  };
}

/** Bytes of "64 KiB: allocated, filled and given back". */
function sizeOf(what: string): number {
  const [, number, unit] = /^(\d+) (B|KiB|MiB):/.exec(what)!;
  return Number(number) * { B: 1, KiB: 1024, MiB: 2 ** 20 }[unit]!;
}

/** Throughput, latency and memory of each service. */
function server(all: readonly Results[]): Record<string, unknown> | null {
  const figures = all.find(({ bench }) => bench === "server")?.figures ?? [];
  const values = figures.flatMap(({ what, unit, name, spread, peers = [] }) => {
    const [service, kind] = what.split(": ");
    const size = shortName(service);
    const short = kind.replace(" for each request", ""); // panels are narrow
    const title = unit === "/s" ? short : `${short}, ${unit}`;
    return [{ name, spread }, ...peers].map(({ name, spread }) => ({ size, way: name, kind: title, ...spread }));
  });
  if (values.length === 0) return null;
  const kinds = [...new Set(values.map(({ kind }) => kind))].filter((kind) => !kind.startsWith("median"));
  const sizes = [...new Set(values.map(({ size }) => size))];
  const x = { field: "size", type: "nominal", sort: sizes, title: null };
  const color = { field: "way", type: "nominal", title: null };
  const axis = { labelAngle: 0, labelExpr: "split(datum.label, ', ')" };
  const encoding = { x: { ...x, axis }, xOffset: { field: "way" }, color };
  return {
    title: "Services under load: a pool, and new arrays for each request",
    ...PANELS,
    data: { values },
    columns: 2,
    concat: kinds.map((kind) => ({
      title: panelTitle(kind),
      width: 570,
      height: 240,
      transform: [{ filter: { field: "kind", equal: kind } }],
      layer: [
        { mark: "bar", encoding: { ...encoding, y: { field: "median", type: "quantitative", title: null } } },
        {
          mark: { type: "rule", color: "#888888", strokeWidth: 2 },
          encoding: {
            x: encoding.x,
            xOffset: encoding.xOffset,
            y: { field: "lower", type: "quantitative" },
            y2: { field: "upper" },
          },
        },
      ],
    })),
  };
}

/** "filled, 64 KiB" for "filled and read, three buffers of 64 KiB", because labels are narrow. */
function shortName(service: string): string {
  return service.replace(" and read", "").replace("three buffers of ", "").replace(" of ", ", ");
}

/** Memory of each service over time. */
function memory(all: readonly Results[]): Record<string, unknown> | null {
  const series = all.find(({ bench }) => bench === "server")?.series ?? [];
  const values = series.flatMap(({ what, name, points }) => {
    const size = shortName(what.split(": ")[0]);
    return points.map(([seconds, mebibytes]) => ({ size, way: name, seconds, mebibytes }));
  });
  if (values.length === 0) return null;
  const sizes = [...new Set(values.map(({ size }) => size))];
  return {
    title: "Resident memory of services under load, MiB",
    ...PANELS,
    data: { values },
    columns: 3,
    concat: sizes.map((size) => ({
      title: panelTitle(size),
      width: 230,
      height: 240,
      transform: [{ filter: { field: "size", equal: size } }],
      mark: { type: "line", strokeWidth: 2 },
      encoding: {
        x: { field: "seconds", type: "quantitative", title: "seconds", axis: { tickCount: 6 } },
        y: { field: "mebibytes", type: "quantitative", title: null },
        color: { field: "way", type: "nominal", title: null },
        strokeDash: { field: "way", type: "nominal", title: null },
      },
    })),
  };
}
