// One second factor of the person: what it is called, when it was used, taking it away. Adding one is passkeys.ts, totp.ts and phone.ts;
// a device for approval is added by the operator's app (admin/api/push.ts).
import { atomically } from '#src/db/transaction.ts'
import { type FactorSummary, listFactors, removeFactor, renameFactor } from '#src/factors/second-factors.ts'
import { refuseDecision } from '#src/http/decision.ts'
import { HttpError } from '#src/http/http-error.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { checkText } from '#src/refusal.ts'
import {
  type AccountDeps,
  type AccountPage,
  type AccountRequest,
  changeBy,
  goOn,
  notify,
  renderAccount,
} from './page.ts'

export type FactorPage = {
  kind: string
  name: string
  added: Moment
  lastUsed: Moment | undefined
  /** Without it a password alone is enough. */
  last: boolean
  error: string | undefined
}

const factor = template<FactorPage>('account/factor')
const longestName = 64

export function factorPage(deps: AccountDeps): AccountPage {
  const { database, renderer } = deps
  return {
    path: '/account/security/factors/:id',
    section: 'security',
    sensitive: true,

    async show(request) {
      await render(request)
    },

    async submit(request, form) {
      const { ctx, person } = request
      const id = String(ctx.params.id)
      switch (form.get('decision')) {
        case 'rename': {
          const name = form.get('name')?.trim() ?? ''
          if (checkText('name', name, longestName).length > 0) return render(request, name)
          if (!(await renameFactor(database.prisma, person.id, { id, name }, changeBy(request)))) throw gone()
          return goOn(ctx, ctx.path, 'renamed')
        }
        case 'remove': {
          const removed = await atomically(database.prisma, async (tx) => {
            if (!(await removeFactor(tx, person.id, id, changeBy(request)))) return false
            await notify(deps, tx, request, 'factorRemoved')
            return true
          })
          if (!removed) throw gone()
          return goOn(ctx, '/account/security', 'removed')
        }
        default:
          refuseDecision()
      }
    },
  }

  /** @param wrong a name that cannot be one. */
  async function render(request: AccountRequest, wrong?: string): Promise<void> {
    const { ctx, person, words, now } = request
    const factors = await listFactors(database.prisma, person.id)
    const found = factors.find(({ id }) => id === ctx.params.id)
    if (!found) throw gone()
    renderAccount(
      renderer,
      request,
      factor,
      {
        kind: words.t(kindWords[found.kind], { ending: found.ending }),
        name: wrong ?? found.name,
        added: moment(words, found.createdAt, now, person.zoneinfo),
        lastUsed: found.lastUsedAt ? moment(words, found.lastUsedAt, now, person.zoneinfo) : undefined,
        last: factors.length === 1,
        error: wrong === undefined ? undefined : words.t('account.factors.error.name'),
      },
      { section: 'security', status: wrong === undefined ? 200 : 422 },
    )
  }
}

export const kindWords = {
  passkey: 'account.factors.passkey',
  totp: 'account.factors.totp',
  phone: 'phone.kind',
  push: 'push.kind',
} as const satisfies Record<FactorSummary['kind'], string>

function gone(): HttpError {
  return new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })
}
