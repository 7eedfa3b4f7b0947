// GET /d/:decisionId: the receipt behind an X-Decision-Id. A browser without a session is sent to sign in; a program without a credential
// hears 401; whoever may not read it hears 404, exactly as for one that never was.
//
//   operators       the permission audit:read, as a person (session or token) or as a client
//   the client      its own refusals, by its secret, a token or a key of its own
import type { Context } from 'koa'
import { describeReceipt, findReceipt, ReceiptNotFound } from '#src/access/receipts.ts'
import { permissionsOf } from '#src/access/roles.ts'
import type { Database } from '#src/db/database.ts'
import { HttpError } from '#src/http/http-error.ts'
import { type Renderer, template } from '#src/http/render.ts'
import type { TwoDoors } from '#src/oauth/two-doors.ts'
import type { Visitors } from '#src/oauth/visitors.ts'

export type ReceiptDeps = { database: Database; doors: TwoDoors; visitors: Visitors; renderer: Renderer }

type ReceiptView = { receipt: Omit<ReturnType<typeof describeReceipt>, 'at'> & { at: string } }
const receiptPage = template<ReceiptView>('gate/receipt')

const operators = 'audit:read'

export async function showReceipt(deps: ReceiptDeps, ctx: Context): Promise<void> {
  const { database, doors, visitors, renderer } = deps
  const { prisma } = database
  ctx.set('Cache-Control', 'no-store')
  if (ctx.accepts('json', 'html') === 'html' && !ctx.get('Authorization') && !ctx.get('X-API-Key')) {
    const visitor = await visitors.enter(ctx)
    if (!visitor) return
    if (visitor.acting) throw notFound()
    if (!(await permissionsOf(prisma, visitor.userId, doors.api().identifier)).has(operators)) throw notFound()
    const { at, ...receipt } = describeReceipt(await found(findReceipt(prisma, ctx.params.id)))
    renderer.renderPage(ctx, receiptPage, { receipt: { ...receipt, at: at.toISOString() } })
    return
  }
  const { subject } = await doors.enter(ctx, { scopes: [] })
  const isOperator = (await doors.scopesOf(subject)).has(operators)
  const own = subject.kind === 'client' ? subject.id : undefined
  if (!isOperator && own === undefined) throw notFound()
  ctx.body = describeReceipt(await found(findReceipt(prisma, ctx.params.id, isOperator ? {} : { clientId: own })))
}

function found<T>(receipt: Promise<T>): Promise<T> {
  return receipt.catch((error: unknown) => {
    throw error instanceof ReceiptNotFound ? notFound() : error
  })
}

function notFound(): HttpError {
  return new HttpError({ status: 404, error: 'not_found', description: 'There is no such receipt for you.' })
}
