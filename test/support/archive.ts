import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { makeTemporaryDirectory } from './temporary-directory.ts';

/** Files by path: text, or what else it is. */
export type FileTree = Readonly<
  Record<string, string | { readonly executable: string } | { readonly linkTo: string }>
>;

/** Packs files with the system's own tar, so that reading is tested against another's writing. */
export async function packTarGz(files: FileTree): Promise<Buffer> {
  const directory = await makeTemporaryDirectory();
  try {
    for (const [path, content] of Object.entries(files)) {
      const full = join(directory.path, path);
      await mkdir(dirname(full), { recursive: true });
      if (typeof content === 'string') await writeFile(full, content);
      else if ('linkTo' in content) await symlink(content.linkTo, full);
      else {
        await writeFile(full, content.executable);
        await chmod(full, 0o755);
      }
    }
    const tar = spawn('tar', ['-czf', '-', '-C', directory.path, '.'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [bytes] = await Promise.all([buffer(tar.stdout), once(tar, 'close')]);
    if (tar.exitCode !== 0) throw new Error(`tar ended with exit code ${tar.exitCode}`);
    return bytes;
  } finally {
    await directory.remove();
  }
}
