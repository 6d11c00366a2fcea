/**
 * Downloads from npm: Deno for other platforms, and a library's source. Needs npm and tar.
 *
 * @module
 */

/** Runs a command and returns its output. */
export async function run(command: string, args: string[], options: Deno.CommandOptions = {}): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(command, { stdin: "null", ...options, args }).output();
  const [out, error] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes).trim());
  if (!success) throw new Error(`${command} ${args.join(" ")} failed:\n${out}\n${error}`);
  return out;
}

/** Unpacks one file or folder of a package into `folder`. Returns its path there. */
export async function unpackFromNpm(name: string, part: string, folder: string): Promise<string> {
  const archive = await run("npm", ["pack", name, "--silent", "--pack-destination", folder]);
  await run("tar", ["-xzf", `${folder}/${archive}`, "-C", folder, `package/${part}`]);
  await Deno.remove(`${folder}/${archive}`);
  return `${folder}/package/${part}`;
}

/** The package of this version of Deno for another platform. */
export function denoFor(platform: string): string {
  return `@deno/${platform}@${Deno.version.deno}`;
}
