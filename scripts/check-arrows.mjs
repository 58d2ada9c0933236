import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

// Who may import whom (.dependency-cruiser.cjs), in the present directory. dependency-cruiser calls code that it cannot
// read clean: with a compiler it does not know it reads no TypeScript at all and finds "no violations". So every file
// must also have been read.

const FOLDERS = ['src', 'workers', 'prisma', 'test', 'scripts', 'bench'].filter((folder) =>
  existsSync(folder),
);
const CRUISER = fileURLToPath(
  new URL('../node_modules/dependency-cruiser/bin/dependency-cruise.mjs', import.meta.url),
);

const { violations, modules } = cruise();
for (const { rule, from, to, cycle } of violations) {
  const path = cycle === undefined ? to : cycle.map((step) => step.name).join(' → ');
  console.error(`${rule.name}: ${from} → ${path}`);
}
const read = new Set(modules);
const unread = listSources().filter((path) => !read.has(path));
for (const path of unread) {
  console.error(`not read: ${path}`);
}
console.log(
  `${read.size} modules read, ${violations.length} forbidden imports, ${unread.length} files not read.`,
);
process.exitCode = violations.length + unread.length === 0 && read.size > 0 ? 0 : 1;

function cruise() {
  const args = [
    CRUISER,
    '--config',
    '.dependency-cruiser.cjs',
    '--output-type',
    'json',
    ...FOLDERS,
  ];
  const { stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
  });
  try {
    const { summary, modules: found } = JSON.parse(stdout);
    return {
      violations: summary.violations.filter((one) => one.rule.severity === 'error'),
      modules: found.map((module) => module.source),
    };
  } catch (cause) {
    throw new Error(`dependency-cruiser did not report: ${stderr || stdout}`, { cause });
  }
}

/** What must have been read: all of src but what is generated. */
function listSources() {
  return readdirSync('src', { recursive: true, withFileTypes: true })
    .filter(
      (entry) => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.d.ts'),
    )
    .map((entry) => relative('.', join(entry.parentPath, entry.name)))
    .filter((path) => !path.startsWith('src/store/generated/'));
}
