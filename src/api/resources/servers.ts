import type { z } from 'zod';
import { describeServer } from '../../services/descriptions.ts';
import type { Server, ServerDetails } from '../../services/servers.ts';
import type * as schemas from '../schemas/servers.ts';
import { toAttributes } from './json.ts';
import { toTime, toTimeOrNull } from './time.ts';

export function toServer(server: Server): z.infer<typeof schemas.Server> {
  return {
    ...describeServer(server),
    attributes: toAttributes(server.attributes),
    facts: server.facts,
    checked_at: toTimeOrNull(server.checkedAt),
    created_datetime: toTime(server.createdAt),
  };
}

export function toServerDetails(server: ServerDetails): z.infer<typeof schemas.ServerDetails> {
  return {
    ...toServer(server),
    gitdeploys: server.gitdeploys.map(({ observedAt, ...installation }) => ({
      ...installation,
      observed_at: toTimeOrNull(observedAt),
    })),
  };
}
