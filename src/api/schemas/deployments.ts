import { z } from 'zod';
import { APPROVE_CHOICES } from '../../domain/approval.ts';
import { CANARY_PATTERN } from '../../domain/canary.ts';
import { DeploymentOptions } from '../../domain/deployment-options.ts';
import { PLAN_HASH_PATTERN } from '../../domain/plan-hash.ts';
import {
  applicationName,
  createdTime,
  ErrorBody,
  next,
  StoredError,
  timeOrNull,
} from './common.ts';
import { JobSummary } from './jobs.ts';
import { flag, oneOf, text, wait, wholeNumber } from './parameters.ts';

const MAX_PAUSE_SECONDS = 86_400;
const MAX_COUNT = 100_000;
const pause = (what: string) => wholeNumber({ min: 0, max: MAX_PAUSE_SECONDS }, what).default(0);

const DeployParameters = z.strictObject({
  build_name: text('The build to deploy.'),
  rolling_divisor: wholeNumber(
    { min: 0, max: MAX_COUNT },
    'Into how many slices the servers of rolling groups are cut.',
  ).default(2),
  rolling_pause: pause('Seconds between slices.'),
  ordered_pause: pause('Seconds between ordered batches of a slice.'),
  max_failures: wholeNumber(
    { min: 0, max: MAX_COUNT },
    'Servers that may fail before it stops.',
  ).default(0),
  on_failure: DeploymentOptions.shape.on_failure.default('stop').meta({
    description: 'What happens when it stops: nothing more, or every server gets back what it had.',
  }),
  concurrency: wholeNumber({ min: 1, max: 1000 }, 'Servers worked on at once.').default(50),
  canary: z
    .string()
    .regex(
      CANARY_PATTERN,
      'must be a number of servers, such as 2, or a share of them, such as 10%',
    )
    .nullable()
    .default(null)
    .meta({
      description:
        'A first batch of few servers that shows how the build does: how many, such as `2`, or which share, such as `10%` (in a URL `10%25`), rounded up. They are the first by name.',
    }),
  canary_pause: pause('Seconds between the canary and the rest.'),
  approve: oneOf(
    APPROVE_CHOICES,
    'Where it waits for a user to approve that it goes on: after the canary, or after every slice but the last.',
  ).default('none'),
  unreachable: DeploymentOptions.shape.unreachable.default('fail').meta({
    description:
      'What it does about a server that cannot be reached: fail there, or leave it out (`skip`), to catch up later.',
  }),
  on_conflict: DeploymentOptions.shape.on_conflict.default('queue').meta({
    description:
      'What it does about deployments that work on the same servers: wait for them (`queue`), not begin (`reject`, 409), or take over at their next safe point (`supersede`).',
  }),
  plan_hash: z
    .string()
    .regex(PLAN_HASH_PATTERN, 'must be a `plan_hash` as `dry_run=true` gives it')
    .optional()
    .meta({
      description: 'Deploy only if the plan is still this one; else 409 with what has changed.',
    }),
  override_freeze: flag(
    'Deploy also while a freeze window holds. It needs a `reason`, and is audited.',
  ).default(false),
  reason: text('Why; shown in the history.').optional(),
  dry_run: flag('Plan it and show the plan; no deployment is made.').default(false),
  preflight: flag(
    'With `dry_run`: look on the servers, too, whether they can take the build, and wait for that (`wait`, 60 s unless given).',
  ).default(false),
  wait,
});
export const DeployQuery = DeployParameters.refine(
  ({ preflight, dry_run }) => dry_run || !preflight,
  {
    path: ['preflight'],
    error: 'goes with `dry_run=true`; a deployment looks at all servers first in any case',
  },
);
export type DeployQuery = z.infer<typeof DeployQuery>;

const names = (what: string) => z.array(z.string()).meta({ description: what });

export const DeployBody = z.strictObject({
  servers: names('Servers, with `gitdeploys`.').optional(),
  gitdeploys: names('Gitdeploys, with `servers`.').optional(),
  environments: names('Environments, with `groups`.').optional(),
  groups: names('Groups, with `environments`.').optional(),
});

const Target = z
  .object({
    style: z.enum(['manual', 'group']).meta({ description: 'By servers, or by groups.' }),
    environments: names('The environments that were asked for.'),
    groups: names('The groups that were asked for.'),
    servers: names('The servers it came to.'),
    gitdeploys: names('The gitdeploys it came to.'),
  })
  .meta({ id: 'Target', description: 'What it deploys to.' });

