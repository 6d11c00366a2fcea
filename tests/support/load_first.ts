// Loads the library before the first test: older versions of Deno report a library that a test loaded as leaked.
import { BumpAlloc } from "../../mod.ts";

new BumpAlloc().close();

// Many tests drop allocators on purpose: in debug mode each would be lines on stderr.
addEventListener("bumpleak", (event) => event.preventDefault());
