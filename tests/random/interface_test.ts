/**
 * Random programs over the whole interface, each with a model beside it (`model.ts`).
 *
 * `MODEL_RUNS=20000 MODEL_SEED=1000 deno task test tests/random/interface_test.ts` runs more programs, with other
 * seeds.
 *
 * @module
 */
import { canMarkUntransferable } from "../../src/buffers.ts";
import { runModel } from "./model.ts";
import { times } from "../support/times.ts";

const RUNS = Number(Deno.env.get("MODEL_RUNS") ?? times(60));
const SEED = Number(Deno.env.get("MODEL_SEED") ?? 1);

Deno.test("random programs of regions, holders, scopes, frames, transfers, drops and native blocks: every byte is right", async () => {
  const canMark = canMarkUntransferable();
  for (let seed = SEED; seed < SEED + RUNS; seed++) await runModel(seed, 300, canMark);
});
