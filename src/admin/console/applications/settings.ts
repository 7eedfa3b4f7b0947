// Changing an application. Of two administrators at one form the second hears that it changed meanwhile.
import { refuseBeyondClient } from '#src/admin/bounds.ts'
import { patchClient } from '#src/clients/editing.ts'
import { type ClientRecord, clientSettings, describeClient } from '#src/clients/settings.ts'
import { fingerprint } from '#src/editing.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'
import { inputOf, type Offers, offersOf, patchOf, readSettings, repeatable, type SettingsInput } from './form.ts'
import { type ApplicationHead, headOf, hrefOf, readApplication, typeOf } from './read.ts'

export type ApplicationSettingsPage = ApplicationHead & {
  /** What the editor saw. */
  seen: string
  input: SettingsInput
  offers: Offers
  flaws: readonly Flaw[]
}

const page = template<ApplicationSettingsPage>('admin/console/application-settings')

export function applicationSettingsPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/applications/:id/settings',
    section: 'applications',
    scope: 'clients:read',
    writes: 'clients:write',
    sensitive: true,
    repeatable,

    async show(request) {
      const record = await readApplication(prisma, request)
      const seen = fingerprint(describeClient(record))
      await show(request, record, { input: inputOf(record), seen, flaws: [] }, 200)
    },

    async submit(request, form) {
      const { bounds, change, ctx } = request
      const record = await readApplication(prisma, request)
      const input = readSettings(form)
      const patch = patchOf(input, record)
      const seen = form.get('seen') ?? ''
      await refuseBeyondClient(bounds, prisma, clientSettings(record))
      await refuseBeyondClient(bounds, prisma, { apis: patch.apis ?? {}, roles: patch.roles ?? [] })
      const result = await attempt(() => patchClient(prisma, record.id, patch, change, seen))
      if (!result.ok) return show(request, record, { input, seen, flaws: result.flaws }, result.status)
      goOn(ctx, hrefOf(record.id), 'saved')
    },
  }

  async function show(
    request: ConsoleRequest,
    record: ClientRecord,
    shown: Pick<ApplicationSettingsPage, 'input' | 'seen' | 'flaws'>,
    status: number,
  ): Promise<void> {
    const offers = await offersOf(prisma, request, typeOf(record), shown.input)
    render(
      request,
      page,
      { ...headOf(request, record, 'settings'), ...shown, offers },
      { section: 'applications', status },
    )
  }
}
