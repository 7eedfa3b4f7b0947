// How the hash of a client secret is written in a file: `sha256:` and base64url.

type Written = string | { hash: string; expiresAt: string }

/** @returns undefined for anything that is not a hash, or ends at something that is not a time. */
export function readSecretHash(
  written: Written,
): { hash: Uint8Array<ArrayBuffer>; expiresAt: Date | null } | undefined {
  const { hash, expiresAt } = typeof written === 'string' ? { hash: written, expiresAt: undefined } : written
  if (!/^sha256:[A-Za-z0-9_-]{43}$/.test(hash)) return undefined
  const end = expiresAt === undefined ? null : new Date(expiresAt)
  if (end && (Number.isNaN(end.getTime()) || end.toISOString() !== expiresAt)) return undefined
  return { hash: new Uint8Array(Buffer.from(hash.slice(7), 'base64url')), expiresAt: end }
}

export function writeSecretHash(secret: { hash: Uint8Array; expiresAt: Date | null }): Written {
  const hash = `sha256:${Buffer.from(secret.hash).toString('base64url')}`
  return secret.expiresAt ? { hash, expiresAt: secret.expiresAt.toISOString() } : hash
}
