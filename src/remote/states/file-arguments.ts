import { z } from 'zod';
import { AppError } from '../../domain/errors.ts';
import { parseDeployPath } from '../../domain/names.ts';

const MAX_PATH_CHARACTERS = 4096;
const MAX_CONTENTS_BYTES = 16_384;

/** An absolute path of the server; `//` and a `/` at the end are taken away. */
export const serverPathSchema = z
  .string()
  .startsWith('/', 'must be an absolute path')
  .max(MAX_PATH_CHARACTERS)
  .regex(/^\P{Cc}*$/u, 'must not hold control characters')
  .refine(
    (path) => !path.split('/').some((part) => part === '.' || part === '..'),
    'must not hold `.` or `..`',
  )
  .transform((path) => `/${path.split('/').filter(Boolean).join('/')}`);

/** A path that may be removed: not the root, not a folder that the system keeps there, and nothing in a `.git`. */
export const removablePathSchema = serverPathSchema.refine(
  isPathOfItsOwn,
  'must not be /, a folder of the system such as /etc, or in a .git folder',
);

/** Salt's `mode`, as four octal digits: `0644`, `"644"` and `644` are the same. */
export const modeSchema = z
  .union([z.string(), z.number().int().transform(String)])
  .refine((mode) => /^0?[0-7]{3,4}$/.test(mode), 'must be octal digits, such as "0644"')
  .transform((mode) => mode.slice(-4).padStart(4, '0'))
  .meta({ description: 'Octal, such as "0644". Default: as it is; if new, as the umask has it.' });

/** The name or number of a user or group. */
export const ownerSchema = z
  .union([z.string(), z.number().int().min(0).transform(String)])
  .refine(
    (owner) => /^([A-Za-z_][A-Za-z0-9_.-]*\$?|\d{1,10})$/.test(owner),
    'must be a name or a number',
  );

/** Salt's `contents`: the text, or its lines. It goes to the server as one argument, so it cannot be large. */
export const contentsSchema = z
  .union([
    z.string(),
    z.array(z.string()).transform((lines) => lines.map((line) => `${line}\n`).join('')),
  ])
  .refine((contents) => !contents.includes('\0'), 'must not hold a NUL character')
  .refine(
    (contents) => Buffer.byteLength(contents) <= MAX_CONTENTS_BYTES,
    `must not be over ${MAX_CONTENTS_BYTES} bytes; put a larger file into the build`,
  );

function isPathOfItsOwn(path: string): boolean {
  try {
    parseDeployPath(path);
    return true;
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}
