// A new route, changing one, and deleting one.
import { listRoleNames } from '#src/access/roles.ts'
import { listApis } from '#src/apis/apis.ts'
import {
  createRoute,
  describeRoute,
  findRoute,
  patchRoute,
  removeRoute,
  type WrittenRoute,
} from '#src/apis/route-editing.ts'
import { listRoutes, type RouteRecord, routeMethods, routeName } from '#src/apis/routes.ts'
import { fingerprint } from '#src/editing.ts'
import type { Form } from '#src/http/form.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { type Choice, choices } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'
import { hrefOf, levels, routesPath } from './words.ts'

type Tick = { value: string; words: string; name: string; checked: boolean }

export type RouteFormPage = {
  title: string
  /** What the editor saw; '' for a new one. */
  seen: string
  input: Input
  methods: readonly Choice[]
  apis: readonly Choice[]
  /** To choose names from. */
  known: readonly { name: string; scopes: readonly string[] }[]
  roles: readonly Tick[]
  levels: readonly Tick[]
  /** Of a new one: where it is tried. */
  places: readonly Choice[]
  deletion: string | undefined
  flaws: readonly Flaw[]
}

type Input = {
  host: string
  method: string
  path: string
  api: string
  scopes: string
  roles: readonly string[]
  relation: string
  acrValues: readonly string[]
  maxAge: string
  anonymous: boolean
  before: string
}

const page = template<RouteFormPage>('admin/console/route-form')
const deletePage = template<{
  name: string
  seen: string
  back: { href: string; label: string }
  flaws: readonly Flaw[]
}>('admin/console/route-delete')

const common = { section: 'routes', sensitive: true, writes: 'routes:write' } as const
const repeatable = ['roles', 'acrValues']
const mostOffered = 200

export function newRoutePage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    ...{ ...common, repeatable, path: `${routesPath}/new`, scope: 'routes:write' },
    show: (request) => show(request, empty, [], 200),
    async submit(request, form) {
      const input = readInput(form)
      const options = { before: input.before || undefined }
      const result = await attempt(() => createRoute(prisma, settingsOf(input), options, request.change))
      if (!result.ok) return show(request, input, result.flaws, result.status)
      goOn(request.ctx, `${routesPath}?${new URLSearchParams({ host: input.host })}`, 'created')
    },
  }

  async function show(request: ConsoleRequest, input: Input, flaws: readonly Flaw[], status: number) {
    const { t } = request.words
    const routes = (await listRoutes(prisma)).slice(0, mostOffered)
    const places = choices(
      routes.map((route) => [route.id, t('console.routes.placeBefore', { route: routeName(route) })]),
      input.before,
      t('console.routes.placeLast'),
    )
    const shown = { title: t('console.routes.new'), seen: '', deletion: undefined, places }
    render(
      request,
      page,
      { ...shown, ...(await offered(prisma, request, input)), input, flaws },
      { section: 'routes', status },
    )
  }
}

export function routePage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    ...{ ...common, repeatable, path: `${routesPath}/:id`, scope: 'routes:read' },
    async show(request) {
      const route = await findRoute(prisma, idOf(request))
      await show(request, route, { input: inputOf(route), seen: fingerprint(describeRoute(route)), flaws: [] }, 200)
    },
    async submit(request, form) {
      const route = await findRoute(prisma, idOf(request))
      const input = readInput(form)
      const seen = form.get('seen') ?? ''
      const { relation = null, maxAge = null, ...rest } = settingsOf(input)
      const patch = { ...rest, relation, maxAge }
      const result = await attempt(() => patchRoute(prisma, route.id, patch, request.change, seen))
      if (!result.ok) return show(request, route, { input, seen, flaws: result.flaws }, result.status)
      goOn(request.ctx, `${routesPath}?${new URLSearchParams({ host: input.host })}`, 'saved')
    },
  }

  async function show(
    request: ConsoleRequest,
    route: RouteRecord,
    { input, seen, flaws }: { input: Input; seen: string; flaws: readonly Flaw[] },
    status: number,
  ) {
    const shown = { title: routeName(route), deletion: `${hrefOf(route)}/delete`, places: [] }
    render(
      request,
      page,
      { ...shown, ...(await offered(prisma, request, input)), seen, input, flaws },
      { section: 'routes', status },
    )
  }
}

