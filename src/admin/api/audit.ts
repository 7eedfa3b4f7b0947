// /api/v1/audit: the record of what happened (docs/audit.md), its export, and searches that somebody keeps.
import { z } from 'zod'
import { exportAudit, exportTypes } from '#src/admin/audit-export.ts'
import type { Caller } from '#src/admin/guard.ts'
import { exportFormats } from '#src/audit/export.ts'
import { searchAudit } from '#src/audit/find.ts'
import { describeRecord, readSearch, type SearchParameters, UnknownSearch } from '#src/audit/search.ts'
import { createView, deleteView, describeView, listViews, type ViewOwner } from '#src/audit/views.ts'
import { badQuery, listOf, pageOf } from './page.ts'
import { type AdminApiDeps, type AdminRoute, deleted, file, instant, route } from './route.ts'

export function auditRoutes({ database, secretKeys, config }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /audit', {
      scope: 'audit:read',
      name: 'searchAudit',
      summary: 'Look up what happened, the newest first',
      query: pageOf(parameters),
      answer: listOf(record),
      async handle({ query: { after, limit, ...asked } }) {
        const { records, next } = await searchAudit(database, readAsked(asked), { after, limit }).catch(askedBadly)
        return { data: records.map(describeRecord), next }
      },
    }),

    route('get /audit/export', {
      scope: 'audit:read',
      sensitive: true,
      name: 'exportAudit',
      summary: 'Export a stretch of the record that proves itself, or a table for a spreadsheet',
      query: z.strictObject({
        format: z.enum(exportFormats, `format must be one of ${exportFormats.join(', ')}.`).default('jsonl'),
        from: parameters.from,
        to: parameters.to,
      }),
      answer: file,
      files: Object.values(exportTypes),
      secret: true,
      async handle({ ctx, db, query: { format, ...asked }, change }) {
        const { from, to } = readAsked(asked)
        return exportAudit({ database, secretKeys, config }, { ctx, db, change }, { format, from, to })
      },
    }),

    route('get /audit/views', {
      scope: 'audit:read',
      name: 'listAuditViews',
      summary: 'List the searches that you keep',
      answer: z.strictObject({ data: z.array(view) }),
      handle: async ({ db, caller }) => ({ data: (await listViews(db, ownerOf(caller))).map(describeView) }),
    }),

    route('post /audit/views', {
      scope: 'audit:read',
      sensitive: false,
      name: 'createAuditView',
      summary: 'Keep a search under a name',
      body: z.strictObject({ name: text, filter: z.strictObject(parameters) }),
      answer: view,
      status: 201,
      once: true,
      handle: async ({ db, body, caller, change }) => describeView(await createView(db, ownerOf(caller), body, change)),
    }),

    route('delete /audit/views/:id', {
      scope: 'audit:read',
      sensitive: false,
      name: 'deleteAuditView',
      summary: 'Forget a search',
      answer: deleted,
      async handle({ db, id, caller, change }) {
        await deleteView(db, ownerOf(caller), id, change)
        return { id, deleted: true }
      },
    }),
  ]
}

/** Of a key its owner: whoever has the key sees what its owner kept. */
const ownerOf = ({ subject }: Caller): ViewOwner =>
  subject.kind === 'user' ? { userId: subject.id } : { clientId: subject.id }

function readAsked(asked: SearchParameters) {
  try {
    return readSearch(asked)
  } catch (error) {
    return askedBadly(error)
  }
}

/** In an address what is wrong is the question, not an input: 400. */
function askedBadly(error: unknown): never {
  throw error instanceof UnknownSearch ? badQuery(error.message) : error
}

const text = z.string()
const describedAs = (description: string) => text.optional().meta({ description })
const parameters = {
  event: describedAs('Names separated by commas; `login.` means all that begin so.'),
  outcome: describedAs('success or failure'),
  actor: describedAs('Who did it, as in user:4f8c1d3e-…'),
  target: describedAs('To what, as in client:shop-web'),
  client: describedAs('By way of which client.'),
  address: describedAs('An address, or a network such as 10.0.0.0/8.'),
  request: describedAs('The id of a request.'),
  decision: describedAs('The X-Decision-Id of a refusal.'),
  from: describedAs('A day, or a time with its offset from UTC.'),
  to: describedAs('Not included.'),
}
const entity = z.strictObject({ kind: text, id: text.nullable() }).nullable()
const record = z
  .strictObject({
    id: text,
    at: instant,
    event: text,
    outcome: text,
    actor: entity,
    target: entity,
    clientId: text.nullable(),
    address: text.nullable(),
    userAgent: text.nullable(),
    requestId: text.nullable(),
    decisionId: text.nullable(),
    detail: z.unknown(),
    seal: z
      .strictObject({ position: z.number(), hash: text.nullable() })
      .nullable()
      .meta({ description: 'Its place in the chain; null for the second until it has one.' }),
  })
  .meta({ id: 'AuditRecord' })
const view = z.strictObject({ id: text, name: text, filter: z.unknown(), createdAt: instant }).meta({ id: 'AuditView' })
