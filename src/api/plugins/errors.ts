import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError, type ErrorBody, type ErrorCode, toErrorBody } from '../../domain/errors.ts';
import type { Api } from '../fastify-types.ts';

/** The HTTP status of every error. Source: API.md, "Conventions"; docs/errors.md explains each code. */
export const STATUS_OF = {
  invalid_json: 400,
  invalid_input: 400,
  unknown_parameter: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  payload_too_large: 413,
  too_many_requests: 429,

  already_exists: 409,
  in_use: 409,
  conflict: 409,
  build_already_stored: 409,
  build_busy: 409,
  idempotency_key_reused: 409,
  cancelled: 409,

  archive_wrong_type: 422,
  archive_broken: 422,
  archive_unsafe: 422,
  archive_too_large: 413,
  checksum_mismatch: 422,
  upload_incomplete: 400,
  indirect_url_refused: 400,
  download_failed: 422,
  package_map_conflict: 422,

  build_not_stored: 400,
  package_missing: 400,
  not_initialized: 400,
  no_servers: 400,
  conflicting_packages: 400,
  deployment_failed: 409,
  preflight_failed: 409,
  plan_changed: 409,
  superseded: 409,

  servers_failed: 409,
  server_unreachable: 503,
  server_login_refused: 409,
  host_key_changed: 409,
  become_refused: 409,
  server_unsuitable: 409,
  path_parent_missing: 409,
  path_occupied: 409,
  path_busy: 409,
  fenced_off: 409,
  clone_missing: 409,
  clone_damaged: 409,
  merge_failed: 409,
  action_failed: 409,
  action_interrupted: 409,
  unhealthy: 409,
  no_space: 409,
  command_timeout: 409,
  command_failed: 409,

  gitprovider_refused: 409,
  gitprovider_unreachable: 503,
  gitrepo_diverged: 409,
  webhook_url_refused: 400,

  storage_failed: 503,
  service_unavailable: 503,
  internal: 500,
} as const satisfies Record<ErrorCode, number>;

/** An error on the wire. */
export interface ErrorReply {
  readonly status: 'error';
  readonly error: ErrorBody;
  /** Finds the request in Muster's log. */
  readonly request_id: string;
}

/** Answers every thrown error in one form, whatever it was thrown by. */
export function addErrorReplies(app: Api): void {
  app.decorateReply('failure', null);
  app.setErrorHandler((thrown, request, reply) => sendError(thrown, request, reply));
}

/** For Fastify's `frameworkErrors`: errors that come up before a request has found its route. */
export function sendError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const error = toAppError(thrown);
  reply.failure = error;
  if (error.code === 'unauthenticated') reply.header('www-authenticate', 'Bearer realm="muster"');
  const retryAfter = error.details['retry_after_seconds'];
  if (typeof retryAfter === 'number') reply.header('retry-after', String(retryAfter));
  const body: ErrorReply = {
    status: 'error',
    // What an internal error says is for the log alone.
    error: toErrorBody(error.code === 'internal' ? thrown : error),
    request_id: request.id,
  };
  void reply.code(STATUS_OF[error.code]).type('application/json; charset=utf-8').send(body);
}

/** For Fastify's `clientErrorHandler`: what came in was no HTTP, or too much of it. */
export function sendClientError(error: Error & { code?: string }, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
  const status =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? 431
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? 408
        : 400;
  const body = JSON.stringify({
    status: 'error',
    error: {
      code: 'invalid_input' satisfies ErrorCode,
      message: `The request is not proper HTTP (${STATUS_CODES[status]}); check the client and what stands between it and Muster.`,
      details: {},
    },
  });
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown;
  const { code, statusCode, message } = shapeOf(thrown);
  if (!isFromFramework(code) || statusCode >= 500) {
    return new AppError('internal', message, { cause: thrown });
  }
  return new AppError(frameworkCode(code, statusCode), frameworkMessage(code, message), {
    cause: thrown,
  });
}

/** Fastify's errors carry a code and a status; errors of other origins may carry anything. */
function shapeOf(thrown: unknown): { code: string; statusCode: number; message: string } {
  if (!(thrown instanceof Error)) return { code: '', statusCode: 500, message: 'no error object' };
  return {
    code: 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : '',
    statusCode:
      'statusCode' in thrown && typeof thrown.statusCode === 'number' ? thrown.statusCode : 500,
    message: thrown.message,
  };
}

function isFromFramework(code: string): boolean {
  return code.startsWith('FST_');
}

function frameworkCode(code: string, statusCode: number): ErrorCode {
  if (code === 'FST_MP_PREMATURE_CLOSE') return 'upload_incomplete';
  if (statusCode === 413) return 'payload_too_large';
  return statusCode === 404 ? 'not_found' : 'invalid_input';
}

function frameworkMessage(code: string, message: string): string {
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return 'The body is too large; a JSON body may have 4 MiB, archives are uploaded to a build.';
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return 'The body does not have the length that Content-Length says; send the request again.';
    case 'FST_ERR_BAD_URL':
      return 'The URL holds a broken percent-encoding; encode names with encodeURIComponent or `curl --data-urlencode`.';
    case 'FST_MP_PREMATURE_CLOSE':
      return 'The upload broke off before its end. The build is as it was; upload it again.';
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return 'A name in the URL is too long; names have at most 128 characters.';
    default:
      return `The request cannot be read: ${message}. Correct it and send it again.`;
  }
}
