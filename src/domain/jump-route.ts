import { AppError } from './errors.ts';
import { MAX_JUMPS } from './server-connection.ts';

/** A server and the one that it is reached from. */
export interface JumpPlace {
  readonly id: string;
  readonly name: string;
  readonly jumpServerId: string | null;
}

/**
 * Refuses a jump host that would close a circle or make a way longer than `MAX_JUMPS`, also that of servers which
 * are reached through this one.
 * @param place the server as it is to be; the id of one that is not registered yet is of no server
 * @param places every server that has a jump host or is one, and the jump host itself
 * @throws {AppError} `invalid_input`
 */
export function checkJumpRoute(place: JumpPlace, places: readonly JumpPlace[]): void {
  if (place.jumpServerId === null) return;
  const byId = new Map(places.map((one) => [one.id, one]));
  byId.set(place.id, place);
  const route = [place.name];
  for (let next = byId.get(place.jumpServerId); next !== undefined; ) {
    route.push(next.name);
    if (next.id === place.id) {
      throw refuse(place, `would be reached through itself (${route.join(' from ')})`, route);
    }
    next = next.jumpServerId === null ? undefined : byId.get(next.jumpServerId);
  }
  const jumps = route.length - 1 + countBehind(place.id, byId);
  if (jumps > MAX_JUMPS) {
    throw refuse(
      place,
      `or a server behind it would be reached over ${jumps} jump hosts, and at most ${MAX_JUMPS} are allowed`,
      route,
    );
  }
}

/** How many jumps it is from a server to the farthest one that is reached through it. */
function countBehind(id: string, byId: ReadonlyMap<string, JumpPlace>): number {
  let count = 0;
  for (let ids = new Set([id]); ; count += 1) {
    ids = new Set(
      [...byId.values()]
        .filter((one) => one.jumpServerId !== null && ids.has(one.jumpServerId))
        .map((one) => one.id),
    );
    if (ids.size === 0) return count;
  }
}

function refuse(place: JumpPlace, because: string, route: readonly string[]): AppError {
  return new AppError(
    'invalid_input',
    `With this \`jump\` server \`${place.name}\` ${because}; choose another one.`,
    { details: { parameter: 'connection.jump', route } },
  );
}
