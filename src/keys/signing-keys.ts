// Signing keys: for every algorithm one that signs and one that is announced, so that verifiers know the next key before its
// first signature; how one follows the other is in key-rotation.ts. Private halves are sealed under SECRET_KEY and bound to their kid.
import { generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'
import { calculateJwkThumbprint, type JWK } from 'jose'
import { recordAudit } from '#src/audit/audit.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database, Db } from '#src/db/database.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'
import { SealBroken, type SecretKeys } from './secret-key.ts'
import { type Signer, type SigningAlgorithm, signingAlgorithms, softwareSigner } from './signer.ts'

export type SigningKey = Readonly<{
  kid: string
  alg: SigningAlgorithm
  state: 'current' | 'next' | 'retired'
  signer: Signer
}>

/** SECRET_KEY does not open what the database holds: the wrong key, or one that was removed too early. */
export class SigningKeysUnreadable extends Error {
  override name = 'SigningKeysUnreadable'
  constructor(options: ErrorOptions) {
    super(
      'SECRET_KEY does not open the signing keys in the database. Start with the SECRET_KEY they were made under; after a rotation keep the old one behind the new, separated by a comma.',
      options,
    )
  }
}

/** Nothing can be signed before the first start has made keys. */
export class SigningKeysMissing extends Error {
  override name = 'SigningKeysMissing'
  constructor() {
    super('There is no signing key yet: the first start makes them.')
  }
}

const sealPurpose = 'signing-key'
const generate = promisify(generateKeyPair)

type Place = { alg: SigningAlgorithm; state: 'current' | 'next' }

/** Each wants a key. */
export const signingPlaces: readonly Place[] = signingAlgorithms.flatMap((alg) =>
  (['current', 'next'] as const).map((state) => ({ alg, state })),
)

/** Makes what is missing; of two processes that start at once, one stores its keys. They are made before the lock is asked for:
 *  an RSA key takes as long as it takes, and nobody should wait behind it. */
export async function ensureSigningKeys(database: Database, secretKeys: SecretKeys, now: Date): Promise<void> {
  const missing = await emptyPlaces(database.prisma)
  if (missing.length === 0) return
  const made = await Promise.all(missing.map(async (place) => ({ ...place, key: await makeSigningKey(place.alg) })))
  await withConfigurationLock(database, async (tx) => {
    const empty = await emptyPlaces(tx)
    if (empty.length === 0) return
    await raiseConfigurationVersion(tx, now)
    for (const { alg, state, key } of made)
      if (empty.some((place) => place.alg === alg && place.state === state))
        await storeSigningKey(tx, secretKeys, key, { alg, state, now })
  })
}

async function emptyPlaces(db: Db): Promise<Place[]> {
  const present = await db.signingKey.findMany({
    where: { state: { in: ['current', 'next'] } },
    select: { alg: true, state: true },
  })
  return signingPlaces.filter(({ alg, state }) => !present.some((key) => key.alg === alg && key.state === state))
}

type NewKey = { kid: string; publicJwk: JWK; privateJwk: JWK }

export async function makeSigningKey(alg: SigningAlgorithm): Promise<NewKey> {
  const privateJwk = await generateJwk(alg)
  const { kty, crv, x, y, n, e } = privateJwk
  const publicJwk = JSON.parse(JSON.stringify({ kty, crv, x, y, n, e, alg, use: 'sig' })) as JWK
  return { kid: await calculateJwkThumbprint(publicJwk), publicJwk, privateJwk } // RFC 7638
}

export async function storeSigningKey(
  db: Db,
  secretKeys: SecretKeys,
  { kid, publicJwk, privateJwk }: NewKey,
  { alg, state, now }: Place & { now: Date },
): Promise<void> {
  await db.signingKey.create({
    data: {
      kid,
      alg,
      state,
      publicJwk: { ...publicJwk, kid },
      privateJwk: Buffer.from(secretKeys.seal(sealPurpose, kid, JSON.stringify(privateJwk)), 'base64url'),
      createdAt: now,
      activatedAt: state === 'current' ? now : null,
    },
  })
  await recordAudit(db, {
    event: 'key.created',
    outcome: 'success',
    actor: { kind: 'system' },
    target: { kind: 'key', id: kid },
    detail: { alg, state },
  })
}

async function generateJwk(alg: SigningAlgorithm): Promise<JWK> {
  const { privateKey } =
    alg === 'ES256'
      ? await generate('ec', { namedCurve: 'P-256' })
      : alg === 'EdDSA'
        ? await generate('ed25519')
        : await generate('rsa', { modulusLength: 3072 }) // NIST SP 800-57: 128 bits of strength, like the other two
  return privateKey.export({ format: 'jwk' }) as JWK
}

/** Everything that is published, the signing ones first. @throws SigningKeysUnreadable */
export async function loadSigningKeys({ pool }: Pick<Database, 'pool'>, secretKeys: SecretKeys): Promise<SigningKey[]> {
  const { rows } = await pool.query<{ kid: string; alg: string; state: string; privateJwk: Buffer }>(
    'SELECT kid, alg, state, private_jwk AS "privateJwk" FROM signing_key ORDER BY created_at, kid',
  )
  const rank = { current: 0, next: 1, retired: 2 }
  return rows
    .map(({ kid, state, privateJwk, ...row }) => {
      const alg = row.alg as SigningAlgorithm
      const signer = softwareSigner(kid, alg, open(kid, privateJwk, secretKeys))
      return { kid, alg, state: state as SigningKey['state'], signer }
    })
    .sort((a, b) => rank[a.state] - rank[b.state])
}

function open(kid: string, sealed: Buffer, secretKeys: SecretKeys): JWK {
  try {
    return JSON.parse(secretKeys.unseal(sealPurpose, kid, sealed.toString('base64url')).toString()) as JWK
  } catch (cause) {
    if (cause instanceof SealBroken) throw new SigningKeysUnreadable({ cause })
    throw cause
  }
}

/** What anybody may see: everything but the private half. */
export type SigningKeyRow = Readonly<{
  kid: string
  alg: string
  state: string
  createdAt: Date
  activatedAt: Date | null
  retiredAt: Date | null
}>

/** By algorithm, the newest first. */
export async function listSigningKeys({ pool }: Pick<Database, 'pool'>): Promise<SigningKeyRow[]> {
  const { rows } = await pool.query<SigningKeyRow>(
    `SELECT kid, alg, state, created_at AS "createdAt", activated_at AS "activatedAt", retired_at AS "retiredAt"
      FROM signing_key ORDER BY alg, created_at DESC, kid`,
  )
  return rows
}
