// Every operation of a document as a route for gateways (apis/routes.ts). What the document says and a route cannot is refused, with the name of
// the operation; what no operation names has no route, and is refused by the gateway.
import { checkRoute, checkRouteKey } from '#src/apis/routes.ts'
import { type Flaw, quote } from '#src/refusal.ts'
import { isObject, type OpenapiDocument, own, text } from './document.ts'
import { type Operation, operationsOf } from './operations.ts'
import { securityOf } from './security.ts'

export type OpenapiRoute = {
  host: string
  method: string
  path: string
  api: string
  scopes?: string[]
  roles?: string[]
  relation?: string
  acrValues?: string[]
  maxAge?: number
  anonymous?: true
  /** Where it comes from, for messages. */
  from: string
}

/** @param basePath what the gateway sees in front of each path. None: what `servers` says. */
export type RouteFrame = { host: string; api: string; basePath?: string | undefined }

type Extra = Pick<OpenapiRoute, 'relation' | 'roles' | 'acrValues' | 'maxAge'>

const isText = (value: unknown) => typeof value === 'string'
const isList = (value: unknown) => Array.isArray(value) && value.length > 0 && value.every(isText)
const list = 'Write a list with at least one name, or leave it out.'

/** What OpenAPI has no word for. */
const extensions: Record<string, { field: keyof Extra; is(value: unknown): boolean; fix: string }> = {
  'x-sallyport-relation': {
    field: 'relation',
    is: isText,
    fix: 'Write relation@type:{parameter}, such as owner@order:{id}.',
  },
  'x-sallyport-roles': { field: 'roles', is: isList, fix: list },
  'x-sallyport-acr-values': { field: 'acrValues', is: isList, fix: list },
  'x-sallyport-max-age': { field: 'maxAge', is: Number.isInteger, fix: 'Write whole seconds.' },
}

const mostFlaws = 50

/** In the order in which a gateway tries them: plain text before a parameter, as OpenAPI matches paths (3.1, Paths Object). */
export function routesOf(document: OpenapiDocument, frame: RouteFrame): { routes: OpenapiRoute[] } | { flaws: Flaw[] } {
  const misplaced = checkFrame(frame)
  if (misplaced.length > 0) return { flaws: misplaced }
  const base = frame.basePath === undefined ? baseOf(document) : { path: frame.basePath }
  if ('flaws' in base) return base
  const { operations, flaws } = operationsOf(document)
  for (const name of Object.keys(document.root))
    if (name.startsWith('x-sallyport-'))
      flaws.push({
        field: `${document.place}: ${name}`,
        problem: 'stands outside of operations',
        fix: 'Write it in each.',
      })
  const routes = operations.flatMap((operation) => {
    const made = routeOf(document, operation, { ...frame, basePath: base.path.replace(/\/$/, '') })
    if ('route' in made) return [made.route]
    flaws.push(...made.flaws)
    return []
  })
  if (flaws.length === 0 && routes.length === 0)
    flaws.push({ field: document.place, problem: 'has no operation', fix: 'Describe at least one.' })
  if (flaws.length === 0) flaws.push(...findAmbiguous(routes))
  if (flaws.length > 0) return { flaws: flaws.slice(0, mostFlaws) }
  return { routes: routes.sort((a, b) => compareSegments(a.path, b.path)) }
}

/** What can be said without the document. */
export function checkFrame({ host, basePath = '/' }: RouteFrame): Flaw[] {
  return checkRouteKey({ host, method: 'GET', path: basePath }).map((flaw) =>
    flaw.field === 'path' ? { ...flaw, field: 'basePath' } : flaw,
  )
}

