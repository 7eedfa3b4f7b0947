// Routes one by one: looking one up, making, changing and deleting one. What a declarative file does with all of them at once is putRoute and
// deleteRoute; both ask the same of a route.
import { randomUUID } from 'node:crypto'
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { applyPatch, type Patch, refuseChanged } from '#src/editing.ts'
import { type Flaw, quote, Refusal } from '#src/refusal.ts'
import { placeBefore } from './route-order.ts'
import {
  checkRoute,
  checkRouteKey,
  InvalidRoute,
  type RouteInput,
  type RouteKey,
  RouteNotFound,
  type RouteRecord,
  recordRoute,
  routeName,
  routeSettings,
  settleRoute,
} from './routes.ts'

/** What a person may say of a route. Its place in the order is another matter (route-order.ts). */
export type WrittenRoute = RouteKey & Omit<RouteInput, 'position'>

class RouteExists extends Refusal {
  constructor(key: RouteKey) {
    super('taken', [
      { field: 'path', problem: `of ${quote(routeName(key))} has a route already`, fix: 'Change that one.' },
    ])
  }
}

/** For an editor: all of it but its place, which changes when others move. */
export function describeRoute(record: RouteRecord) {
  const { position: _, ...settings } = routeSettings(record)
  const { id, host, method, path } = record
  return { id, host, method, path, ...settings }
}

/** @throws RouteNotFound */
export async function findRoute(db: Db, id: string): Promise<RouteRecord> {
  const record = isRouteId(id) ? await db.route.findUnique({ where: { id } }) : null
  if (!record) throw new RouteNotFound(id)
  return record
}

/** In the order in which they are tried. @param page.after what `next` was; @param page.limit how many at most.
 *  @throws InvalidRoute for an `after` that is of no page */
export async function pageRoutes(
  db: Db,
  filter: { host?: string | undefined; api?: string | undefined },
  page: { after?: string | undefined; limit: number },
): Promise<{ routes: RouteRecord[]; next: string | null }> {
  const found = await db.route.findMany({
    where: {
      ...(filter.host !== undefined && { host: filter.host }),
      ...(filter.api !== undefined && { apiIdentifier: filter.api }),
      ...(page.after !== undefined && { OR: behind(page.after) }),
    },
    orderBy: [{ position: 'asc' }, { host: 'asc' }, { path: 'asc' }, { method: 'asc' }],
    take: page.limit + 1,
  })
  const routes = found.slice(0, page.limit)
  const last = routes.at(-1)
  return { routes, next: found.length > page.limit && last ? placeOf(last) : null }
}

/** @param options.before the id of the route that it is to stand in front of; else it is tried last.
 *  @throws InvalidRoute, RouteExists */
export function createRoute(
  db: Db,
  input: WrittenRoute,
  options: { before?: string | undefined },
  change: Change,
): Promise<RouteRecord> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now) // its row is the lock of every change of the configuration
    const { _max } = await tx.route.aggregate({ _max: { position: true } })
    const { key, columns } = await settle(tx, input, (_max.position ?? -1) + 1)
    await refuseTaken(tx, key)
    const id = randomUUID()
    await tx.route.create({ data: { id, ...key, ...columns } })
    if (options.before !== undefined) await placeBefore(tx, id, options.before)
    await recordRoute(tx, 'route.created', key, change)
    return findRoute(tx, id)
  })
}

/** @param seen the fingerprint of what the editor saw of describeRoute. @throws RouteNotFound, ChangedMeanwhile, InvalidRoute, RouteExists */
export function patchRoute(
  db: Db,
  id: string,
  patch: Patch<WrittenRoute>,
  change: Change,
  seen?: string,
): Promise<RouteRecord> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const record = await findRoute(tx, id)
    refuseChanged(seen, describeRoute(record))
    const { id: _, ...current } = describeRoute(record)
    const { key, columns } = await settle(tx, applyPatch<WrittenRoute>(current, patch), record.position)
    if (routeName(key) !== routeName(record)) await refuseTaken(tx, key)
    await tx.route.update({ where: { id }, data: { ...key, ...columns } })
    await recordRoute(tx, 'route.updated', key, change)
    return findRoute(tx, id)
  })
}

