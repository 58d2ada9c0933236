/** Parameters whose value is a secret, or is a URL that may hold one. */
const SECRET_PARAMETERS: readonly string[] = ['auth_token', 'indirect_url', 'password', 'uri'];

/** A parameter and its value, however its name is written: any character may be percent-encoded. */
const TOKEN_PARAMETER = /([?&;])([^=&;]*)=([^&;]*)/g;

/** A request's URL without the secrets that may stand in its query string. Everything else stays as it was sent. */
export function redactUrl(url: string): string {
  if (!url.includes('?')) return url;
  return url.replaceAll(TOKEN_PARAMETER, (whole, separator: string, name: string) =>
    SECRET_PARAMETERS.includes(decoded(name)) ? `${separator}${decoded(name)}=[redacted]` : whole,
  );
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' ')).trim().toLowerCase();
  } catch {
    return name;
  }
}
