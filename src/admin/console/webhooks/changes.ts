// A test, a new secret, and deleting a webhook: each says first what happens.
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { testEndpoint } from '#src/webhooks/deliveries.ts'
import { deleteEndpoint, findEndpoint, rotateEndpointSecret, usualOverlapHours } from '#src/webhooks/endpoints.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'
import { shownOnce } from '../shown-once.ts'
import { webhooksPath } from './list.ts'

export type WebhookChangePage = {
  back: { href: string; label: string }
  what: 'test' | 'rotate' | 'delete'
  url: string
  /** Asked for a rotation. */
  hours: string
  flaws: readonly Flaw[]
}

const page = template<WebhookChangePage>('admin/console/webhook-change')

export function webhookChanges(deps: PageDeps): ConsolePage[] {
  const { prisma } = deps.database
  const idOf = ({ ctx }: ConsoleRequest) => String(ctx.params.id)
  return [
    changePage(deps, 'test', async (request) => {
      const { id } = await testEndpoint(prisma, idOf(request), request.change)
      goOn(request.ctx, `${webhooksPath}/${idOf(request)}/deliveries/${id}`, 'sent')
    }),
    changePage(deps, 'rotate', async (request, hours) => {
      const overlapHours = /^\d{1,4}$/.test(hours) ? Number(hours) : Number.NaN
      const { secret } = await rotateEndpointSecret(
        prisma,
        idOf(request),
        { overlapHours },
        deps.secretKeys,
        request.change,
      )
      const title = request.words.t('console.webhooks.rotated')
      const shown = { title, value: secret, note: undefined, href: `${webhooksPath}/${idOf(request)}` }
      deps.render(request, shownOnce, shown, { section: 'webhooks' })
    }),
    changePage(deps, 'delete', async (request) => {
      await deleteEndpoint(prisma, idOf(request), request.change)
      goOn(request.ctx, webhooksPath, 'deleted')
    }),
  ]
}

function changePage(
  { database: { prisma }, render }: PageDeps,
  what: WebhookChangePage['what'],
  run: (request: ConsoleRequest, hours: string) => Promise<void>,
): ConsolePage {
  return {
    path: `${webhooksPath}/:id/${what}`,
    section: 'webhooks',
    scope: 'webhooks:write',
    sensitive: what !== 'test',
    show: (request) => show(request, String(usualOverlapHours), [], 200),
    async submit(request, form) {
      const hours = form.get('hours')?.trim() ?? ''
      const result = await attempt(() => run(request, hours))
      if (!result.ok) await show(request, hours, result.flaws, result.status)
    },
  }

  async function show(request: ConsoleRequest, hours: string, flaws: readonly Flaw[], status: number): Promise<void> {
    const { id, url } = await findEndpoint(prisma, String(request.ctx.params.id))
    const back = { href: `${webhooksPath}/${id}`, label: request.words.t('console.webhooks.webhook') }
    render(request, page, { back, what, url, hours, flaws }, { section: 'webhooks', status })
  }
}
