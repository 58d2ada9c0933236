/** The value of `auth_token` however its name is written: any character may be percent-encoded. */
const TOKEN_PARAMETER = /([?&;])([^=&;]*)=([^&;]*)/g;

/** A request's URL without the token that may stand in its query string. Everything else stays as it was sent. */
export function redactUrl(url: string): string {
  if (!url.includes('?')) return url;
  return url.replaceAll(TOKEN_PARAMETER, (whole, separator: string, name: string) =>
    decoded(name) === 'auth_token' ? `${separator}auth_token=[redacted]` : whole,
  );
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' ')).trim().toLowerCase();
  } catch {
    return name;
  }
}
