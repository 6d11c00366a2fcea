/** Tests that not every machine or version of Deno can run. Elsewhere they are skipped, and their names say why. */

/** Whether this Deno is older than `version`. */
export function isBefore(version: string): boolean {
  const [major, minor, patch] = version.split(".").map(Number);
  const [ownMajor, ownMinor, ownPatch] = Deno.version.deno.split(/[.+-]/).map(Number);
  return (ownMajor - major || ownMinor - minor || ownPatch - patch) < 0;
}

/** Whether the command runs and succeeds. */
export function succeeds([command, ...args]: string[]): boolean {
  try {
    return new Deno.Command(command, { args, stdin: "null", stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** The reason why a program cannot run here, or null. */
export function missing(command: string): string | null {
  return succeeds([command, "--version"]) ? null : `no ${command}`;
}

/** A test that is skipped if there is a reason. */
export function testUnless(reason: string | null, name: string, fn: () => void | Promise<void>): void {
  Deno.test({ name: reason === null ? name : `${name} (skipped: ${reason})`, ignore: reason !== null, fn });
}

/** A test for `version` and newer; `lacking` says what older versions lack. */
export function testSince(version: string, lacking: string, name: string, fn: () => void | Promise<void>): void {
  testUnless(isBefore(version) ? `before Deno ${version} ${lacking}` : null, name, fn);
}
