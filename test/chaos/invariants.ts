import { GITDEPLOYS, type Lab } from './lab.ts';

/** What is wrong after a deployment; nothing, if all is well. */
export type Violations = readonly string[];

export interface Expectation {
  readonly deploymentId: string;
  readonly build: string;
  /** True if the deployment may have failed and been retried, as its servers were harmed. */
  readonly wasRetried?: boolean;
  /** True if a server's processes were killed, so that what ran there could not say that it ended. */
  readonly serversHarmed?: boolean;
}

/** Looks at everything that a deployment should have left, and at what it should not. */
export async function findViolations(lab: Lab, expected: Expectation): Promise<Violations> {
  const wrong: string[] = [];
  const say = (text: string): void => void wrong.push(text);
  const { body: deployment } = await lab.api(
    'GET',
    `/app/shop/deployments/${expected.deploymentId}`,
  );
  if (deployment.status !== 'succeeded') {
    say(
      `status is ${deployment.status}: ${JSON.stringify(deployment.error ?? failedSteps(deployment))}`,
    );
    return wrong;
  }
  const { body: census } = await lab.api('GET', '/app/shop/census?details=true');
  const rows = await lab.sql(
    `select s.name as server, g.name as gitdeploy, i.deployed_commit, i.head_commit, b.name as build
       from installations i join servers s on s.id = i.server_id join gitdeploys g on g.id = i.gitdeploy_id
       left join builds b on b.id = i.deployed_build_id`,
  );
  for (const server of lab.servers) {
    for (const [gitdeploy, path] of Object.entries(GITDEPLOYS)) {
      const where = `${server} ${gitdeploy}`;
      const row = rows.find((r) => r['server'] === server && r['gitdeploy'] === gitdeploy);
      const leaf = census.production?.Shop?.[server]?.[gitdeploy];
      const seen = await lookAt(lab, server, path);
      if (seen['head'] !== row?.['head_commit']) {
        say(`${where}: HEAD ${seen['head']}, but ${String(row?.['head_commit'])} in the database`);
      }
      if (seen['deployed'] !== leaf?.deployed_commit) {
        say(`${where}: deployed ${seen['deployed']}, but ${leaf?.deployed_commit} in the census`);
      }
      if (leaf?.deployed !== expected.build || leaf?.committed !== expected.build) {
        say(`${where}: the census says ${JSON.stringify(leaf)}, not ${expected.build}`);
      }
      if (seen['version'] !== expected.build) say(`${where}: has the files of ${seen['version']}`);
      if (seen['contains'] !== 'yes') say(`${where}: HEAD does not contain what was deployed`);
      if (Number(seen['commits']) !== lab.expectedCommits) {
        say(`${where}: ${seen['commits']} commits, not ${lab.expectedCommits}`);
      }
      if (seen['left'] !== '') say(`${where}: left behind: ${seen['left']}`);
      const isEdited = server === lab.servers[0] && gitdeploy === 'Application';
      if (isEdited && seen['edit'] !== 'blue mine')
        say(`${where}: the change made by hand is gone`);
    }
    wrong.push(...(await markViolations(lab, server, expected)));
  }
  wrong.push(...(await eventViolations(lab, expected)), ...(await rowViolations(lab)));
  return wrong;
}

function failedSteps(deployment: { batches?: { steps: { error: unknown }[] }[] }): unknown[] {
  return (deployment.batches ?? []).flatMap((b) => b.steps.flatMap((s) => s.error ?? []));
}

const LOOK = String.raw`
cd "$1" || exit 1
say() { printf '%s\t%s\n' "$1" "$2"; }
say head "$(git rev-parse HEAD)"
say deployed "$(git rev-parse refs/muster/deployed)"
say commits "$(git rev-list --count refs/muster/deployed)"
git merge-base --is-ancestor refs/muster/deployed HEAD && say contains yes
say version "$(cat bin/version conf/version 2>/dev/null)"
say edit "$(sed -n 's/color=//p' bin/settings 2>/dev/null) $(cat notes 2>/dev/null)"
say left "$({ find .git -name '*.lock' -o -name 'tmp_*' -o -name 'muster.lock*' -o -name 'muster-incoming*' -o -name muster-work -o -name muster-switch -o -name muster-init; find .git/muster-runs -mindepth 1 2>/dev/null; } | sort -u | tr '\n' ' ')"
`;

async function lookAt(lab: Lab, server: string, path: string): Promise<Record<string, string>> {
  const { stdout, exitCode, stderr } = await lab.fleet.inspect(server, [
    'sh',
    '-c',
    LOOK,
    'look',
    path,
  ]);
  if (exitCode !== 0 && stdout === '') throw new Error(`${server} ${path}: ${stderr}`);
  return Object.fromEntries(
    stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => {
        const [key = '', value = ''] = line.split('\t');
        return [key, value.trim()];
      }),
  );
}

