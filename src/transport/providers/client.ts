import type { GitproviderAuth, GitproviderKind } from '../../domain/gitprovider.ts';

/** What is needed to call a provider. */
export interface ProviderAccess {
  /** What Muster calls it, for messages. */
  readonly name: string;
  readonly kind: GitproviderKind;
  /** As `parseGitproviderUrl` gave it; null for the public service. */
  readonly url: string | null;
  readonly auth: GitproviderAuth;
}

/** A repository that is to be at a provider. */
export interface WantedRepository {
  readonly name: string;
  /** Tells Muster's own repository from another of its name, so that creating it twice is creating it once. */
  readonly description: string;
}

/** Where a repository can be reached, both ways. */
export interface ProviderRepository {
  readonly sshUri: string;
  readonly httpUri: string;
}

/** One provider's REST API, as far as Muster needs it. */
export interface ProviderClient {
  /**
   * Creates a private, empty repository; gives the present one if it has the wanted name and description.
   * @throws {AppError} `gitprovider_refused`, `gitprovider_unreachable`
   */
  createRepository(wanted: WantedRepository, signal: AbortSignal): Promise<ProviderRepository>;
}
