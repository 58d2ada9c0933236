import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { PrismaPg } from '@prisma/adapter-pg';
import {
  bindMigrationAwareSqlAdapterFactory,
  DriverAdapterError,
  type SqlDriverAdapter,
  type SqlMigrationAwareDriverAdapterFactory,
} from '@prisma/driver-adapter-utils';
import type { SchemaEngine } from '@prisma/schema-engine-wasm';
import pg from 'pg';

/** A schema engine over one database connection; both end with `close()`. */
export interface OpenSchemaEngine {
  readonly engine: SchemaEngine;
  close(): Promise<void>;
}

/** What every call of the engine asks for: Muster has no tables that somebody else looks after. */
export const NO_FILTERS = { externalTables: [], externalEnums: [] };

const DATASOURCE_ONLY = 'datasource db {\n  provider = "postgresql"\n}\n';

/**
 * Prisma's schema engine as WebAssembly. Prisma's own command line downloads the same engine as a native program
 * from a host that is not a package registry, so it is of no use on a closed network.
 */
export async function openSchemaEngine(databaseUrl: string): Promise<OpenSchemaEngine> {
  // One connection: the engine takes its advisory lock on it and expects later statements to run under that lock.
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 1 });
  const engine = await createEngine(withAtomicScripts(new PrismaPg(pool), pool));
  return {
    engine,
    close: async () => {
      engine.free();
      await pool.end();
    },
  };
}

/** A schema engine that can compare schemas, and reaches no database. */
export async function openOfflineSchemaEngine(): Promise<OpenSchemaEngine> {
  const engine = await createEngine(NO_DATABASE);
  return {
    engine,
    close: () => {
      engine.free();
      return Promise.resolve();
    },
  };
}

async function createEngine(
  adapters: SqlMigrationAwareDriverAdapterFactory,
): Promise<SchemaEngine> {
  const engineClass = await loadEngineOnce();
  const datamodels: [string, string][] = [['schema.prisma', DATASOURCE_ONLY]];
  return await engineClass.new(
    { datamodels },
    () => undefined,
    bindMigrationAwareSqlAdapterFactory(adapters),
  );
}

/** The engine asks for a version before it compares anything, and is content with an empty answer. */
const NO_DATABASE: SqlMigrationAwareDriverAdapterFactory = {
  provider: 'postgres',
  adapterName: 'none',
  connect: () =>
    Promise.resolve({
      provider: 'postgres',
      adapterName: 'none',
      queryRaw: () => Promise.resolve({ columnNames: [], columnTypes: [], rows: [] }),
      executeRaw: () => Promise.resolve(0),
      executeScript: () => Promise.resolve(),
      startTransaction: refuse,
      dispose: () => Promise.resolve(),
    }),
  connectToShadowDb: refuse,
};

function refuse(): Promise<never> {
  return Promise.reject(new Error('Only comparing and applying migrations is provided for.'));
}

/**
 * `PrismaPg` 7.10 cuts a script at every semicolon, those in strings, comments and function bodies too, and runs the
 * parts one by one. PostgreSQL takes a whole script as one message and then runs it as one transaction, so a
 * migration that fails or is killed half-way leaves nothing behind.
 */
function withAtomicScripts(
  factory: PrismaPg,
  pool: pg.Pool,
): SqlMigrationAwareDriverAdapterFactory {
  const runScripts = (adapter: SqlDriverAdapter): SqlDriverAdapter => {
    adapter.executeScript = (script) => runScript(pool, script);
    return adapter;
  };
  return {
    provider: factory.provider,
    adapterName: factory.adapterName,
    connect: async () => runScripts(await factory.connect()),
    connectToShadowDb: refuse,
  };
}

async function runScript(pool: pg.Pool, script: string): Promise<void> {
  try {
    await pool.query(script);
  } catch (error) {
    if (!(error instanceof pg.DatabaseError)) {
      throw error;
    }
    throw new DriverAdapterError({
      kind: 'postgres',
      code: error.code ?? 'N/A',
      severity: error.severity ?? 'N/A',
      message: error.message,
      detail: error.detail,
      column: error.column,
      hint: error.hint,
    });
  }
}

declare global {
  /** The one schema engine of this process. */
  var musterSchemaEngine: Promise<typeof SchemaEngine> | undefined;
}

/**
 * The bindings keep the WebAssembly instance in a variable of theirs, which a second instance would overwrite under
 * the first. This module may be loaded more than once (by test runners), the bindings are not: hence the global.
 */
function loadEngineOnce(): Promise<typeof SchemaEngine> {
  globalThis.musterSchemaEngine ??= loadEngine();
  return globalThis.musterSchemaEngine;
}

async function loadEngine(): Promise<typeof SchemaEngine> {
  const bindings = await import('@prisma/schema-engine-wasm/schema_engine_bg');
  const folder = dirname(createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm'));
  const module = await WebAssembly.compile(await readFile(join(folder, 'schema_engine_bg.wasm')));
  const names = WebAssembly.Module.imports(module).map((wanted) => wanted.module);
  const instance = await WebAssembly.instantiate(
    module,
    Object.fromEntries(names.map((name) => [name, bindings])),
  );
  callByName(bindings, '__wbg_set_wasm', instance.exports);
  callByName(instance.exports, '__wbindgen_start');
  return bindings.SchemaEngine;
}

/** The package's types leave out the functions that a bundler calls for its users. */
function callByName(holder: object, name: string, ...values: readonly unknown[]): void {
  const found: unknown = Reflect.get(holder, name);
  if (typeof found !== 'function') {
    throw new Error(
      `@prisma/schema-engine-wasm has no ${name}: is it the version that package.json pins?`,
    );
  }
  Reflect.apply(found, undefined, values);
}
