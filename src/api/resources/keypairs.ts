import type { z } from 'zod';
import type { Keypair } from '../../services/keypairs.ts';
import type * as schemas from '../schemas/keypairs.ts';
import { toTime } from './time.ts';

/** Names what goes out one by one, so that the private half never does. */
export function toKeypair(keypair: Keypair): z.infer<typeof schemas.Keypair> {
  return {
    name: keypair.name,
    public_key: keypair.publicKey,
    fingerprint: keypair.fingerprint,
    created_datetime: toTime(keypair.createdAt),
  };
}
