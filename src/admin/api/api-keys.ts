// /api/v1/api-keys. Whoever makes or rotates a key sees its value and can do what it can: so nobody does either beyond what they may do here
// themselves (CVE-2026-9795). What it may do at other APIs is bounded by its owner alone, and `keys:write` is the right to hand that out.
import { z } from 'zod'
import {
  ApiKeyNotFound,
  type ApiKeyOwner,
  createApiKey,
  revokeApiKey,
  rotateApiKey,
} from '#src/access/api-keys/api-keys.ts'
import { type ListedApiKey, listApiKeys, readApiKey } from '#src/access/api-keys/reads.ts'
import { refuseBeyondApis } from '#src/admin/bounds.ts'
import type { Db } from '#src/db/database.ts'
import { isUserId } from '#src/users/users.ts'
import { badQuery, cutPage, listOf, pageOf, readAfter } from './page.ts'
import { type AdminApiDeps, type AdminRoute, instant, moment, route } from './route.ts'

const day = 86_400_000

export function apiKeyRoutes({ doors, config }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /api-keys', {
      scope: 'keys:read',
      name: 'listApiKeys',
      summary: 'List API keys',
      query: pageOf({
        userId: z.string().refine(isUserId, 'userId must be the id of a person.').optional(),
        clientId: z.string().optional(),
        idleDays: z
          .string()
          .regex(/^[1-9]\d{0,3}$/, 'idleDays must be a whole number from 1 to 9999.')
          .transform(Number)
          .optional()
          .meta({ type: 'integer', description: 'Not used for so many days.' }),
        neverRotated: z.literal('true', 'neverRotated must be true, or be left out.').optional(),
      }),
      answer: listOf(apiKey),
      async handle({ db, query: { after, limit, idleDays, neverRotated, ...owner }, change: { now } }) {
        const filter = {
          owner: ownerAsked(owner),
          idleSince: idleDays === undefined ? undefined : new Date(now.getTime() - idleDays * day),
          neverRotated: neverRotated !== undefined,
        }
        const keys = await listApiKeys(db, filter, now, { after: readAfter(after), limit: limit + 1 })
        return cutPage(
          keys,
          limit,
          (key) => key,
          (key) => key.id,
        )
      },
    }),

    route('post /api-keys', {
      scope: 'keys:write',
      name: 'createApiKey',
      summary: 'Create an API key; its value is shown in this answer only',
      body: creation,
      answer: shownOnce,
      status: 201,
      secret: true,
      once: true,
      async handle({ db, body: { owner, expiresAt, ...about }, caller, change }) {
        await refuseBeyondApis({ doors, caller }, about.apis)
        const asked = { ...about, owner: ownerOf(owner), expiresAt: dateOf(expiresAt) }
        const { id, value } = await createApiKey(db, asked, change, config.apiKeys)
        return { ...(await find(db, id, change.now)), value }
      },
    }),

    route('get /api-keys/:id', {
      scope: 'keys:read',
      name: 'readApiKey',
      summary: 'Read an API key; never its value',
      answer: apiKey,
      handle: ({ db, id, change }) => find(db, id, change.now),
    }),

    route('post /api-keys/:id/rotate', {
      scope: 'keys:write',
      name: 'rotateApiKey',
      summary: 'Give an API key a new value; the one before stays good for the overlap',
      body: rotation,
      answer: shownOnce,
      secret: true,
      once: true,
      async handle({ db, id, body: { expiresAt, ...how }, caller, change }) {
        const { apis } = await find(db, id, change.now)
        await refuseBeyondApis({ doors, caller }, apis)
        const { value } = await rotateApiKey(db, id, { ...how, expiresAt: dateOf(expiresAt) }, change, config.apiKeys)
        return { ...(await find(db, id, change.now)), value }
      },
    }),

    route('delete /api-keys/:id', {
      scope: 'keys:write',
      name: 'revokeApiKey',
      summary: 'End an API key',
      answer: z.strictObject({ id: text, revoked: z.boolean() }),
      async handle({ db, id, change }) {
        await revokeApiKey(db, id, change)
        return { id, revoked: true }
      },
    }),
  ]
}

async function find(db: Db, id: string, now: Date): Promise<ListedApiKey> {
  const key = await readApiKey(db, id, now)
  if (!key) throw new ApiKeyNotFound()
  return key
}

function ownerAsked({ userId, clientId }: { userId?: string; clientId?: string }): ApiKeyOwner | undefined {
  if (userId !== undefined && clientId !== undefined) throw badQuery('Name userId or clientId, not both.')
  if (userId !== undefined) return { userId }
  return clientId === undefined ? undefined : { clientId }
}

const ownerOf = ({ userId, clientId }: z.infer<typeof owner>): ApiKeyOwner =>
  userId !== undefined ? { userId } : { clientId: clientId ?? '' }

const dateOf = (text: string | null | undefined): Date | null | undefined =>
  typeof text === 'string' ? new Date(text) : text

const text = z.string()
const owner = z
  .strictObject({ userId: text.optional(), clientId: text.optional() })
  .refine(({ userId, clientId }) => (userId === undefined) !== (clientId === undefined), {
    message: 'The field "owner" must name one of userId and clientId.',
  })
const expiresAt = moment.nullable().optional().meta({ description: 'null: never, for keys of clients.' })
const creation = z.strictObject({
  name: text,
  owner,
  apis: z.record(text, z.array(text).max(100)).meta({ description: 'Scopes, by the identifier of their API.' }),
  expiresAt,
  requestsPerMinute: z.number().int().nullable().optional(),
})
const rotation = z.strictObject({
  overlapHours: z.number().optional(),
  expiresAt,
  follows: z.number().int().optional().meta({ description: 'The version that you saw as the newest.' }),
})
const apiKey = z
  .strictObject({
    id: text,
    name: text,
    owner: z.union([z.strictObject({ userId: text }), z.strictObject({ clientId: text })]),
    apis: z.record(text, z.array(text)),
    requestsPerMinute: z.number().nullable(),
    state: text.meta({ description: 'active, expired, ended (with its owner) or revoked' }),
    createdAt: instant,
    revokedAt: instant.nullable(),
    expiresAt: instant.nullable(),
    lastUsedAt: instant.nullable(),
    values: z.array(
      z.strictObject({
        version: z.number(),
        hint: text.meta({ description: 'How it begins.' }),
        createdAt: instant,
        expiresAt: instant.nullable(),
        lastUsedAt: instant.nullable(),
      }),
    ),
  })
  .meta({ id: 'ApiKey' })
const shownOnce = apiKey.extend({ value: text }).meta({ id: 'ApiKeyWithValue' })
