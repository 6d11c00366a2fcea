/** The check that a buffer over native memory is not a copy of it. */
import { assertThrows } from "@std/assert";
import { checkAliases } from "../../src/native/alias.ts";
import { BumpAlloc } from "../../mod.ts";

Deno.test("a buffer over native memory shows it, and a copy is an error that names the version", () => {
  using scratch = new BumpAlloc();
  const view = scratch.alloc(100);
  const { buffer } = view;
  const address = Number(scratch.addressOf(view)) - view.byteOffset;
  checkAliases(buffer, address);
  for (const other of [buffer.slice(), new ArrayBuffer(0)]) {
    assertThrows(() => checkAliases(other, address), Error, `Deno ${Deno.version.deno} copies it`);
  }
  assertThrows(() => checkAliases(buffer, address + 4096), Error, "Cannot show native memory");
});
