/** Bytes in human units: `0 B`, `64 B`, `1.5 KiB`, `3 GiB`. */
export function formatBytes(byteLength: number): string {
  if (!(Math.abs(byteLength) >= 1024)) return `${byteLength} B`;
  let value = byteLength;
  let unit = 0;
  while (Math.abs(value) >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toFixed(value < 10 ? 2 : 1))} ${UNITS[unit]}`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
