/**
 * Every error that a user can meet: one code, one sentence that says what is wrong and what to do.
 * The HTTP status of each code is given in `src/api/plugins/errors.ts`; `docs/errors.md` lists them all
 * and a test holds the three together.
 */
export const ERROR_CODES = [
  // The request
  'invalid_json',
  'invalid_input',
  'unknown_parameter',
  'unauthenticated',
  'forbidden',
  'not_found',
  'method_not_allowed',
  'payload_too_large',
  'too_many_requests',
  // The present state
  'already_exists',
  'in_use',
  'conflict',
  'build_already_stored',
  'build_busy',
  'idempotency_key_reused',
  'cancelled',
  // Uploads
  'archive_wrong_type',
  'archive_broken',
  'archive_unsafe',
  'archive_too_large',
  'checksum_mismatch',
  'upload_incomplete',
  'indirect_url_refused',
  'download_failed',
  'package_map_conflict',
  // Deployments
  'build_not_stored',
  'package_missing',
  'not_initialized',
  'no_servers',
  'conflicting_packages',
  'deployment_failed',
  'preflight_failed',
  'plan_changed',
  'superseded',
  // Servers
  'servers_failed',
  'server_unreachable',
  'server_login_refused',
  'host_key_changed',
  'become_refused',
  'server_unsuitable',
  'path_parent_missing',
  'path_occupied',
  'path_busy',
  'fenced_off',
  'clone_missing',
  'clone_damaged',
  'merge_failed',
  'action_failed',
  'action_interrupted',
  'unhealthy',
  'no_space',
  'command_timeout',
  'command_failed',
  // Git providers
  'gitprovider_refused',
  'gitprovider_unreachable',
  'gitrepo_diverged',
  // Webhooks
  'webhook_url_refused',
  // Muster itself
  'storage_failed',
  'service_unavailable',
  'internal',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface AppErrorOptions {
  /** What a program needs to act on the error: names, limits, files. Never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
  /** True if the same call may succeed later without any change. Default false. */
  readonly retryable?: boolean;
}

/** An error that is meant to be read by a person. Anything else that is thrown is a bug and becomes `internal`. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'AppError';
    this.code = code;
    this.details = options.details ?? {};
    this.retryable = options.retryable ?? false;
  }
}

/** An error as it is stored in rows and sent over the wire. */
export interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
}

/** What may be told of any thrown value: an `AppError` as it is, everything else as `internal` without its text. */
export function toErrorBody(thrown: unknown): ErrorBody {
  if (thrown instanceof AppError) {
    return { code: thrown.code, message: thrown.message, details: thrown.details };
  }
  return {
    code: 'internal',
    message: 'Muster met an unexpected error; its log says more. Please try again.',
    details: {},
  };
}
