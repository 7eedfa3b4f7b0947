// The life of an API key: made, rotated, revoked, reported as leaked. A key is for one or several APIs and belongs to a person or a client; it
// never does more than its owner may at that moment (reads.ts), and ends with whatever ends the owner's tokens. What is sent is one
// of its values, shown once and stored as SHA-256 (values.ts). Rotating adds a value; the one before stays good for the overlap.
import { randomUUID } from 'node:crypto'
import { findApi } from '#src/apis/apis.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { AuditEventName } from '#src/audit/events.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { checkText, checkWhole, type Flaw, quote, Refusal } from '#src/refusal.ts'
import { endApiKeyGrants } from './grants.ts'
import { hashApiKey, hintOf, isApiKey, newApiKeyValue } from './values.ts'

/** What the operator decides: API_KEY_DAYS, API_KEY_MOST_DAYS, API_KEY_OVERLAP_HOURS. */
export type ApiKeyRules = Readonly<{
  /** How long a key lives of which nobody said otherwise. */
  usualDays: number
  /** A person's key lives no longer. */
  mostDays: number
  overlapHours: number
}>

export const usualApiKeyRules: ApiKeyRules = Object.freeze({ usualDays: 90, mostDays: 365, overlapHours: 24 })

/** A key dies with whoever it acts for. @param generation the person's, as the request saw it first: what ended their sessions since then
 *  ends the new key, too. */
export type ApiKeyOwner = { userId: string; generation?: number } | { clientId: string }

export type ApiKeyInput = {
  name: string
  /** {"<API>": ["scope", …]}, as a client's. */
  apis: Record<string, string[]>
  owner: ApiKeyOwner
  /** Left out: the usual time from now. Null: never, for keys of clients only. */
  expiresAt?: Date | null | undefined
  /** In each process. Left out or null: no limit of its own. */
  requestsPerMinute?: number | null | undefined
}

type Rotation = {
  /** How long the value before stays good; 0: it ends at once. Left out: as the operator decided. */
  overlapHours?: number | undefined
  /** Left out: it lives as long as the one before was meant to. */
  expiresAt?: Date | null | undefined
  /** The version that the caller saw as the newest: another one means that somebody else was faster. */
  follows?: number | undefined
}

export class InvalidApiKey extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class ApiKeyNotFound extends Refusal {
  constructor() {
    super('missing', [{ field: 'id', problem: 'is not an API key in use', fix: 'Check it against the list of keys.' }])
  }
}

export class ApiKeyRotated extends Refusal {
  constructor() {
    super('in_use', [
      {
        field: 'version',
        problem: 'is not the newest any more: somebody else rotated the key a moment ago',
        fix: 'Look at the key again before you rotate it once more.',
      },
    ])
  }
}

export const longestOverlapHours = 168
const mostApis = 20
/** Of one person, those that were not revoked. */
const mostKeys = 100
const hour = 3_600_000
const day = 24 * hour

/** @returns `value`, the only time it exists in clear, and the id under which the key is listed, rotated and revoked.
 *  @throws InvalidApiKey */
export function createApiKey(
  db: Db,
  input: ApiKeyInput,
  change: Change,
  rules: ApiKeyRules = usualApiKeyRules,
): Promise<{ value: string; id: string }> {
  return storeApiKey(db, newApiKeyValue(), input, change, rules)
}

/** The part of createApiKey that bootstrap shares: its demo key is derived, so that it can be printed again at each start.
 *  @param value of formatApiKey. @throws InvalidApiKey */
