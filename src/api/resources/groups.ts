import type { z } from 'zod';
import type { Group, GroupDetails } from '../../services/groups.ts';
import type * as schemas from '../schemas/groups.ts';
import { toAttributes } from './json.ts';
import { toTime } from './time.ts';

/** A flat list comes back flat, and lists come back as lists. */
export function toGroup(application: string, group: Group): z.infer<typeof schemas.Group> {
  return {
    application,
    name: group.name,
    description: group.description,
    attributes: toAttributes(group.attributes),
    rolling_deploy: group.rolling,
    gitdeploys: group.ordered ? group.levels.map((level) => [...level]) : group.levels.flat(),
    created_datetime: toTime(group.createdAt),
  };
}

export function toGroupDetails(
  application: string,
  group: GroupDetails,
): z.infer<typeof schemas.GroupDetails> {
  return { ...toGroup(application, group), servers: [...group.servers] };
}
