// The last form of all. The account is off at once and gone after the days of grace.
import { LastOwner } from '#src/access/roles.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { formatDay } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { requestDeletion } from '#src/users/deletion.ts'
import { type AccountDeps, type AccountPage, type AccountRequest, changeBy, goOn, renderAccount } from './page.ts'

export type DeletionPage = {
  email: string
  days: number
  day: string
  error: string | undefined
  problem: string | undefined
}

const deletion = template<DeletionPage>('account/deletion')

export function deletionPage({ config, database: { prisma }, renderer }: AccountDeps): AccountPage {
  return {
    path: '/account/data/deletion',
    section: 'data',
    sensitive: true,

    async show(request) {
      render(request, {}, 200)
    },

    async submit(request, form) {
      if (form.get('confirm') !== 'yes') return render(request, { error: 'account.deletion.error.confirm' }, 422)
      const { accountDeletionGraceDays: graceDays } = config
      try {
        await requestDeletion(prisma, { userId: request.person.id, graceDays }, changeBy(request))
      } catch (error) {
        if (error instanceof LastOwner) return render(request, { problem: 'account.deletion.error.lastOwner' }, 409)
        throw error
      }
      goOn(request.ctx, '/account/deleted')
    },
  }

  function render(request: AccountRequest, wrong: { error?: MessageKey; problem?: MessageKey }, status: number): void {
    const { person, words, now } = request
    const { accountDeletionGraceDays: graceDays } = config
    renderAccount(
      renderer,
      request,
      deletion,
      {
        email: person.email,
        days: graceDays,
        day: formatDay(words, new Date(now.getTime() + graceDays * 86_400_000), person.zoneinfo),
        error: wrong.error && words.t(wrong.error),
        problem: wrong.problem && words.t(wrong.problem),
      },
      { section: 'data', status },
    )
  }
}
