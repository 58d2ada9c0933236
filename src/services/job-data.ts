import type { Db } from '../store/database.ts';
import { findNames, type JobRow } from '../store/jobs.ts';

/**
 * What the keys of job data are called where users see them. Ids of things that have names become their names; a key
 * that is not listed here is not shown: it is Muster's own business, or a secret.
 */
const SHOWN_AS: Readonly<Record<string, { readonly key: string; readonly isNamed: boolean }>> = {
  buildId: { key: 'build_name', isNamed: true },
  packageMapId: { key: 'package_map', isNamed: true },
  gitrepoId: { key: 'gitrepo', isNamed: true },
  gitdeployId: { key: 'gitdeploy', isNamed: true },
  serverId: { key: 'server', isNamed: true },
  serverIds: { key: 'servers', isNamed: true },
  deploymentId: { key: 'deployment_id', isNamed: false },
  source: { key: 'indirect_url', isNamed: false },
  verifyTls: { key: 'verify', isNamed: false },
  sha256: { key: 'sha256', isNamed: false },
};

/** A job with what its data are about, by name. */
export type Job = JobRow & {
  /** Null for a job of no application, or of one that is gone. */
  readonly applicationName: string | null;
  /** As users see it. Null stands for the name of what has been deleted. */
  readonly shownData: Readonly<Record<string, unknown>>;
};

/** Looks up the names of everything that some jobs are about, in one go. */
export async function withNames(db: Db, jobs: readonly JobRow[]): Promise<Job[]> {
  const ids = new Set<string>();
  for (const job of jobs) {
    if (job.applicationId !== null) ids.add(job.applicationId);
    for (const [key, value] of Object.entries(dataOf(job))) {
      if (SHOWN_AS[key]?.isNamed !== true) continue;
      for (const id of [value].flat()) if (typeof id === 'string') ids.add(id);
    }
  }
  const names = await findNames(db, [...ids]);
  return jobs.map((job) => {
    const applicationName = names.get(job.applicationId ?? '') ?? null;
    return { ...job, applicationName, shownData: shown(job, applicationName, names) };
  });
}

function shown(
  job: JobRow,
  applicationName: string | null,
  names: ReadonlyMap<string, string>,
): Record<string, unknown> {
  const nameOf = (id: unknown): string | null => names.get(String(id)) ?? null;
  const data: Record<string, unknown> =
    job.applicationId === null ? {} : { application: applicationName };
  for (const [key, value] of Object.entries(dataOf(job))) {
    const place = SHOWN_AS[key];
    if (place === undefined) continue;
    if (!place.isNamed || value === null) data[place.key] = value;
    else data[place.key] = Array.isArray(value) ? value.map(nameOf) : nameOf(value);
  }
  return data;
}

function dataOf({ data }: JobRow): Record<string, unknown> {
  return typeof data === 'object' && data !== null && !Array.isArray(data) ? { ...data } : {};
}
