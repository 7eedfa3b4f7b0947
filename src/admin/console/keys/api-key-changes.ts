// Making, rotating and revoking API keys. A value is shown once, in the answer that made it, which nothing keeps.
import {
  ApiKeyNotFound,
  createApiKey,
  longestOverlapHours,
  revokeApiKey,
  rotateApiKey,
} from '#src/access/api-keys/api-keys.ts'
import { refuseBeyondApis } from '#src/admin/bounds.ts'
import { listApis } from '#src/apis/apis.ts'
import { findClient } from '#src/clients/clients.ts'
import { searchClients } from '#src/clients/editing.ts'
import { ClientNotFound } from '#src/clients/errors.ts'
import type { Form } from '#src/http/form.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { type Choice, textOf } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'
import { shownOnce } from '../shown-once.ts'
import { apiKeysPath, findAsked, sayEnd } from './api-keys.ts'

export type ApiKeyNewPage = {
  /** Whose it will be; '' while that is to be chosen. */
  client: string
  clients: readonly string[]
  name: string
  groups: readonly {
    name: string
    scopes: readonly { value: string; words: string; name: string; checked: boolean; beyond: boolean }[]
  }[]
  lifetimes: readonly Choice[]
  flaws: readonly Flaw[]
}
export type ApiKeyRotatePage = {
  href: string
  name: string
  version: number
  overlaps: readonly Choice[]
  flaws: readonly Flaw[]
}
export type ApiKeyRevokePage = { href: string; name: string }

type Prisma = PageDeps['database']['prisma']

const newPage = template<ApiKeyNewPage>('admin/console/api-key-new')
const rotatePage = template<ApiKeyRotatePage>('admin/console/api-key-rotate')
const revokePage = template<ApiKeyRevokePage>('admin/console/api-key-revoke')
const day = 86_400_000
const forever = 'forever'
const common = { section: 'keys', sensitive: true } as const

export function newApiKeyPage({ database: { prisma }, config, render }: PageDeps): ConsolePage {
  return {
    ...common,
    path: `${apiKeysPath}/new`,
    scope: 'keys:write',
    repeatable: ['scope'],
    async show(request) {
      const client = textOf(request.ctx, 'client')
      const usual = String(config.apiKeys.usualDays)
      const isKnown = client === '' || (await findClient(prisma, client)) !== null
      const { flaws } = new ClientNotFound(client)
      const asked = { client: isKnown ? client : '', name: '', asked: [], days: usual }
      await show(request, asked, isKnown ? [] : flaws, isKnown ? 200 : 422)
    },
    async submit(request, form) {
      const input = readInput(form)
      const { bounds, change, now, words } = request
      const days = /^[1-9]\d{0,3}$/.test(input.days) ? Number(input.days) : config.apiKeys.usualDays
      const result = await attempt(async () => {
        const apis = byApi(input.asked)
        await refuseBeyondApis(bounds, apis)
        const expiresAt = input.days === forever ? null : new Date(now.getTime() + days * day)
        const owner = { clientId: input.client }
        return createApiKey(prisma, { name: input.name, owner, apis, expiresAt }, change, config.apiKeys)
      })
      if (!result.ok) return show(request, input, result.flaws, result.status)
      const { id, value } = result.value
      const title = words.t('console.keys.api.made')
      render(request, shownOnce, { title, value, note: undefined, href: `${apiKeysPath}/${id}` }, { section: 'keys' })
    },
  }

  async function show(request: ConsoleRequest, input: Input, flaws: readonly Flaw[], status: number): Promise<void> {
    const { t } = request.words
    const { usualDays } = config.apiKeys
    const days = [...new Set([30, 90, 180, 365, usualDays])].sort((a, b) => a - b)
    const lifetimes = [
      ...days.map((count) => [String(count), t('account.apiKeys.days', { count })] as const),
      [forever, t('account.apiKeys.noEnd')] as const,
    ]
    render(
      request,
      newPage,
      {
        ...{ client: input.client, name: input.name, flaws },
        clients: input.client ? [] : await services(prisma),
        groups: input.client ? await offer(prisma, request, input) : [],
        lifetimes: lifetimes.map(([value, label]) => ({ value, label, selected: value === input.days })),
      },
      { section: 'keys', status },
    )
  }
}

