// What an operation asks of whoever calls it, in the words of `security`. Requirements are alternatives, and inside one all schemes are
// wanted; Sallyport's routes ask for one credential with all of the scopes. What says more than that is refused: read as less it would
// open a door, read as something else it would surprise.
import { type Flaw, quote } from '#src/refusal.ts'
import { isObject, type JsonObject, type OpenapiDocument, own, resolve, text } from './document.ts'
import type { Operation } from './operations.ts'

/** `anonymous`: nobody is asked anything. */
export type Asked = Readonly<{ anonymous: true } | { anonymous: false; scopes: readonly string[] }>

type Said = { problem: string; fix: string }

/** One scheme of one requirement. `scopes` undefined: it cannot say any. */
type Wanted = { scopes: readonly string[] | undefined }

export function securityOf(
  document: OpenapiDocument,
  { operation, label }: Operation,
): { asked: Asked } | { flaws: Flaw[] } {
  const refuse = (at: string, { problem, fix }: Said) => ({
    flaws: [{ field: `${label}: security${at}`, problem, fix }],
  })
  const written = Object.hasOwn(operation, 'security') ? operation.security : own(document.root, 'security')
  if (written === undefined)
    return refuse('', {
      problem: 'is said neither here nor for the whole document',
      fix: 'Say what it asks, or security: [] if everybody may call it.',
    })
  if (!Array.isArray(written) || !written.every(isObject))
    return refuse('', { problem: 'is not a list of requirements', fix: 'Write one such as - oauth: ["orders:read"].' })
  const requirements = written.map((requirement) => Object.entries(requirement))
  const empty = requirements.filter((schemes) => schemes.length === 0).length
  if (empty === requirements.length) return { asked: { anonymous: true } }
  if (empty > 0)
    return refuse('', {
      problem: 'lets everybody through, and asks for something all the same ({} beside others)',
      fix: 'Decide for one: security: [] is for everybody.',
    })

  const flaws: Flaw[] = []
  const wanted = requirements.flatMap(([first, ...others], index) => {
    const read: Wanted | Said =
      first === undefined || others.length > 0
        ? { problem: 'wants several credentials at once', fix: 'One request carries one credential: name one scheme.' }
        : readScheme(document, ...first)
    if (!('problem' in read)) return [read]
    flaws.push(...refuse(`[${index}]`, read).flaws)
    return []
  })
  if (flaws.length > 0) return { flaws }
  const sets = new Set(wanted.flatMap(({ scopes }) => (scopes ? [JSON.stringify([...new Set(scopes)].sort())] : [])))
  if (sets.size > 1)
    return refuse('', {
      problem: 'has alternatives with different scopes',
      fix: 'Ask for the same scopes in each: a route has one list of them.',
    })
  // A key or password has the scopes that it was given here: where the document can only name them for tokens, they are asked of both.
  return { asked: { anonymous: false, scopes: JSON.parse([...sets][0] ?? '[]') as string[] } }
}

function readScheme(document: OpenapiDocument, name: string, scopes: unknown): Wanted | Said {
  const components = own(document.root, 'components')
  const schemes = isObject(components) ? own(components, 'securitySchemes') : undefined
  const written = isObject(schemes) ? own(schemes, name) : undefined
  if (written === undefined)
    return {
      problem: `names ${quote(name)}, which is not among components.securitySchemes`,
      fix: 'Add the scheme, or correct its name.',
    }
  if (!Array.isArray(scopes) || !scopes.every((scope) => typeof scope === 'string'))
    return { problem: `has no list of scopes for ${quote(name)}`, fix: 'Write one; [] where there is none.' }
  const found = resolve(document, written)
  if ('problem' in found) return { problem: `names ${quote(name)}, which ${found.problem}`, fix: found.fix }
  const kind = kindOf(found.value)
  if (typeof kind !== 'string') return { problem: `names ${quote(name)}, which ${kind.problem}`, fix: kind.fix }
  if (kind === 'with scopes') return { scopes }
  if (scopes.length > 0)
    return {
      problem: `names scopes or roles for ${quote(name)}, which has none`,
      fix: 'Scopes need type: oauth2 or openIdConnect; roles are written as x-sallyport-roles.',
    }
  return { scopes: undefined }
}

/** Which credential a scheme is, of those that are taken here; which of these count is the API's `accept`. */
function kindOf(scheme: JsonObject): 'with scopes' | 'without scopes' | Said {
  const [type, place, name] = [text(own(scheme, 'type')), text(own(scheme, 'in')), text(own(scheme, 'name')) ?? '']
  switch (type) {
    case 'oauth2':
    case 'openIdConnect':
      return 'with scopes'
    case 'http':
      if (/^(bearer|basic|dpop)$/i.test(text(own(scheme, 'scheme')) ?? '')) return 'without scopes'
      return { problem: 'is an HTTP scheme that is not taken here', fix: 'Bearer, DPoP and Basic are.' }
    case 'apiKey':
      if (place === 'cookie' || (place === 'header' && name.toLowerCase() === 'x-api-key')) return 'without scopes'
      if (place === 'query')
        return { problem: 'is a key in the address, where logs and histories keep it', fix: 'Send it as X-API-Key.' }
      return {
        problem: `is the header ${quote(name)}, which is not looked at here`,
        fix: 'Use X-API-Key, or type: http.',
      }
    default:
      return {
        problem: `is of type ${quote(type ?? '')}, which a route cannot ask for`,
        fix: 'oauth2, openIdConnect, http and apiKey can be.',
      }
  }
}
