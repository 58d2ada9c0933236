import type { z } from 'zod';
import { apiBase } from '../../domain/gitprovider.ts';
import type { Gitprovider } from '../../services/gitproviders.ts';
import type * as schemas from '../schemas/gitproviders.ts';
import { toTime } from './time.ts';

/** Names what goes out one by one, so that no secret ever does. */
export function toGitprovider(gitprovider: Gitprovider): z.infer<typeof schemas.Gitprovider> {
  return {
    name: gitprovider.name,
    type: gitprovider.kind,
    url: apiBase(gitprovider.kind, gitprovider.url),
    created_datetime: toTime(gitprovider.createdAt),
  };
}
