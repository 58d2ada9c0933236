import { z } from 'zod';

/** Free JSON of the operator's own, as it is stored. */
export const Attributes = z
  .record(z.string(), z.unknown())
  .meta({ description: 'Whatever the operator wants to note.' });

/** The same as a request gives it: without numbers that were rounded when it was read. */
export const GivenAttributes = Attributes.superRefine((attributes, context) => {
  for (const path of findRounded(attributes)) {
    context.addIssue({
      code: 'custom',
      path: [...path],
      message: `is a number beyond ${Number.MAX_SAFE_INTEGER}, which would be rounded; give it as a string`,
    });
  }
});

/** More need not be told at once. */
const MAX_TOLD = 10;

type Path = readonly string[];

/** Where whole numbers stand that a double does not tell apart. No body is nested so deep that this could not go down. */
function findRounded(value: unknown, path: Path = [], found: Path[] = []): Path[] {
  if (typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER) found.push(path);
  if (typeof value !== 'object' || value === null) return found;
  for (const [key, member] of Object.entries(value)) {
    if (found.length === MAX_TOLD) return found;
    findRounded(member, [...path, key], found);
  }
  return found;
}
