import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { SETTING_NAMES } from '../src/config.ts';

// No reader of YAML is installed for Muster itself; Fastify's Swagger brings one.
const swagger = createRequire(import.meta.url).resolve('@fastify/swagger');
const { parse } = z
  .object({ parse: z.custom<(text: string, options: { merge: boolean }) => unknown>() })
  .parse(createRequire(swagger)('yaml'));

const Service = z.object({
  image: z.string().optional(),
  build: z.string().optional(),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.unknown()).default({}),
  depends_on: z.record(z.string(), z.object({ condition: z.string() })).default({}),
  volumes: z.array(z.string()).default([]),
  healthcheck: z.object({ test: z.array(z.string()) }).optional(),
  stop_grace_period: z.string().optional(),
});
const Compose = z.object({
  services: z.record(z.string(), Service),
  volumes: z.record(z.string(), z.unknown()),
});

const project = join(import.meta.dirname, '..');
const read = (name: string): string => readFileSync(join(project, name), 'utf8');
const { services, volumes } = Compose.parse(parse(read('docker-compose.yml'), { merge: true }));
const own = Object.entries(services).filter(([, { build }]) => build !== undefined);
/** What is built to dist/ comes of a source of the same path. */
const sourceOf = (program: string): string =>
  program.replace(/^dist\//, '').replace(/\.js$/, '.ts');

describe('docker-compose.yml', () => {
  it('has PostgreSQL, Redis, the migration, the API and workers', () => {
    expect(Object.keys(services).sort()).toEqual(['api', 'migrate', 'postgres', 'redis', 'worker']);
    expect(own.map(([name]) => name).sort()).toEqual(['api', 'migrate', 'worker']);
  });

  it.each(own)(
    'starts a program that there is, with settings that there are: %s',
    (_name, service) => {
      const [node, program = ''] = service.command ?? [];
      expect(node).toBe('node');
      expect(existsSync(join(project, sourceOf(program)))).toBe(true);
      const names = Object.keys(service.environment);
      expect(names).toContain('DATABASE_URL');
      expect(SETTING_NAMES).toEqual(expect.arrayContaining(names));
    },
  );

  it.each(Object.entries(services))(
    'waits for services and uses volumes that there are: %s',
    (_name, service) => {
      for (const [needed, { condition }] of Object.entries(service.depends_on)) {
        expect(Object.keys(services)).toContain(needed);
        if (condition === 'service_healthy') expect(services[needed]?.healthcheck).toBeDefined();
      }
      for (const volume of service.volumes) {
        expect(Object.keys(volumes)).toContain(volume.split(':')[0]);
      }
    },
  );

  it('shares the depot, and gives jobs the time to come to a safe point', () => {
    for (const name of ['api', 'worker']) {
      expect(services[name]?.volumes).toEqual(['depot:/var/lib/muster']);
      expect(Number.parseInt(services[name]?.stop_grace_period ?? '', 10)).toBeGreaterThan(45);
    }
  });

  it('asks for health where it is answered', () => {
    const [, apiPort] =
      /:(\d+)\/readyz/.exec(services['api']?.healthcheck?.test.join(' ') ?? '') ?? [];
    expect(read('Dockerfile')).toContain(`EXPOSE ${apiPort}`);
    const { healthcheck, environment } = services['worker'] ?? {};
    const port = String(environment?.['MUSTER_WORKER_METRICS_PORT']);
    expect(healthcheck?.test.join(' ')).toContain(`:${port}/readyz`);
  });
});

describe('the Dockerfile', () => {
  const text = read('Dockerfile');

  it('starts a program that there is, as a user of its own, behind an init that passes signals on', () => {
    const [, command = '[]'] = /^CMD (\[.*\])$/m.exec(text) ?? [];
    const [node, program = ''] = z.array(z.string()).parse(JSON.parse(command));
    expect(node).toBe('node');
    expect(existsSync(join(project, sourceOf(program)))).toBe(true);
    expect(text).toMatch(/^USER muster$/m);
    expect(text).toMatch(/^ENTRYPOINT \["tini", "--"\]$/m);
  });

  it('copies what the program reads beside its own code', () => {
    for (const path of ['package.json', 'node_modules', 'prisma', 'dist']) {
      expect(text).toContain(`COPY --from=build /muster/${path} `);
    }
    const [, environment = ''] = /^ENV (.*)$/m.exec(text) ?? [];
    const names = environment.split(' ').map((one) => one.split('=')[0] ?? '');
    expect([...SETTING_NAMES, 'NODE_ENV']).toEqual(expect.arrayContaining(names));
  });
});