export function storeApiKey(
  db: Db,
  value: string,
  input: ApiKeyInput,
  change: Change,
  rules: ApiKeyRules = usualApiKeyRules,
): Promise<{ value: string; id: string }> {
  return atomically(db, async (tx) => {
    const { now } = change
    const expiresAt = input.expiresAt === undefined ? new Date(now.getTime() + rules.usualDays * day) : input.expiresAt
    const owner = await readOwner(tx, input.owner)
    const generations = new Map<string, number>()
    const flaws = [
      ...checkText('name', input.name, 128),
      ...checkEnd('expiresAt', expiresAt, 'userId' in input.owner, now, rules),
      ...checkRate(input.requestsPerMinute),
      ...(owner ? await checkApis(tx, input, generations) : [ownerFlaw(input.owner)]),
      ...(await checkNumber(tx, input.owner)),
    ]
    if (flaws.length > 0 || !owner) throw new InvalidApiKey(flaws)
    const id = randomUUID()
    const seen = 'userId' in input.owner ? input.owner.generation : undefined
    await tx.apiKey.create({
      data: {
        id,
        name: input.name,
        userId: 'userId' in input.owner ? input.owner.userId : null,
        clientId: 'clientId' in input.owner ? input.owner.clientId : null,
        ownerGeneration: seen ?? owner.generation,
        requestsPerMinute: input.requestsPerMinute ?? null,
        createdAt: now,
        endsAt: expiresAt,
      },
    })
    await tx.apiKeyApi.createMany({
      data: Object.entries(input.apis).map(([apiIdentifier, scopes]) => ({
        keyId: id,
        apiIdentifier,
        apiGeneration: generations.get(apiIdentifier) ?? 0,
        scopes: [...new Set(scopes)].sort(),
      })),
    })
    await tx.apiKeyValue.create({
      data: { hash: hashApiKey(value), keyId: id, version: 1, hint: hintOf(value), createdAt: now, expiresAt },
    })
    await record(tx, 'api_key.created', id, change, {
      apis: Object.keys(input.apis).sort(),
      scopes: [...new Set(Object.values(input.apis).flat())].sort(),
      ...('userId' in input.owner ? { userId: input.owner.userId } : { ownerClientId: input.owner.clientId }),
    })
    return { value, id }
  })
}

/** A new value at once; the one before it stays good for the overlap, older ones end now. The key keeps its id, its APIs and its owner. Of
 *  several rotations that saw the same newest value one counts.
 *  @throws ApiKeyNotFound, also for a key that was revoked or ended with its owner. @throws ApiKeyRotated, InvalidApiKey */
export function rotateApiKey(
  db: Db,
  id: string,
  { overlapHours, expiresAt: asked, follows }: Rotation,
  change: Change,
  rules: ApiKeyRules = usualApiKeyRules,
): Promise<{ value: string; version: number; expiresAt: Date | null }> {
  return atomically(db, async (tx) => {
    const key = isId(id)
      ? await tx.apiKey.findUnique({
          where: { id, revokedAt: null },
          include: { values: { orderBy: { version: 'desc' }, take: 1 } },
        })
      : null
    const latest = key?.values[0]
    const owner = key && (await readOwner(tx, ownerOf(key)))
    if (!key || !latest || owner?.generation !== key.ownerGeneration) throw new ApiKeyNotFound()
    if (follows !== undefined && follows !== latest.version) throw new ApiKeyRotated()

    const { now } = change
    const overlap = overlapHours ?? rules.overlapHours
    const expiresAt = asked === undefined ? sameLength(latest, key.userId !== null, now, rules) : asked
    const flaws = [
      ...checkWhole('overlapHours', overlap, 0, longestOverlapHours, 'Write hours, seven days at most; 24 suits most.'),
      ...checkEnd('expiresAt', expiresAt, key.userId !== null, now, rules),
    ]
    if (flaws.length > 0) throw new InvalidApiKey(flaws)
    // Its row first: a sweep or a revocation that was faster has taken it, one that is slower waits, or steps over it.
    const endsAt = laterOf(expiresAt, earlierOf(latest.expiresAt, new Date(now.getTime() + overlap * hour)))
    const held = await tx.apiKey.updateMany({ where: { id, revokedAt: null }, data: { endsAt } })
    if (held.count === 0) throw new ApiKeyNotFound()
    const value = newApiKeyValue()
    const version = latest.version + 1
    const { count } = await tx.apiKeyValue.createMany({
      data: [{ hash: hashApiKey(value), keyId: id, version, hint: hintOf(value), createdAt: now, expiresAt }],
      skipDuplicates: true,
    })
    if (count === 0) throw new ApiKeyRotated()
    await tx.$executeRaw`
      UPDATE api_key_value SET expires_at = LEAST(expires_at,
        CASE WHEN version = ${latest.version} THEN ${new Date(now.getTime() + overlap * hour)}::timestamptz ELSE ${now}::timestamptz END)
      WHERE key_id = ${id}::uuid AND version < ${version}`
    await record(tx, 'api_key.rotated', id, change, { version, overlapHours: overlap })
    return { value, version, expiresAt }
  })
}

/** Every value of the key is refused from the commit on, on every process. @param id as returned by createApiKey.
 *  @throws ApiKeyNotFound, also when it was revoked before. */