export function rotateApiKeyPage({ database: { prisma }, config, render }: PageDeps): ConsolePage {
  return {
    ...common,
    path: `${apiKeysPath}/:key/rotate`,
    scope: 'keys:read',
    writes: 'keys:write',
    show: (request) => show(request, [], 200),
    async submit(request, form) {
      const { id, apis } = await findAsked(prisma, request)
      const result = await attempt(async () => {
        await refuseBeyondApis(request.bounds, apis)
        const how = { overlapHours: numberOf(form, 'overlap'), follows: numberOf(form, 'version') }
        return rotateApiKey(prisma, id, how, request.change, config.apiKeys)
      })
      if (!result.ok) return show(request, result.flaws, result.status)
      const before = (await findAsked(prisma, request)).values[1]?.expiresAt
      const { t } = request.words
      const shown = {
        title: t('console.keys.api.rotated'),
        value: result.value.value,
        note:
          before && before > request.now ? t('account.apiKeys.before', { end: sayEnd(request, before) }) : undefined,
        href: `${apiKeysPath}/${id}`,
      }
      render(request, shownOnce, shown, { section: 'keys' })
    },
  }

  async function show(request: ConsoleRequest, flaws: readonly Flaw[], status: number): Promise<void> {
    const { id, name, values, state } = await findAsked(prisma, request)
    if (state === 'revoked' || state === 'ended') throw new ApiKeyNotFound()
    const { t } = request.words
    const usual = config.apiKeys.overlapHours
    const hours = [...new Set([0, 1, 24, longestOverlapHours, usual])].sort((a, b) => a - b)
    const overlaps = hours.map((count) => ({
      value: String(count),
      label: count === 0 ? t('account.apiKeys.overlap.none') : t('account.apiKeys.overlap.hours', { count }),
      selected: count === usual,
    }))
    const shown = { href: `${apiKeysPath}/${id}`, name, version: values[0]?.version ?? 0, overlaps, flaws }
    render(request, rotatePage, shown, { section: 'keys', status })
  }
}

export function revokeApiKeyPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    ...common,
    path: `${apiKeysPath}/:key/revoke`,
    scope: 'keys:read',
    writes: 'keys:write',
    async show(request) {
      const { id, name } = await findAsked(prisma, request)
      render(request, revokePage, { href: `${apiKeysPath}/${id}`, name }, { section: 'keys' })
    },
    async submit(request) {
      const { id } = await findAsked(prisma, request)
      await revokeApiKey(prisma, id, request.change)
      goOn(request.ctx, `${apiKeysPath}/${id}`, 'revoked')
    },
  }
}

/** Suggested; any other is typed. */
const services = async (prisma: Prisma): Promise<string[]> =>
  (await searchClients(prisma, { type: 'service', disabled: false }, { limit: 200 })).map(({ id }) => id)

/** What the client registered at APIs that take keys. */
async function offer(
  prisma: Prisma,
  { bounds, held }: ConsoleRequest,
  { client, asked }: Input,
): Promise<ApiKeyNewPage['groups']> {
  const registered = new Set((await findClient(prisma, client))?.apiScopes.map(nameOf))
  const own = bounds.doors.api().identifier
  return (await listApis(prisma))
    .filter(({ accept }) => accept.includes('api_key'))
    .map(({ name, identifier, scopes }) => ({
      name,
      scopes: scopes
        .map((scope) => ({ scope, value: `${identifier} ${scope.name}` }))
        .filter(({ value }) => registered.has(value))
        .map(({ scope, value }) => ({
          ...{ value, words: scope.description, name: scope.name },
          checked: asked.includes(value),
          beyond: identifier === own && !held.has(scope.name),
        })),
    }))
    .filter(({ scopes }) => scopes.length > 0)
}

type Input = { client: string; name: string; asked: readonly string[]; days: string }

const readInput = (form: Form): Input => ({
  client: form.get('client') ?? '',
  name: form.get('name')?.trim() ?? '',
  asked: form.all('scope'),
  days: form.get('days') ?? '',
})

function numberOf(form: Form, name: string): number | undefined {
  const text = form.get(name) ?? ''
  return /^\d{1,6}$/.test(text) ? Number(text) : undefined
}

const nameOf = (row: { apiIdentifier: string; scopeName: string }): string => `${row.apiIdentifier} ${row.scopeName}`

/** `<API> <scope>`: neither has a space. */
function byApi(asked: readonly string[]): Record<string, string[]> {
  const apis = Map.groupBy(asked, (each) => each.split(' ')[0] ?? '')
  return Object.fromEntries([...apis].map(([api, each]) => [api, each.map((one) => one.slice(api.length + 1))]))
}
