import { getOrAdd } from '../domain/get-or-add.ts';
import type { RemoteScript } from '../remote/script.ts';
import { nameOfText } from './quote.ts';

/** A shorter text is not worth the work that it takes the server to keep it and to look at it again. */
const MIN_CHARACTERS = 4096;
/** A text that a server has not known so often, each time after it was asked to keep it, it cannot keep. */
const MAX_MISSES = 2;

/** Which texts of scripts a server keeps, as far as this process knows. */
export interface KeptTexts {
  /** How the server is best told of a script: by its name, or with its text, which it is to keep or not. */
  formFor(script: RemoteScript): 'name' | 'keep' | undefined;
  /** Says that the server has been asked to keep it. */
  add(script: RemoteScript): void;
  /** Says whether the server did know the script by its name. */
  called(script: RemoteScript, isKnown: boolean): void;
}

/**
 * A deployment's scripts are always the same and take some 50 KB to send, often as much as what they bring. Over a slow way
 * a server is told of them once, and then by their names: it keeps them in `~/.cache/muster`, runs them only if they are as
 * they were sent, and may lose them at any time.
 */
export function makeKeptTexts(): KeptTexts {
  /** Of each name how often in a row the server did not know it, and whether it was asked to keep it since. */
  const texts = new Map<string, { misses: number; isKept: boolean }>();
  const textOf = (script: RemoteScript) =>
    getOrAdd(texts, nameOfText(script), () => ({ misses: 0, isKept: false }));
  return {
    formFor: (script) => {
      if (script.text.length < MIN_CHARACTERS) return undefined;
      const { misses, isKept } = textOf(script);
      if (misses >= MAX_MISSES) return undefined;
      return isKept ? 'name' : 'keep';
    },
    add: (script) => {
      textOf(script).isKept = true;
    },
    called: (script, isKnown) => {
      const text = textOf(script);
      text.misses = isKnown ? 0 : text.misses + 1;
      if (!isKnown) text.isKept = false;
    },
  };
}
