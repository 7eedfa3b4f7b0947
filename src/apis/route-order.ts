// The order in which routes are tried. Only routes of one host and method compete, so that is what moving one is about.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { refuseChanged } from '#src/editing.ts'
import { checkDistinct, type Flaw, quote } from '#src/refusal.ts'
import { InvalidRoute, listRoutes, RouteNotFound, type RouteRecord } from './routes.ts'

/** What somebody sees of the order: the ids of all routes. */
export const describeOrder = (routes: readonly RouteRecord[]): { data: string[] } => ({
  data: routes.map(({ id }) => id),
})

/** @param ids of all routes, each once. @param seen the fingerprint of describeOrder as the editor saw it.
 *  @throws InvalidRoute for an id that is missing, unknown or there twice, ChangedMeanwhile */
export function orderRoutes(
  db: Db,
  ids: readonly string[],
  change: Change,
  seen?: string,
): Promise<readonly RouteRecord[]> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now) // its row is the lock of every change of the configuration
    const routes = await listRoutes(tx)
    refuseChanged(seen, describeOrder(routes))
    const known = new Set(routes.map(({ id }) => id))
    const named = new Set(ids)
    const flaws: Flaw[] = [
      ...ids.flatMap((id, index) =>
        known.has(id)
          ? []
          : [
              {
                field: `data[${index}]`,
                problem: `is ${quote(id)}, which is not a route here`,
                fix: 'Read the order again.',
              },
            ],
      ),
      ...checkDistinct('data', ids),
      ...routes
        .filter(({ id }) => !named.has(id))
        .map(({ id }) => ({ field: 'data', problem: `lacks ${id}`, fix: 'Name every route, in the order you want.' })),
    ]
    if (flaws.length > 0) throw new InvalidRoute(flaws.slice(0, mostFlawsTold))
    await writeOrder(tx, routes, ids, change)
    return listRoutes(tx)
  })
}

/** Past the next route of its host, earlier or later: past those of other hosts there is nothing to gain. The first stays first.
 *  @throws RouteNotFound, ChangedMeanwhile */
export function moveRoute(db: Db, id: string, direction: 'up' | 'down', change: Change, seen?: string): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const routes = await listRoutes(tx)
    refuseChanged(seen, describeOrder(routes))
    const from = routes.findIndex((route) => route.id === id)
    const route = routes[from]
    if (!route) throw new RouteNotFound(id)
    const ids = routes.map((one) => one.id)
    const beside = (one: RouteRecord) => one.host === route.host && one.id !== id
    const to =
      direction === 'up'
        ? routes.slice(0, from).findLastIndex(beside)
        : routes.findIndex((one, at) => at > from && beside(one))
    if (to >= 0) await writeOrder(tx, routes, ids.toSpliced(from, 1).toSpliced(to, 0, id), change)
  })
}

/** @param before the id of the route that the last one is to stand in front of. @throws InvalidRoute */
export async function placeBefore(tx: Prisma.TransactionClient, id: string, before: string): Promise<void> {
  const ids = describeOrder(await listRoutes(tx)).data.filter((one) => one !== id)
  const at = ids.indexOf(before)
  if (at < 0)
    throw new InvalidRoute([
      {
        field: 'before',
        problem: `is ${quote(before)}, which is not a route here`,
        fix: 'Name a route by its id, or leave it out: the new one is then tried last.',
      },
    ])
  await renumber(tx, ids.toSpliced(at, 0, id))
}

/** For each route that no request gets to: the id of an earlier one that takes them all. */
export function coveredRoutes(routes: readonly RouteRecord[]): ReadonlyMap<string, string> {
  const earlier = new Map<string, RouteRecord[]>()
  const covered = new Map<string, string>()
  for (const route of routes) {
    const key = `${route.method} ${route.host} ${route.path.split('/').length}`
    const rivals = earlier.get(key) ?? []
    const by = rivals.find((rival) => takesAllOf(rival.path, route.path))
    if (by) covered.set(route.id, by.id)
    earlier.set(key, [...rivals, route])
  }
  return covered
}

/** Both have as many segments. A parameter takes any text but none. */
function takesAllOf(pattern: string, path: string): boolean {
  const given = path.split('/')
  return pattern.split('/').every((part, at) => part === given[at] || (part.startsWith('{') && given[at] !== ''))
}

async function writeOrder(
  tx: Prisma.TransactionClient,
  routes: readonly RouteRecord[],
  ids: readonly string[],
  change: Change,
): Promise<void> {
  const moved = ids.filter((id, at) => routes[at]?.id !== id).length
  if (moved === 0) return
  await renumber(tx, ids)
  await recordAudit(
    tx,
    { event: 'route.reordered', outcome: 'success', actor: change.actor, detail: { moved } },
    change.origin,
  )
}

async function renumber(tx: Prisma.TransactionClient, ids: readonly string[]): Promise<void> {
  await tx.$executeRaw`
    UPDATE route SET position = wanted.position - 1
    FROM unnest(${[...ids]}::uuid[]) WITH ORDINALITY AS wanted(id, position)
    WHERE route.id = wanted.id AND route.position <> wanted.position - 1`
}

const mostFlawsTold = 20
