import type { CensusDetailsRow, CensusRow, Drift } from '../domain/census.ts';
import { Prisma } from './generated/client.ts';
import { NO_HEAD } from './installations.ts';
import { isoTime } from './iso-time.ts';
import { IS_BEHIND } from './missed.ts';
import type { Snapshot } from './snapshot.ts';

export interface CensusRowsFilter {
  readonly applicationId: string;
  readonly environment?: string | undefined;
  readonly server?: string | undefined;
}

/** All pairs of an application for the census: the rows of some servers at a time, in no order. */
export async function* readCensus(
  snapshot: Snapshot,
  filter: CensusRowsFilter,
): AsyncGenerator<CensusRow[][]> {
  for await (const page of readServers<Plain>(snapshot, filter, { columns: [], joins: NO_JOINS })) {
    yield page.map(toRows);
  }
}

/** As `readCensus`, with details. */
export async function* readCensusDetails(
  snapshot: Snapshot,
  filter: CensusRowsFilter,
): AsyncGenerator<CensusDetailsRow[][]> {
  for await (const page of readServers<Detailed>(snapshot, filter, DETAILS)) {
    yield page.map(toDetailsRows);
  }
}

/** Pairs that are held as rows at once, unless one server has more. */
const CENSUS_PAGE = 1000;

/** Between the values of one column: in no name, id, commit or time. That there is none is an empty value, as none of them is. */
const SEPARATOR = '/';

/** A server with what it has: of each column the values of all its gitdeploys, in one order. */
interface Plain {
  readonly server: string;
  readonly environment: string;
  readonly gitdeploys: string;
  readonly committed: string;
  readonly deployed: string;
}
interface Detailed extends Plain {
  readonly deployedCommits: string;
  readonly deployedAt: string;
  readonly deploymentIds: string;
  readonly drifts: string;
  readonly observedAt: string;
  readonly behind: string;
}

const NO_JOINS = Prisma.empty;
const joined = (value: Prisma.Sql, name: string): Prisma.Sql =>
  Prisma.sql`, string_agg(coalesce(${value}, ''), ${Prisma.raw(`'${SEPARATOR}'`)}) as ${Prisma.raw(`"${name}"`)}`;
const DETAILS = {
  columns: [
    joined(
      Prisma.sql`case when i.deployed_build_id is null and i.deployment_id is null
                      then nullif(i.head_commit, ${NO_HEAD}) else i.deployed_commit end`,
      'deployedCommits',
    ),
    joined(isoTime(Prisma.sql`i.deployed_at`), 'deployedAt'),
    joined(Prisma.sql`i.deployment_id::text`, 'deploymentIds'),
    joined(Prisma.sql`i.drift::text`, 'drifts'),
    joined(isoTime(Prisma.sql`i.observed_at`), 'observedAt'),
    joined(Prisma.sql`mb.name`, 'behind'),
  ],
  joins: Prisma.sql`left join builds mb on mb.id = i.missed_build_id and ${IS_BEHIND}`,
};

/** A row for each server rather than for each pair: to send and to read a row takes longer than to find it. */
async function* readServers<Server extends Plain>(
  snapshot: Snapshot,
  { applicationId, environment, server }: CensusRowsFilter,
  details: { readonly columns: readonly Prisma.Sql[]; readonly joins: Prisma.Sql },
): AsyncGenerator<Server[]> {
  const [counted] = await snapshot.statement<{ gitdeploys: number }>(Prisma.sql`
    select count(*)::int as gitdeploys from gitdeploys where application_id = ${applicationId}::uuid`);
  const servers = Math.max(1, Math.floor(CENSUS_PAGE / (counted?.gitdeploys || 1)));
  const ofEnvironment =
    environment === undefined ? Prisma.empty : Prisma.sql`and s.environment = ${environment}`;
  const ofServer = server === undefined ? Prisma.empty : Prisma.sql`and s.name = ${server}`;
  const columns = [
    joined(Prisma.sql`g.name`, 'gitdeploys'),
    joined(Prisma.sql`cb.name`, 'committed'),
    joined(Prisma.sql`db.name`, 'deployed'),
    ...details.columns,
  ];
  const statement = Prisma.sql`
    select s.name as "server", s.environment ${Prisma.join(columns, '')}
      from installations i
      join gitdeploys g on g.id = i.gitdeploy_id
      join servers s on s.id = i.server_id
      left join gitrepo_branches b on b.gitrepo_id = g.gitrepo_id and b.name = g.branch
      left join builds cb on cb.id = b.committed_build_id
      left join builds db on db.id = i.deployed_build_id
      ${details.joins}
     where g.application_id = ${applicationId}::uuid ${ofEnvironment} ${ofServer}
     group by s.id`;
  yield* snapshot.pages<Server>(statement, servers);
}

function toRows(of: Plain): CensusRow[] {
  const { server, environment } = of;
  const committed = of.committed.split(SEPARATOR);
  const deployed = of.deployed.split(SEPARATOR);
  return of.gitdeploys.split(SEPARATOR).map((gitdeploy, i) => ({
    server,
    environment,
    gitdeploy,
    committed: committed[i] || null,
    deployed: deployed[i] || null,
  }));
}

function toDetailsRows(of: Detailed): CensusDetailsRow[] {
  const deployedCommits = of.deployedCommits.split(SEPARATOR);
  const deployedAt = of.deployedAt.split(SEPARATOR);
  const deploymentIds = of.deploymentIds.split(SEPARATOR);
  const drifts = of.drifts.split(SEPARATOR);
  const observedAt = of.observedAt.split(SEPARATOR);
  const behind = of.behind.split(SEPARATOR);
  return toRows(of).map((row, i) => ({
    ...row,
    deployedCommit: deployedCommits[i] || null,
    deployedAt: deployedAt[i] || null,
    deploymentId: deploymentIds[i] || null,
    drift: drifts[i] as Drift, // it is never null
    observedAt: observedAt[i] || null,
    behind: behind[i] || null,
  }));
}
