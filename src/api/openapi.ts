import { STATUS_CODES } from 'node:http';
import swagger from '@fastify/swagger';
import type { FastifySchema } from 'fastify';
import {
  createJsonSchemaTransform,
  createJsonSchemaTransformObject,
} from 'fastify-type-provider-zod';
import type { Api } from './fastify-types.ts';
import { ErrorReply } from './schemas/common.ts';

const DESCRIPTION = `A self-hosted deployment control plane.

Parameters go in the query string, objects in the JSON body, which is read as JSON whatever its Content-Type.
Errors have one form everywhere; docs/errors.md lists their codes. Requests that start a job answer 202 with
the job and its \`Location\`, or take \`wait\`. Any POST or PUT may carry an \`Idempotency-Key\`: sent again
within 24 hours, the same request gets the first reply.`;

const archive = { type: 'string', format: 'binary' } as const;

/** What a route with `config.body: 'stream'` reads. */
const ARCHIVE_BODY = {
  content: {
    'multipart/form-data': {
      schema: { type: 'object', properties: { build: archive }, required: ['build'] },
    },
    ...Object.fromEntries(
      [
        'application/octet-stream',
        'application/zip',
        'application/gzip',
        'application/x-bzip2',
      ].map((type) => [type, { schema: archive }]),
    ),
  },
};

const toJsonSchemas = createJsonSchemaTransform({});
const toDocument = createJsonSchemaTransformObject({});

/** Collects the routes that are added after it into an OpenAPI 3.1 document. */
export async function addOpenApi(app: Api, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Muster', version, description: DESCRIPTION },
      security: [{ bearer: [] }, { header: [] }, { query: [] }],
      components: {
        securitySchemes: {
          bearer: { type: 'http', scheme: 'bearer' },
          header: { type: 'apiKey', in: 'header', name: 'Auth-Token' },
          query: { type: 'apiKey', in: 'query', name: 'auth_token' },
        },
      },
    },
    transform: (route) => {
      const { schema, url } = toJsonSchemas(route);
      if (route.route.config?.body === 'stream') schema.body = ARCHIVE_BODY;
      return { schema: nameStatuses(schema), url };
    },
    transformObject: (document) => withoutInputs(toDocument(document)),
  });
  app.addHook('onRoute', (route) => {
    const { schema = {}, config } = route;
    route.schema = {
      ...schema,
      ...(config?.permission?.scope === 'open' ? { security: [] } : {}),
      response: { ...Object(schema.response), '4xx': ErrorReply, '5xx': ErrorReply },
    };
  });
}

/** The document, as `GET /openapi.json` gives it and docs/openapi.json keeps it. */
export function openApiDocument(app: Api): ReturnType<Api['swagger']> {
  return app.swagger();
}

const CLASSES: Readonly<Record<string, string>> = {
  '4xx': 'The request was refused, or the job that it waited for has failed.',
  '5xx': 'Muster, or a part that it needs, has failed.',
};

function nameStatuses(schema: FastifySchema): FastifySchema {
  if (schema.response === undefined) return schema;
  const response = Object.fromEntries(
    Object.entries(Object(schema.response)).map(([status, reply]) => {
      // Errors are JSON also where the reply itself is an archive.
      const types = status in CLASSES ? undefined : schema.produces;
      return [
        status,
        {
          description: CLASSES[status] ?? STATUS_CODES[status] ?? status,
          content: Object.fromEntries(
            (types ?? ['application/json']).map((type) => [type, { schema: reply }]),
          ),
        },
      ];
    }),
  );
  return { ...schema, response };
}

/** Every named schema comes out twice, as input and as output; only outputs are named here. */
function withoutInputs(document: ReturnType<typeof toDocument>): ReturnType<typeof toDocument> {
  if (!('components' in document)) return document;
  const schemas = document.components.schemas ?? {};
  for (const name of Object.keys(schemas)) {
    if (name.endsWith('Input') && name.slice(0, -'Input'.length) in schemas) delete schemas[name];
  }
  return document;
}
