import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { withLifecycles } from '../../scripts/lifecycles/render.ts';
import {
  batchLifecycle,
  deploymentLifecycle,
  stepLifecycle,
} from '../../src/domain/deployment-state.ts';

const page = (): Promise<string> =>
  readFile(join(import.meta.dirname, '../../docs/architecture.md'), 'utf8');

describe('the lifecycles in docs/architecture.md', () => {
  it('are those of the code; `npx tsx scripts/write-states.ts` writes them anew', async () => {
    const kept = await page();
    expect(kept).toBe(withLifecycles(kept));
  });

  it('show every transition, in a table and in a picture', async () => {
    const kept = await page();
    const { transitions } = deploymentLifecycle;
    const all = [...transitions, ...batchLifecycle.transitions, ...stepLifecycle.transitions];
    for (const { from, event, to } of all) {
      expect(kept).toContain(`| \`${from}\` | \`${event}\` | \`${to}\` |`);
      expect(kept).toMatch(new RegExp(`^ {4}${from} --> ${to}: .*\\b${event}\\b`, 'm'));
    }
  });

  it('replace what stood there before, and nothing else', async () => {
    const kept = await page();
    const outdated = kept.replace('| `queued` | `prepare` | `preparing` |\n', '');
    expect(outdated).not.toBe(kept);
    expect(withLifecycles(outdated)).toBe(withLifecycles(kept));
    expect(() => withLifecycles('no markers')).toThrow('does not have the markers');
  });
});