const Options = z
  .object({
    rolling_divisor: z.number().meta({ description: 'Into how many slices servers are cut.' }),
    rolling_pause: z.number().meta({ description: 'Seconds between slices.' }),
    ordered_pause: z.number().meta({ description: 'Seconds between ordered batches.' }),
    max_failures: z.number().meta({ description: 'Servers that may fail before it stops.' }),
    on_failure: z.string().meta({ description: 'What happens when it stops.' }),
    concurrency: z.number().meta({ description: 'Servers worked on at once.' }),
    canary: z.string().nullable().meta({ description: 'How large the canary is.' }),
    canary_pause: z.number().meta({ description: 'Seconds after the canary.' }),
    approve: z.string().meta({ description: 'Where it waits for an approval.' }),
    unreachable: z.string().meta({ description: 'What it does about what cannot be reached.' }),
    on_conflict: z.string().meta({ description: 'What it does about others on its servers.' }),
    override_freeze: z.boolean().meta({ description: 'Whether it goes on in a freeze.' }),
  })
  .meta({ id: 'DeploymentOptions', description: 'How it runs.' });

const ChangedFiles = z
  .object({
    added: z.number().meta({ description: 'How many files are new.' }),
    modified: z.number().meta({ description: 'How many files are changed.' }),
    deleted: z.number().meta({ description: 'How many files are gone.' }),
    files: z
      .array(
        z.object({
          path: z.string().meta({ description: 'Path in the gitrepo.' }),
          change: z
            .enum(['added', 'modified', 'deleted'])
            .meta({ description: 'What happened to it.' }),
          bytes: z.number().meta({ description: 'Its size; of a deleted one, the size it had.' }),
        }),
      )
      .meta({ description: 'The first of them, sorted by path; the counts cover all.' }),
  })
  .meta({ id: 'ChangedFiles', description: 'How the files of a gitrepo change.' });

const status = z
  .enum(['pending', 'running', 'succeeded', 'failed', 'skipped', 'cancelled'])
  .meta({ description: 'How far it is.' });

const Step = z
  .object({
    server: z.string().meta({ description: 'Name of the server.' }),
    gitdeploy: z.string().meta({ description: 'Name of the gitdeploy.' }),
    status,
    from_commit: z.string().nullable().meta({ description: 'What the server had.' }),
    to_commit: z.string().nullable().meta({ description: 'What it is to have.' }),
    duration_ms: z.number().nullable().meta({ description: 'How long it took, or takes so far.' }),
    attempts: z.number().meta({ description: 'How often it was begun.' }),
    error: StoredError,
    log_excerpt: z.string().nullable().meta({ description: 'The end of what it printed.' }),
  })
  .meta({ id: 'Step', description: 'A gitdeploy on a server.' });

const planned = {
  index: z.number().meta({ description: 'Place in the plan, from 0.' }),
  slice: z.number().meta({ description: 'The slice it is of.' }),
  level: z.number().meta({ description: 'The level of the gitdeploys in it.' }),
  ordered: z.boolean().meta({ description: 'Whether another batch of the same slice follows.' }),
  pause_after: z.number().meta({ description: 'Seconds until the next batch begins.' }),
  canary: z.boolean().meta({ description: 'Whether it is of the canary.' }),
  approval_after: z
    .boolean()
    .meta({ description: 'Whether a user must approve what comes after it.' }),
};

const Batch = z
  .object({
    ...planned,
    status,
    started_at: timeOrNull('When it began.'),
    finished_at: timeOrNull('When it ended.'),
    approved_by: z
      .string()
      .nullable()
      .meta({ description: 'Who approved what comes after it; null as long as nobody has.' }),
    approved_at: timeOrNull('When that was.'),
    steps: z.array(Step).meta({ description: 'By server, then by gitdeploy.' }),
  })
  .meta({ id: 'Batch', description: 'What is deployed at the same time.' });

const PlannedBatch = z
  .object({
    ...planned,
    steps: z
      .array(
        z.object({
          server: z.string().meta({ description: 'Name of the server.' }),
          gitdeploy: z.string().meta({ description: 'Name of the gitdeploy.' }),
        }),
      )
      .meta({ description: 'By server, then by gitdeploy.' }),
  })
  .meta({ id: 'PlannedBatch', description: 'What would be deployed at the same time.' });

