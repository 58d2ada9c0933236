import { z } from 'zod';

/** What a check has seen of a server; spelled as on the wire, where it goes out as it is stored. */
export const ServerFacts = z.object({
  hostname: z.string().meta({ description: 'What the server calls itself.' }),
  os: z
    .object({
      id: z.string().meta({ description: 'Such as `debian`.' }),
      version: z.string().meta({ description: 'Such as `12`.' }),
      name: z.string().meta({ description: 'Such as `Debian GNU/Linux 12 (bookworm)`.' }),
    })
    .meta({ description: 'From /etc/os-release; empty where there is none.' }),
  git_version: z.string().nullable().meta({ description: 'Null if git is not installed.' }),
  git_supported: z.boolean().meta({ description: 'Whether that git is new enough, 2.20.' }),
  free_disk_bytes: z
    .number()
    .int()
    .nullable()
    .meta({ description: 'Free for the user on the file system of `/`.' }),
  host_key_fingerprint: z
    .string()
    .nullable()
    .meta({ description: '`SHA256:…` as ssh-keygen -l prints it; null for a local folder.' }),
  clock_skew_ms: z.number().int().meta({
    description: "By how much the server's clock is ahead of Muster's; behind is negative.",
  }),
  round_trip_ms: z
    .number()
    .meta({ description: 'How long a command that does nothing takes; the median of several.' }),
  become_works: z.boolean().nullable().meta({
    description: 'Whether actions get root; null where `become` is not set.',
  }),
  problems: z
    .array(z.string())
    .meta({ description: 'What would keep deployments from working, and what to do; or nothing.' }),
});
export type ServerFacts = z.infer<typeof ServerFacts>;
