/** What the tests use of `@std/path`, over `node:path`, for machines that cannot reach JSR. */
import path from "node:path";
import { fileURLToPath } from "node:url";

/** Joins parts of a path. */
export const join: (...parts: string[]) => string = path.join;
/** The folder of a path. */
export const dirname: (file: string) => string = path.dirname;
/** The last part of a path. */
export const basename: (file: string) => string = path.basename;
/** An absolute path. */
export const resolve: (...parts: string[]) => string = path.resolve;
/** The path of a file URL. */
export const fromFileUrl = (url: string | URL): string => fileURLToPath(url);
