// Taking unused scopes from a client. What would go is shown, and exactly that is sent: what was used meanwhile stays.
import { refuseBeyondScopes } from '#src/admin/bounds.ts'
import { findUnusedScopes, shrink } from '#src/checkup/shrink.ts'
import { findClient } from '#src/clients/clients.ts'
import { ClientNotFound } from '#src/clients/errors.ts'
import type { ScopeOfClient } from '#src/clients/scopes.ts'
import { template } from '#src/http/render.ts'
import { textOf } from '../lists.ts'
import { type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'

export type ShrinkPage = {
  client: string
  scopes: readonly (ScopeOfClient & { value: string })[]
  /** Nothing of what was sent could be removed. */
  kept: boolean
}

const page = template<ShrinkPage>('admin/console/checkup-shrink')

export function shrinkPage({ database, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/checkup/shrink',
    section: 'checkup',
    scope: 'checkup:read',
    writes: 'clients:write',
    sensitive: true,
    repeatable: ['scope'],
    show: (request) => show(request, textOf(request.ctx, 'client'), false),
    async submit(request, form) {
      const clientId = form.get('client') ?? ''
      const scopes = form.all('scope').map((value) => {
        const [api = '', scope = ''] = value.split(' ')
        return { clientId, api, scope }
      })
      await refuseBeyondScopes(request.bounds, scopes)
      const { removed } = await shrink(database, scopes, {}, request.change)
      if (removed.length === 0) return show(request, clientId, true)
      goOn(request.ctx, '/admin/checkup', 'removed')
    },
  }

  async function show(request: ConsoleRequest, client: string, kept: boolean): Promise<void> {
    if (!(await findClient(database.prisma, client))) throw new ClientNotFound(client)
    const { scopes } = await findUnusedScopes(database, request.now, { clientIds: [client] })
    const shown = scopes.map((one) => ({ ...one, value: `${one.api} ${one.scope}` })) // neither has a space
    render(request, page, { client, scopes: shown, kept }, { section: 'checkup', status: kept ? 409 : 200 })
  }
}
