import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Api } from '../fastify-types.ts';
import { addPageHeaders } from '../plugins/headers.ts';

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Muster API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`;

/** A file of its own, so that the page needs no scripts within. Nothing is sent to a validator elsewhere. */
const START = `window.ui = SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
});
`;

const ASSETS = {
  'swagger-ui.css': 'text/css; charset=utf-8',
  'swagger-ui-bundle.js': 'text/javascript; charset=utf-8',
  'favicon-32x32.png': 'image/png',
} as const;

/**
 * The page at `/docs` that shows the OpenAPI document: Swagger UI as it comes in `@fastify/swagger-ui`. That plugin's
 * own routes are not used, since none of them says who may call it.
 * @param app a scope of its own, as it is given the headers of pages
 */
export async function addDocsRoutes(app: Api): Promise<void> {
  await addPageHeaders(app);
  const folder = join(
    dirname(createRequire(import.meta.url).resolve('@fastify/swagger-ui')),
    'static',
  );
  addFile(app, { url: '/docs', type: 'text/html; charset=utf-8', content: PAGE });
  addFile(app, { url: '/docs/start.js', type: 'text/javascript; charset=utf-8', content: START });
  for (const [name, type] of Object.entries(ASSETS)) {
    addFile(app, { url: `/docs/${name}`, type, content: readFileSync(join(folder, name)) });
  }
}

function addFile(
  app: Api,
  file: { readonly url: string; readonly type: string; readonly content: string | Buffer },
): void {
  app.route({
    method: 'GET',
    url: file.url,
    config: { permission: { scope: 'open' } },
    schema: { hide: true },
    handler: (_request, reply) =>
      reply.type(file.type).header('cache-control', 'public, max-age=3600').send(file.content),
  });
}
