import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { buildApp } from '../src/api/app.ts';
import { openApiDocument } from '../src/api/openapi.ts';
import type { Config } from '../src/config.ts';
import type { ServiceContext } from '../src/services/context.ts';

// Writes docs/openapi.json from the routes: `npx tsx scripts/write-openapi.ts`. A test tells when that is due.
const file = join(import.meta.dirname, '../docs/openapi.json');
// Routes are only registered here and never called, so of all services the log and a setting are all that is needed.
const config: Partial<Config> = { trustedProxies: [] };
const services = { config, log: pino({ level: 'silent' }) } as ServiceContext;
const none = (): Promise<never> => Promise.reject(new Error('no parts'));
const app = await buildApp({
  services,
  checkHealth: none,
  metrics: { contentType: '', render: none, requestEnded: () => {}, jobEnded: () => {} },
});
await writeFile(file, `${JSON.stringify(openApiDocument(app), null, 2)}\n`);
await app.close();
