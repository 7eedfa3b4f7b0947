// Keys for the person's own programs. Making and rotating one asks for a fresh sign-in, and shows a value once, in the answer that made it.
// Revoking does not ask: whoever finds a key in the list that is not theirs should not have to look for their password first.

import {
  ApiKeyNotFound,
  ApiKeyRotated,
  createApiKey,
  heldScopes,
  InvalidApiKey,
  longestOverlapHours,
  revokeApiKey,
  rotateApiKey,
} from '#src/access/api-keys/api-keys.ts'
import { type ListedApiKey, listApiKeys, readApiKey } from '#src/access/api-keys/reads.ts'
import { listApis } from '#src/apis/apis.ts'
import { atomically } from '#src/db/transaction.ts'
import { refuseDecision } from '#src/http/decision.ts'
import type { Form } from '#src/http/form.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { formatDay, type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { checkText } from '#src/refusal.ts'
import {
  type AccountDeps,
  type AccountPage,
  type AccountRequest,
  changeBy,
  goOn,
  notify,
  renderAccount,
} from './page.ts'

type KeyLine = { href: string; name: string; state: string; active: boolean; used: string; until: string }
type Choice = { value: string; label: string; selected: boolean }
export type ApiKeysPage = { keys: readonly KeyLine[] }
export type NewApiKeyPage = {
  name: string
  groups: readonly {
    name: string
    scopes: readonly { value: string; words: string; name: string; checked: boolean }[]
  }[]
  lifetimes: readonly Choice[]
  errors: { name?: string; problem?: string }
}
export type ApiKeyValuePage = { value: string; heading: string; before: string | undefined; href: string }
export type ApiKeyPage = {
  name: string
  state: string
  active: boolean
  apis: readonly { name: string; scopes: readonly string[] }[]
  created: Moment
  lastUsed: Moment | undefined
  values: readonly { hint: string; until: string }[]
  rotate: string
}
export type RotateApiKeyPage = { name: string; version: number; overlaps: readonly Choice[] }

const listTemplate = template<ApiKeysPage>('account/api-keys')
const newTemplate = template<NewApiKeyPage>('account/api-key-new')
const valueTemplate = template<ApiKeyValuePage>('account/api-key-value')
const keyTemplate = template<ApiKeyPage>('account/api-key')
const rotateTemplate = template<RotateApiKeyPage>('account/api-key-rotate')

const path = '/account/api-keys'
const section = 'apiKeys'
const lifetimes = [7, 30, 90, 180, 365]
const overlaps = [0, 1, 24, longestOverlapHours]
const day = 86_400_000

const stateWords = {
  active: 'account.apiKeys.state.active',
  expired: 'account.apiKeys.state.expired',
  revoked: 'account.apiKeys.state.revoked',
  ended: 'account.apiKeys.state.ended',
} as const satisfies Record<ListedApiKey['state'], MessageKey>

export function apiKeysPage({ database: { prisma }, renderer }: AccountDeps): AccountPage {
  return {
    path,
    section,
    async show(request) {
      const { person, words, now } = request
      const keys = (await listApiKeys(prisma, { owner: { userId: person.id } }, now)).map((key) => ({
        href: `${path}/${key.id}`,
        name: key.name,
        state: words.t(stateWords[key.state]),
        active: key.state === 'active',
        used: sayUse(request, key),
        until: sayEnd(request, key.expiresAt),
      }))
      renderAccount(renderer, request, listTemplate, { keys }, { section })
    },
  }
}

