import type { Site } from '../site.ts';

/** What a server's clone knows of its last switch: the note from before the first file, and the branch after the last. */
const READ = 'stat -c %.6Z .git/muster-switched && stat -c %.6Y .git/refs/heads/master';

/**
 * From when the first server began to change files to when the last one's branch had moved, in milliseconds, as the times
 * of files on the servers tell it; they have one clock here.
 */
export async function readBetweenBuildsMs({ fleet, us }: Site): Promise<number> {
  const seconds = await Promise.all(
    fleet.servers.map(async ({ name }) => {
      const { stdout, stderr } = await fleet.inspect(name, `cd ${us.path()} && ${READ}`);
      const [begun, done] = stdout.trim().split('\n').map(Number);
      if (begun === undefined || done === undefined || !(done >= begun)) {
        throw new Error(`${name} does not tell of its switch: ${stdout}${stderr}`);
      }
      return { begun, done };
    }),
  );
  const begun = Math.min(...seconds.map((server) => server.begun));
  const done = Math.max(...seconds.map((server) => server.done));
  return (done - begun) * 1000;
}
