import type { z } from 'zod';
import type { Server, ServerDetails } from '../../services/servers.ts';
import type * as schemas from '../schemas/servers.ts';
import { toAttributes } from './json.ts';
import { toTime } from './time.ts';

export function toServer(server: Server): z.infer<typeof schemas.Server> {
  const { connection } = server;
  return {
    name: server.name,
    environment: server.environment,
    connection:
      connection.kind === 'local'
        ? { ...connection }
        : { ...connection, keypair: server.keypair?.name ?? null, host_key: server.hostKey },
    datacenter: server.datacenter,
    attributes: toAttributes(server.attributes),
    created_datetime: toTime(server.createdAt),
  };
}

export function toServerDetails(server: ServerDetails): z.infer<typeof schemas.ServerDetails> {
  return { ...toServer(server), gitdeploys: server.gitdeploys };
}
