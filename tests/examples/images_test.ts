import { assert, assertEquals } from "@std/assert";
import { BumpPool } from "../../mod.ts";
import { makeHandler } from "../../examples/images.ts";
import { randomOf } from "../support/pattern.ts";

const post = (body: Uint8Array<ArrayBuffer> | string | null) =>
  new Request("http://localhost/", { method: "POST", body });

function image(width: number, height: number): Uint8Array<ArrayBuffer> {
  const random = randomOf(width);
  const head = new TextEncoder().encode(`P6\n# made by a test\n${width} ${height}\n255\n`);
  const bytes = new Uint8Array(head.length + 3 * width * height);
  bytes.set(head);
  for (let i = head.length; i < bytes.length; i++) bytes[i] = random(256);
  return bytes;
}

Deno.test("the image service: the same answers with a pool and with plain arrays, many at once, and bad images", async () => {
  using pool = new BumpPool({ limit: 3, size: 100_000_000 });
  const [own, plain] = [makeHandler(pool), makeHandler(null)];
  const sizes = [[1, 1], [256, 1], [257, 3], [3, 257], [300, 200], [512, 512], [1000, 700]] as const;
  await Promise.all(sizes.map(async ([width, height]) => {
    const bytes = image(width, height);
    const answers = await Promise.all([own, plain].map(async (handler) => await (await handler(post(bytes))).bytes()));
    assertEquals(answers[0], answers[1]);
    const [, w, h] = /^P6\n(\d+) (\d+)\n255\n/.exec(new TextDecoder("latin1").decode(answers[0]))!.map(Number);
    assert(w <= 256 && h <= 256 && Math.abs(w / h - width / height) < width / height);
    if (width <= 256 && height <= 256) assertEquals(answers[0].slice(-3 * width), bytes.slice(-3 * width));
  }));
  const flat = image(600, 600).fill(77, 40);
  assertEquals([...(await (await own(post(flat))).bytes()).slice(1000, 1003)], [77, 77, 77]);
  for (const handler of [own, plain]) {
    for (const wrong of [null, "", "P6", "P5\n1 1\n255\n1", "P6\n0 0\n255\n", "P6\n2 2\n255\n123"]) {
      assertEquals((await handler(post(wrong))).status, 400);
    }
    const large = await handler(post(new Uint8Array(50_000_001)));
    assertEquals([large.status, await large.text()], [413, "The image is too large\n"]);
  }
  assertEquals(pool.stats().leased, 0);
});
