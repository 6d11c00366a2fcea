/** Long-running libraries: freed memory is reused, so that memory levels off. */
import { assert, assertEquals } from "@std/assert";
import { BumpAlloc } from "../../mod.ts";
import { load, readText, runChild, testWith, text } from "./support.ts";

testWith(load("libsqlite3.so.0", {}), "SQLite: a million statements in a region of 64 MiB", async () => {
  const { statements, codes, changes, early, late } = await runChild("sqlite_long_child.ts") as Record<string, number>;
  assertEquals([statements, codes], [1_000_000, [0]] as unknown[]);
  assert(changes > 100_000);
  assert(late <= early * 1.05, `${early} bytes after a tenth of the statements, ${late} after all`);
});

const lua = load("liblua5.4.so.0", {
  lua_newstate: { parameters: ["pointer", "pointer"], result: "pointer" },
  luaL_openlibs: { parameters: ["pointer"], result: "void" },
  luaL_loadbufferx: { parameters: ["pointer", "buffer", "usize", "buffer", "pointer"], result: "i32" },
  lua_pcallk: { parameters: ["pointer", "i32", "i32", "i32", "isize", "pointer"], result: "i32" },
  lua_tolstring: { parameters: ["pointer", "i32", "pointer"], result: "pointer" },
});

/** Objects of all kinds and sizes live for a while; the collector frees all of them in the end. */
const PROGRAM = `
  local live, sum = {}, 0
  for i = 1, 150000 do
    local key = i * 7919 % 2003
    local before = live[key]
    if before then sum = (sum + #before.name + #before.list) % 1000003 end
    local list = {}
    for j = 1, i % 11 do list[j] = j end
    live[key] = { name = ("x"):rep(i * i % 301), list = list, call = i % 3 == 0 and function() return i end or nil }
    if i % 5000 == 0 then sum = (sum + #table.concat(list, ("y"):rep(i % 40000))) % 1000003 end
  end
  return sum`;

testWith(lua, "Lua: a collector at work for long", () => {
  using scratch = BumpAlloc.withSize(32 * 2 ** 20);
  const { lua_newstate, luaL_openlibs, luaL_loadbufferx, lua_pcallk, lua_tolstring } = lua.symbols;
  const { alloc, ud } = scratch.hooks.lua;
  const state = lua_newstate(alloc, ud);
  luaL_openlibs(state);
  const program = new TextEncoder().encode(PROGRAM);
  const used: number[] = [];
  for (let i = 0; i < 12; i++) {
    assertEquals(luaL_loadbufferx(state, program, BigInt(program.length), text("=program"), null), 0);
    const code = lua_pcallk(state, 0, 1, 0, 0n, null);
    assertEquals(code, 0, readText(lua_tolstring(state, -1, null)) ?? undefined);
    used.push(scratch.used);
  }
  assert(used[11] <= used[7] * 1.05, `${used}`);
});
