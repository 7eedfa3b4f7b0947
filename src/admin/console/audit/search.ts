// The record of what happened: looked up with the parameters of the admin API, so that an address here, a kept view and a script say the same.
import { searchAudit } from '#src/audit/find.ts'
import { namesOf } from '#src/audit/names.ts'
import { readChain } from '#src/audit/seal.ts'
import { readSearch, type SearchParameters, searchParameters } from '#src/audit/search.ts'
import { createView, listViews } from '#src/audit/views.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { type Choice, choices, textOf } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'

export type AuditPage = {
  input: Input
  /** One of the filters that are seldom used is. */
  isLong: boolean
  outcomes: readonly Choice[]
  /** The filters of the address as hidden fields of the form that keeps them. */
  filter: readonly (readonly [name: string, value: string])[]
  viewName: string
  views: readonly { name: string; href: string; deletion: string }[]
  records: readonly {
    href: string
    at: Moment
    /** In parts, between which a line may break. */
    event: readonly string[]
    failed: boolean
    actor: Entity | undefined
    target: Entity | undefined
    client: string | undefined
    address: string | null
  }[]
  /** An empty page may have one behind it: a long way is walked in steps. */
  next: string | undefined
  chain: { position: number; signedPosition: number; signedAt: Moment | undefined }
  flaws: readonly Flaw[]
}

type Input = Record<(typeof searchParameters)[number], string>
export type Entity = { kind: string; label: string; href: string }

const page = template<AuditPage>('admin/console/audit')
const perPage = 50

export function auditPage({ database, render }: PageDeps): ConsolePage {
  const { prisma, pool } = database
  return {
    path: '/admin/audit',
    section: 'audit',
    scope: 'audit:read',
    show: (request) =>
      show(
        request,
        inputOf((name) => textOf(request.ctx, name, 2000)),
        { viewName: '', flaws: [] },
        200,
      ),
    // Keeps the search under a name: one's own, so whoever may search may keep.
    async submit(request, form) {
      const input = inputOf((name) => form.get(name) ?? '')
      const name = form.get('name')?.trim() ?? ''
      const filter = filterOf(input)
      const owner = { userId: request.person.id }
      const result = await attempt(() => createView(prisma, owner, { name, filter }, request.change))
      if (!result.ok) return show(request, input, { viewName: name, flaws: result.flaws }, result.status)
      goOn(request.ctx, addressOf(filter), 'saved')
    },
  }

  async function show(
    request: ConsoleRequest,
    input: Input,
    { viewName, flaws }: { viewName: string; flaws: readonly Flaw[] },
    status: number,
  ) {
    const { ctx, words, now, person } = request
    const filter = filterOf(input)
    const after = textOf(ctx, 'after', 60) || undefined
    const found = await attempt(async () => searchAudit(database, readSearch(filter), { after, limit: perPage }))
    const { records, next } = found.ok ? found.value : { records: [], next: null }
    const entityOf = await entities(database, request, records)
    const { position, signedPosition, signedAt } = await readChain(pool)
    const views = await listViews(prisma, { userId: person.id })
    render(
      request,
      page,
      {
        input,
        isLong: [input.client, input.address, input.request, input.decision].some((value) => value !== ''),
        filter: Object.entries(filter),
        viewName,
        outcomes: choices(
          [
            ['success', words.t('console.audit.success')],
            ['failure', words.t('console.audit.failure')],
          ],
          input.outcome,
          words.t('console.any'),
        ),
        views: views.map(({ id, name, filter: kept }) => ({
          name,
          href: addressOf(kept as SearchParameters),
          deletion: `/admin/audit/views/${id}/delete`,
        })),
        records: records.map((record) => ({
          href: `/admin/audit/events/${record.id}`,
          at: moment(words, record.at, now, person.zoneinfo),
          event: record.event.split(/(?<=[._])/),
          failed: record.outcome === 'failure',
          actor: entityOf(record.actorKind, record.actorId),
          target: entityOf(record.targetKind, record.targetId),
          client: record.clientId ?? undefined,
          address: record.address,
        })),
        next: next === null ? undefined : addressOf({ ...filter, after: next }),
        chain: {
          ...{ position, signedPosition },
          signedAt: signedAt ? moment(words, signedAt, now, person.zoneinfo) : undefined,
        },
        flaws: found.ok || flaws.length > 0 ? flaws : found.flaws,
      },
      { section: 'audit', status: found.ok ? status : found.status },
    )
  }
}

const inputOf = (read: (name: string) => string): Input =>
  Object.fromEntries(searchParameters.map((name) => [name, read(name).trim()])) as Input

const filterOf = (input: Input): SearchParameters =>
  Object.fromEntries(Object.entries(input).filter(([, value]) => value !== ''))

export function addressOf(parameters: SearchParameters & { after?: string }): string {
  const query = new URLSearchParams(Object.entries(parameters).filter((pair): pair is [string, string] => !!pair[1]))
  return query.size > 0 ? `/admin/audit?${query}` : '/admin/audit'
}

/** Whom the record names. Addresses of people are for those who may see people. */
export async function entities(
  database: PageDeps['database'],
  { held }: Pick<ConsoleRequest, 'held'>,
  records: Parameters<typeof namesOf>[1],
): Promise<(kind: string | null, id: string | null) => Entity | undefined> {
  const names = await namesOf(database, records)
  return (kind, id) => {
    if (kind === null || id === null) return kind === null ? undefined : { kind, label: kind, href: '' }
    const name = kind === 'user' && !held.has('users:read') ? undefined : names.of(kind, id)
    return { kind, label: name ?? id, href: addressOf({ target: `${kind}:${id}` }) }
  }
}
