import { assert, assertEquals } from "@std/assert";
import { BumpAlloc } from "../../mod.ts";
import { isInside, load, readText, testWith, text } from "./support.ts";

const LUA_OK = 0;
const LUA_ERRMEM = 4;
const LUA_GCCOUNT = 3;

const lua = load("liblua5.4.so.0", {
  luaL_newstate: { parameters: [], result: "pointer" },
  lua_newstate: { parameters: ["pointer", "pointer"], result: "pointer" },
  lua_close: { parameters: ["pointer"], result: "void" },
  luaL_openlibs: { parameters: ["pointer"], result: "void" },
  luaL_loadbufferx: { parameters: ["pointer", "buffer", "usize", "buffer", "pointer"], result: "i32" },
  lua_pcallk: { parameters: ["pointer", "i32", "i32", "i32", "isize", "pointer"], result: "i32" },
  lua_tolstring: { parameters: ["pointer", "i32", "pointer"], result: "pointer" },
  lua_settop: { parameters: ["pointer", "i32"], result: "void" },
  lua_gc: { parameters: ["pointer", "i32", "i32"], result: "i32" },
});
const native = lua.symbols;

/** Tables with both parts, strings short and long, closures, coroutines, sorting, and garbage collections. */
const PROGRAM = `
  local words, count = {}, 0
  for i = 1, 20000 do
    local word = ("word%d"):format(i * 7919 % 5003):rep(i % 7 + 1, "-")
    words[word] = (words[word] or 0) + i
    if i % 1000 == 0 then collectgarbage(i % 2000 == 0 and "collect" or "step") end
  end
  local names = {}
  for name in pairs(words) do names[#names + 1] = name end
  table.sort(names)
  local producer = coroutine.wrap(function() for _, name in ipairs(names) do coroutine.yield(name) end end)
  local sum, long = 0, {}
  for name in producer do
    sum = (sum * 31 + words[name] + #name) % 1000000007
    long[#long + 1] = name:upper()
  end
  local all = table.concat(long, ",")
  local adders = {}
  for i = 1, 1000 do adders[i] = function(x) return x + i end end
  for _, add in ipairs(adders) do sum = add(sum) end
  return ("%d %d %d"):format(#names, #all, sum)
`;

/** Loads and runs a program; gives the status and the result or the message. */
function run(state: Deno.PointerValue, program: string): [status: number, result: string | null] {
  const bytes = new TextEncoder().encode(program);
  let status = native.luaL_loadbufferx(state, bytes, BigInt(bytes.length), text("=program"), null);
  if (status === LUA_OK) status = native.lua_pcallk(state, 0, 1, 0, 0n, null);
  const result = readText(native.lua_tolstring(state, -1, null));
  native.lua_settop(state, 0);
  return [status, result];
}

function newState(scratch: BumpAlloc): Deno.PointerValue {
  const { alloc, ud } = scratch.hooks.lua;
  const state = native.lua_newstate(alloc, ud);
  if (state !== null) native.luaL_openlibs(state);
  return state;
}

testWith(lua, "Lua: a program that builds tables and strings runs in an arena", () => {
  const plain = native.luaL_newstate();
  native.luaL_openlibs(plain);
  const expected = run(plain, PROGRAM);
  assertEquals(expected[0], LUA_OK, expected[1] ?? undefined);
  native.lua_close(plain);

  using scratch = new BumpAlloc();
  const state = newState(scratch);
  assert(isInside(scratch, state));
  const before = scratch.used;
  assertEquals(run(state, PROGRAM), expected);
  assert(scratch.used > before + 2 ** 20);
  // Lua's own count is at most the memory that it took.
  assert(native.lua_gc(state, LUA_GCCOUNT, 0) * 1024 < scratch.used);
  native.lua_close(state);

  // Thrown away without lua_close, and again from the first byte.
  scratch.reset();
  const first = newState(scratch);
  assertEquals(run(first, PROGRAM), expected);
  const used = scratch.used;
  scratch.reset();
  assertEquals(Deno.UnsafePointer.value(newState(scratch)), Deno.UnsafePointer.value(first));
  assertEquals(run(first, PROGRAM), expected);
  assert(Math.abs(scratch.used - used) < used / 10); // Lua seeds its hashes from the clock: not quite the same twice
});

testWith(lua, "Lua: a full region is its memory error, which a program may catch", () => {
  using scratch = BumpAlloc.withSize(4 * 2 ** 20);
  const state = newState(scratch);
  const [status, message] = run(state, `local t = {} for i = 1, 1e9 do t[i] = "number " .. i end`);
  assertEquals([status, message], [LUA_ERRMEM, "not enough memory"]);
  assert(scratch.used > 2 ** 21);
  // Lua frees the table, and its blocks are reused.
  assertEquals(run(state, "return 6 * 7"), [LUA_OK, "42"]);
  native.lua_close(state);

  using caught = BumpAlloc.withSize(4 * 2 ** 20);
  const other = newState(caught);
  assertEquals(run(other, `return select(2, pcall(string.rep, "x", 1 << 30))`), [LUA_OK, "not enough memory"]);
  assertEquals(run(other, "return 6 * 7"), [LUA_OK, "42"]);

  using full = BumpAlloc.withSize(4096);
  full.alloc(full.remaining - 500);
  const { alloc, ud } = full.hooks.lua;
  assertEquals(native.lua_newstate(alloc, ud), null);
});
