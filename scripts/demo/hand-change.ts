import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { settings } from './build-files.ts';
import { folderOn } from './describe-application.ts';
import type { DemoServer } from './servers.ts';

/** The server on which somebody works by hand between the two deployments. */
export const HAND_MADE_ON = 'web02';

/** What that somebody sets `log_level` to, in a file that Muster has deployed. */
export const HAND_SET_LOG_LEVEL = 'debug';

/** A file that no build has. */
export const HAND_MADE = {
  path: 'settings/notes.txt',
  text: 'log_level is debug until the search for the slow orders is over\n',
} as const;

/** Edits a deployed file on the server and makes one beside it, as an operator would in the middle of the night. */
export async function changeByHand(server: DemoServer): Promise<void> {
  const folder = folderOn(server, 'Configuration');
  await writeFile(
    join(folder, 'settings/application.yml'),
    settings({ logLevel: HAND_SET_LOG_LEVEL }),
  );
  await writeFile(join(folder, HAND_MADE.path), HAND_MADE.text);
}
