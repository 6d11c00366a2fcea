// Loads the library before the first test: Deno before 2.6 or so reports a library that a test loaded as leaked.
import { BumpAlloc } from "../mod.ts";

new BumpAlloc().close();
