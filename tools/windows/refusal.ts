// Runs where the system refuses to commit gigabytes. The request must throw, and the allocator must still work.
import { BumpAlloc, CommitError } from "../../mod.ts";

using scratch = BumpAlloc.withSize(2 ** 34);
scratch.alloc(1000);
let refused: unknown;
try {
  scratch.alloc(2 ** 33);
} catch (error) {
  refused = error;
}
if (!(refused instanceof CommitError)) throw new Error("8 GiB were committed", { cause: refused });
if (scratch.used !== 1000 || scratch.alloc(1000).fill(1).length !== 1000) throw new Error("something has moved");
console.log(refused.message);
