import { AppError } from '../domain/errors.ts';
import { GitdeployActions, GitdeployOptions } from '../domain/gitdeploy-options.ts';
import { type HealthCheck, HealthChecks } from '../domain/health-check.ts';
import type { Attributes } from './builds.ts';
import { type Db, insertUnique } from './database.ts';
import type { Gitdeploy, Prisma, SwitchMode } from './generated/client.ts';
import { fromJson, toJson } from './json.ts';
import { byName, type Page } from './paging.ts';

type Row = Gitdeploy & {
  gitrepo: { name: string };
  installations: { server: { name: string } }[];
};
export type GitdeployRow = Omit<Row, 'options' | 'actions' | 'healthChecks'> & {
  readonly options: GitdeployOptions;
  readonly actions: GitdeployActions;
  readonly healthChecks: readonly HealthCheck[];
};

export interface GitdeployValues {
  readonly packageName: string;
  readonly path: string;
  readonly gitrepoId: string;
  readonly branch: string;
  readonly switchMode: SwitchMode;
  /** How many releases an atomic switch leaves on a server. */
  readonly keepReleases: number;
  readonly attributes: Attributes;
  readonly options: GitdeployOptions;
  readonly actions: GitdeployActions;
  readonly healthChecks: readonly HealthCheck[];
}

const include = {
  gitrepo: { select: { name: true } },
  installations: {
    select: { server: { select: { name: true } } },
    orderBy: { server: { name: 'asc' } },
  },
} as const;

const parsed = (row: Row): GitdeployRow => ({
  ...row,
  options: fromJson(GitdeployOptions, row.options),
  actions: fromJson(GitdeployActions, row.actions),
  healthChecks: fromJson(HealthChecks, row.healthChecks),
});

export async function listGitdeploys(
  db: Db,
  applicationId: string,
  page: Page,
): Promise<GitdeployRow[]> {
  const { where, ...order } = byName(page);
  const rows = await db.gitdeploy.findMany({
    where: { applicationId, ...where },
    ...order,
    include,
  });
  return rows.map(parsed);
}

export async function findGitdeploy(
  db: Db,
  applicationId: string,
  name: string,
): Promise<GitdeployRow | null> {
  const row = await db.gitdeploy.findUnique({
    where: { applicationId_name: { applicationId, name } },
    include,
  });
  return row === null ? null : parsed(row);
}

export async function findGitdeploysById(db: Db, ids: readonly string[]): Promise<GitdeployRow[]> {
  return (await db.gitdeploy.findMany({ where: { id: { in: [...ids] } }, include })).map(parsed);
}

/** @throws {AppError} `already_exists` */
export async function insertGitdeploy(
  db: Db,
  gitdeploy: { applicationId: string; name: string } & GitdeployValues,
): Promise<GitdeployRow> {
  const { applicationId, name, ...values } = gitdeploy;
  const row = await insertUnique(
    db.gitdeploy.create({ data: { applicationId, name, ...columns(values) }, include }),
    () =>
      new AppError('already_exists', `Gitdeploy \`${name}\` exists already. Nothing was changed.`),
  );
  return parsed(row);
}

export async function updateGitdeploy(
  db: Db,
  id: string,
  values: GitdeployValues,
): Promise<GitdeployRow> {
  return parsed(await db.gitdeploy.update({ where: { id }, data: columns(values), include }));
}

function columns(
  values: GitdeployValues,
): Omit<Prisma.GitdeployUncheckedCreateInput, 'name' | 'applicationId'> {
  return {
    ...values,
    attributes: toJson(values.attributes),
    options: toJson(values.options),
    actions: toJson(values.actions),
    healthChecks: toJson(values.healthChecks),
  };
}
