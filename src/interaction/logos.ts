// The pictures of clients, from our own origin: an address elsewhere would tell its host who signs in and when, before they agreed to
// anything. The name is the hash of the content, so a browser may keep it for good.
import Router from '@koa/router'
import { findLogo } from '#src/clients/logos.ts'
import type { Database } from '#src/db/database.ts'
import { HttpError } from '#src/http/http-error.ts'
import { sandbox } from '#src/http/security-headers.ts'

export function createLogoRouter({ database }: { database: Pick<Database, 'prisma'> }): Router {
  const router = new Router()
  router.get('/logos/:name', async (ctx) => {
    const name = String(ctx.params.name)
    const logo = await findLogo(database.prisma, name)
    if (!logo) throw new HttpError({ status: 404, error: 'not_found', description: 'There is no such picture.' })
    sandbox(ctx)
    ctx.type = logo.type
    ctx.set('Cache-Control', 'public, max-age=31536000, immutable')
    ctx.set('ETag', `"${name}"`)
    ctx.status = 200
    if (ctx.fresh) ctx.status = 304
    else ctx.body = Buffer.from(logo.body)
  })
  return router
}
