// A new webhook, and changing one. The secret of a new one is shown once, in the answer that made it.
import { fingerprint } from '#src/editing.ts'
import type { Form } from '#src/http/form.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { createEndpoint, describeEndpoint, findEndpoint, patchEndpoint } from '#src/webhooks/endpoints.ts'
import { webhookTypes } from '#src/webhooks/types.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'
import { shownOnce } from '../shown-once.ts'
import { webhooksPath } from './list.ts'

export type WebhookFormPage = {
  title: string
  back: { href: string; label: string }
  /** What the editor saw; '' for a new one. */
  seen: string
  input: Input
  /** To choose from. */
  known: readonly string[]
  flaws: readonly Flaw[]
}

/** `types`: one a line. */
type Input = { name: string; url: string; description: string; types: string; enabled: boolean }

const page = template<WebhookFormPage>('admin/console/webhook-form')
const common = { section: 'webhooks', writes: 'webhooks:write', sensitive: true, lines: ['types'] } as const

export function newWebhookPage({ database: { prisma }, config, secretKeys, render }: PageDeps): ConsolePage {
  return {
    ...common,
    path: `${webhooksPath}/new`,
    scope: 'webhooks:write',
    show: async (request) => show(request, { name: '', url: '', description: '', types: '*', enabled: true }, [], 200),
    async submit(request, form) {
      const input = readInput(form)
      const deps = { secretKeys, networks: config.webhookNetworks }
      const result = await attempt(() => createEndpoint(prisma, settingsOf(input), deps, request.change))
      if (!result.ok) return show(request, input, result.flaws, result.status)
      const { record, secret } = result.value
      const title = request.words.t('console.webhooks.made')
      const shown = { title, value: secret, note: undefined, href: `${webhooksPath}/${record.id}` }
      render(request, shownOnce, shown, { section: 'webhooks' })
    },
  }

  function show(request: ConsoleRequest, input: Input, flaws: readonly Flaw[], status: number): void {
    const { t } = request.words
    const back = { href: webhooksPath, label: t('console.webhooks.title') }
    const shown = { title: t('console.webhooks.new'), back, seen: '', input, known: webhookTypes, flaws }
    render(request, page, shown, { section: 'webhooks', status })
  }
}

export function editWebhookPage({ database: { prisma }, config, render }: PageDeps): ConsolePage {
  return {
    ...common,
    path: `${webhooksPath}/:id/edit`,
    scope: 'webhooks:write',
    async show(request) {
      const found = describeEndpoint(await findEndpoint(prisma, String(request.ctx.params.id)), request.now)
      const { name, url, description, types, enabled } = found
      const input = { name, url, description, types: types.join('\n'), enabled }
      show(request, { input, seen: fingerprint(found), flaws: [] }, 200)
    },
    async submit(request, form) {
      const id = String(request.ctx.params.id)
      const input = readInput(form)
      const seen = form.get('seen') ?? ''
      const result = await attempt(() =>
        patchEndpoint(prisma, id, settingsOf(input), config.webhookNetworks, request.change, seen),
      )
      if (!result.ok) return show(request, { input, seen, flaws: result.flaws }, result.status)
      goOn(request.ctx, `${webhooksPath}/${id}`, 'saved')
    },
  }

  function show(
    request: ConsoleRequest,
    { input, seen, flaws }: { input: Input; seen: string; flaws: readonly Flaw[] },
    status: number,
  ): void {
    const { t } = request.words
    const back = { href: `${webhooksPath}/${request.ctx.params.id}`, label: t('console.webhooks.webhook') }
    const shown = { title: t('console.webhooks.edit'), back, seen, input, known: webhookTypes, flaws }
    render(request, page, shown, { section: 'webhooks', status })
  }
}

const readInput = (form: Form): Input => ({
  name: form.get('name')?.trim() ?? '',
  url: form.get('url')?.trim() ?? '',
  description: form.get('description')?.trim() ?? '',
  types: form.get('types') ?? '',
  enabled: form.get('enabled') === 'yes',
})

const settingsOf = ({ name, types, ...input }: Input) => ({
  ...input,
  // Left empty: the host of the address.
  name: name === '' ? undefined : name,
  types: types.split(/\s+/).filter(Boolean),
})
