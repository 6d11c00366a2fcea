// Loads the library before the first test: older versions of Deno report a library that a test loaded as leaked.
import { BumpAlloc } from "../../mod.ts";

new BumpAlloc().close();
