import type { z } from 'zod';
import type { Token } from '../../services/tokens.ts';
import type * as schemas from '../schemas/tokens.ts';
import { toTime, toTimeOrNull } from './time.ts';

type Shown = Omit<z.infer<typeof schemas.Token>, 'current'>;

function toShown(token: Token): Shown {
  return {
    id: token.id,
    name: token.name,
    created_datetime: toTime(token.createdAt),
    expires_datetime: toTimeOrNull(token.expiresAt),
  };
}

/** @param currentId the token that the request was made with */
export function toToken(token: Token, currentId: string): z.infer<typeof schemas.Token> {
  return { ...toShown(token), current: token.id === currentId };
}

/** The one reply that holds the token itself. */
export function toCreatedToken(created: {
  token: string;
  username: string;
  row: Token;
}): z.infer<typeof schemas.CreatedToken> {
  return { ...toShown(created.row), token: created.token, username: created.username };
}