/** @param seen as for patchRoute. @throws RouteNotFound, ChangedMeanwhile */
export function removeRoute(db: Db, id: string, change: Change, seen?: string): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const record = await findRoute(tx, id)
    refuseChanged(seen, describeRoute(record))
    await tx.route.delete({ where: { id } })
    await recordRoute(tx, 'route.deleted', record, change)
  })
}

/** @throws InvalidRoute */
async function settle(tx: Prisma.TransactionClient, { host, method, path, ...rest }: WrittenRoute, position: number) {
  const key = { host, method, path }
  const input = { ...rest, position }
  const flaws = [...checkRouteKey(key), ...checkRoute(key, input), ...(await unknownNames(tx, rest))]
  if (flaws.length > 0) throw new InvalidRoute(flaws)
  const { api, ...columns } = settleRoute(input)
  return { key, columns: { ...columns, apiIdentifier: api } }
}

/** Every name must be there: the API, its scopes, the roles. */
async function unknownNames(
  tx: Prisma.TransactionClient,
  { api, scopes = [], roles = [] }: Omit<WrittenRoute, keyof RouteKey>,
): Promise<Flaw[]> {
  const [apis, known, held] = await Promise.all([
    tx.api.count({ where: { identifier: api } }),
    tx.scope.findMany({ where: { apiIdentifier: api, name: { in: scopes } }, select: { name: true } }),
    tx.role.findMany({ where: { name: { in: roles } }, select: { name: true } }),
  ])
  const unknown = (field: string, names: readonly string[], found: readonly { name: string }[], what: string) =>
    names.flatMap((name, index) =>
      found.some((one) => one.name === name)
        ? []
        : [
            {
              field: `${field}[${index}]`,
              problem: `is ${quote(name)}, which is not a ${what}`,
              fix: 'Create it first, or correct its name.',
            },
          ],
    )
  const roleFlaws = unknown('roles', roles, held, 'role here')
  if (apis === 0)
    return [
      {
        field: 'api',
        problem: `is ${quote(api)}, which is not an API here`,
        fix: 'Create it first, or correct its identifier.',
      },
      ...roleFlaws,
    ]
  return [...unknown('scopes', scopes, known, 'scope of that API'), ...roleFlaws]
}

async function refuseTaken(tx: Prisma.TransactionClient, key: RouteKey): Promise<void> {
  if ((await tx.route.count({ where: key })) > 0) throw new RouteExists(key)
}

const isRouteId = (id: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)

const placeOf = ({ position, host, path, method }: RouteRecord): string =>
  Buffer.from(JSON.stringify([position, host, path, method])).toString('base64url')

/** What stands behind the end of a page, in the order of the list. @throws InvalidRoute */
function behind(after: string): Prisma.RouteWhereInput[] {
  const cells = readPlace(after)
  if (!cells)
    throw new InvalidRoute([
      { field: 'after', problem: 'is not a place in this list', fix: 'Send the value of next in the page before.' },
    ])
  const [position, host, path, method] = cells
  return [
    { position: { gt: position } },
    { position, host: { gt: host } },
    { position, host, path: { gt: path } },
    { position, host, path, method: { gt: method } },
  ]
}

function readPlace(text: string): [number, string, string, string] | undefined {
  const json = /^[\w-]{1,4000}$/.test(text) ? Buffer.from(text, 'base64url').toString() : ''
  const [, position, ...rest] =
    /^\[(-?\d{1,9}),"([^"\\]{0,300})","([^"\\]{0,1000})","([A-Z]{0,10})"\]$/.exec(json) ?? []
  const [host, path, method] = rest
  if (position === undefined || host === undefined || path === undefined || method === undefined) return undefined
  return [Number(position), host, path, method]
}
