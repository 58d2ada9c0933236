import type { Drift } from './census.ts';

/** An installation of a server, and how it stood before and after something was found out about the server. */
export interface FoundInstallation {
  readonly application: string;
  readonly gitdeploy: string;
  readonly path: string;
  readonly was: Drift;
  readonly drift: Drift;
}

/** What is to be told of a server, and the installations that it is about. */
export interface ServerNotice {
  readonly event: 'server.unreachable' | 'server.reachable' | 'server.drifted';
  readonly about: readonly FoundInstallation[];
}

type Change = Pick<FoundInstallation, 'was' | 'drift'>;

const isGone = (drift: Drift): boolean => drift === 'unreachable';
const isOff = (drift: Drift): boolean => drift === 'modified' || drift === 'moved';
const hasDrifted = ({ was, drift }: Change): boolean => isOff(drift) && drift !== was;

/**
 * Whether there may be anything to tell, so that nobody need be asked otherwise.
 * @param byLook whether somebody looked at the server, and not a deployment, which tells of drift itself
 */
export function isWorthTelling(changes: readonly Change[], byLook: boolean): boolean {
  return changes.some(
    (change) => isGone(change.was) !== isGone(change.drift) || (byLook && hasDrifted(change)),
  );
}

/**
 * What is told of a server: only what is otherwise than it was. A server is unreachable as long as one of its
 * installations is, so that those who are looked at later are no news.
 * @param installations all that the listener may hear of
 */
export function serverNoticesOf(
  installations: readonly FoundInstallation[],
  byLook: boolean,
): ServerNotice[] {
  const gone = installations.filter(({ drift }) => isGone(drift));
  const wereGone = installations.filter(({ was }) => isGone(was));
  const drifted = byLook ? installations.filter(hasDrifted) : [];
  const notices: ServerNotice[] = [];
  if (wereGone.length === 0 && gone.length > 0) {
    notices.push({ event: 'server.unreachable', about: gone });
  }
  if (wereGone.length > 0 && gone.length === 0) {
    notices.push({ event: 'server.reachable', about: wereGone });
  }
  if (drifted.length > 0) notices.push({ event: 'server.drifted', about: drifted });
  return notices;
}
