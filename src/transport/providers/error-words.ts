import { z } from 'zod';

const Words = z.object({
  message: z.unknown(),
  error: z.unknown(),
  error_description: z.unknown(),
  errors: z.unknown(),
  detail: z.unknown(),
  fields: z.unknown(),
});

/**
 * The sentences in an error's body. Covers `{"message":"…","errors":[{"message":"…"} | {"field":"…","code":"…"}]}`
 * (GitHub), `{"message":{"name":["…"]}}` and `{"error":"…","error_description":"…"}` (GitLab), `{"message":"…"}` (Gitea) and
 * `{"type":"error","error":{"message":"…","detail":"…","fields":{"name":["…"]}}}` (Bitbucket).
 */
export function wordsOf(body: unknown): string[] {
  const parsed = Words.partial().safeParse(body);
  if (!parsed.success) return [];
  const { message, error, error_description: description, errors, detail, fields } = parsed.data;
  const found = [
    ...sentences(message),
    ...(typeof error === 'object' ? wordsOf(error) : sentences(error)),
    ...sentences(description),
    ...(Array.isArray(errors) ? errors.flatMap(oneError) : []),
    ...(typeof detail === 'string' ? [detail] : []),
    ...sentences(fields),
  ];
  return [...new Set(found)];
}

/** A sentence, a list of them, or lists by what they are about. */
function sentences(value: unknown): string[] {
  if (typeof value === 'string') return value === '' ? [] : [value];
  if (Array.isArray(value)) return value.flatMap(sentences);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([about, said]) =>
    sentences(said).map((sentence) => `${about} ${sentence}`),
  );
}

const OneError = z.object({
  message: z.string().optional(),
  field: z.string().optional(),
  code: z.string().optional(),
});

function oneError(error: unknown): string[] {
  if (typeof error === 'string') return [error];
  const { message, field, code } = OneError.safeParse(error).data ?? {};
  return message !== undefined ? [message] : sentences([field, code].filter(Boolean).join(' '));
}
