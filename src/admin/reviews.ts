// What the admin API and the console do alike with access reviews: who may revoke a line, and the file. Revoking needs what the ordinary way
// of taking it away needs, beside reviews:write: whoever may judge is not thereby somebody who may change people, clients and keys.
import { Readable } from 'node:stream'
import type { Context } from 'koa'
import type { Change } from '#src/audit/change.ts'
import { findClient } from '#src/clients/clients.ts'
import { clientSettings } from '#src/clients/settings.ts'
import type { Config } from '#src/config.ts'
import type { Database, Db } from '#src/db/database.ts'
import { requestOf } from '#src/http/request-context.ts'
import { writeReview } from '#src/review/export.ts'
import { findReview, type LineRecord } from '#src/review/reviews.ts'
import type { LineKind } from '#src/review/snapshot.ts'
import { type Bounds, refuseBeyond, refuseBeyondClient, refuseBeyondPerson } from './bounds.ts'

/** What the ordinary way of taking it away asks for. */
const scopeToRevoke: Record<LineKind, string> = {
  person_role: 'users:write',
  person_factor: 'users:write',
  client_role: 'clients:write',
  client_api: 'clients:write',
  api_key: 'keys:write',
}

/** Nobody weakens somebody who may do more than they. @throws HttpError 403 with the scope that is lacking */
export async function refuseBeyondLine(bounds: Bounds, db: Db, { kind, subjectId, detail }: LineRecord): Promise<void> {
  await refuseBeyond(bounds, [scopeToRevoke[kind as LineKind]])
  if (kind === 'person_role' || kind === 'person_factor') await refuseBeyondPerson(bounds, db, subjectId)
  else if (kind === 'api_key') {
    const { apis = {} } = detail as { apis?: Record<string, string[]> }
    await refuseBeyond(bounds, apis[bounds.doors.api().identifier] ?? [])
  } else {
    const client = await findClient(db, subjectId)
    if (client) await refuseBeyondClient(bounds, db, clientSettings(client))
  }
}

/** Names the file and its type in the answer. @returns the body. @throws ReviewNotFound */
export async function exportReview(
  { database, config }: { database: Database; config: Pick<Config, 'issuerUrl'> },
  { ctx, db, change }: { ctx: Context; db: Db; change: Change },
  id: string,
): Promise<Readable> {
  await findReview(db, id)
  const { log } = requestOf(ctx)
  const body = Readable.from(writeReview(database, id, config.issuerUrl, change), { objectMode: false })
  // The status has left by then: what breaks is told by an answer without its end.
  body.on('error', (err) => log.error({ event: 'access_review.export_failed', err }))
  ctx.type = 'application/jsonl; charset=utf-8'
  ctx.attachment(`access-review-${id}.jsonl`)
  return body
}
