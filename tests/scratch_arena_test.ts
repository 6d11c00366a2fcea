/** The public classes: construction, subclasses, and methods called on wrong receivers. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { BumpAlloc, BumpPool, BumpScope, ScratchArena } from "../mod.ts";

Deno.test("only a BumpAlloc is constructed, and its subclasses work", () => {
  type Constructible = new (key?: unknown) => ScratchArena;
  const bases = [ScratchArena, BumpScope] as unknown as Constructible[];
  for (const type of [...bases, ...bases.map((base) => class extends base {})]) {
    for (const key of [undefined, null, {}, Symbol()]) assertThrows(() => new type(key), TypeError, "make a BumpAlloc");
  }
  class Counted extends BumpAlloc {
    count = 0;
    override alloc(byteLength: number, align?: number): Uint8Array<ArrayBuffer> {
      this.count++;
      return super.alloc(byteLength, align);
    }
  }
  using counted = new Counted({ size: 65536 });
  using scope = counted.scope();
  assertEquals([counted.capacity, scope.alloc(8).length, scope instanceof BumpScope], [65536, 8, true]);
  scope.end();
  assertEquals([counted.alloc(8).length, counted.count, counted.used], [8, 1, 8]);
});

Deno.test("any method of any class on a wrong receiver throws or has no effect", async () => {
  using scratch = new BumpAlloc();
  const live = scratch.alloc(64).fill(1);
  using scope = scratch.scope();
  const view = scope.alloc(8).fill(1);
  using pool = new BumpPool();
  const classes = [ScratchArena, BumpScope, BumpAlloc, BumpPool];
  const wrong: unknown[] = [undefined, null, 5, "text", {}, [], () => {}, view, Symbol(), 5n];
  for (const { prototype } of classes) wrong.push(prototype, Object.create(prototype));
  const others = new Map<object, unknown[]>([
    [ScratchArena.prototype, [pool]],
    [BumpScope.prototype, [pool]],
    [BumpAlloc.prototype, [scope, pool]],
    [BumpPool.prototype, [scope]],
  ]);
  for (const { prototype } of classes) {
    for (const key of Reflect.ownKeys(prototype)) {
      if (key === "constructor") continue;
      const { value, get } = Object.getOwnPropertyDescriptor(prototype, key)!;
      for (const receiver of [...wrong, ...others.get(prototype)!]) {
        for (const args of [[], [8], [view, 8], [view], [() => {}]]) {
          try {
            await (get ?? value).apply(receiver, args);
          } catch (error) {
            // A look-alike object passes until its own values cause errors.
            assert(error instanceof TypeError || error instanceof RangeError, `${String(key)}: ${error}`);
          }
        }
      }
    }
  }
  assertEquals([scratch.used, pool.stats().leased, view.length, scope.alloc(8).length], [72, 0, 8, 8]);
  assert([...live, ...view].every((byte) => byte === 1));
});
