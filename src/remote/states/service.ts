import { z } from 'zod';
import { defineScript } from '../script.ts';
import { refuseOnLocalServer } from './refuse-on-local-server.ts';
import { SERVICE_TEXT } from './service-script.ts';
import { defineStateFunction, type StateDefinition } from './state.ts';

/** What systemd allows in the name of a unit, which is more than the others do. Source: systemd.unit(5). */
const nameSchema = z
  .string()
  .max(255)
  .regex(
    /^[A-Za-z0-9@_:.\\][A-Za-z0-9@_:.\\-]*$/,
    'must be the name of a service: letters, digits and @ _ : . \\ -, and no - first',
  )
  .meta({ description: 'The service, such as "httpd".' });

const enableSchema = z.boolean().optional().meta({
  description: 'Whether it starts with the server. Default: as it is.',
});

const runSchema = z.strictObject({ name: nameSchema, enable: enableSchema });
const enablementSchema = z.strictObject({ name: nameSchema });

/** Salt's `service.running`: started if it does not run. */
export const serviceRunning = defineRun('service.running', 'up');

/** Salt's `service.dead`: stopped if it runs; a service that does not exist is dead. */
export const serviceDead = defineRun('service.dead', 'down');

/** Salt's `service.enabled`: starts with the server; nothing is started now. */
export const serviceEnabled = defineEnablement('service.enabled', 'true');

/** Salt's `service.disabled`: does not start with the server; nothing is stopped now. */
export const serviceDisabled = defineEnablement('service.disabled', 'false');

function defineRun(name: string, wanted: 'up' | 'down'): StateDefinition {
  return defineStateFunction({
    schema: runSchema,
    build: (args, context) => {
      refuseOnLocalServer(name, context);
      const { enable } = args;
      const enablement = enable === undefined ? '' : `${enable}`;
      return defineScript({ name, text: SERVICE_TEXT, args: [args.name, wanted, enablement] });
    },
  });
}

function defineEnablement(name: string, enablement: 'true' | 'false'): StateDefinition {
  return defineStateFunction({
    schema: enablementSchema,
    build: (args, context) => {
      refuseOnLocalServer(name, context);
      return defineScript({ name, text: SERVICE_TEXT, args: [args.name, '', enablement] });
    },
  });
}
