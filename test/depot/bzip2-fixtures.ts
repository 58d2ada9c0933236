/** Made once with `tar | bzip2 -9`, so that the tests need no bzip2: `run` (executable), `lib/a.txt`, `l` (a link to it). */
export const TAR_BZ2 = Buffer.from(
  'QlpoOTFBWSZTWQaDKMsAAMb7hcqQAEBoAf+AAIL6Zd5QAACAEiAIIACSiIaTQaAaBpoNDIAIqKZAyaBtQA9Q0A0u' +
    'Sc7DAXuSEIAscKqmnYWyjUMqLAqcY6GCIRBsyzoaW5i9yXyZ1N1WQrRTn0nWr0pYcYKBwieNQIOBmrXJggRKUhGg' +
    'wjgMl2uT8X7gzv721KPAzxruG4aO7a+2+2VTjbyDJ/FZeeeBtsRD+LuSKcKEgDQZRlg=',
  'base64',
);

/** Made once with `tar | bzip2 -9`: 200,000,000 zeros. */
export function bzip2Bomb(): Buffer {
  return Buffer.from(
    'QlpoOTFBWSZTWbEcJGgFfkB7gMiAAEBAAH2AAAFgAJ4QAAggAHBRoyBo0yNBFTU9U8k0yPU2p+qd/sRSiAKqiSqo' +
      'AqqJxzi+8R4OLAoAqqJDaNRGwnNgzIbW3l8zm0xm+bwe/Ro1PdSVVVgFAFVRP5igrJMprIcE8W+Ar8cgAGAAAAQQ' +
      'ABhAJqMhUBLUhUBLmKCskymshwTxb4CvxyAAYAAABBAAGEAmoyFQEtSFQEuYoKyTKayHBPFvgK/HIABgAAAEEAAY' +
      'QCajIVAS1IVAS5igrJMprMtUjvcAPtzgCGAAAQAABBAAGGYE1TTFCINqpCIPF3JFOFCQ0xADXw==',
    'base64',
  );
}

/** A block of one run whose length has so many digits that it wraps around in 32 bits. */
export function bzip2Endless(): Buffer {
  const lengthsOfThreeCodes = '00010000';
  const bits = [
    '0'.repeat(32), // checksum
    '0', // not in the obsolete form
    '0'.repeat(24), // where the block starts
    '1000000000000000'.repeat(2), // the only byte in it is zero
    '010', // two tables
    '000000000000001', // one selector
    '0', // of the first table
    lengthsOfThreeCodes.repeat(2), // each code has two bits
    '00'.repeat(32), // the digits of the run
    '10', // the end of the block
    '0'.repeat(400),
  ].join('');
  const bytes = bits.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? [];
  return Buffer.concat([
    Buffer.from('BZh1'),
    Buffer.from('314159265359', 'hex'),
    Buffer.from(bytes),
  ]);
}
