// Finding the key behind a value, at every request that carries one, and lists for people. A key is good while nothing it was made under has
// ended: itself, its value, its owner, its owner's generation (docs/decisions/005). Its scopes are cut at each look to
// what the API has and its owner may do now. Nothing of this is kept in memory, so a revocation counts everywhere from its commit on.
import { keyParents, keyStands } from '#src/apis/keys-in-force.ts'
import { batchedRead } from '#src/db/batched-reads.ts'
import type { Database, Db, Prisma } from '#src/db/database.ts'
import { type ApiKeyOwner, isId } from './api-keys.ts'
import { hashApiKey, isApiKey } from './values.ts'

export type FoundApiKey = {
  id: string
  name: string
  /** Which of its values was sent. */
  version: number
  userId: string | null
  clientId: string | null
  /** What the key says and its owner may still do, both; an API that is missing here is none of the key's. */
  apis: Readonly<Record<string, readonly string[]>>
  requestsPerMinute: number | null
  expiresAt: Date | null
}

type Pool = Database['pool']

type Row = Omit<FoundApiKey, 'expiresAt'> & {
  hash: string
  live: boolean
  expiresAt: number | null
  lastUsedAt: number | null
}

const epoch = (column: string) => `extract(epoch FROM ${column})::double precision`

const isHeld = `CASE WHEN k.user_id IS NOT NULL
  THEN NOT s.by_role OR EXISTS (SELECT FROM user_role ur JOIN role_permission rp ON rp.role_name = ur.role_name
    WHERE ur.user_id = k.user_id AND rp.permission = s.name
      AND COALESCE((SELECT r.api_identifier FROM role r WHERE r.name = ur.role_name), s.api_identifier) = s.api_identifier)
  ELSE EXISTS (SELECT FROM client_scope cs WHERE cs.client_id = k.client_id AND cs.api_identifier = s.api_identifier AND cs.scope_name = s.name) END`

const keysByValue = batchedRead<Row>(
  {
    name: 'api_keys_by_value',
    text: `SELECT encode(v.hash, 'hex') AS hash, k.id, k.name, v.version, k.user_id AS "userId", k.client_id AS "clientId",
      k.requests_per_minute AS "requestsPerMinute", ${epoch('v.expires_at')} AS "expiresAt", ${epoch('v.last_used_at')} AS "lastUsedAt",
      ${keyStands} IS TRUE AS live,
      COALESCE((SELECT json_object_agg(a.api_identifier, COALESCE((SELECT json_agg(s.name ORDER BY s.name) FROM scope s
          WHERE s.api_identifier = a.api_identifier AND s.name = ANY (a.scopes) AND ${isHeld}), '[]'))
        FROM api_key_api a JOIN api p ON p.identifier = a.api_identifier AND p.generation = a.api_generation
        WHERE a.key_id = k.id), '{}') AS apis
      FROM api_key_value v JOIN api_key k ON k.id = v.key_id
        LEFT JOIN LATERAL (SELECT * FROM users u WHERE u.id = k.user_id LIMIT 1) u ON true
        LEFT JOIN LATERAL (SELECT * FROM client c WHERE c.id = k.client_id LIMIT 1) c ON true
      WHERE v.hash = ANY($1::bytea[])`,
  },
  (row) => row.hash,
)

/** The key behind a value that is good now, and notes that it was used. @returns undefined for garbage (without asking the database),
 *  unknown, expired and revoked ones, and those whose owner is gone, switched off or had everything of theirs revoked. */
export async function findApiKey(
  { pool }: Pick<Database, 'pool'>,
  value: string,
  now: Date,
): Promise<FoundApiKey | undefined> {
  if (!isApiKey(value)) return undefined
  const hash = hashApiKey(value)
  const row = await keysByValue(pool, hash.toString('hex'), hash)
  if (!row?.live || (row.expiresAt !== null && row.expiresAt * 1000 <= now.getTime())) return undefined
  if (row.lastUsedAt === null || row.lastUsedAt * 1000 <= now.getTime() - useNotedMs) noteUse(pool, hash, now)
  const { hash: _, live: __, lastUsedAt: ___, expiresAt, ...found } = row
  return { ...found, expiresAt: expiresAt === null ? null : new Date(expiresAt * 1000) }
}

