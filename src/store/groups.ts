import { AppError } from '../domain/errors.ts';
import type { GroupGitdeploys } from '../domain/group-members.ts';
import type { Attributes } from './builds.ts';
import { type Db, insertUnique, type Statements } from './database.ts';
import { type Group, Prisma } from './generated/client.ts';
import { toJson } from './json.ts';
import { byName, type Page } from './paging.ts';

type Row = Group & {
  gitdeploys: { level: number; position: number; gitdeploy: { id: string; name: string } }[];
};
export type GroupRow = Omit<Row, 'gitdeploys'> & {
  /** Names of gitdeploys, level by level. A flat group has one level. */
  readonly levels: readonly (readonly string[])[];
};

export interface GroupValues {
  readonly description: string | null;
  readonly attributes: Attributes;
  readonly rolling: boolean;
  readonly ordered: boolean;
  /** Ids of gitdeploys, level by level. */
  readonly levels: readonly (readonly string[])[];
}

const include = {
  gitdeploys: {
    select: { level: true, position: true, gitdeploy: { select: { id: true, name: true } } },
    orderBy: [{ level: 'asc' }, { position: 'asc' }],
  },
} satisfies Prisma.GroupInclude;

function parsed({ gitdeploys, ...group }: Row): GroupRow {
  const levels: string[][] = [];
  for (const { level, gitdeploy } of gitdeploys) {
    levels[level] ??= [];
    levels[level].push(gitdeploy.name);
  }
  // A level whose gitdeploys have all been deleted leaves a hole.
  return { ...group, levels: levels.filter((level) => level.length > 0) };
}

export async function listGroups(db: Db, applicationId: string, page: Page): Promise<GroupRow[]> {
  const { where, ...order } = byName(page);
  return (await db.group.findMany({ where: { applicationId, ...where }, ...order, include })).map(
    parsed,
  );
}

/** What is in each group of an application, whatever its level. */
export function listGroupGitdeploys(
  database: Statements,
  applicationId: string,
): Promise<GroupGitdeploys[]> {
  return database.statement<GroupGitdeploys>(Prisma.sql`
    select r.name, array_remove(array_agg(g.name), null) as "gitdeploys"
      from groups r
      left join group_gitdeploys m on m.group_id = r.id
      left join gitdeploys g on g.id = m.gitdeploy_id
     where r.application_id = ${applicationId}::uuid group by r.id`);
}

export async function findGroup(
  db: Db,
  applicationId: string,
  name: string,
): Promise<GroupRow | null> {
  const row = await db.group.findUnique({
    where: { applicationId_name: { applicationId, name } },
    include,
  });
  return row === null ? null : parsed(row);
}

/** @throws {AppError} `already_exists` */
export async function insertGroup(
  db: Db,
  group: { applicationId: string; name: string } & GroupValues,
): Promise<GroupRow> {
  const { levels, attributes, ...values } = group;
  const row = await insertUnique(
    db.group.create({
      data: {
        ...values,
        attributes: toJson(attributes),
        gitdeploys: { create: memberships(levels) },
      },
      include,
    }),
    () =>
      new AppError(
        'already_exists',
        `Group \`${group.name}\` exists already. Nothing was changed.`,
      ),
  );
  return parsed(row);
}

export async function updateGroup(tx: Db, id: string, values: GroupValues): Promise<GroupRow> {
  const { levels, attributes, ...rest } = values;
  const row = await tx.group.update({
    where: { id },
    data: {
      ...rest,
      attributes: toJson(attributes),
      gitdeploys: { deleteMany: {}, create: memberships(levels) },
    },
    include,
  });
  return parsed(row);
}

export async function deleteGroup(db: Db, id: string): Promise<void> {
  await db.group.delete({ where: { id } });
}

function memberships(
  levels: GroupValues['levels'],
): { gitdeployId: string; level: number; position: number }[] {
  return levels.flatMap((ids, level) =>
    ids.map((gitdeployId, position) => ({ gitdeployId, level, position })),
  );
}
