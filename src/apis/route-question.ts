// A request as people write it down: method and address. Which route answers it is gate/.
import type { RouteQuestion } from './routes.ts'

/** Not by a parser of addresses: it would tidy up what a gateway passes on as it is. @returns undefined for what is no address. */
export function readQuestion(method: string, address: string): RouteQuestion | undefined {
  const [, scheme, host, path] = /^(https?):\/\/([^/?#]+)([^#]*)/.exec(address) ?? []
  if ((scheme !== 'http' && scheme !== 'https') || host === undefined || path === undefined) return undefined
  return { method, scheme, host, path: path.startsWith('/') ? path : `/${path}` }
}
