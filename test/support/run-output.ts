import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Set by `npm test`, which looks through the output of the whole run for its secrets at the end. */
const FOLDER = process.env['MUSTER_TEST_OUTPUT'];

const registered = new Set<string>();
let captured = 0;

/**
 * From now on this must not be in anything that a process of the run writes.
 * @param name says where it comes from, without showing it @param value one that is too short to be looked for is passed over
 */
export function registerSecret(name: string, value: string): void {
  if (FOLDER === undefined || value === '' || registered.has(value)) return;
  registered.add(value);
  const line = `${JSON.stringify({ name, value })}\n`;
  appendFileSync(join(FOLDER, 'secrets', `${process.pid}.jsonl`), line, { mode: 0o600 });
}

/** @returns what keeps all that one process, or one API in this process, writes */
export function captureOutput(name: string): (text: string | Uint8Array) => void {
  if (FOLDER === undefined) return () => undefined;
  captured += 1;
  const file = join(FOLDER, 'output', `${name}-${process.pid}-${captured}.log`);
  return (text) => appendFileSync(file, text);
}

/** The fields of requests and replies, and the parameters of URLs, that hold secrets. */
const SECRET_FIELD = /^(?:password|current_password|token|auth_token|private_key|secret)$/;

/** Registers the secrets of a request or a reply. @param where e.g. `PUT /global/users`; of a query nothing is shown */
export function registerSecretsOf(where: string, body: unknown): void {
  // Who deletes a token gets its id, under the same name.
  if (where.startsWith('DELETE ')) return;
  const [place = ''] = where.split('?');
  const look = (value: unknown, field: string): void => {
    if (typeof value === 'string') {
      if (SECRET_FIELD.test(field)) registerSecret(`${field} of ${place}`, value);
    } else if (Array.isArray(value)) {
      for (const one of value) look(one, field);
    } else if (typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)) {
      for (const [name, one] of Object.entries(value)) look(one, name);
    }
  };
  look(body, '');
  const { searchParams } = new URL(where.split(' ').at(-1) ?? '', 'http://x');
  for (const [name, value] of searchParams) look(value, name);
}

/** Registers the secrets among the settings of a Muster. */
export function registerSecretSettings(settings: Readonly<Record<string, string>>): void {
  for (const name of ['MUSTER_ADMIN_TOKEN', 'MUSTER_SECRET_KEY', 'MUSTER_NEW_SECRET_KEY']) {
    registerSecret(name, settings[name] ?? '');
  }
  for (const name of ['DATABASE_URL', 'REDIS_URL']) {
    const url = settings[name];
    if (url !== undefined && URL.canParse(url)) {
      registerSecret(`password of ${name}`, decodeURIComponent(new URL(url).password));
    }
  }
}

/** Registers the secrets that a Muster has made for itself in its data directory. */
export function registerSecretFiles(dataDirectory: string | undefined): void {
  if (FOLDER === undefined || dataDirectory === undefined) return;
  for (const name of ['admin-token', 'secret-key', 'secret-key.new', 'postgres/password']) {
    const path = join(dataDirectory, name);
    if (existsSync(path)) registerSecret(name, readFileSync(path, 'utf8').trim());
  }
}
