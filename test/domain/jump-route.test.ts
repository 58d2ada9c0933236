import { describe, expect, it } from 'vitest';
import { checkJumpRoute, type JumpPlace } from '../../src/domain/jump-route.ts';

const place = (name: string, jump: string | null): JumpPlace => ({
  id: `id of ${name}`,
  name,
  jumpServerId: jump === null ? null : `id of ${jump}`,
});
const chain = [place('a', null), place('b', 'a'), place('c', 'b'), place('d', 'c')];

describe('checkJumpRoute', () => {
  it('lets a server stand behind three others, and not behind four', () => {
    expect(() => checkJumpRoute(place('x', 'c'), chain)).not.toThrow();
    expect(() => checkJumpRoute(place('x', 'd'), chain)).toThrow('over 4 jump hosts');
    expect(() => checkJumpRoute(place('x', null), chain)).not.toThrow();
  });

  it('counts what stands behind the server as well', () => {
    const front = [...chain, place('front', null)];
    expect(() => checkJumpRoute(place('a', 'front'), front)).toThrow('over 4 jump hosts');
    expect(() => checkJumpRoute(place('b', 'front'), front)).not.toThrow();
  });

  it('refuses a circle of any length, and names it', () => {
    expect(() => checkJumpRoute(place('a', 'a'), chain)).toThrow('(a from a)');
    expect(() => checkJumpRoute(place('a', 'c'), chain)).toThrow('(a from c from b from a)');
    expect(() => checkJumpRoute(place('c', 'a'), chain)).not.toThrow();
  });
});
