import { putRoute, type RouteRecord, routeName, routeSettings, settleRoute } from '#src/apis/routes.ts'
import type { Current } from '../current.ts'
import type { Declaration } from '../schema.ts'
import { differences, type Step } from '../steps.ts'

/** Routes are tried in order: those of the file first, in its order, then the others in theirs. */
export function compareRoutes({ routes }: Declaration, current: Current): Step[] {
  if (!routes) return []
  const staying = [...current.routes].filter(([name]) => !current.removed.routes.has(name))
  const listed = new Set(routes.map(routeName))
  const others = staying.filter(([name]) => !listed.has(name)).map(([, record]) => describeRoute(record))
  const wanted = [...routes, ...others]
  const sameOrder = staying.map(([name]) => name).join('\n') === wanted.map(routeName).join('\n')
  return wanted.flatMap((route, index): Step[] => {
    const { host, method, path } = route
    const key = { host, method, path }
    const id = routeName(route)
    const record = current.routes.get(id)
    // Gaps are no difference: only the order counts.
    const input = { ...route, position: sameOrder && record ? record.position : index }
    const run: Step['run'] = (tx, change) => putRoute(tx, key, input, change)
    if (!record) return [{ action: 'create', kind: 'route', id, run }]
    const fields = differences(routeSettings(record), settleRoute(input))
    return fields ? [{ action: 'update', kind: 'route', id, fields, run }] : []
  })
}

function describeRoute(record: RouteRecord) {
  const { host, method, path, apiIdentifier, scopes, roles, relation, acrValues, maxAge, anonymous } = record
  return {
    ...{ host, method, path, api: apiIdentifier, scopes, roles, acrValues, anonymous },
    relation: relation ?? undefined,
    maxAge: maxAge ?? undefined,
  }
}
