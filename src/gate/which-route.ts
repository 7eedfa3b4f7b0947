// Which route would answer? The question of an administrator, read as strictly as a gateway's and matched as one (forward.ts).
import type { RouteAnswer, RouteQuestion, RouteRecord } from '#src/apis/routes.ts'
import { callbackPath } from './gateway-session.ts'
import { plainRequest } from './original-request.ts'
import { matchRoute } from './route-match.ts'

/** @param routes in the order in which they are tried. */
export function whichRoute(routes: readonly RouteRecord[], question: RouteQuestion): RouteAnswer {
  const { method, scheme, host, path } = question
  const request = plainRequest({ method, scheme, host, target: path })
  if (!request) return { because: 'unreadable' }
  if (request.path === callbackPath && request.method === 'GET') return { because: 'sign_in' }
  return matchRoute(routes, request) ?? { because: 'no_route' }
}
