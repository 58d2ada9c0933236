import type { Metrics } from '../../metrics/metrics.ts';
import type { Api } from '../fastify-types.ts';

/** Counts every request that was answered, by its route's pattern: a URL holds names, of which there is no end. */
export function addMetrics(app: Api, metrics: Metrics): void {
  app.addHook('onResponse', (request, reply, done) => {
    metrics.requestEnded({
      method: request.method,
      route: request.is404 ? 'unmatched' : (request.routeOptions.url ?? 'unmatched'),
      status: reply.statusCode,
      seconds: reply.elapsedTime / 1000,
    });
    done();
  });
}
