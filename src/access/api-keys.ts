// API keys: `sp_key_<43 base62 characters>_<6 base62 characters>`. The prefix and the checksum let secret scanners recognise a
// leaked key for sure, and let this server refuse garbage without asking the database. 256 random bits need no slow hash:
// SHA-256 is stored, the value is shown once.
import { createHash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { checkText, type Flaw, quote, Refusal } from '#src/refusal.ts'
import { permissionsOf } from './roles.ts'

type ApiKeyInput = {
  name: string
  apiIdentifier: string
  scopes: string[]
  /** Exactly one owner: a key dies with whoever it acts for. */
  owner: { userId: string } | { clientId: string }
  expiresAt?: Date | null
}

type FoundApiKey = {
  id: string
  name: string
  apiIdentifier: string
  /** What the key says and its owner may still do, both. */
  scopes: string[]
  userId: string | null
  clientId: string | null
}

class InvalidApiKey extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class ApiKeyNotFound extends Refusal {
  constructor() {
    super('missing', [{ field: 'id', problem: 'is not an API key in use', fix: 'Check it against the list of keys.' }])
  }
}

/** @returns `value`, the only time it exists in clear, and the id under which it is listed and revoked.
 *  @throws InvalidApiKey */
export function createApiKey(db: Db, input: ApiKeyInput, change: Change): Promise<{ value: string; id: string }> {
  return storeApiKey(db, formatApiKey(randomBytes(32)), input, change)
}

/** The part of createApiKey that bootstrap shares: its demo key is derived, so that it can be printed again at each start.
 *  @param value of formatApiKey. @throws InvalidApiKey */
export function storeApiKey(
  db: Db,
  value: string,
  input: ApiKeyInput,
  change: Change,
): Promise<{ value: string; id: string }> {
  return atomically(db, async (tx) => {
    const known = await tx.scope.findMany({ where: { apiIdentifier: input.apiIdentifier }, select: { name: true } })
    const flaws = [
      ...checkText('name', input.name, 128),
      ...input.scopes.flatMap((scope, index) =>
        known.some(({ name }) => name === scope)
          ? []
          : [
              {
                field: `scopes[${index}]`,
                problem: `is ${quote(scope)}, which is not a scope of that API`,
                fix:
                  known.length > 0
                    ? `Write some of: ${known.map(({ name }) => name).join(', ')}.`
                    : 'Create the API first.',
              },
            ],
      ),
    ]
    if (flaws.length > 0) throw new InvalidApiKey(flaws)
    const id = hashApiKey(value)
    await tx.apiKey.create({
      data: {
        id,
        hint: value.slice(0, 11),
        name: input.name,
        apiIdentifier: input.apiIdentifier,
        scopes: [...new Set(input.scopes)].sort(),
        userId: 'userId' in input.owner ? input.owner.userId : null,
        clientId: 'clientId' in input.owner ? input.owner.clientId : null,
        createdAt: change.now,
        expiresAt: input.expiresAt ?? null,
      },
    })
    const keyId = apiKeyId(value)
    await recordAudit(
      tx,
      {
        event: 'api_key.created',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'api_key', id: keyId },
        detail: { api: input.apiIdentifier, scopes: input.scopes },
      },
      change.origin,
    )
    return { value, id: keyId }
  })
}

/** @returns undefined for garbage (without asking the database), unknown, expired and revoked keys, and keys whose owner is
 *  disabled. Its scopes are cut down to what the owner may do now: a person by their roles, a client by what it registered. */
export async function findApiKey(db: Db, value: string, now: Date): Promise<FoundApiKey | undefined> {
  if (!isApiKey(value)) return undefined
  const key = await db.apiKey.findUnique({
    where: { id: hashApiKey(value) },
    include: {
      user: { select: { disabledAt: true } },
      client: { select: { disabledAt: true, apiScopes: { select: { apiIdentifier: true, scopeName: true } } } },
    },
  })
  if (!key || key.revokedAt || (key.expiresAt && key.expiresAt <= now)) return undefined
  const owner = key.user ?? key.client
  if (!owner || owner.disabledAt) return undefined
  const permitted = key.userId
    ? await permissionsOf(db, key.userId)
    : new Set(
        key.client?.apiScopes.filter((row) => row.apiIdentifier === key.apiIdentifier).map((row) => row.scopeName),
      )
  return {
    id: Buffer.from(key.id).toString('hex'),
    name: key.name,
    apiIdentifier: key.apiIdentifier,
    scopes: key.scopes.filter((scope) => permitted.has(scope)),
    userId: key.userId,
    clientId: key.clientId,
  }
}

/** The keys of one owner, newest first, without their values. */
export async function listApiKeys(db: Db, owner: { userId: string } | { clientId: string }) {
  const keys = await db.apiKey.findMany({ where: owner, orderBy: [{ createdAt: 'desc' }, { hint: 'asc' }] })
  return keys.map(({ id, ...key }) => ({ ...key, id: Buffer.from(id).toString('hex') }))
}

/** @param id as returned by createApiKey. @throws ApiKeyNotFound, also when it was revoked before. */
export function revokeApiKey(db: Db, id: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    if (!/^[0-9a-f]{64}$/.test(id)) throw new ApiKeyNotFound()
    const { count } = await tx.apiKey.updateMany({
      where: { id: new Uint8Array(Buffer.from(id, 'hex')), revokedAt: null },
      data: { revokedAt: change.now },
    })
    if (count === 0) throw new ApiKeyNotFound()
    await recordAudit(
      tx,
      { event: 'api_key.revoked', outcome: 'success', actor: change.actor, target: { kind: 'api_key', id } },
      change.origin,
    )
  })
}

/** @param bytes 32 of them, random or derived. */
export function formatApiKey(bytes: Uint8Array): string {
  const body = `sp_key_${base62(BigInt(`0x${Buffer.from(bytes).toString('hex')}`), 43)}`
  return `${body}_${base62(BigInt(crc32(body)), 6)}`
}

/** True for the shape with the right checksum; says nothing about whether the key exists. */
export function isApiKey(value: string): boolean {
  const match = /^(sp_key_[0-9A-Za-z]{43})_([0-9A-Za-z]{6})$/.exec(value)
  return match?.[1] !== undefined && base62(BigInt(crc32(match[1])), 6) === match[2]
}

/** @returns the id under which the key is stored. */
export const apiKeyId = (value: string): string => Buffer.from(hashApiKey(value)).toString('hex')

const hashApiKey = (value: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(createHash('sha256').update(value, 'utf8').digest())

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Big-endian, padded with zeros: 43 digits hold 256 bits, 6 hold 32. */
function base62(number: bigint, length: number): string {
  let text = ''
  for (let rest = number; text.length < length; rest /= 62n) text = digits[Number(rest % 62n)] + text
  return text
}
