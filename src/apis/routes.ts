// Routes of protected hosts: what a gateway asks before it lets a request through. This room keeps them; matching a request to
// one is gate/.
import { randomUUID } from 'node:crypto'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { AuditEventName } from '#src/audit/events.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { checkDistinct, checkOneOf, checkWhole, type Flaw, quote, Refusal } from '#src/refusal.ts'
import { checkScopeName, isScopeToken } from './scope-names.ts'

export type RouteRecord = Prisma.RouteGetPayload<object>

/** Host, method and path together name a route. */
export type RouteKey = { host: string; method: string; path: string }

export type RouteInput = {
  api: string
  scopes?: string[] | undefined
  /** Any one of them will do. */
  roles?: string[] | undefined
  /** `owner@order:{id}`: the relation, the object's type, and the path parameter that names the object. */
  relation?: string | undefined
  /** The sign-in must have reached one of them (RFC 9470). */
  acrValues?: string[] | undefined
  /** Seconds since the sign-in, at most. */
  maxAge?: number | undefined
  /** true: nobody is asked anything. */
  anonymous?: boolean | undefined
  /** Earlier routes are tried first. */
  position: number
}

type RouteSettings = {
  api: string
  scopes: string[]
  roles: string[]
  relation: string | null
  acrValues: string[]
  maxAge: number | null
  anonymous: boolean
  position: number
}

export const routeMethods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const

/** A request, as a gateway would tell of it. `path` may have a query behind it. */
export type RouteQuestion = Readonly<{ method: string; scheme: 'http' | 'https'; host: string; path: string }>

/** `unreadable`: two parties could read it in two ways, so it matches nothing. `sign_in`: the way back of a sign-in, which no route gets. */
export type RouteAnswer =
  | Readonly<{ route: RouteRecord; parameters: Readonly<Record<string, string>> }>
  | Readonly<{ because: 'no_route' | 'unreadable' | 'sign_in' }>

export class InvalidRoute extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class RouteNotFound extends Refusal {
  constructor(id: string) {
    super('missing', [{ field: 'id', problem: `${quote(id)} is not a route here`, fix: 'Read the list of routes.' }])
  }
}

/** In the order in which they are tried. */
export function listRoutes(db: Db): Promise<RouteRecord[]> {
  return db.route.findMany({ orderBy: [{ position: 'asc' }, { host: 'asc' }, { path: 'asc' }, { method: 'asc' }] })
}

export const routeName = ({ host, method, path }: RouteKey): string => `${method} ${host}${path}`

/** Creates or replaces. @throws InvalidRoute; references must exist. */
export function putRoute(db: Db, key: RouteKey, input: RouteInput, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    const flaws = [...checkRouteKey(key), ...checkRoute(key, input)]
    if (flaws.length > 0) throw new InvalidRoute(flaws)
    const { api, ...columns } = settleRoute(input)
    await raiseConfigurationVersion(tx, change.now)
    const { count } = await tx.route.updateMany({ where: key, data: { ...columns, apiIdentifier: api } })
    if (count === 0) await tx.route.create({ data: { id: randomUUID(), ...key, ...columns, apiIdentifier: api } })
    await recordRoute(tx, count === 0 ? 'route.created' : 'route.updated', key, change)
  })
}

export function deleteRoute(db: Db, key: RouteKey, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const { count } = await tx.route.deleteMany({ where: key })
    if (count > 0) await recordRoute(tx, 'route.deleted', key, change)
  })
}

export function checkRouteKey({ host, method, path }: RouteKey): Flaw[] {
  const flaws = checkOneOf('method', method, routeMethods)
  if (!/^(?=.{1,255}$)([a-z0-9]([a-z0-9-]*[a-z0-9])?)(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[1-9]\d{0,4})?$/.test(host))
    flaws.push({
      field: 'host',
      problem: `(${quote(host)}) is not a host`,
      fix: 'Write it in lower case and without a scheme, such as api.example.com or localhost:8080.',
    })
  const segments = path.split('/').slice(1)
  const names = parametersOf(path)
  if (path.length > 1000 || !path.startsWith('/') || !segments.every((segment) => segmentPattern.test(segment)))
    flaws.push({
      field: 'path',
      problem: `(${quote(path)}) is not a path`,
      fix: 'Begin with /; each part is plain text or one parameter, such as /orders/{id}.',
    })
  else if (segments.some((segment) => segment === '.' || segment === '..') || new Set(names).size < names.length)
    flaws.push({
      field: 'path',
      problem: 'has a dot segment or repeats a parameter',
      fix: 'Write every part once and in full.',
    })
  return flaws
}

const segmentPattern = /^(?:[A-Za-z0-9\-._~!$&'()+,=:@]*|\{[a-z][A-Za-z0-9_]{0,31}\})$/

export function checkRoute({ path }: RouteKey, input: RouteInput): Flaw[] {
  const { scopes = [], roles = [], relation, acrValues = [], maxAge, anonymous = false } = input
  const flaws = [
    ...checkDistinct('scopes', scopes),
    ...checkDistinct('roles', roles),
    ...checkDistinct('acrValues', acrValues),
    ...acrValues.flatMap((value, index) => (isScopeToken(value) ? [] : checkScopeName(`acrValues[${index}]`, value))),
  ]
  if (maxAge !== undefined)
    flaws.push(...checkWhole('maxAge', maxAge, 1, 2_592_000, 'Write seconds: from one to thirty days.'))
  if (relation !== undefined) {
    const parameter = /^[a-z][a-z0-9_]{0,63}@[a-z][a-z0-9_]{0,63}:\{([a-z][A-Za-z0-9_]{0,31})\}$/.exec(relation)?.[1]
    if (!parameter)
      flaws.push({
        field: 'relation',
        problem: `(${quote(relation)}) is not a relation`,
        fix: 'Write relation@type:{parameter}, such as owner@order:{id}.',
      })
    else if (!parametersOf(path).includes(parameter))
      flaws.push({
        field: 'relation',
        problem: `names {${parameter}}, which the path lacks`,
        fix: 'Name a parameter of the path.',
      })
  }
  const asks =
    [scopes, roles, acrValues].some((list) => list.length > 0) || relation !== undefined || maxAge !== undefined
  if (anonymous && asks)
    flaws.push({
      field: 'anonymous',
      problem: 'is true although the route asks for something',
      fix: 'Decide for one: an anonymous route lets everybody through.',
    })
  return flaws
}

/** @returns the input with defaults. Call it on checked input. */
export function settleRoute(input: RouteInput): RouteSettings {
  return {
    api: input.api,
    scopes: [...(input.scopes ?? [])].sort(),
    roles: [...(input.roles ?? [])].sort(),
    relation: input.relation ?? null,
    acrValues: [...(input.acrValues ?? [])].sort(),
    maxAge: input.maxAge ?? null,
    anonymous: input.anonymous ?? false,
    position: input.position,
  }
}

/** What is stored, in the shape of settleRoute. */
export function routeSettings(record: RouteRecord): RouteSettings {
  return settleRoute({
    ...record,
    api: record.apiIdentifier,
    relation: record.relation ?? undefined,
    maxAge: record.maxAge ?? undefined,
  })
}

function parametersOf(path: string): string[] {
  return [...path.matchAll(/\{([^{}/]*)\}/g)].map((match) => match[1] ?? '')
}

export function recordRoute(tx: Prisma.TransactionClient, event: AuditEventName, key: RouteKey, change: Change) {
  return recordAudit(
    tx,
    { event, outcome: 'success', actor: change.actor, target: { kind: 'route', id: routeName(key) } },
    change.origin,
  )
}