const Warnings = z
  .array(
    z.object({
      code: z.string().meta({ description: 'What it is about, for programs.' }),
      message: z.string().meta({ description: 'What it is about, in one sentence.' }),
      subject: z.string().meta({ description: 'The name in question.' }),
      missing: z
        .record(z.string(), z.array(z.string()))
        .optional()
        .meta({ description: 'Gitdeploy → the servers that lack it.' }),
    }),
  )
  .meta({ description: 'What the operator should know, though it starts.' });

const WaitingFor = z
  .discriminatedUnion('kind', [
    z.object({
      kind: z.literal('deployment').meta({ description: 'Another deployment goes first.' }),
      deployment_id: z.string().meta({ description: 'Its id.' }),
    }),
    z.object({
      kind: z.literal('pause').meta({ description: 'The plan has a pause here.' }),
      after_batch: z.number().meta({ description: 'Index of the batch that has ended.' }),
      until: z.string().meta({ description: 'When it goes on.' }),
    }),
    z.object({
      kind: z.literal('approval').meta({ description: 'A user must approve what comes next.' }),
      after_batch: z.number().meta({ description: 'Index of the batch that has ended.' }),
    }),
    z.object({
      kind: z.literal('freeze').meta({ description: 'A freeze window holds.' }),
      environment: z.string().meta({ description: 'Name of the environment.' }),
      freeze_window: z.string().meta({ description: 'Name of the freeze window.' }),
      until: z.string().meta({ description: 'When it ends.' }),
      reason: z.string().nullable().meta({ description: 'Why there is a freeze.' }),
    }),
  ])
  .nullable()
  .meta({ description: 'What it waits for now; null if it does not wait.' });

const head = {
  id: z.uuid().meta({ description: 'Id of the deployment.' }),
  application: applicationName,
  build: z.string().meta({ description: 'The build that is deployed.' }),
  username: z.string().meta({ description: 'Who started it.' }),
  reason: z.string().nullable().meta({ description: 'Why.' }),
  status: z
    .enum([
      'queued',
      'preparing',
      'running',
      'paused',
      'succeeded',
      'failed',
      'cancelled',
      'rolling_back',
      'rolled_back',
    ])
    .meta({ description: 'How far it is.' }),
  target: Target,
  options: Options,
  error: StoredError,
  progress: z
    .object({
      total: z.number().meta({ description: 'Steps in all.' }),
      done: z.number().meta({ description: 'Steps that are over, however they ended.' }),
      failed: z.number().meta({ description: 'Steps that failed.' }),
      percent: z.number().meta({ description: 'Done of total, 0 to 100, rounded down.' }),
    })
    .meta({ description: 'How far it is, in steps.' }),
  created_datetime: createdTime,
  started_at: timeOrNull('When it began.'),
  finished_at: timeOrNull('When it ended.'),
  waiting_for: WaitingFor,
  superseded_by: z
    .string()
    .nullable()
    .meta({ description: 'The deployment that takes over, or has taken over.' }),
  plan_hash: z.string().nullable().meta({ description: 'Names the plan that it was made with.' }),
  pause_requested_at: timeOrNull('When a pause was asked for that is not over.'),
  cancel_requested_at: timeOrNull('When its end was asked for.'),
};

const Commits = z.record(
  z.string(),
  z.object({
    branch: z.string().meta({ description: 'The branch that was committed to.' }),
    commit: z.string().meta({ description: 'Id of the commit.' }),
    changed_files: ChangedFiles,
  }),
);

export const Deployment = z
  .object({
    ...head,
    commits: Commits.meta({
      description: 'By gitrepo; by `gitrepo/branch` where it commits to several branches of one.',
    }),
    batches: z.array(Batch).meta({ description: 'In the order in which they run.' }),
    rollback_batches: z.array(Batch).meta({
      description:
        'What takes it back, in the order in which that runs; empty unless it is rolled back.',
    }),
  })
  .meta({ id: 'Deployment', description: 'A deployment with everything about it.' });

export const StartedDeployment = Deployment.extend({ warnings: Warnings, job: JobSummary }).meta({
  id: 'StartedDeployment',
  description: 'A deployment and the job that runs it.',
});

export const ControlledDeployment = Deployment.extend({
  job: JobSummary.optional().meta({ description: 'The job that sees to it.' }),
}).meta({
  id: 'ControlledDeployment',
  description: 'A deployment that was asked for something, and the job that sees to it.',
});

