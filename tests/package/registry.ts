/**
 * A stand-in for JSR on 127.0.0.1 that serves this package as `deno publish` would upload it.
 *
 * @module
 */

import { fromFileUrl, toFileUrl } from "@std/path";
import { Buffer } from "node:buffer";

/** The checkout. */
export const ROOT: URL = new URL("../../", import.meta.url);

/** A package as it would be published. */
export interface Package {
  readonly name: string;
  readonly version: string;
  /** Paths in the package (`/mod.ts`) and their bytes. */
  readonly files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  /** Imports: names (`.`) and their files (`./mod.ts`). */
  readonly exports: Readonly<Record<string, string>>;
}

/** Builds the package, and collects the files that `deno publish` would upload. */
export async function pack(): Promise<Package> {
  const folder = await Deno.makeTempDir({ prefix: "bump_package_" });
  try {
    await deno(ROOT, "run", "-A", "tools/package/build.ts", folder);
    // Types are checked elsewhere; only the list of files matters here.
    const root = toFileUrl(`${folder}/`);
    const text = await deno(root, "publish", "--dry-run", "--allow-dirty", "--no-check");
    const files = new Map<string, Uint8Array<ArrayBuffer>>();
    for (const [, url] of text.matchAll(/^\s+(file:\S+) \(/gm)) {
      files.set(`/${url.slice(root.href.length)}`, await Deno.readFile(fromFileUrl(url)));
    }
    const { name, version, exports } = JSON.parse(new TextDecoder().decode(files.get("/deno.json")));
    return { name, version, files, exports };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs Deno in a folder and returns its output. */
async function deno(cwd: URL, ...args: string[]): Promise<string> {
  const options = { args, cwd, env: { NO_COLOR: "1" }, stdin: "null" } as const;
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), options).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  if (!success) throw new Error(`deno ${args.join(" ")} failed:\n${text}`);
  return text;
}

/** Writes the package's files to a folder. */
export async function writePackage({ files }: Package, folder: string): Promise<void> {
  for (const [path, bytes] of files) await Deno.writeFile(`${folder}${path}`, bytes);
}

/** Approximate size of the uploaded archive: the concatenated files, compressed. */
export async function packedSize({ files }: Package): Promise<number> {
  const stream = new Blob([...files.values()]).stream().pipeThrough(new CompressionStream("gzip"));
  return (await new Response(stream).arrayBuffer()).byteLength;
}

/** A server that answers as JSR does. */
export interface Registry extends AsyncDisposable {
  /** For `JSR_URL`. */
  readonly url: string;
  /** Requested paths. */
  readonly requests: string[];
}

/** Serves one package. */
export async function serve(served: Package): Promise<Registry> {
  const { name, version, files, exports } = served;
  const manifest: Record<string, { size: number; checksum: string }> = {};
  for (const [path, bytes] of files) {
    const digest = Buffer.from(await crypto.subtle.digest("SHA-256", bytes));
    manifest[path] = { size: bytes.length, checksum: `sha256-${digest.toString("hex")}` };
  }
  const answers = new Map<string, BodyInit>([
    [`/${name}/meta.json`, JSON.stringify({ ...splitName(name), latest: version, versions: { [version]: {} } })],
    [`/${name}/${version}_meta.json`, JSON.stringify({ manifest, exports })],
  ]);
  for (const [path, bytes] of files) answers.set(`/${name}/${version}${path}`, bytes);

  const requests: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const { pathname } = new URL(request.url);
    requests.push(pathname);
    const answer = answers.get(pathname);
    if (answer === undefined) return new Response("not found", { status: 404 });
    const type = TYPES[pathname.slice(pathname.lastIndexOf(".") + 1)];
    return new Response(answer, { headers: { "content-type": type } });
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}/`,
    requests,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

const TYPES: Record<string, string> = {
  js: "text/javascript",
  json: "application/json",
  ts: "text/typescript",
};

function splitName(full: string): { scope: string; name: string } {
  const [scope, name] = full.slice(1).split("/");
  return { scope, name };
}
