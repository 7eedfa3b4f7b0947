// A new API, changing one, and deleting one: what depends on it is shown first.
import {
  type ApiInput,
  ApiNotFound,
  type ApiObjects,
  type ApiRecord,
  createApi,
  describeApi,
  findApi,
  InvalidApi,
  objectsOf,
} from '#src/apis/apis.ts'
import { apiDependents, patchApi, removeApi } from '#src/apis/editing.ts'
import { fingerprint } from '#src/editing.ts'
import type { Form } from '#src/http/form.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'

export type ApiFormPage = {
  title: string
  seen: string
  /** Sallyport's own: shown, not changed. */
  fixed: boolean
  input: Input
  formats: readonly { value: string; selected: boolean }[]
  credentials: readonly { value: string; checked: boolean }[]
  claims: readonly { value: string; checked: boolean }[]
  deletion: string | undefined
  /** To what others say of it. */
  links: { routes: string; types: readonly string[] } | undefined
  flaws: readonly Flaw[]
}

type ScopeRow = { name: string; description: string; byRole: boolean }
type Input = {
  identifier: string
  name: string
  format: string
  seconds: string
  accept: readonly string[]
  clients: string
  hideExistence: boolean
  claims: readonly string[]
  scopes: readonly ScopeRow[]
  objects: string
}

const page = template<ApiFormPage>('admin/console/api-form')
const deletePage = template<{
  name: string
  back: { href: string; label: string }
  dependents: readonly { label: string; count: number }[]
  flaws: readonly Flaw[]
}>('admin/console/api-delete')
const repeatable = ['accept', 'claims', 'scopeName', 'scopeText', 'scopeByRole']
const lines = ['clients', 'objects']
/** Rows without a script: as many more scopes as one may want to add at once. */
const emptyRows = 3

export function newApiPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    ...{ path: '/admin/apis/new', section: 'apis', scope: 'apis:write', sensitive: true, repeatable, lines },
    show: (request) => show(request, empty, [], 200),
    async submit(request, form) {
      const input = readInput(form)
      const { change, ctx } = request
      const result = await attempt(async () =>
        createApi(prisma, { identifier: input.identifier, ...settingsOf(input) }, change),
      )
      if (!result.ok) return show(request, input, result.flaws, result.status)
      goOn(ctx, `/admin/apis/${encodeURIComponent(input.identifier)}`, 'created')
    },
  }

  async function show(request: ConsoleRequest, input: Input, flaws: readonly Flaw[], status: number) {
    const shown = {
      title: request.words.t('console.apis.new'),
      seen: '',
      fixed: false,
      deletion: undefined,
      links: undefined,
    }
    render(request, page, { ...shown, ...offered(input), flaws }, { section: 'apis', status })
  }
}

export function apiPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    ...{ path: '/admin/apis/:id', section: 'apis', scope: 'apis:read', writes: 'apis:write', sensitive: true },
    ...{ repeatable, lines },
    async show(request) {
      const api = await readApi(prisma, request)
      await show(request, api, { input: inputOf(api), seen: fingerprint(describeApi(api)), flaws: [] }, 200)
    },
    async submit(request, form) {
      const api = await readApi(prisma, request)
      const { change, ctx } = request
      const input = { ...readInput(form), identifier: api.identifier }
      const seen = form.get('seen') ?? ''
      const result = await attempt(async () => patchApi(prisma, api.identifier, settingsOf(input), change, seen))
      if (!result.ok) return show(request, api, { input, seen, flaws: result.flaws }, result.status)
      goOn(ctx, `/admin/apis/${encodeURIComponent(api.identifier)}`, 'saved')
    },
  }

  async function show(
    request: ConsoleRequest,
    api: ApiRecord,
    { input, seen, flaws }: { input: Input; seen: string; flaws: readonly Flaw[] },
    status: number,
  ) {
    const query = new URLSearchParams({ api: api.identifier })
    const links = { routes: `/admin/routes?${query}`, types: Object.keys(objectsOf(api)) }
    const deletion = api.builtIn ? undefined : `/admin/apis/${encodeURIComponent(api.identifier)}/delete`
    render(
      request,
      page,
      { title: api.name, seen, fixed: api.builtIn, ...offered(input), deletion, links, flaws },
      { section: 'apis', status },
    )
  }
}

export function deleteApiPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    ...{ path: '/admin/apis/:id/delete', section: 'apis', scope: 'apis:read', writes: 'apis:write', sensitive: true },
    show: (request) => show(request, [], 200),
    async submit(request) {
      const { identifier } = await readApi(prisma, request)
      const result = await attempt(() => removeApi(prisma, identifier, { cascade: true }, request.change))
      if (!result.ok) return show(request, result.flaws, result.status)
      goOn(request.ctx, '/admin/apis', 'deleted')
    },
  }

  async function show(request: ConsoleRequest, flaws: readonly Flaw[], status: number) {
    const { t } = request.words
    const { identifier, name } = await readApi(prisma, request)
    const count = await apiDependents(prisma, identifier)
    render(
      request,
      deletePage,
      {
        name,
        back: { href: `/admin/apis/${encodeURIComponent(identifier)}`, label: name },
        dependents: [
          { label: t('console.applications.title'), count: count.clients ?? 0 },
          { label: t('console.apis.keys'), count: count.apiKeys ?? 0 },
          { label: t('console.roles.title'), count: count.roles ?? 0 },
          { label: t('console.policies.title'), count: count.policies ?? 0 },
          { label: t('console.roles.routes'), count: count.routes ?? 0 },
        ],
        flaws,
      },
      { section: 'apis', status },
    )
  }
}