const PresentServers = z
  .object({
    from_build: z.string().nullable().meta({ description: 'The build that they have now.' }),
    from_commit: z.string().meta({ description: 'Its commit.' }),
    servers: names('Names of the servers that have it.'),
    up_to_date: z.boolean().meta({ description: 'Whether nothing would change there.' }),
    drifted: names('Those of them whose files are not as Muster left them.'),
    changes: ChangedFiles,
  })
  .meta({ id: 'PresentServers', description: 'Servers that have the same build now.' });

/** What a job of the kind `preflight` has found. */
export const PreflightResult = z
  .object({
    servers: z.number().int().meta({ description: 'How many were looked at.' }),
    problems: z
      .array(
        z.object({
          server: z.string().meta({ description: 'Name of the server.' }),
          gitdeploy: z
            .string()
            .nullable()
            .meta({ description: 'Name of the gitdeploy; null if it concerns the whole server.' }),
          error: ErrorBody,
        }),
      )
      .meta({ description: 'By server; empty if all of them can take the build.' }),
  })
  .meta({ id: 'Preflight', description: 'Whether the servers can take the build.' });

const PreflightUnderWay = z
  .object({
    job_id: z.uuid().meta({ description: 'Its result is what was found: /job/{id}.' }),
    status: z.enum(['queued', 'running']).meta({ description: 'How far it is.' }),
  })
  .meta({ id: 'PreflightUnderWay', description: 'The servers are still being looked at.' });

export const DeploymentPlan = z
  .object({
    application: applicationName,
    build: z.string().meta({ description: 'The build that would be deployed.' }),
    dry_run: z.literal(true).meta({ description: 'Always true: nothing was written.' }),
    target: Target,
    options: Options,
    batches: z.array(PlannedBatch).meta({ description: 'In the order in which they would run.' }),
    warnings: Warnings,
    changes: z
      .record(z.string(), ChangedFiles)
      .meta({ description: 'By gitdeploy, how the files of its gitrepo would change.' }),
    servers: z.record(z.string(), z.array(PresentServers)).meta({
      description: 'By gitdeploy, what its servers have now and what would change there.',
    }),
    committed_elsewhere: z
      .array(
        z.object({
          gitdeploy: z.string().meta({ description: 'Name of the gitdeploy.' }),
          gitrepo: z.string().meta({ description: 'The gitrepo that it shares.' }),
          branch: z.string().meta({ description: 'The branch that it shares.' }),
          from_build: z
            .string()
            .nullable()
            .meta({ description: 'The build that is committed there now.' }),
        }),
      )
      .meta({
        description:
          'Gitdeploys that are not deployed, but share a gitrepo with one that is: the build would be committed to them, too.',
      }),
    preflight: z
      .union([PreflightResult, PreflightUnderWay])
      .optional()
      .meta({ description: 'With `preflight=true`: what stands in the way on the servers.' }),
    plan_hash: z.string().meta({
      description: 'Names this plan: given to a deployment, it runs only if nothing has changed.',
    }),
  })
  .meta({ id: 'DeploymentPlan', description: 'What a deployment would do.' });

export const DeploymentList = z
  .object({
    application: applicationName,
    deployments: z
      .union([z.array(z.string()), z.array(Deployment)])
      .meta({ description: 'Ids, newest first; with `details=true` objects.' }),
    next,
  })
  .meta({ id: 'DeploymentList', description: 'Deployments.' });

export const DeploymentExplanation = z
  .object({
    id: head.id,
    application: applicationName,
    status: head.status,
    sentences: z
      .array(z.string())
      .meta({ description: 'Why it stands where it stands, in words, the most important first.' }),
    waiting_for: WaitingFor,
    held_pairs: z
      .array(
        z.object({
          server: z.string().meta({ description: 'Name of the server.' }),
          gitdeploy: z.string().meta({ description: 'Name of the gitdeploy.' }),
        }),
      )
      .meta({ description: 'What the deployment that it waits for holds of it; the first 50.' }),
    actions: z
      .array(
        z.object({
          action: z.string().meta({ description: 'What can be asked of it now.' }),
          users: z.array(z.string()).meta({ description: 'Who may; the first 50 by name.' }),
        }),
      )
      .meta({ description: 'What can be done about it, and by whom.' }),
  })
  .meta({ id: 'DeploymentExplanation', description: 'Why a deployment waits or has stopped.' });
