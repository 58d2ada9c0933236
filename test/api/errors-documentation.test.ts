import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { STATUS_OF } from '../../src/api/plugins/errors.ts';
import { ERROR_CODES } from '../../src/domain/errors.ts';

const ROW = /^\| `([a-z_]+)` \| (\d{3}) \| (.+) \| (.+) \|$/;

it('docs/errors.md has every error code with its status, and no other', async () => {
  const text = await readFile(join(import.meta.dirname, '../../docs/errors.md'), 'utf8');
  const documented = text.split('\n').flatMap((line) => {
    const [, code, status] = ROW.exec(line) ?? [];
    return code === undefined ? [] : [[code, Number(status)]];
  });
  expect(documented).toEqual(ERROR_CODES.map((code) => [code, STATUS_OF[code]]));
});

it('the status table has every error code in the order of the codes, and no other', () => {
  expect(Object.keys(STATUS_OF)).toEqual([...ERROR_CODES]);
});
