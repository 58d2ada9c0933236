import type { z } from 'zod';
import type { WebhookOwner } from '../../services/webhooks.ts';
import type { RoutePermission } from '../fastify-types.ts';

/** Absent where a webhook is no application's. */
interface OwnerParams {
  readonly application?: string | undefined;
}

/** Where the webhooks of one application are, or those that hold for all; the routes are the same. */
export interface WebhookScope {
  readonly base: string;
  readonly whose: string;
  readonly read: { readonly permission: RoutePermission };
  readonly write: { readonly permission: RoutePermission };
  readonly paths: {
    readonly all: z.ZodType<OwnerParams>;
    readonly one: z.ZodType<OwnerParams & { readonly webhook: string }>;
    readonly delivery: z.ZodType<
      OwnerParams & { readonly webhook: string; readonly delivery: string }
    >;
  };
}

/** Whose webhooks a path is about. */
export function ownerOf({ application }: OwnerParams): WebhookOwner {
  return application ?? null;
}