export function deleteRoutePage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    ...{ ...common, path: `${routesPath}/:id/delete`, scope: 'routes:write' },
    show: (request) => show(request, undefined, [], 200),
    async submit(request, form) {
      const seen = form.get('seen') ?? ''
      const result = await attempt(() => removeRoute(prisma, idOf(request), request.change, seen))
      if (!result.ok) return show(request, seen, result.flaws, result.status)
      goOn(request.ctx, routesPath, 'deleted')
    },
  }

  async function show(request: ConsoleRequest, seen: string | undefined, flaws: readonly Flaw[], status: number) {
    const route = await findRoute(prisma, idOf(request))
    const name = routeName(route)
    const back = { href: hrefOf(route), label: name }
    render(
      request,
      deletePage,
      { name, seen: seen ?? fingerprint(describeRoute(route)), back, flaws },
      { section: 'routes', status },
    )
  }
}

const idOf = ({ ctx }: ConsoleRequest): string => String(ctx.params.id)

const empty: Input = {
  ...{ host: '', method: 'GET', path: '/', api: '', scopes: '', roles: [], relation: '' },
  ...{ acrValues: [], maxAge: '', anonymous: false, before: '' },
}

const inputOf = (route: RouteRecord): Input => ({
  ...{ host: route.host, method: route.method, path: route.path, api: route.apiIdentifier },
  scopes: route.scopes.join(' '),
  roles: route.roles,
  relation: route.relation ?? '',
  acrValues: route.acrValues,
  maxAge: route.maxAge === null ? '' : String(route.maxAge),
  anonymous: route.anonymous,
  before: '',
})

function readInput(form: Form): Input {
  const text = (name: string) => form.get(name)?.trim() ?? ''
  return {
    ...{ host: text('host'), method: text('method'), path: text('path'), api: text('api'), scopes: text('scopes') },
    ...{ relation: text('relation'), maxAge: text('maxAge'), before: text('before') },
    roles: form.all('roles'),
    acrValues: form.all('acrValues'),
    anonymous: form.get('anonymous') === 'yes',
  }
}

/** What is not a number becomes one that the room refuses. */
const settingsOf = (input: Input): WrittenRoute => ({
  ...{ host: input.host, method: input.method, path: input.path, api: input.api, anonymous: input.anonymous },
  scopes: input.scopes.split(/\s+/).filter(Boolean),
  roles: [...input.roles],
  relation: input.relation || undefined,
  acrValues: [...input.acrValues],
  maxAge: input.maxAge === '' ? undefined : /^\d{1,8}$/.test(input.maxAge) ? Number(input.maxAge) : Number.NaN,
})

async function offered(
  prisma: PageDeps['database']['prisma'],
  { words: { t } }: ConsoleRequest,
  input: Input,
): Promise<Pick<RouteFormPage, 'methods' | 'apis' | 'known' | 'roles' | 'levels'>> {
  const [apis, roles] = await Promise.all([listApis(prisma, { limit: mostOffered }), listRoleNames(prisma)])
  const tick = (value: string, words: string, chosen: readonly string[]): Tick => ({
    value,
    name: value,
    words,
    checked: chosen.includes(value),
  })
  const others = input.acrValues.filter((value) => !levels.some(([acr]) => acr === value))
  return {
    methods: routeMethods.map((value) => ({ value, label: value, selected: value === input.method })),
    apis: apis.map(({ identifier, name }) => ({ value: identifier, label: name, selected: identifier === input.api })),
    known: apis.map(({ name, scopes }) => ({ name, scopes: scopes.map((scope) => scope.name) })),
    roles: roles.map((name) => tick(name, '', input.roles)),
    levels: [
      ...levels.map(([acr, words]) => tick(acr, t(words), input.acrValues)),
      ...others.map((value) => tick(value, '', input.acrValues)),
    ],
  }
}
