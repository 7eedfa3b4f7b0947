// The mailbox of everybody, for whoever tries this server on their own machine: what would have been mailed, while SMTP_URL is not
// set. In production, and on an issuer that others can reach, these addresses do not exist.
import Router from '@koa/router'
import type { Config } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import { HttpError } from '#src/http/http-error.ts'
import { type Renderer, template } from '#src/http/render.ts'
import { allowInlineStyles } from '#src/http/security-headers.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { listMails } from '#src/mail/shown.ts'

export type DevMailPage = { mails: readonly { subject: string; to: string; at: string; text: string; href: string }[] }

const devMailPage = template<DevMailPage>('dev/mail')

export function createDevMailRouter(deps: {
  config: Pick<Config, 'mail' | 'production' | 'issuerUrl'>
  database: Database
  renderer: Renderer
  secretKeys: SecretKeys
}): Router {
  const { config, database, renderer, secretKeys } = deps
  const router = new Router({ prefix: '/dev/mail' })
  if (config.mail !== 'page' || config.production) return router
  const list = (which?: { id: string }) =>
    listMails(database.prisma, { secretKeys, issuerUrl: config.issuerUrl }, which)

  router.get('/', async (ctx) => {
    const mails = (await list()).map(({ id, subject, to, at, text }) => ({
      subject,
      to,
      at: at.toISOString().slice(0, 19).replace('T', ' '),
      text,
      href: `/dev/mail/${id}`,
    }))
    renderer.renderPage(ctx, devMailPage, { mails }, { languageSwitch: true })
  })

  router.get('/:id', async (ctx) => {
    const { id = '' } = ctx.params
    const [mail] = /^[0-9a-f-]{36}$/.test(id) ? await list({ id }) : []
    if (!mail) throw new HttpError({ status: 404, error: 'not_found', description: 'There is no such mail.' })
    allowInlineStyles(ctx)
    ctx.type = 'html'
    ctx.body = mail.html
  })
  return router
}