export function revokeApiKey(db: Db, id: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    if (!(await end(tx, id, change.now))) throw new ApiKeyNotFound()
    const { userId } = await tx.apiKey.findUniqueOrThrow({ where: { id }, select: { userId: true } })
    await endApiKeyGrants(tx, { id, userId }, change.now)
    await record(tx, 'api_key.revoked', id, change)
  })
}

/** Somebody found the value where it should not be. The newest value takes the key with it. One that was replaced already ends alone: who
 *  holds it must not be able to end what its owner changed to since. One that has ended changes nothing.
 *  @returns whose key it was; undefined where nothing was in force. */
export function reportApiKey(
  db: Db,
  value: string,
  change: Change,
  foundAt?: string,
): Promise<{ id: string; name: string; userId: string | null } | undefined> {
  if (!isApiKey(value)) return Promise.resolve(undefined)
  return atomically(db, async (tx) => {
    const { now } = change
    const hash = hashApiKey(value)
    const found = await tx.apiKeyValue.findUnique({ where: { hash }, include: { key: true } })
    if (!found || (found.expiresAt && found.expiresAt <= now)) return undefined
    const { key, version } = found
    const isNewest = (await tx.apiKeyValue.count({ where: { keyId: key.id, version: { gt: version } } })) === 0
    // Whoever exchanges the value at this moment is waited for, so that their token ends, too (grants.ts).
    await tx.$queryRaw`SELECT id FROM api_key WHERE id = ${key.id}::uuid FOR UPDATE`
    const ended = isNewest ? await end(tx, key.id, now) : await endValue(tx, key.id, version, now)
    if (!ended) return undefined
    await endApiKeyGrants(tx, key, now)
    await record(tx, 'api_key.reported', key.id, change, { version, revoked: isNewest, foundAt: foundAt ?? null })
    return { id: key.id, name: key.name, userId: key.userId }
  })
}

async function end(tx: Prisma.TransactionClient, id: string, now: Date): Promise<boolean> {
  if (!isId(id)) return false
  const { count } = await tx.apiKey.updateMany({
    where: { id, revokedAt: null },
    data: { revokedAt: now, endsAt: now },
  })
  return count > 0
}

async function endValue(tx: Prisma.TransactionClient, keyId: string, version: number, now: Date): Promise<boolean> {
  const { count } = await tx.apiKeyValue.updateMany({
    where: { keyId, version, key: { revokedAt: null }, OR: [{ expiresAt: null }, { expiresAt: { gt: now } }] },
    data: { expiresAt: now },
  })
  return count > 0
}

/** What anything else would only trouble the database with. */
export const isId = (id: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)

export function ownerOf(key: { userId: string | null; clientId: string | null }): ApiKeyOwner {
  if (key.userId !== null) return { userId: key.userId }
  if (key.clientId !== null) return { clientId: key.clientId }
  throw new Error('an API key without an owner: the database has a constraint against it')
}

/** @returns undefined for whoever is not there or is switched off. */
async function readOwner(
  tx: Prisma.TransactionClient,
  owner: ApiKeyOwner,
): Promise<{ generation: number } | undefined> {
  const select = { generation: true, disabledAt: true }
  const row =
    'userId' in owner
      ? isId(owner.userId) && (await tx.user.findUnique({ where: { id: owner.userId }, select }))
      : /^[\x21-\x7e]{1,128}$/.test(owner.clientId) &&
        (await tx.client.findUnique({ where: { id: owner.clientId }, select }))
  return row && !row.disabledAt ? { generation: row.generation } : undefined
}

/** The scopes that exist and that the owner may have now. @param generations filled with those of the APIs. */
async function checkApis(
  tx: Prisma.TransactionClient,
  { apis, owner }: ApiKeyInput,
  generations: Map<string, number>,
): Promise<Flaw[]> {
  const named = Object.entries(apis)
  if (named.length === 0 || named.length > mostApis)
    return [{ field: 'apis', problem: `must name 1 to ${mostApis} APIs`, fix: 'Say what the key is for.' }]
  const held = await heldScopes(tx, owner)
  const flaws: Flaw[] = []
  for (const [identifier, scopes] of named) {
    const field = `apis[${JSON.stringify(identifier)}]`
    const api = await findApi(tx, identifier)
    if (!api) {
      flaws.push({ field, problem: 'is not an API here', fix: 'Create the API first, or correct its identifier.' })
      continue
    }
    generations.set(identifier, api.generation)
    const known = new Set(api.scopes.map(({ name }) => name))
    for (const [index, scope] of scopes.entries())
      if (!known.has(scope))
        flaws.push({
          field: `${field}[${index}]`,
          problem: `is ${quote(scope)}, which is not a scope of that API`,
          fix: `Write some of: ${[...known].join(', ')}.`,
        })
      else if (!held(api, scope))
        flaws.push({
          field: `${field}[${index}]`,
          problem: `is ${quote(scope)}, which the owner may not use`,
          fix: 'userId' in owner ? 'Give the person a role that permits it.' : 'Register the scope for the client.',
        })
  }
  return flaws
}

