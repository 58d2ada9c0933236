/** Of OpenSSL's verification and of Node's own check of the name. */
const TLS_CODES =
  /CERT|SELF_SIGNED|UNABLE_TO_(?:GET_ISSUER|VERIFY)|INVALID_(?:CA|PURPOSE)|HOSTNAME_MISMATCH|PATH_LENGTH/;

/** Whether a connection failed because the certificate is not to be trusted. @param code as `codeOf` gives it */
export function isTlsCode(code: string): boolean {
  return TLS_CODES.test(code);
}

/** What Node, OpenSSL or undici call the fault of a connection, such as `ECONNREFUSED`. */
export function codeOf(cause: unknown): string {
  if (cause instanceof AggregateError) return codeOf(cause.errors[0]);
  if (!(cause instanceof Error)) return 'unknown';
  return 'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;
}
