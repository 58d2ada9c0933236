import type { z } from 'zod';
import { frozenUntil } from '../../domain/freeze-window.ts';
import type { FreezeWindow } from '../../services/freeze-windows.ts';
import type * as schemas from '../schemas/freeze-windows.ts';
import { toTime, toTimeOrNull } from './time.ts';

export function toFreezeWindow(window: FreezeWindow): z.infer<typeof schemas.FreezeWindow> {
  const { environment, name, schedule, durationSeconds, timezone, reason, createdAt } = window;
  return {
    environment,
    name,
    schedule,
    duration: durationSeconds,
    timezone,
    reason,
    frozen_until: toTimeOrNull(frozenUntil(window, new Date())),
    created_datetime: toTime(createdAt),
  };
}
