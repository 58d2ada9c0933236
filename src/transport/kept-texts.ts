import type { RemoteScript } from '../remote/script.ts';
import { nameOfText } from './quote.ts';

/** A shorter text is not worth the work that it takes the server to keep it and to look at it again. */
const MIN_CHARACTERS = 4096;
/** A server that has forgotten so many in a row keeps none, as when its user has no home. */
const MAX_MISSES = 3;

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
  const kept = new Set<string>();
  let misses = 0;
  return {
    formFor: (script) => {
      if (misses >= MAX_MISSES || script.text.length < MIN_CHARACTERS) return undefined;
      return kept.has(nameOfText(script)) ? 'name' : 'keep';
    },
    add: (script) => {
      kept.add(nameOfText(script));
    },
    called: (script, isKnown) => {
      misses = isKnown ? 0 : misses + 1;
      if (!isKnown) kept.delete(nameOfText(script));
    },
  };
}
