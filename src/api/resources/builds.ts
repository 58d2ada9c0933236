import type { z } from 'zod';
import type { Package, PackageFile, PackagePreview } from '../../services/build-contents.ts';
import type { Build } from '../../services/builds.ts';
import type * as schemas from '../schemas/builds.ts';
import { toAttributes, toStoredError } from './json.ts';
import { toTime, toTimeOrNull } from './time.ts';

export function toBuild(application: string, build: Build): z.infer<typeof schemas.Build> {
  return {
    application,
    build_name: build.name,
    attributes: toAttributes(build.attributes),
    state: build.state,
    packages: Object.fromEntries(build.packages.map((each) => [each.name, toPackage(each)])),
    size_bytes: build.sizeBytes === null ? null : Number(build.sizeBytes),
    sha256: build.sha256,
    file_type: build.fileType,
    created_datetime: toTime(build.createdAt),
    stored_datetime: toTimeOrNull(build.storedAt),
    error: toStoredError(build.error),
  };
}

export function toPackage({
  fileCount,
  sizeBytes,
  tree,
}: Package): z.infer<typeof schemas.Package> {
  return { files: fileCount, bytes: Number(sizeBytes), tree };
}

export function toPackageFile({
  path,
  mode,
  bytes,
}: PackageFile): z.infer<typeof schemas.PackageFile> {
  return { path, mode, bytes };
}

export function toPackagePreview({ files, unmatchedPatterns }: PackagePreview): {
  files: PackagePreview['files'];
  bytes: number;
  unmatched_patterns: readonly string[];
} {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  return { files, bytes, unmatched_patterns: unmatchedPatterns };
}