/** Of one value a use is written once in so long. */
const useNotedMs = 60_000

/** By pool: what waits to be written, and whether a statement is under way. */
const uses = new WeakMap<Pool, { waiting: Map<string, [hash: Buffer, at: Date]>; isWriting: boolean }>()

/** Beside the request, which does not wait for it: uses that come while a statement is under way go with the next one. */
function noteUse(pool: Pool, hash: Buffer, at: Date): void {
  let noted = uses.get(pool)
  if (!noted) {
    noted = { waiting: new Map(), isWriting: false }
    uses.set(pool, noted)
  }
  noted.waiting.set(hash.toString('hex'), [hash, at])
  if (!noted.isWriting) void writeUses(pool, noted)
}

async function writeUses(
  pool: Pool,
  noted: { waiting: Map<string, [Buffer, Date]>; isWriting: boolean },
): Promise<void> {
  noted.isWriting = true
  try {
    while (noted.waiting.size > 0) {
      // In the order of their ids, as every process takes its locks.
      const batch = [...noted.waiting].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, use]) => use)
      noted.waiting.clear()
      await pool.query({
        name: 'api_key_uses',
        text: `UPDATE api_key_value v SET last_used_at = i.at
          FROM (SELECT * FROM unnest($1::bytea[], $2::timestamptz[]) AS i(hash, at)) i
          WHERE v.hash = i.hash`,
        values: [batch.map(([hash]) => hash), batch.map(([, at]) => at)],
      })
    }
  } catch {
    // The database is away, or this process closes it: the next use is noted. Nobody is refused for it.
    noted.waiting.clear()
  } finally {
    noted.isWriting = false
  }
}

/** Why a value is not good, for operators: `form` is no key at all. `ended` says that the owner is switched off, or that everything of
 *  theirs was revoked since. */
export type ApiKeyFlaw = 'form' | 'unknown' | 'revoked' | 'expired' | 'ended'
export type ExplainedApiKey = {
  flaw: ApiKeyFlaw | undefined
  key: { id: string; name: string; version: number; userId: string | null; clientId: string | null } | undefined
}

/** findApiKey, slower and in words. The caller of an endpoint never learns it. */
export async function explainApiKey(
  { pool }: Pick<Database, 'pool'>,
  value: string,
  now: Date,
): Promise<ExplainedApiKey> {
  if (!isApiKey(value)) return { flaw: 'form', key: undefined }
  const { rows } = await pool.query<
    NonNullable<ExplainedApiKey['key']> & { revoked: boolean; live: boolean; expiresAt: Date | null }
  >(
    `SELECT k.id, k.name, v.version, k.user_id AS "userId", k.client_id AS "clientId", k.revoked_at IS NOT NULL AS revoked,
      v.expires_at AS "expiresAt", ${keyStands} IS TRUE AS live
      FROM api_key_value v JOIN api_key k ON k.id = v.key_id ${keyParents}
      WHERE v.hash = $1`,
    [hashApiKey(value)],
  )
  const [row] = rows
  if (!row) return { flaw: 'unknown', key: undefined }
  const { revoked, live, expiresAt, ...key } = row
  const flaw = revoked ? 'revoked' : expiresAt && expiresAt <= now ? 'expired' : live ? undefined : 'ended'
  return { flaw, key }
}

export type ApiKeyFilter = {
  owner?: ApiKeyOwner | undefined
  /** In use, but not once since then; made before. */
  idleSince?: Date | undefined
  /** In use, and still with its first value. */
  neverRotated?: boolean | undefined
}

export type ListedApiKey = {
  id: string
  name: string
  owner: ApiKeyOwner
  apis: Record<string, string[]>
  requestsPerMinute: number | null
  /** ended: with its owner (switched off, or everything of theirs was revoked). */
  state: 'active' | 'expired' | 'revoked' | 'ended'
  createdAt: Date
  revokedAt: Date | null
  /** When the newest value ends. */
  expiresAt: Date | null
  lastUsedAt: Date | null
  /** Newest first. Of more than one the others are good until they end. */
  values: { version: number; hint: string; createdAt: Date; expiresAt: Date | null; lastUsedAt: Date | null }[]
}