/** The path that all servers share. */
function baseOf({ place, root }: OpenapiDocument): { path: string } | { flaws: Flaw[] } {
  const no = (problem: string) => ({
    flaws: [
      { field: `${place}: servers`, problem, fix: 'Say what stands in front of every path: basePath, in the route.' },
    ],
  })
  const servers = own(root, 'servers') ?? []
  if (!Array.isArray(servers)) return no('is not a list')
  const paths = servers.map((server) => {
    const url = isObject(server) ? text(own(server, 'url')) : undefined
    const [, path] = /^(?:https?:\/\/[^/?#]*|(?=\/(?!\/)))([^?#]*)$/i.exec(url ?? '') ?? []
    return path
  })
  if (paths.includes(undefined)) return no('has an address that does not say where the API begins')
  const [first = '', ...others] = new Set(paths.map((path = '') => path.replace(/\/$/, '')))
  if (others.length > 0) return no('have different paths')
  if (first.includes('{')) return no(`have variables in their path (${quote(first)})`)
  return { path: first }
}

function routeOf(
  document: OpenapiDocument,
  operation: Operation,
  { host, api, basePath }: RouteFrame & { basePath: string },
): { route: OpenapiRoute } | { flaws: Flaw[] } {
  const { method, path, label } = operation
  const key = { host, method, path: basePath + path }
  const named = (flaws: readonly Flaw[]) => flaws.map((flaw) => ({ ...flaw, field: `${label}: ${wordOf(flaw.field)}` }))
  const security = securityOf(document, operation)
  const { extra, flaws } = readExtensions(operation)
  if ('flaws' in security) flaws.push(...security.flaws)
  for (const [where, part] of Object.entries({ 'its path': operation.item, 'the operation': operation.operation }))
    if (Object.hasOwn(part, 'servers'))
      flaws.push({
        field: `${label}: servers`,
        problem: `of ${where} would lead elsewhere`,
        fix: 'Describe what another server answers in a document of its own.',
      })
  flaws.push(...named(checkRouteKey(key)))
  if ('flaws' in security || flaws.length > 0) return { flaws }
  const { asked } = security
  if (asked.anonymous && Object.keys(extra).length > 0)
    return {
      flaws: [
        {
          field: `${label}: security`,
          problem: 'lets everybody through, although x-sallyport-… asks for something',
          fix: 'Decide for one.',
        },
      ],
    }
  const scopes = asked.anonymous || asked.scopes.length === 0 ? {} : { scopes: [...asked.scopes] }
  const route: OpenapiRoute = {
    ...key,
    api,
    ...scopes,
    ...extra,
    ...(asked.anonymous && { anonymous: true }),
    from: label,
  }
  const wrong = named(checkRoute(key, { ...route, position: 0 }))
  return wrong.length > 0 ? { flaws: wrong } : { route }
}

/** A misspelt one would be a door that stays open: unknown names are told. */
function readExtensions({ operation, label }: Operation): { extra: Partial<Extra>; flaws: Flaw[] } {
  const written = Object.entries(operation).filter(([name]) => name.startsWith('x-sallyport-'))
  const flaws = written.flatMap(([name, value]): Flaw[] => {
    const known = own(extensions, name) as (typeof extensions)[string] | undefined
    const field = `${label}: ${name}`
    if (!known)
      return [{ field, problem: 'is not a name known here', fix: `Known are ${Object.keys(extensions).join(', ')}.` }]
    return known.is(value) ? [] : [{ field, problem: 'has the wrong form', fix: known.fix }]
  })
  const extra = Object.fromEntries(written.map(([name, value]) => [extensions[name]?.field, value]))
  return { extra: flaws.length > 0 ? {} : extra, flaws }
}

/** What a room calls a field, in the words of the document. */
function wordOf(field: string): string {
  const [, name = '', rest = ''] = /^([A-Za-z]+)(.*)$/.exec(field) ?? []
  const word = Object.entries(extensions).find(([, known]) => known.field === name)?.[0]
  return `${word ?? (name === 'scopes' ? 'security' : name)}${rest}`
}

/** OpenAPI leaves it open which of `/{shop}/me` and `/orders/{id}` is meant by `/orders/me`: the application and the gateway could differ. */
function findAmbiguous(routes: readonly OpenapiRoute[]): Flaw[] {
  const byShape = Map.groupBy(routes, ({ method, path }) => `${method} ${path.split('/').length}`)
  return [...byShape.values()].flatMap((alike) =>
    alike.flatMap((route, index) => {
      const other = alike.slice(0, index).find((earlier) => isAmbiguous(earlier, route))
      if (!other) return []
      return [
        {
          field: route.from,
          problem: `may be the same request as ${other.path}, and asks for something else`,
          fix: 'Give one of the two a path of its own.',
        },
      ]
    }),
  )
}

function isAmbiguous(a: OpenapiRoute, b: OpenapiRoute): boolean {
  const theirs = b.path.split('/')
  const pairs = a.path.split('/').map((part, index) => [part, theirs[index] ?? ''] as const)
  if (pairs.some(([one, two]) => !isParameter(one) && !isParameter(two) && one !== two)) return false
  const narrower = pairs.some(([one, two]) => !isParameter(one) && isParameter(two))
  const wider = pairs.some(([one, two]) => isParameter(one) && !isParameter(two))
  return narrower === wider && JSON.stringify(whatItAsks(a)) !== JSON.stringify(whatItAsks(b))
}

const isParameter = (segment: string): boolean => segment.startsWith('{')

function whatItAsks({ scopes, roles, relation, acrValues, maxAge, anonymous }: OpenapiRoute) {
  return [scopes, roles, relation, acrValues, maxAge, anonymous]
}

function compareSegments(a: string, b: string): number {
  const [mine, theirs] = [a.split('/'), b.split('/')]
  for (const [index, one] of mine.entries()) {
    const two = theirs[index] ?? ''
    if (isParameter(one) !== isParameter(two)) return isParameter(one) ? 1 : -1
    if (!isParameter(one) && one !== two) return one < two ? -1 : 1
  }
  return mine.length - theirs.length
}