export function newApiKeyPage(deps: AccountDeps): AccountPage {
  const { config, database, renderer } = deps
  return {
    path: `${path}/new`,
    section,
    sensitive: true,
    repeatable: ['scope'],

    async show(request) {
      await render(request, { name: '', asked: [], days: config.apiKeys.usualDays }, {}, 200)
    },

    async submit(request, form) {
      if (form.get('decision') !== 'create') refuseDecision()
      const { person, words } = request
      const input = readInput(form)
      const wrong: { name?: MessageKey; problem?: MessageKey } = {}
      if (checkText('name', input.name, 128).length > 0) wrong.name = 'account.apiKeys.error.name'
      if (input.asked.length === 0) wrong.problem = 'account.apiKeys.error.scopes'
      if (Object.keys(wrong).length > 0) return render(request, input, wrong, 422)
      try {
        const { id, value } = await atomically(database.prisma, async (tx) => {
          await notify(deps, tx, request, 'apiKeyCreated')
          return createApiKey(
            tx,
            {
              name: input.name,
              apis: byApi(input.asked),
              owner: { userId: person.id, generation: person.generation },
              expiresAt: input.days === undefined ? undefined : new Date(request.now.getTime() + input.days * day),
            },
            changeBy(request),
            config.apiKeys,
          )
        })
        const heading = words.t('account.apiKeys.created')
        renderAccount(
          renderer,
          request,
          valueTemplate,
          { value, heading, before: undefined, href: `${path}/${id}` },
          { section },
        )
      } catch (error) {
        if (!(error instanceof InvalidApiKey)) throw error
        const tooMany = error.flaws.some(({ field }) => field === 'owner')
        await render(
          request,
          input,
          { problem: tooMany ? 'account.apiKeys.error.many' : 'account.apiKeys.error.scopes' },
          422,
        )
      }
    },
  }

  async function render(
    request: AccountRequest,
    input: { name: string; asked: readonly string[]; days: number | undefined },
    wrong: { name?: MessageKey; problem?: MessageKey },
    status: number,
  ): Promise<void> {
    const { words, person } = request
    const days = [...new Set([...lifetimes, config.apiKeys.usualDays])]
      .filter((number) => number <= config.apiKeys.mostDays)
      .sort((a, b) => a - b)
    const data: NewApiKeyPage = {
      name: input.name,
      groups: await offer(person.id, input.asked),
      lifetimes: days.map((number) => ({
        value: String(number),
        label: words.t('account.apiKeys.days', { count: number }),
        selected: number === input.days,
      })),
      errors: {
        ...(wrong.name && { name: words.t(wrong.name) }),
        ...(wrong.problem && { problem: words.t(wrong.problem) }),
      },
    }
    renderAccount(renderer, request, newTemplate, data, { section, status })
  }

  /** What the person may do at APIs that take keys. */
  async function offer(userId: string, asked: readonly string[]): Promise<NewApiKeyPage['groups']> {
    const held = await heldScopes(database.prisma, { userId })
    return (await listApis(database.prisma))
      .filter(({ accept }) => accept.includes('api_key'))
      .map((api) => ({
        name: api.name,
        scopes: api.scopes
          .filter((scope) => held(api, scope.name))
          .map((scope) => {
            const value = `${api.identifier} ${scope.name}`
            return { value, words: scope.description, name: scope.name, checked: asked.includes(value) }
          }),
      }))
      .filter(({ scopes }) => scopes.length > 0)
  }
}

export function apiKeyPage(deps: AccountDeps): AccountPage {
  const { database, renderer } = deps
  return {
    path: `${path}/:key`,
    section,

    async show(request) {
      const { words, now, person } = request
      const key = await findOwn(deps, request)
      const apis = new Map((await listApis(database.prisma)).map((api) => [api.identifier, api]))
      const data: ApiKeyPage = {
        name: key.name,
        state: words.t(stateWords[key.state]),
        active: key.state === 'active',
        apis: Object.entries(key.apis).map(([identifier, scopes]) => ({
          name: apis.get(identifier)?.name ?? identifier,
          scopes: scopes.map(
            (name) => apis.get(identifier)?.scopes.find((scope) => scope.name === name)?.description ?? name,
          ),
        })),
        created: moment(words, key.createdAt, now, person.zoneinfo),
        lastUsed: key.lastUsedAt ? moment(words, key.lastUsedAt, now, person.zoneinfo) : undefined,
        values: key.values
          .filter(({ expiresAt }) => expiresAt === null || expiresAt > now)
          .map(({ hint, expiresAt }) => ({ hint, until: sayEnd(request, expiresAt) })),
        rotate: `${path}/${key.id}/rotate`,
      }
      renderAccount(renderer, request, keyTemplate, data, { section })
    },

    async submit(request, form) {
      const { id } = await findOwn(deps, request)
      if (form.get('decision') !== 'revoke') refuseDecision()
      await revokeApiKey(database.prisma, id, changeBy(request))
      goOn(request.ctx, path, 'apiKey')
    },
  }
}

