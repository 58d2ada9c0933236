import type { z } from 'zod';
import { describeServer } from '../../services/descriptions.ts';
import type { ChangedServer, Server, ServerDetails, ShownServer } from '../../services/servers.ts';
import type * as schemas from '../schemas/servers.ts';
import { toJobSummary } from './jobs.ts';
import { toAttributes } from './json.ts';
import { toTime, toTimeOrNull } from './time.ts';

/** @param server with `isConnectionShown: false` as those see it who may not read what applications share */
export function toServer(
  server: Server & Partial<Pick<ShownServer, 'isConnectionShown'>>,
): z.infer<typeof schemas.Server> {
  const { connection, ...described } = describeServer(server);
  return {
    ...described,
    connection: server.isConnectionShown === false ? { kind: connection.kind } : connection,
    attributes: toAttributes(server.attributes),
    facts: server.facts,
    checked_at: toTimeOrNull(server.checkedAt),
    created_datetime: toTime(server.createdAt),
  };
}

export function toServerDetails(
  server: ServerDetails & Partial<Pick<ShownServer, 'isConnectionShown'>>,
): z.infer<typeof schemas.ServerDetails> {
  return {
    ...toServer(server),
    gitdeploys: server.gitdeploys.map(({ observedAt, ...installation }) => ({
      ...installation,
      observed_at: toTimeOrNull(observedAt),
    })),
  };
}

export function toChangedServer({
  server,
  job,
}: ChangedServer): z.infer<typeof schemas.ChangedServer> {
  if (job === null) return toServerDetails(server);
  return {
    ...toServerDetails(server),
    messages: [
      `Server \`${server.name}\` leads elsewhere now, so what is initialized there is unknown until job ${job.id} has looked.`,
    ],
    job: toJobSummary(job),
  };
}
