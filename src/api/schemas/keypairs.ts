import { z } from 'zod';
import { createdTime, listing, next } from './common.ts';
import { flag, text } from './parameters.ts';

export const ChangeKeypairQuery = z.strictObject({
  generate: flag('Make an ed25519 keypair instead of taking one from the body.').default(false),
});

export const CreateKeypairQuery = ChangeKeypairQuery.extend({
  name: text('Name of the new keypair.'),
});

/** Given keys; none if they are to be made. */
export const KeysBody = z
  .strictObject({
    private_key: z
      .string()
      .optional()
      .meta({ description: 'Private key without a passphrase; stored encrypted, never shown.' }),
    public_key: z.string().optional().meta({ description: 'Its public half.' }),
  })
  .optional();

export const Keypair = z
  .object({
    name: z.string().meta({ description: 'Name of the keypair.' }),
    public_key: z.string().meta({ description: 'As it stands in authorized_keys.' }),
    fingerprint: z.string().meta({ description: 'SHA-256 fingerprint of the public key.' }),
    created_datetime: createdTime,
  })
  .meta({ id: 'Keypair', description: 'A keypair, without its private half.' });

export const KeypairList = z
  .object({ keypairs: listing(Keypair), next })
  .meta({ id: 'KeypairList', description: 'Keypairs.' });
