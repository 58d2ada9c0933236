import type { Table } from './table.ts';
import type { Census } from './wire.ts';

/** What is committed and deployed for one gitdeploy on one server. */
export interface CensusLine {
  readonly environment: string;
  readonly group: string;
  readonly server: string;
  readonly gitdeploy: string;
  readonly committed: string | null;
  readonly deployed: string | null;
}

/** The census as lines, in its own order. */
export function censusLines(census: Census): readonly CensusLine[] {
  return Object.entries(census).flatMap(([environment, groups]) =>
    Object.entries(groups).flatMap(([group, servers]) =>
      Object.entries(servers).flatMap(([server, gitdeploys]) =>
        Object.entries(gitdeploys).map(([gitdeploy, builds]) => ({
          environment,
          group,
          server,
          gitdeploy,
          ...builds,
        })),
      ),
    ),
  );
}

/** The census as a table; what is not deployed yet stands out. */
export function censusTable(census: Census): Table {
  return {
    columns: [
      { title: 'environment' },
      { title: 'group' },
      { title: 'server' },
      { title: 'gitdeploy' },
      { title: 'committed' },
      { title: 'deployed' },
    ],
    rows: censusLines(census).map((line) => {
      const isBehind = line.committed !== line.deployed;
      return [
        { text: line.environment },
        { text: line.group },
        { text: line.server },
        { text: line.gitdeploy },
        { text: line.committed ?? '-' },
        isBehind
          ? { text: `${line.deployed ?? '-'}  ← behind`, look: 'yellow' }
          : { text: line.deployed ?? '-', look: 'green' },
      ];
    }),
  };
}
