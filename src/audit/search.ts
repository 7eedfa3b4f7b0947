// What may be asked of the record, and how an answer is shown. Parameters are read here, so that the API, the command line and the console ask alike,
// and a saved view is nothing but parameters. Finding is find.ts.
import { isIP } from 'node:net'
import { type Flaw, quote, Refusal } from '#src/refusal.ts'
import type { EventRow } from './chain.ts'
import { auditEvents } from './events.ts'

/** event: names separated by commas; one that ends with a full stop means all that begin so (`login.`). actor, target: `<kind>:<id>`.
 *  address: one, or a network (`10.0.0.0/8`). from (included), to (not included): times with their offset. */
export const searchParameters = [
  'event',
  'outcome',
  'actor',
  'target',
  'client',
  'address',
  'request',
  'decision',
  'from',
  'to',
] as const
export type SearchParameters = { [Name in (typeof searchParameters)[number]]?: string | undefined }

export class UnknownSearch extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class EventNotFound extends Refusal {
  constructor(id: string) {
    super('missing', [
      { field: 'id', problem: `${quote(id)} is not in the record`, fix: 'Look it up by what happened.' },
    ])
  }
}

type Entity = { kind: string; id: string }

export type AuditSearch = {
  events?: readonly string[]
  outcome?: string
  actor?: Entity
  target?: Entity
  clientId?: string
  address?: string
  requestId?: string
  decisionId?: string
  from?: Date
  to?: Date
}

export type AuditRecord = EventRow & {
  /** Its place in the chain; null while it is not sealed. */
  position: number | null
  hash: string | null
}

/** @throws UnknownSearch with everything that is wrong. */
export function readSearch(given: SearchParameters): AuditSearch {
  const flaws: Flaw[] = []
  const flaw = (field: string, problem: string, fix: string) => void flaws.push({ field, problem, fix })
  const search: AuditSearch = {}
  const text = (name: keyof SearchParameters): string | undefined => {
    const value = given[name]
    if (value === undefined) return undefined
    if (value !== '' && value.length <= 2_000 && value.isWellFormed() && !value.includes('\0')) return value
    flaw(name, 'is empty, or cannot be anybody’s', 'Leave it out, or write what to look for.')
    return undefined
  }

  const event = text('event')
  if (event !== undefined) {
    const events = new Set<string>()
    for (const name of event.split(',')) {
      const matching = auditEvents.filter((known) => (name.endsWith('.') ? known.startsWith(name) : known === name))
      if (matching.length === 0)
        flaw(
          'event',
          `has ${quote(name)}, which is no event`,
          'Write names such as login.failed, or login. for all of them.',
        )
      for (const known of matching) events.add(known)
    }
    search.events = [...events]
  }
  const outcome = text('outcome')
  if (outcome === 'success' || outcome === 'failure') search.outcome = outcome
  else if (outcome !== undefined) flaw('outcome', 'is neither success nor failure', 'Write one of the two.')
  for (const name of ['actor', 'target'] as const) {
    const value = text(name)
    if (value === undefined) continue
    const at = value.indexOf(':')
    if (/^[a-z_]{1,40}$/.test(value.slice(0, Math.max(at, 0))) && at < value.length - 1)
      search[name] = { kind: value.slice(0, at), id: value.slice(at + 1) }
    else flaw(name, 'is not a kind and an id', 'Write both, such as user:4f8c1d3e-….')
  }
  const clientId = text('client')
  if (clientId !== undefined) search.clientId = clientId
  const address = text('address')
  if (address !== undefined) {
    const network = readNetwork(address)
    if (network) search.address = network
    else
      flaw(
        'address',
        'is neither an address nor a network',
        'Write one such as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32.',
      )
  }
  const [requestId, decisionId] = [text('request'), text('decision')]
  if (requestId !== undefined) search.requestId = requestId
  if (decisionId !== undefined) search.decisionId = decisionId
  for (const name of ['from', 'to'] as const) {
    const value = text(name)
    const moment = value === undefined ? undefined : readMoment(value)
    if (moment) search[name] = moment
    else if (value !== undefined)
      flaw(name, 'is not a time with its offset', 'Write one like 2026-11-22T12:00:00Z or 2026-11-22.')
  }
  if (flaws.length > 0) throw new UnknownSearch(flaws)
  return search
}

function readNetwork(text: string): string | undefined {
  const [address = '', bits, ...rest] = text.split('/')
  const family = address.includes('%') ? 0 : isIP(address)
  if (family === 0 || rest.length > 0) return undefined
  if (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128))) return undefined
  return text
}

/** A day means its beginning, by UTC. @returns undefined for anything else than a time with its offset. */
export function readMoment(text: string): Date | undefined {
  if (!/^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/.test(text)) return undefined
  const moment = new Date(text)
  return Number.isNaN(moment.getTime()) ? undefined : moment
}

/** For programs and pages. Names are looked up apart: names.ts. */
export function describeRecord(record: AuditRecord) {
  const { id, at, event, outcome, actorKind, actorId, targetKind, targetId, position, hash } = record
  const { clientId, address, userAgent, requestId, decisionId, detail } = record
  return {
    id,
    at,
    event,
    outcome,
    actor: actorKind === null ? null : { kind: actorKind, id: actorId },
    target: targetKind === null ? null : { kind: targetKind, id: targetId },
    clientId,
    address,
    userAgent,
    requestId,
    decisionId,
    detail,
    seal: position === null ? null : { position, hash },
  }
}
