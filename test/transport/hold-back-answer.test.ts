import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { holdBackAnswer } from '../../src/transport/hold-back-answer.ts';

const ANSWER = '\n{"ok":true,"state":"changed"}\n';

/** What is told of `said` when it comes in pieces that end at `cuts`. */
function told(said: string, cuts: readonly number[]): string {
  const bytes = Buffer.from(said);
  let text = '';
  const held = holdBackAnswer((piece) => {
    text += piece.text;
  });
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  let start = 0;
  for (const end of ends) {
    held.push(bytes.subarray(start, end));
    start = end;
  }
  held.end();
  return text;
}

describe('the answer at the end of what a script says', () => {
  const output = fc
    .array(fc.constantFrom('a', 'ä', '\n', '{', '}', '"', '{"ok":', 'two words'), { maxLength: 12 })
    .map((parts) => parts.join(''));
  const cuts = fc.array(fc.nat(200), { maxLength: 8 });

  it('is not told, nor the line end before it, however the output is cut up', () => {
    fc.assert(
      fc.property(output, cuts, (said, at) => {
        expect(told(`${said}\n${ANSWER}`, at)).toBe(`${said}\n`);
      }),
    );
  });

  it('is not told after an open line either, which may only be ended by it', () => {
    fc.assert(
      fc.property(output, cuts, (said, at) => {
        expect([said, `${said}\n`]).toContain(told(said + ANSWER, at));
      }),
    );
  });

  it('if there is none, everything is told', () => {
    fc.assert(
      fc.property(
        output.filter((said) => !said.includes('{"ok":')),
        cuts,
        (said, at) => {
          expect(told(said, at)).toBe(said);
        },
      ),
    );
  });
});
