import { z } from 'zod';
import { defineScript, type RemoteScript } from './script.ts';
import { SHELL_PRELUDE } from './shell-prelude.ts';

/** What time it is on a server, and who asks. */
export const clockAnswerSchema = z.object({
  ok: z.literal(true),
  /** Since 1970. Where `date` knows no nanoseconds, the middle of the second. */
  epochMs: z.number(),
  userId: z.number().int(),
});

/** Ask for the time: the least that a server can be asked, so that it also tells how long asking takes. */
export function clockScript(): RemoteScript {
  return defineScript({ name: 'clock', text: TEXT, args: [] });
}

const TEXT = `${SHELL_PRELUDE}
now=$(date +%s%N)
case $now in *[!0-9]* | ??????????) now=$(date +%s)500000000 ;; esac
answer ",\\"epochMs\\":$((now / 1000000)),\\"userId\\":$(id -u)"
`;
