/** What older versions of Deno lack: such a test is skipped there, and its name says why. */

/** Whether this Deno is older than `version`. */
export function isBefore(version: string): boolean {
  const [major, minor, patch] = version.split(".").map(Number);
  const [ownMajor, ownMinor, ownPatch] = Deno.version.deno.split(/[.+-]/).map(Number);
  return (ownMajor - major || ownMinor - minor || ownPatch - patch) < 0;
}

/** A test that holds from `version` on; `lacking` says what is not there before. */
export function testSince(version: string, lacking: string, name: string, fn: () => void | Promise<void>): void {
  const ignore = isBefore(version);
  Deno.test({ name: ignore ? `${name} (skipped: before Deno ${version} ${lacking})` : name, ignore, fn });
}
