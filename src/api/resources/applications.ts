import type { z } from 'zod';
import type { Application } from '../../services/applications.ts';
import type * as schemas from '../schemas/applications.ts';
import { CHILD_RESOURCES } from '../schemas/applications.ts';
import { toTime } from './time.ts';

export function toApplication(
  application: Application,
): Omit<z.infer<typeof schemas.Application>, 'census'> {
  return {
    application: application.name,
    created_datetime: toTime(application.createdAt),
    auto_catchup: application.autoCatchup,
    resources: [...CHILD_RESOURCES],
  };
}