async function readApi(prisma: PageDeps['database']['prisma'], { ctx }: ConsoleRequest): Promise<ApiRecord> {
  const id = String(ctx.params.id)
  const api = await findApi(prisma, id)
  if (!api) throw new ApiNotFound(id)
  return api
}

const empty: Input = {
  ...{ identifier: '', name: '', format: 'jwt', seconds: '900', accept: ['oauth'], clients: '' },
  ...{ hideExistence: false, claims: [], scopes: [], objects: '' },
}

const inputOf = (api: ApiRecord): Input => ({
  identifier: api.identifier,
  name: api.name,
  format: api.accessTokenFormat,
  seconds: String(api.accessTokenTtlSeconds),
  accept: api.accept,
  clients: api.introspectionClients.map(({ clientId }) => clientId).join('\n'),
  hideExistence: api.hideExistence,
  claims: api.tokenClaims,
  scopes: api.scopes.map(({ name, description, byRole }) => ({ name, description, byRole })),
  objects: writeObjects(objectsOf(api)),
})

function readInput(form: Form): Input {
  const text = (name: string) => form.get(name)?.trim() ?? ''
  const names = form.all('scopeName')
  const texts = form.all('scopeText')
  const byRole = new Set(form.all('scopeByRole'))
  return {
    identifier: text('identifier'),
    name: text('name'),
    format: text('format'),
    seconds: text('seconds'),
    accept: form.all('accept'),
    clients: form.get('clients') ?? '',
    hideExistence: form.get('hideExistence') === 'yes',
    claims: form.all('claims'),
    scopes: names
      .map((name, index) => ({
        name: name.trim(),
        description: texts[index]?.trim() ?? '',
        byRole: byRole.has(String(index)),
      }))
      .filter(({ name, description }) => name !== '' || description !== ''),
    objects: form.get('objects') ?? '',
  }
}

/** @throws InvalidApi for what cannot be read; what is read is judged by the room. */
function settingsOf(input: Input): ApiInput {
  const repeated = input.scopes.filter(({ name }, index) => input.scopes.findIndex((one) => one.name === name) < index)
  if (repeated[0])
    throw new InvalidApi([
      { field: `scopes.${repeated[0].name}`, problem: 'is there twice', fix: 'Remove one of the two.' },
    ])
  return {
    name: input.name,
    accessTokenFormat: input.format,
    accessTokenTtlSeconds: /^\d{1,6}$/.test(input.seconds) ? Number(input.seconds) : Number.NaN,
    accept: [...input.accept],
    introspectionClients: input.clients.split(/\s+/).filter(Boolean),
    hideExistence: input.hideExistence,
    tokenClaims: [...input.claims],
    scopes: Object.fromEntries(
      input.scopes.map(({ name, description, byRole }) => [name, byRole ? { description, byRole } : description]),
    ),
    objects: readObjects(input.objects),
  }
}

const writeObjects = (objects: ApiObjects): string =>
  Object.entries(objects)
    .flatMap(([type, relations]) =>
      Object.entries(relations).map(([relation, actions]) => `${type} ${relation}: ${actions.join(' ')}`),
    )
    .join('\n')

/** One line a relation: `order owner: orders:read orders:write`. @throws InvalidApi */
function readObjects(text: string): ApiObjects {
  const objects: ApiObjects = {}
  for (const line of text.split('\n').map((one) => one.trim())) {
    if (line === '') continue
    const [, type = '', relation = '', actions = ''] = /^(\S+)\s+([^\s:]+)\s*:\s*(.*)$/.exec(line) ?? []
    if (type === '' || Object.hasOwn(objects[type] ?? {}, relation))
      throw new InvalidApi([
        {
          field: 'objects',
          problem: `has a line that cannot be read: ${line.slice(0, 80)}`,
          fix: 'Write one line a relation, like "order owner: orders:read orders:write".',
        },
      ])
    objects[type] = { ...objects[type], [relation]: actions.split(/\s+/).filter(Boolean) }
  }
  return objects
}

function offered(input: Input): Pick<ApiFormPage, 'input' | 'formats' | 'credentials' | 'claims'> {
  const rows = Array.from({ length: emptyRows }, () => ({ name: '', description: '', byRole: false }))
  const tick = (all: readonly string[], chosen: readonly string[]) =>
    all.map((value) => ({ value, checked: chosen.includes(value) }))
  return {
    input: { ...input, scopes: [...input.scopes, ...rows] },
    formats: ['jwt', 'opaque'].map((value) => ({ value, selected: value === input.format })),
    credentials: tick(['oauth', 'api_key', 'basic', 'session'], input.accept),
    claims: tick(['roles', 'permissions'], input.claims),
  }
}
