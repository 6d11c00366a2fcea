/** This process's memory as the system reports it, on Linux and Windows. */

/** The reason why the system cannot be asked here, or null. */
export const untold: string | null = Deno.build.os === "linux" || Deno.build.os === "windows"
  ? null
  : "the memory of a process is not reported here";

/** A run of addresses of one kind. */
interface Run {
  readonly start: bigint;
  readonly end: bigint;
}

/** All runs from `start` to `end`. Windows reports one at a time. */
function queried(start = 0n, end = 2n ** 64n): Run[] {
  const FREE = 0x10000;
  const kernel32 = Deno.dlopen("kernel32.dll", {
    VirtualQuery: { parameters: ["u64", "buffer", "usize"], result: "usize" },
  });
  const runs: Run[] = [];
  const memory = new DataView(new ArrayBuffer(48)); // MEMORY_BASIC_INFORMATION
  for (let at = start; at < end && kernel32.symbols.VirtualQuery(at, memory, 48n) !== 0n;) {
    const next = memory.getBigUint64(0, true) + memory.getBigUint64(24, true);
    if (memory.getUint32(32, true) !== FREE) runs.push({ start: at, end: next });
    at = next;
  }
  kernel32.close();
  return runs;
}

/** Whether anything is mapped at this address. */
export function isMapped(address: bigint): boolean {
  if (Deno.build.os === "windows") return queried(address, address + 1n).length > 0;
  return Deno.readTextFileSync("/proc/self/maps").trim().split("\n").some((line) => {
    const [start, end] = line.split(" ")[0].split("-").map((hex) => BigInt(`0x${hex}`));
    return start <= address && address < end;
  });
}

/** Bytes of address space in use. */
export function addressSpace(): number {
  if (Deno.build.os === "windows") return queried().reduce((sum, { start, end }) => sum + Number(end - start), 0);
  return 1024 * Number(/VmSize:\s+(\d+)/.exec(Deno.readTextFileSync("/proc/self/status"))![1]);
}
