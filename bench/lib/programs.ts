/** Real programs, and what they work on: made here, the same on every machine. */

/** A command that is run in the folder of the inputs. */
export interface Program {
  readonly name: string;
  readonly command: readonly [string, ...string[]];
  /** What is not installed, if so. */
  readonly missing: string | null;
}

/** A checkout's file, for programs that read source code. */
const source = (path: string) => new URL(`../../${path}`, import.meta.url).pathname;

/** Debian's own where there are several: what a version manager puts first is a shell script. */
function find(name: string): string | null {
  for (const folder of ["/usr/bin", "/bin", ...(Deno.env.get("PATH") ?? "").split(":")]) {
    try {
      const { isFile, mode } = Deno.statSync(`${folder}/${name}`);
      if (isFile && (mode! & 0o111) !== 0) return `${folder}/${name}`;
    } catch { /* not there */ }
  }
  return null;
}

/** Programs by their names, those that this machine lacks too; those of the bench when none are given. */
export function programs(commands: Readonly<Record<string, readonly [string, ...string[]]>> = COMMANDS): Program[] {
  return Object.entries(commands).map(([name, [command, ...args]]) => {
    const path = command === "deno" ? Deno.execPath() : find(command);
    return { name, command: [path ?? command, ...args], missing: path === null ? command : null };
  });
}

const COMMANDS: Record<string, [string, ...string[]]> = {
  "jq: sum": ["jq", "-c", "map(.value) | add", "rows.json"],
  "jq: format": ["jq", ".", "rows.json"],
  "xmllint": ["xmllint", "--format", "rows.xml"],
  "sort": ["sort", "lines.txt"],
  "grep": ["grep", "-o", "[0-9]*7 line", "lines.txt"],
  "rg": ["rg", "--no-config", "-o", "[0-9]*7 line", "lines.txt"],
  "awk": ["awk", "{ seen[$1] = $0 } END { print length(seen) }", "lines.txt"],
  "sed": ["sed", "-E", "s/ line ([0-9]*)/ row \\1/", "lines.txt"],
  "diff": ["diff", "lines.txt", "changed.txt"],
  "bash": ["bash", "work.sh"],
  "lua": ["lua5.4", "work.lua"],
  "python": ["python3", "work.py"],
  "perl": ["perl", "work.pl"],
  "sqlite3": ["sqlite3", ":memory:", ".read work.sql"],
  "git log": ["git", "-C", "repository", "log", "--stat"],
  "git status": ["git", "-C", "repository", "status", "--short"],
  "gcc": ["gcc", "-w", "-O1", "-S", source("native/library.c"), "-o", "-"],
  "clang": ["clang-19", "-w", "-O1", "-c", source("native/library.c"), "-o", "-"],
  "zstd": ["zstd", "-12", "-c", "rows.xml"],
  "node": ["node", "work.js"],
  "deno run": ["deno", "run", "--no-config", "work.js"],
  "deno fmt": ["deno", "fmt", "--no-config", "--line-width=120", "--check", "sources"],
  "deno lint": ["deno", "lint", "--no-config", "sources"],
};

/** Writes the inputs to an empty folder; `scale`: how much there is to do, 1 for some tenths of a second each. */
export async function makeInputs(folder: string, scale = 1): Promise<void> {
  const times = (count: number) => Math.ceil(count * scale);
  const texts = (count: number, text: (i: number) => string) => Array.from({ length: times(count) }, (_, i) => text(i));
  const write = (name: string, text: string) => Deno.writeTextFileSync(`${folder}/${name}`, text);
  const random = (i: number) => Math.imul(i + 1, 2654435761) >>> 0;

  write(
    "rows.json",
    JSON.stringify(
      Array.from(
        { length: times(30_000) },
        (_, i) => ({ id: i, name: `item ${i}`, tags: ["a", "b", `${i % 7}`], value: i / 3 }),
      ),
    ),
  );
  const row = (i: number) => `<row id="${i}"><name>item ${i}</name><tag value="t${i % 7}"/></row>`;
  write("rows.xml", `<rows>${texts(60_000, row).join("")}</rows>`);
  const lines = texts(150_000, (i) => `${random(i)} line ${i}`);
  write("lines.txt", lines.join("\n") + "\n");
  write("changed.txt", lines.map((line, i) => i % 50 === 0 ? `${line} changed` : line).join("\n") + "\n");
  for (const [name, text] of Object.entries(SCRIPTS)) {
    write(
      name,
      text.replaceAll(/\bCOUNT\((\d+)\)/g, (_, n) => `${times(Number(n))}`),
    );
  }
  Deno.mkdirSync(`${folder}/sources`);
  for (const { name } of Deno.readDirSync(source("src"))) {
    if (name.endsWith(".ts")) Deno.copyFileSync(`${source("src")}/${name}`, `${folder}/sources/${name}`);
  }
  if (find("git") !== null) await makeRepository(`${folder}/repository`, times(400), times(2000));
}

