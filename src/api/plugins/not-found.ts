import { AppError } from '../../domain/errors.ts';
import { nearestName } from '../../domain/nearest.ts';
import { quoted, quotedList } from '../../domain/quoted.ts';
import type { Api } from '../fastify-types.ts';

/** A route's URL cut at its slashes; `:name` stands for any one part. */
interface KnownRoute {
  readonly url: string;
  readonly parts: readonly string[];
  readonly methods: Set<string>;
}

/** Answers what matches no route: 405 with `Allow` if the path exists with other methods, else 404 with a hint. */
export function addNotFoundReplies(app: Api): void {
  const routes = new Map<string, KnownRoute>();
  app.addHook('onRoute', ({ url, method }) => {
    const route = routes.get(url) ?? { url, parts: partsOf(url), methods: new Set<string>() };
    for (const one of [method].flat()) route.methods.add(one);
    routes.set(url, route);
  });
  app.setNotFoundHandler((request, reply) => {
    const [path = '/'] = request.url.split('?');
    const parts = partsOf(path);
    const matching = [...routes.values()].filter((route) => fits(route.parts, parts));
    if (matching.length === 0) throw notFound(path, hintFor(parts, [...routes.values()]));
    const allowed = [...new Set(matching.flatMap((route) => [...route.methods]))].sort();
    reply.header('allow', allowed.join(', '));
    throw new AppError(
      'method_not_allowed',
      `${quoted(path)} does not take ${request.method}; use ${quotedList(allowed)}.`,
      { details: { allowed } },
    );
  });
}

function notFound(path: string, hint: string | null): AppError {
  return new AppError(
    'not_found',
    `There is nothing at ${quoted(path)}; ${hint === null ? 'GET /openapi.json lists all there is.' : `did you mean \`${hint}\`?`}`,
    { details: { path: path.slice(0, 1000), ...(hint === null ? {} : { nearest: hint }) } },
  );
}

function partsOf(url: string): string[] {
  return url.split('/').filter((part) => part !== '');
}

function fits(pattern: readonly string[], parts: readonly string[]): boolean {
  return (
    pattern.length === parts.length &&
    pattern.every((part, i) => part.startsWith(':') || part === parts[i])
  );
}

/** The first route that fits once one or two of its fixed words are taken as misspelt. */
function hintFor(parts: readonly string[], routes: readonly KnownRoute[]): string | null {
  for (const { parts: pattern } of routes) {
    if (pattern.length !== parts.length) continue;
    const meant = pattern.map((part, i) => {
      const given = parts[i] ?? '';
      return part.startsWith(':') || nearestName(given, [part]) === part ? part : null;
    });
    if (meant.every((part) => part !== null)) {
      return `/${meant.map((part) => part.replace(/^:(.*)$/, '{$1}')).join('/')}`;
    }
  }
  return null;
}
