import { spawnSync } from 'node:child_process';
import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeTemporaryDirectory, type TemporaryDirectory } from '../support/temporary-directory.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CONFIGURATION = '.dependency-cruiser.cjs';

let project: TemporaryDirectory;

beforeEach(async () => {
  project = await makeTemporaryDirectory();
  for (const name of [CONFIGURATION, 'tsconfig.json', 'package.json']) {
    await cp(join(ROOT, name), join(project.path, name));
  }
  await symlink(join(ROOT, 'node_modules'), join(project.path, 'node_modules'));
  await addSource('src/domain/rule.ts', 'export const rule = 1;\n');
  await addSource(
    'src/store/rows.ts',
    `import { rule } from '../domain/rule.ts';\n\nexport const rows = [rule];\n`,
  );
});

afterEach(() => project.remove());

async function addSource(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(project.path, path)), { recursive: true });
  await writeFile(join(project.path, path), content);
}

function check(): { readonly exitCode: number | null; readonly output: string } {
  const script = join(ROOT, 'scripts', 'check-arrows.mjs');
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], {
    cwd: project.path,
    encoding: 'utf8',
  });
  return { exitCode: status, output: stdout + stderr };
}

describe('check-arrows', () => {
  test('is content with imports in the direction of the arrows', () => {
    expect(check()).toEqual({
      exitCode: 0,
      output: '2 modules read, 0 forbidden imports, 0 files not read.\n',
    });
  });

  test('names an import against the arrows, even of types alone', async () => {
    await addSource('src/store/row.ts', 'export interface Row {}\n');
    await addSource(
      'src/domain/bad.ts',
      `import type { Row } from '../store/row.ts';\n\nexport type Bad = Row;\n`,
    );
    const { exitCode, output } = check();
    expect(exitCode).toBe(1);
    expect(output).toContain('domain-is-pure: src/domain/bad.ts → src/store/row.ts');
  });

  test('fails when files were not read, which would otherwise count as clean', async () => {
    const path = join(project.path, CONFIGURATION);
    const configuration = await readFile(path, 'utf8');
    await writeFile(path, configuration.replace('^dist/|', '^dist/|^src/domain/|'));
    const { exitCode, output } = check();
    expect(exitCode).toBe(1);
    expect(output).toContain('not read: src/domain/rule.ts');
  });
});
