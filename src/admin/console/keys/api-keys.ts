// API keys of people and clients: the list, and one of them.
import { ApiKeyNotFound, type ApiKeyOwner } from '#src/access/api-keys/api-keys.ts'
import { type ListedApiKey, listApiKeys, readApiKey } from '#src/access/api-keys/reads.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { emailsOf, findUserByEmail, isUserId } from '#src/users/users.ts'
import { type Choice, choices, cut, oneOf, textOf } from '../lists.ts'
import type { ConsolePage, ConsoleRequest, PageDeps } from '../page.ts'

type Prisma = PageDeps['database']['prisma']
type Line = {
  href: string
  name: string
  owner: string
  apis: readonly { name: string; scopes: readonly string[] }[]
  used: Moment | undefined
  ends: string
  state: string
  badge: string
}
export type ApiKeysPage = {
  owner: string
  idle: readonly Choice[]
  rotated: readonly Choice[]
  keys: readonly Line[]
  next: string | undefined
}
export type ApiKeyPage = Line & {
  ownerHref: string | undefined
  since: Moment
  perMinute: number | null
  values: readonly { hint: string; made: Moment; used: Moment | undefined; ends: string }[]
  inForce: boolean
  /** A value can still be put in place of the one that ran out. */
  rotatable: boolean
}

const list = template<ApiKeysPage>('admin/console/api-keys')
const one = template<ApiKeyPage>('admin/console/api-key')
export const apiKeysPath = '/admin/keys/api-keys'
const perPage = 25
const day = 86_400_000
const idleDays = ['30', '90', '365'] as const

const stateWords = {
  active: { word: 'account.apiKeys.state.active', badge: 'badge-good' },
  expired: { word: 'account.apiKeys.state.expired', badge: 'badge-warn' },
  revoked: { word: 'account.apiKeys.state.revoked', badge: 'badge-bad' },
  ended: { word: 'console.keys.api.ended', badge: 'badge-bad' },
} as const satisfies Record<ListedApiKey['state'], { word: MessageKey; badge: string }>

export function apiKeysPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  const namesOf = ownersOf(prisma)
  return {
    path: apiKeysPath,
    section: 'keys',
    scope: 'keys:read',
    async show(request) {
      const { ctx, now, words } = request
      const { t } = words
      const owner = textOf(ctx, 'owner')
      const idle = oneOf(ctx, 'idle', idleDays)
      const rotated = oneOf(ctx, 'rotated', ['never'])
      const after = textOf(ctx, 'after')
      const found = await listApiKeys(
        prisma,
        {
          owner: owner ? await ownerAsked(request, owner) : undefined,
          idleSince: idle && new Date(now.getTime() - Number(idle) * day),
          neverRotated: rotated !== undefined,
        },
        now,
        { after: isUserId(after) ? after : undefined, limit: perPage + 1 },
      )
      const { rows, next } = cut(ctx, found, perPage, ({ id }) => id)
      const names = await namesOf(request, rows)
      render(
        request,
        list,
        {
          owner,
          idle: choices(
            idleDays.map((days) => [days, t('console.keys.api.idleDays', { count: Number(days) })]),
            idle,
            t('console.any'),
          ),
          rotated: choices([['never', t('console.keys.api.never')]], rotated, t('console.any')),
          keys: rows.map((key) => lineOf(request, key, names)),
          next,
        },
        { section: 'keys' },
      )
    },
  }

  /** Somebody by address or id; anything else is the id of a client. Whoever may not see people asks by id alone. */
  async function ownerAsked({ held }: ConsoleRequest, asked: string): Promise<ApiKeyOwner> {
    if (isUserId(asked)) return { userId: asked }
    const person = held.has('users:read') ? await findUserByEmail(prisma, asked) : null
    return person ? { userId: person.id } : { clientId: asked }
  }
}

export function apiKeyPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  const namesOf = ownersOf(prisma)
  return {
    path: `${apiKeysPath}/:key`,
    section: 'keys',
    scope: 'keys:read',
    async show(request) {
      const { now, words, person, held } = request
      const key = await findAsked(prisma, request)
      const at = (time: Date) => moment(words, time, now, person.zoneinfo)
      render(
        request,
        one,
        {
          ...lineOf(request, key, await namesOf(request, [key])),
          ownerHref: 'userId' in key.owner && held.has('users:read') ? `/admin/people/${key.owner.userId}` : undefined,
          since: at(key.createdAt),
          perMinute: key.requestsPerMinute,
          values: key.values.map(({ hint, createdAt, lastUsedAt, expiresAt }) => ({
            hint,
            made: at(createdAt),
            used: lastUsedAt ? at(lastUsedAt) : undefined,
            ends: sayEnd(request, expiresAt),
          })),
          inForce: key.state !== 'revoked',
          rotatable: key.state !== 'revoked' && key.state !== 'ended',
        },
        { section: 'keys' },
      )
    },
  }
}

/** @throws ApiKeyNotFound */
export async function findAsked(prisma: Prisma, { ctx, now }: ConsoleRequest): Promise<ListedApiKey> {
  const key = await readApiKey(prisma, String(ctx.params.key), now)
  if (!key) throw new ApiKeyNotFound()
  return key
}

export function sayEnd({ words, now, person }: ConsoleRequest, end: Date | null): string {
  if (end === null) return words.t('account.apiKeys.noEnd')
  const when = moment(words, end, now, person.zoneinfo).full
  return words.t(end > now ? 'account.apiKeys.until' : 'account.apiKeys.endedOn', { when })
}

/** The addresses of people that own keys, for whoever may see people. */
const ownersOf =
  (prisma: Prisma) =>
  async ({ held }: ConsoleRequest, keys: readonly ListedApiKey[]): Promise<ReadonlyMap<string, string>> =>
    held.has('users:read')
      ? emailsOf(
          prisma,
          keys.flatMap(({ owner }) => ('userId' in owner ? [owner.userId] : [])),
        )
      : new Map()

function lineOf(request: ConsoleRequest, key: ListedApiKey, names: ReadonlyMap<string, string>): Line {
  const { words, now, person } = request
  const { word, badge } = stateWords[key.state]
  return {
    href: `${apiKeysPath}/${key.id}`,
    name: key.name,
    owner: 'userId' in key.owner ? (names.get(key.owner.userId) ?? key.owner.userId) : key.owner.clientId,
    apis: Object.entries(key.apis).map(([name, scopes]) => ({ name, scopes })),
    used: key.lastUsedAt ? moment(words, key.lastUsedAt, now, person.zoneinfo) : undefined,
    ends: sayEnd(request, key.revokedAt ?? key.expiresAt),
    state: words.t(word),
    badge,
  }
}
