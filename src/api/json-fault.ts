/** Why a text is not a JSON document that Muster takes. */
export interface JsonFault {
  /** From 0, in UTF-16 code units. */
  readonly offset: number;
  /** Completes the sentence "The body is not valid JSON: …". */
  readonly reason: string;
}

/** No document of the API comes near it, and what is stored is walked by recursive code. */
const MAX_DEPTH = 64;

const SPACE = /[ \t\r\n]*/y;
// The loop over plain characters is kept apart from the one over escapes, so that it runs without backtracking.
const STRING =
  /"[^"\\\p{Cc}]*(?:(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})|[\u007f-\u009f])[^"\\\p{Cc}]*)*"/uy;
const SCALAR =
  /(?:-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)(?![\w.+-])/y;
/** What PostgreSQL keeps in no text: NUL, and halves of surrogate pairs. */
const UNSTORABLE = /[\0\p{Surrogate}]/u;

type Expected =
  | 'value'
  | 'value or `]`'
  | 'key'
  | 'key or `}`'
  | '`:`'
  | '`,` or the end'
  | 'nothing more';

interface Open {
  readonly end: '}' | ']';
  /** The keys so far; null in an array. */
  readonly keys: Set<string> | null;
}

/**
 * Finds the first place where a text stops to be a JSON document that is safe to take: besides what the grammar
 * refuses, keys given twice (whoever reads it may see either value), `__proto__`, characters that PostgreSQL does
 * not store, and nesting deeper than 64. Node's own parser does not say where an error is.
 *
 * @returns null for a good document; the work and the memory are linear in its length
 * Source: RFC 8259.
 */
export function findJsonFault(text: string): JsonFault | null {
  const stack: Open[] = [];
  let expected: Expected = 'value';
  let offset = skip(text, 0);
  const afterValue = (): Expected => (stack.length === 0 ? 'nothing more' : '`,` or the end');

  while (offset < text.length) {
    const top = stack.at(-1);
    const char = text[offset];
    let next = offset + 1;
    if (expected === 'nothing more') return { offset, reason: 'there is more after the end of it' };
    if (expected === '`:`') {
      if (char !== ':') return wrong(offset, '`:` after the key');
      expected = 'value';
    } else if (expected === '`,` or the end') {
      if (char === ',') expected = top?.keys == null ? 'value' : 'key';
      else if (char === top?.end) {
        stack.pop();
        expected = afterValue();
      } else return wrong(offset, `\`,\` or \`${top?.end ?? ''}\``);
    } else if (
      (expected === 'value or `]`' && char === ']') ||
      (expected === 'key or `}`' && char === '}')
    ) {
      stack.pop();
      expected = afterValue();
    } else if (char === '"') {
      const end = match(STRING, text, offset);
      if (end === null)
        return { offset, reason: 'this string has no end or holds a wrong character' };
      const value: unknown = JSON.parse(text.slice(offset, end));
      if (typeof value !== 'string' || UNSTORABLE.test(value)) {
        return { offset, reason: 'this string holds a NUL or half a character' };
      }
      if (expected === 'key' || expected === 'key or `}`') {
        const refused = refuseKey(value, top?.keys ?? new Set());
        if (refused !== null) return { offset, reason: refused };
        expected = '`:`';
      } else expected = afterValue();
      next = end;
    } else if (expected === 'key' || expected === 'key or `}`') {
      return wrong(offset, 'a key in double quotes');
    } else if (char === '{' || char === '[') {
      if (stack.length === MAX_DEPTH)
        return { offset, reason: `it is nested deeper than ${MAX_DEPTH}` };
      stack.push(char === '{' ? { end: '}', keys: new Set() } : { end: ']', keys: null });
      expected = char === '{' ? 'key or `}`' : 'value or `]`';
    } else {
      const end = match(SCALAR, text, offset);
      if (end === null) return wrong(offset, 'a value');
      expected = afterValue();
      next = end;
    }
    offset = skip(text, next);
  }
  return expected === 'nothing more' ? null : { offset, reason: 'it ends too early' };
}

/** Line and column of an offset, both from 1. */
export function placeOf(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset).split('\n');
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}

function wrong(offset: number, wanted: string): JsonFault {
  return { offset, reason: `${wanted} must stand here` };
}

function refuseKey(key: string, keys: Set<string>): string | null {
  if (key === '__proto__') return 'no key may be called `__proto__`';
  if (keys.has(key)) return 'this key is given twice in one object';
  keys.add(key);
  return null;
}

function skip(text: string, offset: number): number {
  return match(SPACE, text, offset) ?? offset;
}

function match(pattern: RegExp, text: string, offset: number): number | null {
  pattern.lastIndex = offset;
  return pattern.test(text) ? pattern.lastIndex : null;
}
