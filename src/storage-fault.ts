import { AppError } from './domain/errors.ts';

const OTHER_PLACE = 'give it to the user that Muster runs as, or choose another MUSTER_DATA_DIR';

const ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full; make room on it',
  EDQUOT: 'the disk quota is used up; raise it or make room',
  EACCES: `permission denied; ${OTHER_PLACE}`,
  EPERM: `permission denied; ${OTHER_PLACE}`,
  EROFS: 'the file system is read-only; mount it writable, or choose another MUSTER_DATA_DIR',
  ENOTDIR: 'a part of its path is a file; choose another MUSTER_DATA_DIR',
  EEXIST: 'it is a file; choose another MUSTER_DATA_DIR',
};

/** Says in one sentence why the data directory cannot be used and what to do. @param cause the system's error */
export function storageFault(directory: string, cause: unknown): AppError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
  return new AppError(
    'storage_failed',
    `The data directory ${directory} cannot be written: ${ADVICE[code] ?? `${code}; look at the disk`}.`,
    { cause },
  );
}
