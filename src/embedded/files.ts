import { readFile } from 'node:fs/promises';
import { isErrorWithCode } from './processes.ts';

/** @returns the text of a file, undefined if there is none */
export async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isErrorWithCode(error, 'ENOENT')) {
      return undefined;
    }
    throw error;
  }
}
