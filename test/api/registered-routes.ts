import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { FastifyInstance, RouteOptions } from 'fastify';
import type { RoutePermission } from '../../src/api/fastify-types.ts';

/** A route as it was registered, also one that the OpenAPI document leaves out. */
export interface RegisteredRoute {
  readonly method: string;
  readonly url: string;
  readonly permission: RoutePermission | undefined;
}

/** Runs `start` and gives, beside its result, every route that any Fastify instance made in it was given. */
export async function collectRoutes<T>(
  start: () => Promise<T>,
): Promise<{ result: T; routes: RegisteredRoute[] }> {
  const routes: RegisteredRoute[] = [];
  const watch = (message: unknown): void => {
    const { fastify } = message as { fastify: FastifyInstance };
    fastify.addHook('onRoute', ({ method, url, config }: RouteOptions) => {
      for (const one of [method].flat()) {
        routes.push({ method: one, url, permission: config?.permission });
      }
    });
  };
  subscribe('fastify.initialization', watch);
  try {
    return { result: await start(), routes };
  } finally {
    unsubscribe('fastify.initialization', watch);
  }
}
