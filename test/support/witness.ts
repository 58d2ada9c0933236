import { access, constants, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Sees every start of some programs: none can be too short to be seen. */
export interface Witness {
  /** For the PATH of whoever is to be watched: first the witness, then where programs commonly lie. */
  readonly searchPath: string;
  /** The arguments and environments with which a program was started, each ended by NUL; one text per process. */
  startsOf(program: string): Promise<string[]>;
}

const SYSTEM_FOLDERS = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin'];

/**
 * Puts a script in the place of each program, which notes how it was started and then becomes that program.
 * @param directory exists; the caller removes it
 * @param programs by name; what is not installed is left out
 */
export async function makeWitness(
  directory: string,
  programs: readonly string[],
): Promise<Witness> {
  const folder = join(directory, 'bin');
  const notes = join(directory, 'starts');
  await mkdir(folder, { recursive: true });
  await mkdir(notes, { recursive: true });
  for (const program of programs) {
    const real = await findIn(SYSTEM_FOLDERS, program);
    if (real === undefined) continue;
    const script = `#!/bin/sh
{ printf '%s\\0' '${program}' "$@"; /bin/cat "/proc/$$/environ"; } >>'${join(notes, program)}'".$$"
exec '${real}' "$@"
`;
    await writeFile(join(folder, program), script, { mode: 0o755 });
  }
  return {
    searchPath: [folder, ...SYSTEM_FOLDERS].join(':'),
    startsOf: async (program) => {
      const names = (await readdir(notes)).filter((name) => name.startsWith(`${program}.`));
      return await Promise.all(names.map((name) => readFile(join(notes, name), 'utf8')));
    },
  };
}

async function findIn(folders: readonly string[], program: string): Promise<string | undefined> {
  for (const folder of folders) {
    const path = join(folder, program);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  return undefined;
}
