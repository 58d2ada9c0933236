import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  parseStates,
  stateJsonSchemas,
  supportedStateFunctions,
} from '../../../src/remote/states/parse.ts';

const page = readFileSync(new URL('../../../docs/states.md', import.meta.url), 'utf8');

/** The sections of functions: the names in the heading, and the text below it. */
const sections = page
  .split(/^## /m)
  .map((section) => ({
    functions: (section.split('\n')[0] ?? '').split(', ').filter((name) => name.includes('.')),
    text: section,
  }))
  .filter(({ functions }) => functions.length > 0);

const examples = [...page.matchAll(/^```json\n(.*?)^```$/gms)].map(([, json = '']) => json);

/** Arguments that exist only to be refused in words of their own. */
const REFUSED = ['source'];

function argumentsOf(name: string): string[] {
  const schema = z
    .object({ properties: z.record(z.string(), z.unknown()) })
    .parse(stateJsonSchemas()[name]);
  return Object.keys(schema.properties).filter((argument) => !REFUSED.includes(argument));
}

describe('docs/states.md', () => {
  it('has a section for every function and for no other', () => {
    expect(sections.flatMap(({ functions }) => functions).toSorted()).toEqual(
      supportedStateFunctions(),
    );
  });

  it.each(sections.flatMap(({ functions, text }) => functions.map((name) => ({ name, text }))))(
    'lists exactly the arguments of $name, in their order',
    ({ name, text }) => {
      const listed = [...text.matchAll(/^\| `(\w+)` \|/gm)].map(([, argument]) => argument);
      expect(listed).toEqual(argumentsOf(name));
    },
  );

  it('has an example of every function, and each example is accepted as it stands', () => {
    const used = examples.flatMap((json) => parseStates(JSON.parse(json)));
    expect([...new Set(used.map((state) => state.function))].toSorted()).toEqual(
      supportedStateFunctions(),
    );
  });
});
