// Routes of gateways, in the order in which they are tried, and moving one.
import { namesOfApis } from '#src/apis/apis.ts'
import { pageRoutes } from '#src/apis/route-editing.ts'
import { coveredRoutes, describeOrder, moveRoute } from '#src/apis/route-order.ts'
import { listRoutes, routeName } from '#src/apis/routes.ts'
import { fingerprint } from '#src/editing.ts'
import { refuseDecision } from '#src/http/decision.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { type Choice, choices, textOf } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'
import { type Ask, asksOf, hrefOf, routesPath } from './words.ts'

export type RoutesPage = {
  hosts: readonly Choice[]
  apis: readonly Choice[]
  /** The filters, for the form that moves one. */
  host: string
  api: string
  /** Of the order that is shown. */
  seen: string
  routes: readonly {
    href: string
    name: string
    method: string
    host: string
    path: string
    api: string
    asks: readonly Ask[]
    anonymous: boolean
    /** An earlier one that takes every request. */
    coveredBy: string | undefined
    /** What its buttons send; undefined at either end of its host. */
    up: string | undefined
    down: string | undefined
  }[]
  next: string | undefined
  flaws: readonly Flaw[]
}

const page = template<RoutesPage>('admin/console/routes')
const perPage = 100

type Filter = { host: string; api: string }

export function routesPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: routesPath,
    section: 'routes',
    scope: 'routes:read',
    writes: 'routes:write',
    sensitive: true,
    show: (request) =>
      show(request, { host: textOf(request.ctx, 'host'), api: textOf(request.ctx, 'api', 1000) }, [], 200),
    async submit(request, form) {
      const [, direction, id = ''] = /^(up|down) (\S+)$/.exec(form.get('move') ?? '') ?? []
      if (direction !== 'up' && direction !== 'down') return refuseDecision()
      const filter = { host: form.get('host') ?? '', api: form.get('api') ?? '' }
      const seen = form.get('seen') ?? ''
      const result = await attempt(() => moveRoute(prisma, id, direction, request.change, seen))
      if (!result.ok) return show(request, filter, result.flaws, result.status)
      goOn(request.ctx, addressOf(filter), 'saved')
    },
  }

  async function show(
    request: ConsoleRequest,
    { host, api }: Filter,
    flaws: readonly Flaw[],
    status: number,
  ): Promise<void> {
    const { ctx, words } = request
    const after = textOf(ctx, 'after', 4000) || undefined
    const filter = { host: host || undefined, api: api || undefined }
    const [all, found] = await Promise.all([
      listRoutes(prisma),
      attempt(() => pageRoutes(prisma, filter, { after, limit: perPage })),
    ])
    const { routes, next } = found.ok ? found.value : { routes: [], next: null }
    const used = [...new Set(all.map((route) => route.apiIdentifier))].sort()
    const nameOf = await namesOfApis(prisma, used)
    const covered = coveredRoutes(all)
    const names = new Map(all.map((route) => [route.id, routeName(route)]))
    const hosts = Map.groupBy(all, (route) => route.host)
    const firsts = new Set([...hosts.values()].map((those) => those.at(0)?.id))
    const lasts = new Set([...hosts.values()].map((those) => those.at(-1)?.id))
    render(
      request,
      page,
      {
        hosts: choices(
          [...hosts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, those]) => [name, `${name} (${those.length})`]),
          host,
          words.t('console.any'),
        ),
        apis: choices(
          used.map((one) => [one, nameOf.get(one) ?? one]),
          api,
          words.t('console.any'),
        ),
        ...{ host, api },
        seen: fingerprint(describeOrder(all)),
        routes: routes.map((route) => ({
          href: hrefOf(route),
          name: routeName(route),
          ...{ method: route.method, host: route.host, path: route.path, api: nameOf.get(route.apiIdentifier) ?? '' },
          asks: asksOf(words, route),
          anonymous: route.anonymous,
          coveredBy: names.get(covered.get(route.id) ?? ''),
          up: firsts.has(route.id) ? undefined : `up ${route.id}`,
          down: lasts.has(route.id) ? undefined : `down ${route.id}`,
        })),
        next: next === null ? undefined : addressOf({ host, api }, next),
        flaws: found.ok ? flaws : found.flaws,
      },
      { section: 'routes', status: found.ok ? status : found.status },
    )
  }
}

function addressOf(filter: Filter, after = ''): string {
  const query = new URLSearchParams(Object.entries({ ...filter, after }).filter(([, value]) => value !== ''))
  return query.size > 0 ? `${routesPath}?${query}` : routesPath
}
