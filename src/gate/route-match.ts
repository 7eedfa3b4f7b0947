// Which route a request is: method, host and path, each compared exactly, one segment at a time. What matches none is refused.
import type { RouteRecord } from '#src/apis/routes.ts'
import { decode, type OriginalRequest } from './original-request.ts'

export type Matched = Readonly<{ route: RouteRecord; parameters: Readonly<Record<string, string>> }>

/** @param routes in the order in which they are tried. HEAD is what GET is without a body (RFC 9110 9.3.2), unless it has a route of its own. */
export function matchRoute(routes: readonly RouteRecord[], request: OriginalRequest): Matched | undefined {
  const found = firstOf(routes, request, request.method)
  return found ?? (request.method === 'HEAD' ? firstOf(routes, request, 'GET') : undefined)
}

function firstOf(routes: readonly RouteRecord[], { host, path }: OriginalRequest, method: string): Matched | undefined {
  for (const route of routes) {
    if (route.host !== host || route.method !== method) continue
    const parameters = parametersOf(route.path, path)
    if (parameters) return { route, parameters }
  }
  return undefined
}

function parametersOf(pattern: string, path: string): Record<string, string> | undefined {
  const wanted = pattern.split('/')
  const given = path.split('/')
  if (wanted.length !== given.length) return undefined
  const parameters: Record<string, string> = Object.create(null)
  for (const [index, part] of wanted.entries()) {
    const value = decode(given[index] ?? '')
    const name = /^\{(.+)\}$/.exec(part)?.[1]
    if (value === undefined || (name === undefined ? part !== value : value === '')) return undefined
    if (name !== undefined) parameters[name] = value
  }
  return parameters
}
