// Routes that come from OpenAPI documents beside the file. Each operation becomes a route like any other: what is stored, compared and exported
// does not know where it came from (docs/decisions/040).
import { routeName } from '#src/apis/routes.ts'
import { mostDocumentBytes, readOpenapi } from '#src/openapi/document.ts'
import { routesOf } from '#src/openapi/routes.ts'
import type { Flaw } from '#src/refusal.ts'
import { checkBeside, readBeside } from './beside.ts'
import { InvalidDeclaration } from './errors.ts'
import { withLinesOf } from './lines.ts'
import type { Declaration, DeclaredRoute, DocumentRoutes, WrittenDeclaration } from './schema.ts'

/** @param folder where the declarative file lies. @throws InvalidDeclaration */
export function expandRoutes(declaration: WrittenDeclaration, folder: string): Declaration {
  if (!namesDocuments(declaration)) return declaration as Declaration
  const flaws: Flaw[] = []
  const routes = (declaration.routes ?? []).flatMap((entry, index): DeclaredRoute[] => {
    if (!('openapi' in entry)) return [{ ...entry, from: `routes[${index}]` }]
    const read = readDocument(folder, `routes[${index}].openapi`, entry)
    if ('routes' in read) return read.routes
    flaws.push(...read.flaws)
    return []
  })
  if (flaws.length === 0) flaws.push(...repeated(routes))
  if (flaws.length > 0) throw new InvalidDeclaration(flaws)
  return withLinesOf(declaration, { ...declaration, routes })
}

export function namesDocuments({ routes = [] }: WrittenDeclaration): boolean {
  return routes.some((route) => 'openapi' in route)
}

/** Puts in front of what is said about a route where it stands: an entry of the file, or an operation of a document. */
export function inRoute({ from }: DeclaredRoute, index: number, flaws: readonly Flaw[]): Flaw[] {
  const place = from ?? `routes[${index}]`
  return flaws.map((flaw) => ({ ...flaw, field: `${place}${place.endsWith(']') ? '.' : ': '}${flaw.field}` }))
}

/** @throws InvalidDeclaration */
export function requireExpanded(declaration: WrittenDeclaration): Declaration {
  const flaws = (declaration.routes ?? []).flatMap((route, index) =>
    'openapi' in route
      ? [
          {
            field: `routes[${index}].openapi`,
            problem: 'is a file, and there are none here',
            fix: 'Apply it with: sallyport apply --file FILE.',
          },
        ]
      : [],
  )
  if (flaws.length > 0) throw new InvalidDeclaration(flaws)
  return declaration as Declaration
}

function readDocument(
  folder: string,
  field: string,
  { openapi: path, ...frame }: DocumentRoutes,
): { routes: DeclaredRoute[] } | { flaws: Flaw[] } {
  const misplaced = checkBeside(field, path)
  if (misplaced.length > 0) return { flaws: misplaced }
  const file = readBeside(field, { folder, path, mostBytes: mostDocumentBytes })
  if ('flaws' in file) return file
  const read = readOpenapi(file.bytes, `${field} ${path}`)
  return 'flaws' in read ? read : routesOf(read.document, frame)
}

/** One route may come from two documents, or from one and from the file itself. */
function repeated(routes: readonly DeclaredRoute[]): Flaw[] {
  const first = new Map<string, string>()
  return routes.flatMap((route) => {
    const { from = '' } = route
    const before = first.get(routeName(route))
    if (before !== undefined) return [{ field: from, problem: `repeats ${before}`, fix: 'Keep one of the two.' }]
    first.set(routeName(route), from)
    return []
  })
}
