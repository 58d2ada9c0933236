import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Metrics, MetricsPage } from './metrics.ts';
import { shareRecent } from './share-recent.ts';
import type { MetricsSources, WorkStatistics } from './sources.ts';

/** Counting rows costs PostgreSQL some work, however often it is asked for. */
const WORK_IS_RECENT_MS = 5000;
const WORK_TIMEOUT_MS = 3000;
const REQUEST_BUCKETS_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 300];
const JOB_BUCKETS_SECONDS = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14_400];

/**
 * Counts for Prometheus. docs/operations.md explains every metric and which of them to watch.
 * The process's own (memory, CPU, event loop lag, garbage collection) have the names that all Node programs use.
 */
export function createPrometheusMetrics(sources: MetricsSources): Metrics & MetricsPage {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: 'muster_build_info',
    help: 'Always 1; the label tells which Muster this is.',
    labelNames: ['version'],
    registers,
  }).set({ version: sources.version }, 1);
  const requests = new Histogram({
    name: 'muster_http_request_duration_seconds',
    help: 'Requests by route pattern, method and status, and how long they took.',
    labelNames: ['method', 'route', 'status'],
    buckets: REQUEST_BUCKETS_SECONDS,
    registers,
  });
  const requestCount = new Counter({
    name: 'muster_http_requests_total',
    help: 'Requests that were answered.',
    labelNames: ['method', 'route', 'status'],
    registers,
  });
  const jobs = new Histogram({
    name: 'muster_job_duration_seconds',
    help: 'Jobs that ended in this process, from their first start to their end.',
    labelNames: ['kind', 'status'],
    buckets: JOB_BUCKETS_SECONDS,
    registers,
  });
  addHealth(registry, sources);
  addWork(registry, sources);
  addConnections(registry, sources);
  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),
    requestEnded: ({ method, route, status, seconds }) => {
      const labels = { method, route, status: String(status) };
      requestCount.inc(labels);
      requests.observe(labels, seconds);
    },
    jobEnded: ({ kind, status, seconds }) => jobs.observe({ kind, status }, seconds),
  };
}

function addHealth(registry: Registry, { health }: MetricsSources): void {
  new Gauge({
    name: 'muster_part_up',
    help: 'Whether each part that /readyz asks is up (1) or down (0).',
    labelNames: ['part'],
    registers: [registry],
    async collect() {
      for (const [part, state] of Object.entries(await health())) {
        this.set({ part }, state === 'up' ? 1 : 0);
      }
    },
  });
}

/** All processes tell the same of these: take one of them, or `max`, never the sum. */
function addWork(registry: Registry, sources: MetricsSources): void {
  const work = shareRecent(sources.work, {
    recentMs: WORK_IS_RECENT_MS,
    timeoutMs: WORK_TIMEOUT_MS,
  });
  const add = (
    gauge: { name: string; help: string; labelNames?: string[] },
    set: (gauge: Gauge, statistics: WorkStatistics) => void,
  ): void => {
    new Gauge({
      ...gauge,
      registers: [registry],
      async collect() {
        // No number is better than an old one that looks new; muster_part_up says why it is missing.
        this.reset();
        const statistics = await work().catch(() => null);
        if (statistics !== null) set(this, statistics);
        else this.remove();
      },
    });
  };
  add(
    { name: 'muster_jobs', help: 'Jobs by kind and status.', labelNames: ['kind', 'status'] },
    (gauge, { jobs }) => {
      for (const { kind, status, count } of jobs) gauge.set({ kind, status }, count);
    },
  );
  add(
    { name: 'muster_deployments', help: 'Deployments by status.', labelNames: ['status'] },
    (gauge, { deployments }) => {
      for (const { status, count } of deployments) gauge.set({ status }, count);
    },
  );
  add(
    { name: 'muster_steps', help: 'Steps of deployments by status.', labelNames: ['status'] },
    (gauge, { steps }) => {
      for (const { status, count } of steps) gauge.set({ status }, count);
    },
  );
  add(
    {
      name: 'muster_webhook_deliveries',
      help: 'Deliveries of webhooks by status.',
      labelNames: ['status'],
    },
    (gauge, { deliveries }) => {
      for (const { status, count } of deliveries) gauge.set({ status }, count);
    },
  );
  add(
    { name: 'muster_jobs_due', help: 'Jobs that could be done now and that no worker has.' },
    (gauge, { dueJobs }) => gauge.set(dueJobs),
  );
  add(
    { name: 'muster_jobs_due_oldest_seconds', help: 'How long the oldest due job has waited.' },
    (gauge, { oldestDueSeconds }) => gauge.set(oldestDueSeconds),
  );
}

function addConnections(registry: Registry, sources: MetricsSources): void {
  const registers = [registry];
  new Gauge({
    name: 'muster_database_connections',
    help: 'Connections of this process to PostgreSQL: open (of which idle), and those who wait for one.',
    labelNames: ['state'],
    registers,
    collect() {
      for (const [state, count] of Object.entries(sources.databasePool())) {
        this.set({ state }, count);
      }
    },
  });
  const ssh = [
    ['muster_ssh_connections', 'Open SSH connections of this process.', 'openConnections'],
    ['muster_ssh_logins_under_way', 'SSH logins that are not done yet.', 'loginsUnderWay'],
    ['muster_ssh_channels_in_use', 'Scripts that run on servers or wait for it.', 'channelsInUse'],
  ] as const;
  for (const [name, help, field] of ssh) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(sources.ssh()?.[field] ?? 0);
      },
    });
  }
  const logins = [
    ['muster_ssh_logins_retried_total', 'SSH logins that were tried again.', 'loginsRetried'],
    ['muster_ssh_logins_failed_total', 'SSH logins that failed for good.', 'loginsFailed'],
  ] as const;
  for (const [name, help, field] of logins) {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(sources.ssh()?.[field] ?? 0);
      },
    });
  }
}
