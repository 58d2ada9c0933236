import type { z } from 'zod';
import type { EffectivePermissions } from '../../services/authorization.ts';
import type { User } from '../../services/users.ts';
import type * as schemas from '../schemas/users.ts';
import { toTime } from './time.ts';

/** Names what goes out one by one, so that the password's hash never does. */
export function toUser(user: User): z.infer<typeof schemas.User> {
  return {
    username: user.username,
    permissions: user.permissions,
    created_datetime: toTime(user.createdAt),
  };
}

export function toEffectivePermissions(
  username: string,
  { global, applications, actions, servers }: EffectivePermissions,
): z.infer<typeof schemas.EffectivePermissions> {
  return { username, global, applications: { ...applications }, actions: { ...actions }, servers };
}
