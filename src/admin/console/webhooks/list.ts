// Where events are told.
import type { MessageKey } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import { describeEndpoint, listEndpoints } from '#src/webhooks/endpoints.ts'
import type { ConsolePage, PageDeps } from '../page.ts'

export type WebhooksPage = {
  webhooks: readonly {
    href: string
    url: string
    description: string
    types: readonly string[]
    state: string
    badge: string
  }[]
}

const page = template<WebhooksPage>('admin/console/webhooks')
export const webhooksPath = '/admin/webhooks'

export const stateWords = {
  enabled: { word: 'console.webhooks.enabled', badge: 'badge-good' },
  failing: { word: 'console.webhooks.failing', badge: 'badge-warn' },
  disabled: { word: 'console.webhooks.disabled', badge: 'badge-bad' },
} as const satisfies Record<ReturnType<typeof describeEndpoint>['state'], { word: MessageKey; badge: string }>

export function webhooksPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: webhooksPath,
    section: 'webhooks',
    scope: 'webhooks:read',
    async show(request) {
      const webhooks = (await listEndpoints(prisma)).map((record) => {
        const { id, url, description, types, state } = describeEndpoint(record, request.now)
        const { word, badge } = stateWords[state]
        return { href: `${webhooksPath}/${id}`, url, description, types, state: request.words.t(word), badge }
      })
      render(request, page, { webhooks }, { section: 'webhooks' })
    },
  }
}
