import { z } from 'zod';
import { MAX_PASSWORD_LENGTH } from '../../domain/passwords.ts';
import { createdTime, next, timeOrNull } from './common.ts';

const TEN_YEARS_SECONDS = 10 * 366 * 24 * 60 * 60;

export const TokenPath = z.object({ token: z.uuid().meta({ description: 'Id of the token.' }) });

export const CreateTokenBody = z.strictObject({
  username: z.string().min(1).max(128).meta({ description: 'Whose token it is to be.' }),
  // Twice as many: these are UTF-16 units.
  password: z
    .string()
    .max(2 * MAX_PASSWORD_LENGTH)
    .meta({ description: 'The password of that user.' }),
  name: z.string().exactOptional().meta({ description: 'What it is for; default `login`.' }),
  expires_in: z
    .int()
    .min(1)
    .max(TEN_YEARS_SECONDS)
    .exactOptional()
    .meta({ description: 'Seconds until it expires; default never.' }),
});

const Shown = z.object({
  id: z.uuid().meta({ description: 'Ends it at DELETE /global/tokens/{id}.' }),
  name: z.string().meta({ description: 'What it is for.' }),
  created_datetime: createdTime,
  expires_datetime: timeOrNull('When it expires.'),
});

export const Token = Shown.extend({
  current: z.boolean().meta({ description: 'Whether this very request was made with it.' }),
}).meta({ id: 'Token', description: 'A token, without its secret.' });

export const CreatedToken = Shown.extend({
  token: z.string().meta({ description: 'The token itself. It is shown only now.' }),
  username: z.string().meta({ description: 'Whose it is.' }),
}).meta({ id: 'CreatedToken', description: 'A new token.' });

export const TokenList = z
  .object({
    tokens: z.array(Token).meta({ description: "The caller's own tokens, newest first." }),
    next,
  })
  .meta({ id: 'TokenList', description: 'Tokens.' });
