import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { defineScript } from '../../src/remote/script.ts';
import { quoteForPosixShell, sshCommand } from '../../src/transport/quote.ts';
import { availableShells } from './scripts/clone-lab.ts';

const text = fc
  .string({ unit: 'binary', maxLength: 60 })
  .map((value) => value.replaceAll('\0', ''));
const nasty = fc.string({
  unit: fc.constantFrom(
    "'",
    '"',
    '\\',
    '$',
    '`',
    '!',
    '\n',
    ' ',
    '0',
    '1',
    '%',
    '*',
    'ü',
    '日',
    '\t',
    '-',
    '~',
    '#',
  ),
  maxLength: 30,
});
const values = fc.array(fc.oneof(text, nasty), { maxLength: 8 });
const shells = await availableShells();
const home = mkdtempSync(join(tmpdir(), 'muster-quote-'));
afterAll(() => rmSync(home, { recursive: true }));

describe.each(shells.map((argv) => ({ shell: argv.join(' '), argv })))(
  'under $shell',
  ({ argv }) => {
    const [program = 'sh', ...shellArgs] = argv;
    const run = (command: string): string =>
      spawnSync(program, [...shellArgs, '-c', command], {
        env: { PATH: '/usr/bin:/bin', HOME: home },
      }).stdout.toString('utf8');
    const ended = (list: readonly string[]): string =>
      list.map((value) => `${Buffer.from(value, 'utf8').toString('utf8')}\0`).join('');

    it('a quoted value is one word, and that value', () => {
      fc.assert(
        fc.property(values, (list) => {
          expect(
            run(
              `for word in ${list.map(quoteForPosixShell).join(' ')}; do printf '%s\\0' "$word"; done`,
            ),
          ).toBe(ended(list));
        }),
        { numRuns: 60 },
      );
    });

    it('a script that is sent over SSH gets its arguments and variables as they are', () => {
      fc.assert(
        fc.property(values, fc.oneof(text, nasty), (args, value) => {
          const script = defineScript({
            name: 'probe',
            text: 'for word in "$@" "$VALUE"; do printf "%s\\0" "$word"; done',
            args,
            env: { VALUE: value },
          });
          expect(run(sshCommand(script))).toBe(ended([...args, value]));
        }),
        { numRuns: 60 },
      );
    });

    it('so does one whose text is kept, and then called by its name', () => {
      fc.assert(
        fc.property(values, fc.oneof(text, nasty), (args, said) => {
          // A line that looks like a comment would go as one.
          const kept = said.replaceAll('#', '');
          const word = quoteForPosixShell(kept);
          const script = defineScript({
            name: 'probe',
            // As texts do, it may end in any number of line ends, and has backslashes and comments.
            text: `# what\nprintf '%s\\0' ${word} "$@"\n\n`,
            args,
          });
          for (const form of ['keep', 'name'] as const) {
            expect([form, run(sshCommand(script, { text: form }))]).toEqual([
              form,
              ended([kept, ...args]),
            ]);
          }
        }),
        { numRuns: 30 },
      );
    });
  },
);

describe('sshCommand', () => {
  it('shows a login shell of any kind only what all of them take literally between single quotes', () => {
    fc.assert(
      fc.property(values, (args) => {
        const script = defineScript({ name: 'probe', text: 'echo "a\\b!"\n', args });
        for (const form of [undefined, 'keep', 'name'] as const) {
          const command = sshCommand(script, { text: form });
          const [, head, rest = ''] =
            /^exec sh -c '([^'\\!\n]*)' muster (.*)$/s.exec(command) ?? [];
          expect(head).toBeTruthy();
          const words = [...rest.matchAll(/'([^']*)'( |$)/g)].map(([, word = '']) => word);
          expect(words.length).toBe(form === 'keep' ? 2 : 1);
          for (const word of words) {
            // fish reads \\ and \' between single quotes, csh reads ! and line ends.
            expect(word).toMatch(/^(\\0[0-7]{3}|[\x20-\x7e])+$/);
            expect(word).not.toMatch(/['!\n]|\\[^0]/);
          }
        }
      }),
    );
  });

  it('refuses what is longer than one argument can be', () => {
    const script = defineScript({ name: 'probe', text: ':', args: ['x'.repeat(130_000)] });
    expect(() => sshCommand(script)).toThrow(/too long/);
  });
});
