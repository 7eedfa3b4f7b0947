// Client secrets. Machine-made text of 32 characters and more cannot be guessed, so SHA-256 is enough and costs nothing per
// request; a slow hash here is what makes other servers slow. Several may be valid at once, so that one can be replaced
// without an outage.
import { hash as digest, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { type Flaw, quote, Refusal } from '#src/refusal.ts'
import { ClientNotFound, InvalidClient } from './errors.ts'
import { type ClientType, hasSecret } from './types.ts'

export class SecretNotFound extends Refusal {
  constructor(id: string) {
    super('missing', [{ field: 'secretId', problem: `${id} is not a secret of this client`, fix: 'List its secrets.' }])
  }
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** 256 random bits, base64url: 43 characters that need no escaping in a form, a header or a shell. */
export const newClientSecret = (): string => randomBytes(32).toString('base64url')

const hashClientSecret = (secret: string): Uint8Array<ArrayBuffer> => new Uint8Array(digest('sha256', secret, 'buffer'))

/** Compares with every secret that is valid now, each in constant time.
 *  @param client a record of findClient. */
export function verifyClientSecret(
  client: { secrets: readonly { hash: Uint8Array; expiresAt: Date | null }[] },
  presented: string,
  now: Date,
): boolean {
  const hash = hashClientSecret(presented)
  let matched = false
  for (const secret of client.secrets) {
    const same = secret.hash.length === hash.length && timingSafeEqual(secret.hash, hash)
    if (same && (secret.expiresAt === null || secret.expiresAt > now)) matched = true
  }
  return matched
}

/** RFC 6749 A.2: printable ASCII. */
export function checkClientSecret(field: string, secret: string): Flaw[] {
  if (secret.length < 32 || secret.length > 256 || !/^[\x20-\x7e]*$/.test(secret))
    return [
      {
        field,
        problem: 'must have 32 to 256 printable ASCII characters',
        fix: 'Make one with: openssl rand -hex 32',
      },
    ]
  if (new Set(secret).size < 8) return [{ field, problem: 'is not random', fix: 'Make one with: openssl rand -hex 32' }]
  return []
}

/** @param secret.value or its `hash`. @returns the id of the new secret.
 *  @throws ClientNotFound, InvalidClient for a type that cannot keep a secret. */
export function addClientSecret(
  db: Db,
  clientId: string,
  secret: ({ value: string } | { hash: Uint8Array<ArrayBuffer> }) & { expiresAt?: Date | null },
  change: Change,
): Promise<string> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const client = await tx.client.findUnique({ where: { id: clientId }, select: { type: true } })
    if (!client) throw new ClientNotFound(clientId)
    if (!hasSecret(client.type as ClientType))
      throw new InvalidClient([
        {
          field: 'clientSecret',
          problem: `cannot be given to a client of type ${client.type}`,
          fix: 'Leave it out: such a client proves itself with PKCE.',
        },
      ])
    const flaws = 'value' in secret ? checkClientSecret('clientSecret', secret.value) : []
    if (flaws.length > 0) throw new InvalidClient(flaws)
    const id = randomUUID()
    await tx.clientSecret.create({
      data: {
        id,
        clientId,
        hash: 'value' in secret ? hashClientSecret(secret.value) : secret.hash,
        createdAt: change.now,
        expiresAt: secret.expiresAt ?? null,
      },
    })
    await recordAudit(
      tx,
      {
        event: 'client.secret_added',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'client', id: clientId },
        clientId,
        detail: { secretId: id },
      },
      change.origin,
    )
    return id
  })
}

/** A new secret; those there are stay good for the overlap, so that whoever uses one has the time to change it.
 *  @throws ClientNotFound, InvalidClient */
export function rotateClientSecret(
  db: Db,
  clientId: string,
  secret: { value: string; expiresAt?: Date | null },
  { overlapSeconds }: { overlapSeconds: number },
  change: Change,
): Promise<string> {
  return atomically(db, async (tx) => {
    const id = await addClientSecret(tx, clientId, secret, change)
    const end = new Date(change.now.getTime() + overlapSeconds * 1000)
    await tx.clientSecret.updateMany({
      where: { clientId, id: { not: id }, OR: [{ expiresAt: null }, { expiresAt: { gt: end } }] },
      data: { expiresAt: end },
    })
    return id
  })
}

/** @throws SecretNotFound */
export function removeClientSecret(db: Db, clientId: string, secretId: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    if (!uuid.test(secretId)) throw new SecretNotFound(quote(secretId))
    await raiseConfigurationVersion(tx, change.now)
    const { count } = await tx.clientSecret.deleteMany({ where: { id: secretId, clientId } })
    if (count === 0) throw new SecretNotFound(secretId)
    await recordAudit(
      tx,
      {
        event: 'client.secret_removed',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'client', id: clientId },
        clientId,
        detail: { secretId },
      },
      change.origin,
    )
  })
}
