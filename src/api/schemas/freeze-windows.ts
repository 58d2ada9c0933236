import { z } from 'zod';
import { MAX_FREEZE_SECONDS, MIN_FREEZE_SECONDS } from '../../domain/freeze-window.ts';
import { createdTime, listing, next } from './common.ts';
import { text } from './parameters.ts';

const schedule = (description: string) => z.string().max(200).meta({ description });

export const EnvironmentPath = z.object({
  environment: z.string().meta({ description: 'Name of the environment.' }),
});
export const FreezeWindowPath = EnvironmentPath.extend({
  freezewindow: z.string().meta({ description: 'Name of the freeze window.' }),
});

export const CreateFreezeWindowQuery = z.strictObject({
  name: text('Name of the freeze window, unique in its environment.'),
});

export const CreateFreezeWindowBody = z.strictObject({
  schedule: schedule(
    'When it begins: five fields as cron has them (minute, hour, day, month, weekday), such as `0 18 * * 5`; or one moment, such as `2026-12-24T12:00:00Z`.',
  ),
  duration: z
    .number()
    .int()
    .min(MIN_FREEZE_SECONDS)
    .max(MAX_FREEZE_SECONDS)
    .meta({ description: 'How long it holds, in seconds.' }),
  timezone: z
    .string()
    .max(100)
    .default('UTC')
    .meta({ description: 'The time zone that the five fields are in, such as `Europe/Berlin`.' }),
  reason: z.string().max(1000).nullable().default(null).meta({
    description: 'Why nothing is deployed then; shown to whoever has to wait.',
  }),
});

export const FreezeWindow = z
  .object({
    environment: z.string().meta({ description: 'The environment it holds for.' }),
    name: z.string().meta({ description: 'Its name.' }),
    schedule: schedule('When it begins.'),
    duration: z.number().meta({ description: 'How long it holds, in seconds.' }),
    timezone: z.string().meta({ description: 'The time zone of the schedule.' }),
    reason: z.string().nullable().meta({ description: 'Why nothing is deployed then.' }),
    frozen_until: z
      .string()
      .nullable()
      .meta({ description: 'When the freeze that holds now ends; null if none does.' }),
    created_datetime: createdTime,
  })
  .meta({ id: 'FreezeWindow', description: 'A time in which nothing is deployed.' });

export const CreatedFreezeWindow = FreezeWindow.extend({
  messages: z.array(z.string()).meta({
    description:
      'What the caller should know: that no server is in the environment, or that the time is over.',
  }),
}).meta({ id: 'CreatedFreezeWindow', description: 'A freeze window that was just created.' });

export const FreezeWindowList = z
  .object({
    environment: z.string().meta({ description: 'The environment.' }),
    freezewindows: listing(FreezeWindow),
    next,
  })
  .meta({ id: 'FreezeWindowList', description: 'Freeze windows.' });