export function rotateApiKeyPage(deps: AccountDeps): AccountPage {
  const { config, database, renderer } = deps
  return {
    path: `${path}/:key/rotate`,
    section,
    sensitive: true,

    async show(request) {
      const { words } = request
      const { name, state, values } = await findOwn(deps, request)
      if (state === 'revoked' || state === 'ended') throw new ApiKeyNotFound()
      const usual = config.apiKeys.overlapHours
      const hours = [...new Set([...overlaps, usual])].sort((a, b) => a - b)
      const data: RotateApiKeyPage = {
        name,
        version: values[0]?.version ?? 0,
        overlaps: hours.map((number) => ({
          value: String(number),
          label:
            number === 0
              ? words.t('account.apiKeys.overlap.none')
              : words.t('account.apiKeys.overlap.hours', { count: number }),
          selected: number === usual,
        })),
      }
      renderAccount(renderer, request, rotateTemplate, data, { section })
    },

    async submit(request, form) {
      const { id } = await findOwn(deps, request)
      if (form.get('decision') !== 'rotate') refuseDecision()
      const overlapHours = readNumber(form, 'overlap', longestOverlapHours)
      const follows = readNumber(form, 'version', 999_999)
      try {
        const { value } = await rotateApiKey(
          database.prisma,
          id,
          { overlapHours, follows },
          changeBy(request),
          config.apiKeys,
        )
        const heading = request.words.t('account.apiKeys.rotated')
        const before = (await findOwn(deps, request)).values[1]?.expiresAt
        const stays = before && before > request.now ? sayEnd(request, before) : undefined
        renderAccount(
          renderer,
          request,
          valueTemplate,
          { value, heading, before: stays, href: `${path}/${id}` },
          { section },
        )
      } catch (error) {
        // Pressed twice, or in another window: the page shows what there is now.
        if (error instanceof ApiKeyRotated) return goOn(request.ctx, `${path}/${id}`)
        throw error
      }
    },
  }
}

/** @throws ApiKeyNotFound, for somebody else's as for what never was. */
async function findOwn({ database }: AccountDeps, { ctx, person, now }: AccountRequest): Promise<ListedApiKey> {
  const key = await readApiKey(database.prisma, String(ctx.params.key), now)
  if (!key || !('userId' in key.owner) || key.owner.userId !== person.id) throw new ApiKeyNotFound()
  return key
}

function readInput(form: Form): { name: string; asked: readonly string[]; days: number | undefined } {
  return {
    name: form.get('name')?.trim() ?? '',
    asked: form.all('scope'),
    days: readNumber(form, 'days', 365),
  }
}

function readNumber(form: Form, name: string, most: number): number | undefined {
  const text = form.get(name) ?? ''
  return /^\d{1,6}$/.test(text) && Number(text) <= most ? Number(text) : undefined
}

/** `<API> <scope>`: neither has a space. */
function byApi(asked: readonly string[]): Record<string, string[]> {
  const apis = new Map<string, string[]>()
  for (const each of asked) {
    const [api = '', scope = ''] = each.split(' ')
    apis.set(api, [...(apis.get(api) ?? []), scope])
  }
  return Object.fromEntries(apis)
}

function sayUse({ words, person, now }: AccountRequest, { lastUsedAt }: ListedApiKey): string {
  return lastUsedAt
    ? words.t('account.factors.used', { when: moment(words, lastUsedAt, now, person.zoneinfo).ago })
    : words.t('account.apiKeys.neverUsed')
}

/** The day; the hour, where it is not far. */
function sayEnd({ words, person, now }: AccountRequest, end: Date | null): string {
  if (end === null) return words.t('account.apiKeys.noEnd')
  const isNear = Math.abs(end.getTime() - now.getTime()) < 8 * day
  const when = isNear ? moment(words, end, now, person.zoneinfo).full : formatDay(words, end, person.zoneinfo)
  return words.t(end > now ? 'account.apiKeys.until' : 'account.apiKeys.endedOn', { when })
}