type ScopedApi = { identifier: string; scopes: readonly { name: string; byRole: boolean }[] }

/** A person's: those that need no role, and those that a role of theirs carries. A client's: what it registered. */
export async function heldScopes(db: Db, owner: ApiKeyOwner): Promise<(api: ScopedApi, scope: string) => boolean> {
  if ('userId' in owner) {
    const carried = await db.rolePermission.findMany({
      where: { role: { users: { some: { userId: owner.userId, user: { disabledAt: null } } } } },
      select: { permission: true, role: { select: { apiIdentifier: true } } },
    })
    return (api, scope) =>
      api.scopes.some(({ name, byRole }) => name === scope && !byRole) ||
      carried.some(
        ({ permission, role }) =>
          permission === scope && (role.apiIdentifier === null || role.apiIdentifier === api.identifier),
      )
  }
  const rows = await db.clientScope.findMany({ where: { clientId: owner.clientId } })
  const registered = new Set(rows.map((row) => JSON.stringify([row.apiIdentifier, row.scopeName])))
  return ({ identifier }, scope) => registered.has(JSON.stringify([identifier, scope]))
}

function checkEnd(field: string, end: Date | null, isPersons: boolean, now: Date, { mostDays }: ApiKeyRules): Flaw[] {
  if (end === null)
    return isPersons
      ? [{ field, problem: 'cannot be never for the key of a person', fix: `Write ${mostDays} days at most.` }]
      : []
  if (Number.isNaN(end.getTime()) || end <= now)
    return [{ field, problem: 'is not a moment that is still to come', fix: 'Write a later one.' }]
  if (isPersons && end.getTime() > now.getTime() + mostDays * day)
    return [{ field, problem: `is more than ${mostDays} days ahead`, fix: 'Write an earlier one, and rotate the key.' }]
  return []
}

/** Null: never. */
const laterOf = (a: Date | null, b: Date): Date | null => (a === null || a > b ? a : b)
const earlierOf = (a: Date | null, b: Date): Date => (a === null || a > b ? b : a)

function checkRate(rate: number | null | undefined): Flaw[] {
  return rate === undefined || rate === null
    ? []
    : checkWhole('requestsPerMinute', rate, 1, 1_000_000, 'Leave it out for a key without a limit of its own.')
}

async function checkNumber(tx: Prisma.TransactionClient, owner: ApiKeyOwner): Promise<Flaw[]> {
  if (!('userId' in owner) || !isId(owner.userId)) return []
  const count = await tx.apiKey.count({ where: { userId: owner.userId, revokedAt: null } })
  return count < mostKeys
    ? []
    : [{ field: 'owner', problem: `has ${mostKeys} keys already`, fix: 'Revoke those that are not needed.' }]
}

function ownerFlaw(owner: ApiKeyOwner): Flaw {
  return 'userId' in owner
    ? {
        field: 'owner.userId',
        problem: `${quote(owner.userId)} is nobody here`,
        fix: 'Check it against the list of users.',
      }
    : {
        field: 'owner.clientId',
        problem: `${quote(owner.clientId)} is not a client here`,
        fix: 'Check it against the list of clients.',
      }
}

/** What replaces a value lives as long as that was meant to. */
function sameLength(
  { createdAt, expiresAt }: { createdAt: Date; expiresAt: Date | null },
  isPersons: boolean,
  now: Date,
  { mostDays }: ApiKeyRules,
): Date | null {
  if (expiresAt === null) return null
  const length = expiresAt.getTime() - createdAt.getTime()
  return new Date(now.getTime() + (isPersons ? Math.min(length, mostDays * day) : length))
}

function record(
  tx: Prisma.TransactionClient,
  event: AuditEventName,
  id: string,
  change: Change,
  detail: Record<string, string | number | boolean | null | string[]> = {},
): Promise<void> {
  return recordAudit(
    tx,
    { event, outcome: 'success', actor: change.actor, target: { kind: 'api_key', id }, detail },
    change.origin,
  )
}
