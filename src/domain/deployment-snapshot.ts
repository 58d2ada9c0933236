/**
 * What a deployment is resolved against: the rows of one application at one moment, plus all servers.
 * Every list may be in any order; names are unique within a list.
 */
export interface DeploymentSnapshot {
  readonly servers: readonly SnapshotServer[];
  readonly gitdeploys: readonly SnapshotGitdeploy[];
  readonly groups: readonly SnapshotGroup[];
  readonly installations: readonly SnapshotInstallation[];
  readonly build: SnapshotBuild;
}

export interface SnapshotServer {
  readonly name: string;
  readonly environment: string;
}

export interface SnapshotGitdeploy {
  readonly name: string;
  readonly package: string;
  readonly gitrepo: string;
  readonly branch: string;
  /** Normalized, as `parseDeployPath` gives it. */
  readonly path: string;
}

export interface SnapshotGroup {
  readonly name: string;
  readonly rolling: boolean;
  readonly levels: readonly (readonly string[])[];
}

/** A gitdeploy that is initialized on a server. */
export interface SnapshotInstallation {
  readonly server: string;
  readonly gitdeploy: string;
}

export interface SnapshotBuild {
  readonly name: string;
  readonly state: 'created' | 'storing' | 'stored' | 'failed';
  /** Names; `master`, the whole build, counts as present in any stored build. */
  readonly packages: readonly string[];
}

/** The body of a deployment request, read as JSON and checked for its shape alone. */
export interface DeploymentRequest {
  readonly servers?: readonly string[] | undefined;
  readonly gitdeploys?: readonly string[] | undefined;
  readonly environments?: readonly string[] | undefined;
  readonly groups?: readonly string[] | undefined;
}