/** Never a value. Newest first; in pages by id, ascending. @param page.after the last id of the page before. */
export async function listApiKeys(
  db: Db,
  { owner, idleSince, neverRotated }: ApiKeyFilter,
  now: Date,
  page?: { after?: string | undefined; limit: number },
): Promise<ListedApiKey[]> {
  const where: Prisma.ApiKeyWhereInput[] = [owner ? ownerIs(owner) : {}]
  if (idleSince || neverRotated)
    where.push({ revokedAt: null, values: { some: { OR: [{ expiresAt: null }, { expiresAt: { gt: now } }] } } })
  if (idleSince) where.push({ createdAt: { lt: idleSince }, values: { none: { lastUsedAt: { gte: idleSince } } } })
  if (neverRotated) where.push({ values: { none: { version: { gt: 1 } } } })
  if (page?.after !== undefined) where.push({ id: { gt: page.after } })
  const records = await db.apiKey.findMany({
    where: { AND: where },
    include,
    orderBy: page ? { id: 'asc' } : [{ createdAt: 'desc' }, { id: 'asc' }],
    ...(page && { take: page.limit }),
  })
  const owners = await ownersOf(db, records)
  return records.map((record) => describe(record, owners, now))
}

/** Whatever has become of it. @returns the id of the key that has this value, undefined for none. */
export async function findApiKeyId(db: Db, value: string): Promise<string | undefined> {
  return (await db.apiKeyValue.findUnique({ where: { hash: hashApiKey(value) } }))?.keyId
}

/** @returns undefined for an unknown id. */
export async function readApiKey(db: Db, id: string, now: Date): Promise<ListedApiKey | undefined> {
  if (!isId(id)) return undefined
  const record = await db.apiKey.findUnique({ where: { id }, include })
  return record ? describe(record, await ownersOf(db, [record]), now) : undefined
}

const include = {
  values: { orderBy: { version: 'desc' }, omit: { hash: true } },
  apis: { orderBy: { apiIdentifier: 'asc' } },
} as const
type KeyRecord = Prisma.ApiKeyGetPayload<{ include: typeof include }>

type Owners = ReadonlyMap<string, { generation: number; disabledAt: Date | null }>

/** Asked one after the other: inside a transaction there is one connection. */
async function ownersOf(db: Db, records: readonly Pick<KeyRecord, 'userId' | 'clientId'>[]): Promise<Owners> {
  const select = { id: true, generation: true, disabledAt: true } as const
  const ids = (of: 'userId' | 'clientId') => [...new Set(records.flatMap((record) => record[of] ?? []))]
  const users = await db.user.findMany({ where: { id: { in: ids('userId') } }, select })
  const clients = await db.client.findMany({ where: { id: { in: ids('clientId') } }, select })
  return new Map([...users, ...clients].map((owner) => [owner.id, owner])) // a client's id is never a UUID
}

function describe(record: KeyRecord, owners: Owners, now: Date): ListedApiKey {
  const { id, name, requestsPerMinute, createdAt, revokedAt, ownerGeneration, values } = record
  const owner = owners.get(record.userId ?? record.clientId ?? '')
  const isOver = (value: { expiresAt: Date | null }) => value.expiresAt !== null && value.expiresAt <= now
  const used = values.flatMap(({ lastUsedAt }) => (lastUsedAt ? [lastUsedAt.getTime()] : []))
  return {
    id,
    name,
    owner: record.userId === null ? { clientId: record.clientId ?? '' } : { userId: record.userId },
    apis: Object.fromEntries(record.apis.map(({ apiIdentifier, scopes }) => [apiIdentifier, scopes])),
    requestsPerMinute,
    state: revokedAt
      ? 'revoked'
      : !owner || owner.disabledAt || owner.generation !== ownerGeneration
        ? 'ended'
        : values.every(isOver)
          ? 'expired'
          : 'active',
    createdAt,
    revokedAt,
    expiresAt: values[0]?.expiresAt ?? null,
    lastUsedAt: used.length > 0 ? new Date(Math.max(...used)) : null,
    values: values.map(({ keyId: _, ...value }) => value),
  }
}

const ownerIs = (owner: ApiKeyOwner): Prisma.ApiKeyWhereInput =>
  'userId' in owner ? { userId: owner.userId } : { clientId: owner.clientId }
