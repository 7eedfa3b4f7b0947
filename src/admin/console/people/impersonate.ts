// Acting as a person for a while, where the server permits it. The form asks for the reason; what follows is a sign-in without a form
// (interaction/become.ts), in which the session of the administrator ends.
import { HttpError } from '#src/http/http-error.ts'
import { template } from '#src/http/render.ts'
import { askToImpersonate, longestReason } from '#src/impersonation/ask.ts'
import { impersonationSeconds } from '#src/impersonation/mark.ts'
import { impersonatePermission } from '#src/impersonation/standing.ts'
import type { Flaw } from '#src/refusal.ts'
import { attempt, type ConsolePage, type ConsoleRequest, type PageDeps } from '../page.ts'
import { readPerson } from './read.ts'

export type ImpersonatePage = {
  other: string
  back: { href: string; label: string }
  minutes: number
  longest: number
  reason: string
  flaws: readonly Flaw[]
}

const page = template<ImpersonatePage>('admin/console/person-impersonate')

export function impersonatePage({ config, database: { prisma }, visitors, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/people/:id/impersonate',
    section: 'people',
    scope: 'users:read',
    writes: impersonatePermission,
    sensitive: true,
    show: (request) => show(request, '', [], 200),

    async submit(request, form) {
      refuseWhenOff()
      const { ctx, visitor, change } = request
      const user = await readPerson(prisma, request)
      const reason = form.get('reason') ?? ''
      const about = { userId: user.id, impersonatorId: visitor.userId, sessionUid: visitor.sessionUid, reason }
      const result = await attempt(() => askToImpersonate(prisma, about, change))
      if (!result.ok) return show(request, reason, result.flaws, result.status)
      visitors.impersonate(ctx, result.value)
    },
  }

  async function show(request: ConsoleRequest, reason: string, flaws: readonly Flaw[], status: number): Promise<void> {
    refuseWhenOff()
    const { id, email } = await readPerson(prisma, request)
    const minutes = impersonationSeconds / 60
    const back = { href: `/admin/people/${id}`, label: email }
    render(
      request,
      page,
      { other: email, back, minutes, longest: longestReason, reason, flaws },
      { section: 'people', status },
    )
  }

  function refuseWhenOff(): void {
    if (config.impersonation !== 'on')
      throw new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })
  }
}
