import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findJsonFault, placeOf } from '../../src/api/json-fault.ts';
import { parseJson } from '../../src/api/plugins/body.ts';

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

/** Texts that are JSON but for one place, more often than chance would have it. */
const almostJson = fc
  .tuple(
    fc.json(),
    fc.nat(),
    fc.constantFrom('', ',', '"', '{', ']', ':', '0', '\\', 'e', '.', '-', ' ', '\u0001', '\u0085'),
  )
  .map(([text, at, extra]) => {
    const place = at % (text.length + 1);
    return text.slice(0, place) + extra + text.slice(place + (at % 2));
  });

describe('finding what is wrong with a JSON text', () => {
  it('agrees with JSON.parse on what is JSON, but for what it refuses on purpose', () => {
    fc.assert(
      fc.property(fc.oneof(almostJson, fc.string()), (text) => {
        const fault = findJsonFault(text);
        const isRefusedOnPurpose = /twice|__proto__|NUL|nested/.test(fault?.reason ?? '');
        if (!isRefusedOnPurpose) expect(fault === null).toBe(isJson(text));
      }),
      { numRuns: 3000 },
    );
  });

  it.each([
    ['{"a": 1,}', 1, 9, 'a key in double quotes'],
    ["{'a': 1}", 1, 2, 'a key in double quotes'],
    ['{\n  "a": 1\n  "b": 2\n}', 3, 3, '`,` or `}`'],
    ['{"a" 1}', 1, 6, '`:` after the key'],
    ['[1, 2', 1, 6, 'ends too early'],
    ['{} x', 1, 4, 'more after the end'],
    ['web*', 1, 1, 'a value'],
    ['[01]', 1, 2, 'a value'],
    ['[1 2]', 1, 4, '`,` or `]`'],
    ['"a\nb"', 1, 1, 'no end'],
  ])('says where and why %o is wrong', (text, line, column, reason) => {
    const fault = findJsonFault(text);
    expect(fault?.reason).toContain(reason);
    expect(placeOf(text, fault?.offset ?? 0)).toEqual({ line, column });
  });

  it.each([
    ['a key that is given twice', '{"a": 1, "b": {"a": 2}, "a": 3}', 'twice'],
    ['the same key in another spelling', '{"a": 1, "\\u0061": 3}', 'twice'],
    ['a key that would change the prototype', '{"x": {"__proto__": {"admin": true}}}', '__proto__'],
    ['the same in another spelling', '{"\\u005f_proto__": 1}', '__proto__'],
    ['a NUL, which PostgreSQL does not store', '{"a": "x\\u0000y"}', 'NUL'],
    ['half a surrogate pair', '{"a": "\\ud800"}', 'half a character'],
    ['a document that is nested without end', '['.repeat(100_000), 'nested'],
  ])('refuses %s', (_what, text, reason) => {
    expect(findJsonFault(text)?.reason).toContain(reason);
  });

  it('takes long strings and many keys in linear time', () => {
    const long = JSON.stringify({
      text: 'x\\"\n\u0085'.repeat(300_000),
      keys: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`k${i}`, i])),
    });
    const start = performance.now();
    expect(findJsonFault(long)).toBeNull();
    // Quadratic work would take hours.
    expect(performance.now() - start).toBeLessThan(60_000);
  });
});

describe('reading a body', () => {
  it('takes an empty body for none', () => {
    expect(parseJson(Buffer.from(' \r\n'))).toBeUndefined();
  });

  it('refuses bytes that are not UTF-8 instead of replacing them', () => {
    expect(() => parseJson(Buffer.from([0x22, 0xff, 0x22]))).toThrow('not UTF-8');
  });
});