/** What scripting languages are given to do; `COUNT(…)` is what the scale changes. */
const SCRIPTS: Record<string, string> = {
  "work.js": `
const rows = [];
for (let i = 0; i < COUNT(250000); i++) rows.push({ i, text: "x" + i });
console.log(JSON.stringify(rows).length);
`,
  "work.lua": `
local live, sum = {}, 0
for i = 1, COUNT(200000) do
  local key = i * 7919 % 20011
  local before = live[key]
  if before then sum = sum + #before.name end
  live[key] = { name = "n" .. i, sub = { i, i + 1 } }
end
print(sum)
`,
  "work.pl": `
my %rows;
for my $i (1 .. COUNT(100000)) { $rows{"key$i"} = [$i, "v$i"]; }
my $sum = 0;
for my $key (sort keys %rows) { $sum += $rows{$key}[0]; }
print "$sum\\n";
`,
  "work.py": `
import json
rows = json.loads(json.dumps({str(i): [i, {"a": i, "b": "x" * (i % 100)}] for i in range(COUNT(80000))}))
print(sum(len(row[1]["b"]) for row in rows.values()))
`,
  "work.sh": `
declare -A seen
for ((i = 0; i < COUNT(25000); i++)); do
  key="key $((i * 7919 % 20011))"
  seen[$key]="\${seen[$key]:0:40}\${key//e/E}"
done
echo "\${#seen[@]}"
`,
  "work.sql": `
CREATE TABLE rows (id INTEGER PRIMARY KEY, word TEXT, bytes BLOB);
CREATE INDEX by_word ON rows (word);
WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < COUNT(70000))
  INSERT INTO rows SELECT i, 'w' || (i * 7919 % 5003), zeroblob(i % 200) FROM numbers;
SELECT count(*), sum(length(bytes)) FROM rows;
SELECT substr(word, 1, 3), count(*), length(group_concat(id)) FROM rows GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5;
SELECT count(*) FROM rows x JOIN rows y ON x.word = y.word AND x.id < y.id WHERE x.id < COUNT(10000);
`,
};

/** A repository with a work tree: commits that change ten files each, of so many. */
async function makeRepository(folder: string, commits: number, files: number): Promise<void> {
  const parts: string[] = [];
  const data = (text: string) => `data ${text.length}\n${text}\n`;
  for (let commit = 0; commit < commits; commit++) {
    parts.push(`commit refs/heads/main\ncommitter Ann <ann@example.org> ${1_700_000_000 + commit * 60} +0000\n`);
    parts.push(data(`change ${commit}`));
    const changed = commit === 0 ? files : 10;
    for (let i = 0; i < changed; i++) {
      const file = commit === 0 ? i : (commit * 31 + i * 7) % files;
      const lines = Array.from({ length: 40 }, (_, line) => `line ${line} ${line === 20 ? commit : file}`);
      parts.push(`M 100644 inline folder${file % 40}/file${file}.txt\n${data(lines.join("\n"))}`);
    }
    parts.push("\n");
  }
  const git = async (args: string[], input?: string) => {
    const command = new Deno.Command("git", {
      args,
      stdin: input === undefined ? "null" : "piped",
      stdout: "null",
      stderr: "piped",
      env: { GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1" },
    }).spawn();
    const written = input === undefined ? null : new Blob([input]).stream().pipeTo(command.stdin);
    const { success, stderr } = await command.output();
    await written;
    if (!success) throw new Error(`git ${args.join(" ")} failed: ${new TextDecoder().decode(stderr)}`);
  };
  await git(["init", "--quiet", folder]);
  await git(["-C", folder, "symbolic-ref", "HEAD", "refs/heads/main"]);
  await git(["-C", folder, "fast-import", "--quiet"], parts.join(""));
  await git(["-C", folder, "reset", "--quiet", "--hard"]);
  for (let i = 0; i < files; i += 3) Deno.writeTextFileSync(`${folder}/folder${i % 40}/file${i}.txt`, `changed ${i}\n`);
}
