import { z } from 'zod';
import { ERROR_CODES, type ErrorBody } from '../../domain/errors.ts';

const Attributes = z.record(z.string(), z.unknown());
const StoredError = z.object({
  code: z.enum(ERROR_CODES),
  message: z.string(),
  details: z.record(z.string(), z.unknown()),
});

/** The operator's notes as a row holds them. */
export function toAttributes(column: unknown): Record<string, unknown> {
  return Attributes.parse(column);
}

/** The error that a row tells of, or null. */
export function toStoredError(
  column: unknown,
): (ErrorBody & { details: Record<string, unknown> }) | null {
  return column === null ? null : StoredError.parse(column);
}
