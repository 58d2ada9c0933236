import { randomUUID } from 'node:crypto';
import Fastify, { type FastifyBaseLogger, LogController } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import type { Config } from '../config.ts';
import type { Metrics, MetricsPage } from '../metrics/metrics.ts';
import type { ServiceContext } from '../services/context.ts';
import type { Api } from './fastify-types.ts';
import { addOpenApi } from './openapi.ts';
import { addAuthentication } from './plugins/authentication.ts';
import { addJsonBodies, BODY_LIMIT_BYTES } from './plugins/body.ts';
import { addErrorReplies, sendClientError } from './plugins/errors.ts';
import { addEtags } from './plugins/etag.ts';
import { sendFrameworkError } from './plugins/framework-errors.ts';
import { addHeaders } from './plugins/headers.ts';
import { addIdempotency } from './plugins/idempotency.ts';
import { addMetrics } from './plugins/metrics.ts';
import { addNotFoundReplies } from './plugins/not-found.ts';
import { addRequestLog } from './plugins/request-log.ts';
import { addValidation } from './plugins/validation.ts';
import { addApplicationRoutes } from './routes/applications.ts';
import { addAuditRoutes } from './routes/audit.ts';
import { addBuildArchiveRoutes } from './routes/build-archives.ts';
import { addBuildContentRoutes } from './routes/build-contents.ts';
import { addBuildRoutes } from './routes/builds.ts';
import { addDeploymentGateRoutes } from './routes/deployment-gates.ts';
import { addDeploymentRoutes } from './routes/deployments.ts';
import { addDocsRoutes } from './routes/docs.ts';
import { addFreezeWindowRoutes } from './routes/freeze-windows.ts';
import { addGitdeployRoutes } from './routes/gitdeploys.ts';
import { addGitproviderRoutes } from './routes/gitproviders.ts';
import { addGitrepoRoutes } from './routes/gitrepos.ts';
import { addGroupRoutes } from './routes/groups.ts';
import { addJobRoutes } from './routes/jobs.ts';
import { addKeypairRoutes } from './routes/keypairs.ts';
import { addMonitoringRoutes } from './routes/monitoring.ts';
import { addPackageMapRoutes } from './routes/package-maps.ts';
import { addRootRoutes, type Health } from './routes/root.ts';
import { addServerRoutes } from './routes/servers.ts';
import { addTokenRoutes } from './routes/tokens.ts';
import { addUserRoutes } from './routes/users.ts';
import { addWebhookRoutes } from './routes/webhooks.ts';
import { readVersion } from './version.ts';

export interface AppOptions {
  readonly services: ServiceContext;
  /** Asks every part that Muster needs whether it is up; must not throw and must not take long. */
  readonly checkHealth: () => Promise<Health>;
  readonly metrics: Metrics & MetricsPage;
}

/** Longer than any name, so that a name that is too long is answered by who looks for it. */
const MAX_PARAM_LENGTH = 1000;

/**
 * Builds the HTTP API. It neither listens nor opens anything: `listen()` or `inject()` it, and `close()` it before
 * what the context holds. Closing ends the waiting of callers who asked for `wait`.
 */
export async function buildApp(options: AppOptions): Promise<Api> {
  const { services: context, metrics } = options;
  const version = readVersion();
  const loggerInstance: FastifyBaseLogger = context.log;
  const app: Api = Fastify({
    loggerInstance,
    // Fastify's own lines would hold the URL as it came, with a token in it.
    logController: new LogController({
      disableRequestLogging: true,
      requestIdLogLabel: 'requestId',
    }),
    genReqId: () => randomUUID(),
    trustProxy: trustProxyOption(context.config.trustedProxies),
    bodyLimit: BODY_LIMIT_BYTES,
    routerOptions: { ignoreTrailingSlash: true, maxParamLength: MAX_PARAM_LENGTH },
    frameworkErrors: sendFrameworkError,
    clientErrorHandler: sendClientError,
  }).withTypeProvider<ZodTypeProvider>();

  announceStop(app);

  // In the order in which a request meets them.
  addErrorReplies(app);
  addRequestLog(app);
  addMetrics(app, metrics);
  addHeaders(app);
  addAuthentication(app, context);
  addNotFoundReplies(app);
  addJsonBodies(app);
  addValidation(app);
  addIdempotency(app, context);
  addEtags(app);
  await addOpenApi(app, version);

  addRootRoutes(app, { version });
  addMonitoringRoutes(app, options);
  await app.register((scope) => addDocsRoutes(scope));
  addApplicationRoutes(app, context);
  addBuildRoutes(app, context);
  await app.register((scope) => addBuildArchiveRoutes(scope, context));
  addPackageMapRoutes(app, context);
  addBuildContentRoutes(app, context);
  addKeypairRoutes(app, context);
  addGitproviderRoutes(app, context);
  addServerRoutes(app, context);
  addFreezeWindowRoutes(app, context);
  addGitrepoRoutes(app, context);
  addGitdeployRoutes(app, context);
  addGroupRoutes(app, context);
  const streams = { taken: 0, max: context.config.maxEventStreams };
  addDeploymentRoutes(app, context, streams);
  addDeploymentGateRoutes(app, context);
  addJobRoutes(app, context, streams);
  addUserRoutes(app, context);
  addTokenRoutes(app, context);
  addAuditRoutes(app, context);
  addWebhookRoutes(app, context);
  await app.ready();
  return app;
}

function trustProxyOption(
  proxies: Config['trustedProxies'],
): string[] | ((address: string, hop: number) => boolean) {
  return typeof proxies === 'number' ? (_address, hop) => hop < proxies : [...proxies];
}

/** Ends all waiting when Muster begins to stop, and keeps no connection open for a next request. */
function announceStop(app: Api): void {
  const stopping = new AbortController();
  app.decorate('stopping', stopping.signal);
  app.addHook('preClose', (done) => {
    stopping.abort(new Error('Muster stops'));
    done();
  });
  app.addHook('onSend', (_request, reply, payload, done) => {
    if (stopping.signal.aborted) reply.header('connection', 'close');
    done(null, payload);
  });
}
