// New recovery codes, shown once, in the answer that made them. They stand in for a second factor, so who has none gets none.
import { atomically } from '#src/db/transaction.ts'
import { replaceRecoveryCodes } from '#src/factors/recovery-code.ts'
import { findStanding, hasSecondFactor } from '#src/factors/second-factors.ts'
import { refuseDecision } from '#src/http/decision.ts'
import { template } from '#src/http/render.ts'
import { type AccountDeps, type AccountPage, changeBy, goOn, notify, renderAccount } from './page.ts'

export type RecoveryCodesPage = {
  left: number
  /** Those that were just made. */
  codes: readonly string[]
}

const recoveryCodes = template<RecoveryCodesPage>('account/recovery-codes')

export function recoveryCodesPage(deps: AccountDeps): AccountPage {
  const { database, renderer } = deps
  return {
    path: '/account/security/recovery-codes',
    section: 'security',
    sensitive: true,

    async show(request) {
      const standing = await findStanding(database.prisma, request.person.id)
      if (!standing || !hasSecondFactor(standing)) return goOn(request.ctx, '/account/security')
      const page = { left: standing.recoveryCodes, codes: [] }
      renderAccount(renderer, request, recoveryCodes, page, { section: 'security' })
    },

    async submit(request, form) {
      if (form.get('decision') !== 'create') refuseDecision()
      const { ctx, person } = request
      const codes = await atomically(database.prisma, async (tx) => {
        const standing = await findStanding(tx, person.id)
        if (!standing || !hasSecondFactor(standing)) return undefined
        await notify(deps, tx, request, 'recoveryCodes')
        return replaceRecoveryCodes(tx, person.id, changeBy(request))
      })
      if (!codes) return goOn(ctx, '/account/security')
      renderAccount(renderer, request, recoveryCodes, { left: codes.length, codes }, { section: 'security' })
    },
  }
}
