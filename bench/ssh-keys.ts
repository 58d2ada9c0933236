import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from './builds/run-program.ts';

/** A key that all peers, and only they, log in with. */
export interface PeerKey {
  readonly file: string;
  readonly publicKey: string;
}

export async function makePeerKey(directory: string): Promise<PeerKey> {
  const file = join(directory, 'peer-key');
  await runProgram(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'bench', '-f', file]);
  return { file, publicKey: (await readFile(`${file}.pub`, 'utf8')).trim() };
}
