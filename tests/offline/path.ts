/** The functions of `@std/path` that the tests use, over `node:path`, for machines that cannot reach JSR. */
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

/** Joins parts of a path. */
export const join: (...parts: string[]) => string = path.join;
/** The path of a file URL. */
export const fromFileUrl = (url: string | URL): string => fileURLToPath(url);
/** The file URL of a path. */
export const toFileUrl = (path: string): URL => pathToFileURL(path);