/** Prepull and postpull note when they begin and end: never two at once, at least once each. */
async function markViolations(
  lab: Lab,
  server: string,
  { serversHarmed = false }: Expectation,
): Promise<string[]> {
  const wrong: string[] = [];
  for (const phase of ['prepull', 'postpull']) {
    const { stdout } = await lab.fleet.inspect(server, `cat /opt/marks/${phase} 2>/dev/null`);
    const lines = stdout.split('\n').filter(Boolean);
    if (!lines.some((line) => line.startsWith('end')))
      wrong.push(`${server}: ${phase} never ended`);
    let running: string | null = null;
    for (const line of lines) {
      const [word, id = ''] = line.split(' ');
      if (word === 'begin') {
        if (running !== null && !serversHarmed) {
          wrong.push(`${server}: ${phase} ran twice at once: ${lines.join(', ')}`);
          break;
        }
        running = id;
      } else running = null;
    }
    if (lines.length > 2 && process.env['CHAOS_VERBOSE'] !== undefined) {
      process.stdout.write(`  ${server} ${phase} ran ${lines.length / 2} times\n`);
    }
  }
  return wrong;
}

/** What the stream told: every change of state once and in its order. */
async function eventViolations(lab: Lab, expected: Expectation): Promise<string[]> {
  const { deploymentId, wasRetried = false } = expected;
  const events = await lab.sql(
    'select kind, data from events where deployment_id = $1 order by id',
    [deploymentId],
  );
  const statesOf = (kind: string, keyOf: (data: Record<string, unknown>) => string) => {
    const states = new Map<string, string[]>();
    for (const { kind: k, data } of events) {
      if (k !== kind) continue;
      const d = data as Record<string, unknown>;
      states.set(keyOf(d), [...(states.get(keyOf(d)) ?? []), String(d['status'] ?? '')]);
    }
    return states;
  };
  const wrong: string[] = [];
  const expect = (what: string, states: readonly string[], pattern: RegExp): void => {
    if (!pattern.test(states.join(' '))) wrong.push(`events of ${what}: ${states.join(' ')}`);
  };
  const deployments = statesOf('deployment', () => '').get('') ?? [];
  const once = /^(queued )?preparing running succeeded$/;
  expect('the deployment', deployments, wasRetried ? /succeeded$/ : once);
  const batches = statesOf('batch', (d) => String(d['index']));
  const batchCount = Object.keys(GITDEPLOYS).length * lab.slices;
  if (batches.size !== batchCount) {
    wrong.push(`events of ${batches.size} batches, not ${batchCount}`);
  }
  for (const [index, states] of batches) {
    expect(`batch ${index}`, states, wasRetried ? /succeeded$/ : /^running succeeded$/);
  }
  const steps = statesOf('step', (d) => `${String(d['server'])} ${String(d['gitdeploy'])}`);
  if (steps.size !== lab.servers.length * 2) wrong.push(`events of ${steps.size} steps`);
  for (const [name, states] of steps) {
    expect(
      `step ${name}`,
      states,
      wasRetried ? /succeeded$/ : /^(running (retrying )?)+succeeded$/,
    );
  }
  const attempts = events.flatMap(({ kind, data }) => {
    const d = data as Record<string, unknown>;
    return kind === 'step' && d['status'] === 'running'
      ? [`${String(d['server'])} ${String(d['gitdeploy'])} ${String(d['attempt'])}`]
      : [];
  });
  if (new Set(attempts).size !== attempts.length)
    wrong.push(`a try was told twice: ${attempts.join(', ')}`);
  const commits = events.filter(({ kind }) => kind === 'commit').length;
  if (commits !== 2) wrong.push(`${commits} commits were told, not 2`);
  return wrong;
}

/** Nothing is held any more, and nothing is under way. */
async function rowViolations(lab: Lab): Promise<string[]> {
  // Whoever was killed while it wrote to the depot leaves its mark there, which ends by itself after a minute.
  const held = await lab.sql(
    `select key, holder from leases where expires_at > now() and key not like 'depot:%'`,
  );
  const jobs = await lab.sql(
    `select id, kind, status from jobs where status in ('queued', 'running')`,
  );
  const steps = await lab.sql(
    `select count(*)::int as count from deployment_commits group by deployment_id, gitrepo_id having count(*) > 1`,
  );
  return [
    ...held.map((row) => `a lease is held: ${JSON.stringify(row)}`),
    ...jobs.map((row) => `a job is not over: ${JSON.stringify(row)}`),
    ...steps.map(() => 'a deployment has two commits of one gitrepo'),
  ];
}
