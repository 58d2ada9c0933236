import type { ProviderRepository } from './client.ts';
import type { ProviderAnswer, ProviderHttp } from './http.ts';

/** A repository that is there, with what it is described by. */
export interface FoundRepository extends ProviderRepository {
  readonly description: string | null;
}

/**
 * Creates a repository once, however often it is tried: a worker may die between the provider's answer and the row
 * that says so. The next one is told that the name is taken, and looks whether what is there is Muster's own.
 */
export async function createOnce(o: {
  readonly http: ProviderHttp;
  readonly description: string;
  readonly create: () => Promise<ProviderAnswer>;
  /** Whether the answer says that a repository of this name exists. */
  readonly isTaken: (answer: ProviderAnswer) => boolean;
  readonly read: (answer: ProviderAnswer) => FoundRepository;
  /** Looks for the repository of this name. */
  readonly find: () => Promise<ProviderAnswer>;
}): Promise<ProviderRepository> {
  const answer = await o.create();
  if (!o.isTaken(answer)) return o.read(answer);
  const found = await o.find();
  if (found.status === 200) {
    const repository = o.read(found);
    if (repository.description === o.description) return repository;
  }
  throw o.http.refused(
    answer,
    'To use the repository that is there, give `existing=true` and its `uri`; else choose another name.',
  );
}
