/** Unpacks a library; native/pack.ts says how it is packed. */
export function unpack(packed: Uint8Array, byteLength: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteLength);
  let at = 0;
  let end = 0;
  const more = (count: number) => {
    if (count < 15) return count;
    let byte: number;
    do count += byte = packed[at++]; while (byte === 255);
    return count;
  };
  while (at < packed.length) {
    const step = packed[at++];
    const literals = more(step >> 4);
    bytes.set(packed.subarray(at, at + literals), end);
    at += literals;
    end += literals;
    if (end >= byteLength) return bytes;
    let distance = packed[at++];
    if (distance > 127) distance = distance & 127 | packed[at++] << 7;
    const from = end - distance - 1;
    const length = more(step & 15) + 4;
    // A copy that overlaps itself repeats what is in front of it.
    if (length <= end - from) bytes.copyWithin(end, from, from + length);
    else for (let i = 0; i < length; i++) bytes[end + i] = bytes[from + i];
    end += length;
  }
  throw new Error("the packed library is damaged");
}
