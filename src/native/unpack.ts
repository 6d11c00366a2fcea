/** Unpacks a library; native/pack.ts says how it is packed. */
export function unpack(packed: Uint8Array, byteLength: number): Uint8Array<ArrayBuffer> {
  // Both in one array: a step then moves bytes without making a view of them, which would take most of the time.
  const bytes = new Uint8Array(byteLength + packed.length);
  bytes.set(packed, byteLength);
  let at = byteLength;
  let end = 0;
  while (at < bytes.length) {
    const step = bytes[at++];
    let byte: number;
    let count = step >> 4;
    if (count === 15) { do count += byte = bytes[at++]; while (byte === 255); }
    bytes.copyWithin(end, at, at += count);
    end += count;
    if (end >= byteLength) return bytes.subarray(0, byteLength);
    let distance = bytes[at++];
    if (distance > 127) distance = distance & 127 | bytes[at++] << 7;
    let from = end - distance - 1;
    count = step & 15;
    if (count === 15) { do count += byte = bytes[at++]; while (byte === 255); }
    count += 4;
    // A copy that overlaps itself repeats what is in front of it.
    if (count <= end - from) {
      bytes.copyWithin(end, from, from + count);
      end += count;
    } else while (count-- > 0) bytes[end++] = bytes[from++];
  }
  throw new Error("the packed library is damaged");
}
