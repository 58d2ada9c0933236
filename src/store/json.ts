import type { z } from 'zod';
import type { Prisma } from './generated/client.ts';

/** A value for a JSON column. What goes in has passed a zod schema, so it is known to be plain JSON. */
export function toJson(value: unknown): Prisma.InputJsonValue {
  return value as Prisma.InputJsonValue;
}

/**
 * Reads a JSON column with the schema that it was written by.
 * @throws {Error} if the row holds something else, which only a change by hand can have done
 */
export function fromJson<S extends z.ZodType>(schema: S, value: unknown): z.infer<S> {
  return schema.parse(value);
}
