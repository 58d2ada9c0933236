import { expect } from 'vitest';
import type { Answer, Call, TestApi } from './test-api.ts';

export const PASSWORD = 'correct horse battery staple';

/** Somebody with a token of their own. */
export interface Person {
  readonly username: string;
  readonly token: string;
  readonly headers: { readonly authorization: string };
  call(method: string, url: string, call?: Call): Promise<Answer>;
}

export const bearer = (token: string): { authorization: string } => ({
  authorization: `Bearer ${token}`,
});

/** Logs in over HTTP. */
export async function logIn(
  api: TestApi,
  username: string,
  password: string = PASSWORD,
): Promise<Person> {
  const reply = await api.call('POST', '/global/tokens', { body: { username, password } });
  expect(reply.status, reply.text).toBe(201);
  const token: string = reply.body.token;
  const headers = bearer(token);
  return {
    username,
    token,
    headers,
    call: (method, url, call = {}) =>
      api.call(method, url, { ...call, headers: { ...headers, ...call.headers } }),
  };
}

/** Creates a user over HTTP, as the admin, and logs in. */
export async function addPerson(
  api: TestApi,
  username: string,
  permissions: Record<string, unknown> = {},
): Promise<Person> {
  const body = { password: PASSWORD, permissions };
  const reply = await api.call('PUT', `/global/users?username=${username}`, { body });
  expect(reply.status, reply.text).toBe(201);
  return logIn(api, username);
}
