/** Rows that share a label. */
export interface Count {
  readonly status: string;
  readonly count: number;
}

/** How much work there is, for all processes together: it is read from PostgreSQL. */
export interface WorkStatistics {
  readonly jobs: readonly (Count & { readonly kind: string })[];
  readonly deployments: readonly Count[];
  readonly steps: readonly Count[];
  /** Messages of webhooks. */
  readonly deliveries: readonly Count[];
  /** Jobs that could be done now and that no worker has. */
  readonly dueJobs: number;
  /** How long the oldest of them has been due; 0 if there is none. */
  readonly oldestDueSeconds: number;
}

/** The connections of this process to PostgreSQL. */
export interface PoolStatistics {
  readonly open: number;
  readonly idle: number;
  /** Those who wait for a connection. */
  readonly waiting: number;
}

/** What this process has to do with servers over SSH. */
export interface SshStatistics {
  readonly openConnections: number;
  readonly loginsUnderWay: number;
  /** Scripts that run, or wait for a channel. */
  readonly channelsInUse: number;
  /** Since the start: logins that were tried again, and logins that failed for good. */
  readonly loginsRetried: number;
  readonly loginsFailed: number;
}

/** What is looked at only when somebody asks. */
export interface MetricsSources {
  readonly version: string;
  readonly health: () => Promise<Readonly<Record<string, 'up' | 'down'>>>;
  readonly work: () => Promise<WorkStatistics>;
  readonly databasePool: () => PoolStatistics;
  /** Null where the process reaches no servers. */
  readonly ssh: () => SshStatistics | null;
}
