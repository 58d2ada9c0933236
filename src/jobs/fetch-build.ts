import { join } from 'node:path';
import {
  discardSpooled,
  type SpooledUpload,
  spoolUpload,
  uploadsDirectory,
} from '../depot/upload-spool.ts';
import { openSecret } from '../domain/sealed-secret.ts';
import type { JobData } from '../queue/job-kinds.ts';
import { type BuildRow, findBuildById, recordFetchedUpload } from '../store/builds.ts';
import { download } from '../transport/http/download.ts';
import { parseSourceUrl } from '../transport/http/source-url.ts';
import type { JobDependencies } from './dependencies.ts';
import type { JobContext, JobHandler } from './handler.ts';
import {
  archiveTypeOf,
  clearFailed,
  forgetArchive,
  storeArchive,
  summaryOf,
  throttled,
} from './store-build.ts';

/**
 * Fetches the archive of a build from a URL, then stores it as if it had been uploaded. A worker that takes this up
 * after another one fetches from the beginning: servers need not give parts, nor the same file twice.
 */
export function fetchBuildHandler(dependencies: JobDependencies): JobHandler<'fetch_build'> {
  const { config, database } = dependencies;
  const directory = uploadsDirectory(config.dataDirectory);
  return {
    run: async (data, context) => {
      const build = await findBuildById(database.db, data.buildId);
      await discardSpooled(directory, prefixOf(context.jobId));
      if (build === null || build.state === 'stored') {
        return { outcome: 'succeeded', result: summaryOf(build) };
      }
      const fetched = await fetchArchive(dependencies, context, { build, data });
      try {
        await recordFetchedUpload(database.db, build.id, fetched);
        await context.emit('downloaded', { bytes: fetched.sizeBytes, sha256: fetched.sha256 });
        const result = await storeArchive(dependencies, context, {
          build,
          archivePath: join(directory, fetched.file),
          packageMapId: data.packageMapId,
        });
        return { outcome: 'succeeded', result };
      } finally {
        await fetched.discard();
      }
    },
    failed: (tx, { buildId }, error) => forgetArchive(dependencies, tx, { buildId, error }),
    afterEnd: ({ buildId }) => clearFailed(dependencies, buildId),
  };
}

/** What a worker that died has left is told by this. */
function prefixOf(jobId: string): string {
  return `fetch-${jobId}-`;
}

async function fetchArchive(
  { config }: JobDependencies,
  context: JobContext,
  { build, data }: { build: BuildRow; data: JobData<'fetch_build'> },
): Promise<SpooledUpload> {
  const { maxBytes, indirectAllow: allow } = config.upload;
  const sealed = Buffer.from(data.sealedUrl, 'base64');
  const tell = throttled((progress: { received_bytes: number; total_bytes: number | null }) =>
    context.emit('download_progress', progress),
  );
  await context.emit('download_started', { source: data.source });
  return await download(
    {
      url: parseSourceUrl(openSecret(sealed, config.secretKey), allow),
      allow,
      verifyTls: data.verifyTls,
      maxBytes,
      signal: context.signal,
      onProgress: (received_bytes, total_bytes) => tell({ received_bytes, total_bytes }),
    },
    (content) =>
      spoolUpload(content, {
        directory: uploadsDirectory(config.dataDirectory),
        maxBytes,
        fileType: archiveTypeOf(build),
        sha256: data.sha256 ?? undefined,
        prefix: prefixOf(context.jobId),
      }),
  );
}
