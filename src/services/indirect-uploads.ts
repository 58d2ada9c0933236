import { sealSecret } from '../domain/sealed-secret.ts';
import { parseSourceUrl, showUrl } from '../transport/http/source-url.ts';
import { recordAudit } from './audit.ts';
import { type Build, type BuildUpload, expectUpload, getBuild, startStoring } from './builds.ts';
import type { Caller, ServiceContext } from './context.ts';
import { type Job, recordJob, ringJob } from './jobs.ts';

/**
 * Starts the job that fetches a build's archive from a URL and then stores it as an upload. What can be refused
 * without reaching out is refused here.
 * @throws {AppError} `indirect_url_refused`, `not_found`, `build_already_stored`, `build_busy`
 */
export async function uploadBuildFrom(
  context: ServiceContext,
  caller: Caller,
  upload: BuildUpload,
  source: { url: string; verifyTls: boolean },
): Promise<{ build: Build; job: Job }> {
  const { config, database } = context;
  const url = parseSourceUrl(source.url, config.upload.indirectAllow);
  const { build, packageMapId } = await expectUpload(context, upload);
  const { fileType } = upload;
  const job = await database.transaction(async (tx) => {
    await startStoring(tx, build, { fileType, sizeBytes: null, sha256: null });
    await recordAudit(tx, caller, {
      action: 'build.upload',
      application: upload.applicationName,
      subject: build.name,
      after: { indirect_url: showUrl(url), verify: source.verifyTls, file_type: fileType },
    });
    return recordJob(tx, caller, {
      kind: 'fetch_build',
      data: {
        buildId: build.id,
        source: showUrl(url),
        // It may hold a password or a signature, and rows are shown.
        sealedUrl: Buffer.from(sealSecret(url.href, config.secretKey)).toString('base64'),
        verifyTls: source.verifyTls,
        sha256: upload.sha256 ?? null,
        packageMapId,
      },
      applicationId: build.applicationId,
    });
  });
  await ringJob(context, job);
  return { build: await getBuild(context, upload.applicationName, upload.name), job };
}
