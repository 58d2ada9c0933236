import { randomUUID } from 'node:crypto';
import Fastify, { type FastifyBaseLogger, LogController } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { AppOptions } from './app.ts';
import type { Api } from './fastify-types.ts';
import { addAuthentication } from './plugins/authentication.ts';
import { addErrorReplies, sendClientError } from './plugins/errors.ts';
import { sendFrameworkError } from './plugins/framework-errors.ts';
import { addHeaders } from './plugins/headers.ts';
import { addNotFoundReplies } from './plugins/not-found.ts';
import { addRequestLog } from './plugins/request-log.ts';
import { addValidation } from './plugins/validation.ts';
import { addMonitoringRoutes } from './routes/monitoring.ts';

/** What a worker process answers: `/healthz`, `/readyz` and `/metrics`, as the API does, with the same tokens. */
export async function buildMonitoringApp(options: AppOptions): Promise<Api> {
  const loggerInstance: FastifyBaseLogger = options.services.log;
  const app: Api = Fastify({
    loggerInstance,
    logController: new LogController({
      disableRequestLogging: true,
      requestIdLogLabel: 'requestId',
    }),
    genReqId: () => randomUUID(),
    frameworkErrors: sendFrameworkError,
    clientErrorHandler: sendClientError,
  }).withTypeProvider<ZodTypeProvider>();
  addErrorReplies(app);
  addRequestLog(app);
  addHeaders(app);
  addAuthentication(app, options.services);
  addNotFoundReplies(app);
  addValidation(app);
  addMonitoringRoutes(app, options);
  await app.ready();
  return app;
}
