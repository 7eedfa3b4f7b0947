// The export of the record, as the admin API and the console hand it out: fixed first, noted in the record, then written as it is read.
import { Readable } from 'node:stream'
import type { Context } from 'koa'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import { type ExportFormat, findStretch, writeExport } from '#src/audit/export.ts'
import type { Config } from '#src/config.ts'
import type { Database, Db } from '#src/db/database.ts'
import { HttpError } from '#src/http/http-error.ts'
import { requestOf } from '#src/http/request-context.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { createStatementSigner } from '#src/keys/statement-signer.ts'

export const exportTypes = { jsonl: 'application/jsonl', csv: 'text/csv' } as const satisfies Record<
  ExportFormat,
  string
>

/** Of each process, whoever asks: an export reads the record from one end to the other. */
const exportsAtOnce = 2
let exporting = 0

/** Names the file and its type in the answer. @returns the body. @throws HttpError 404 for a period without events, 503 */
export async function exportAudit(
  { database, secretKeys, config }: { database: Database; secretKeys: SecretKeys; config: Pick<Config, 'issuerUrl'> },
  { ctx, db, change }: { ctx: Context; db: Db; change: Change },
  { format, ...period }: { format: ExportFormat; from?: Date | undefined; to?: Date | undefined },
): Promise<Readable> {
  if (exporting >= exportsAtOnce) throw busy()
  exporting += 1
  try {
    const sign = createStatementSigner(database, secretKeys)
    const chain = { database, sign, issuer: config.issuerUrl }
    const { actor, origin, now } = change
    const stretch = await findStretch(chain, period, now)
    if (!stretch) throw nothingThen()
    const [from, to] = [stretch.start.position + 1, stretch.end.position]
    await recordAudit(db, { event: 'audit.exported', outcome: 'success', actor, detail: { format, from, to } }, origin)
    const { log } = requestOf(ctx)
    const body = Readable.from(writeExport(chain, stretch, { format, now }), { objectMode: false })
    // The status has left by then: what breaks is told by an answer without its end.
    body.on('error', (err) => log.error({ event: 'audit.export_failed', err }))
    body.once('close', () => {
      exporting -= 1
    })
    ctx.type = `${exportTypes[format]}; charset=utf-8`
    ctx.attachment(`audit-${from}-${to}.${format}`)
    return body
  } catch (error) {
    exporting -= 1
    throw error
  }
}

const busy = (): HttpError =>
  new HttpError({
    status: 503,
    error: 'temporarily_unavailable',
    description: 'Other exports are under way. Come back when they are through.',
    headers: { 'Retry-After': '30' },
  })

const nothingThen = (): HttpError =>
  new HttpError({ status: 404, error: 'not_found', description: 'Nothing was recorded in that period.' })
