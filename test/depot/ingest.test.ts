import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { tarGz, zip } from './archive-builders.ts';
import { type DepotFixture, git, openDepotFixture } from './fixtures.ts';

let fixture: DepotFixture;

beforeAll(async () => {
  fixture = await openDepotFixture();
});

describe('a build', () => {
  it('has the tree that "git add" makes of the same files, from a zip as from a tar', async () => {
    const folder = fixture.path('work');
    const files = {
      'a.txt': 'a',
      'bin/run': '#!/bin/sh\n',
      'ü "q" \\ b/\n': 'odd',
      'a-b/c': '',
      'a/b': 'x',
    };
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), content);
    }
    await chmod(join(folder, 'bin/run'), 0o755);
    await symlink('../a.txt', join(folder, 'bin/link'));
    await git(['init', '-q'], folder);
    await git(['-c', 'core.autocrlf=false', 'add', '-A'], folder);
    const expected = await git(['write-tree'], folder);
    const entries = Object.entries(files).map(([name, content]) => ({
      name,
      content,
      mode: name === 'bin/run' ? 0o100755 : 0o100644,
    }));
    const asTar = tarGz([
      { name: './', type: '5' },
      ...entries.map((e) => ({ ...e, mode: e.mode & 0o777 })),
      { name: './bin/link', type: '2', target: '../a.txt' },
    ]);
    const asZip = zip([...entries, { name: 'bin/link', content: '../a.txt', mode: 0o120777 }]);
    for (const [fileType, bytes] of [
      ['tar.gz', asTar],
      ['zip', asZip],
    ] as const) {
      const build = await fixture.depot.ingestBuild({
        applicationId: fixture.applicationId,
        buildId: `same-${fileType}`,
        archivePath: await fixture.spool(bytes),
        fileType,
      });
      expect(build).toMatchObject({
        tree: expected,
        files: 6,
        emptyDirectories: [],
        caseCollisions: [],
      });
    }
  });
});
