import { assertEquals } from "@std/assert";
import { BumpPool } from "../../mod.ts";
import { makeHandler } from "../../examples/server.ts";

const post = (body: string) => new Request("http://localhost/", { method: "POST", body });

const TEXT = "Ann <ann.b+c@example.org> called 0123456789 at 12:30, user@ and @home stay, as do 123456 and Zürich.\n";
const SCRUBBED = "Ann <***> called *** at 12:30, user@ and @home stay, as do 123456 and Zürich.\n";

Deno.test("the server hides addresses and long numbers, with a pool and with plain arrays", async () => {
  using pool = new BumpPool({ limit: 3 });
  for (const handler of [makeHandler(pool, 1 << 16), makeHandler(null, 1 << 16)]) {
    assertEquals(await (await handler(post(TEXT))).text(), SCRUBBED);
    assertEquals(await (await handler(post(""))).text(), "");
    assertEquals(await (await handler(post("1234567"))).text(), "***");
    // As many as a body can hold.
    const crowd = `${"a@b ".repeat(16383)}a@bc`;
    assertEquals(await (await handler(post(crowd))).text(), `${"*** ".repeat(16383)}***`);
    const large = await handler(post("x".repeat((1 << 16) + 1)));
    assertEquals([large.status, await large.text()], [413, "At most 65536 bytes\n"]);
    // Far more requests at once than leases; each gets its own answer.
    const answers = await Promise.all(
      Array.from({ length: 100 }, async (_, i) => await (await handler(post(`${i} ${TEXT.repeat(i)}`))).text()),
    );
    answers.forEach((answer, i) => assertEquals(answer, `${i} ${SCRUBBED.repeat(i)}`));
  }
  const stats = await (await makeHandler(pool, 1)(new Request("http://localhost/"))).json();
  assertEquals([stats.leased, stats.peak, stats.lost], [0, 3, 0]);
});
