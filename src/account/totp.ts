// Adding an authenticator app: a seed in a picture, and a first code that shows it arrived. The seed of a set-up under way travels with
// the page, sealed for this session and for half an hour; nothing is stored before the code was right.
import { atomically } from '#src/db/transaction.ts'
import { findStanding } from '#src/factors/second-factors.ts'
import { confirmTotp, createSeed, qrCode, totpUri } from '#src/factors/totp.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import { SealBroken } from '#src/keys/secret-key.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import {
  type AccountDeps,
  type AccountPage,
  type AccountRequest,
  changeBy,
  goOn,
  notify,
  renderAccount,
} from './page.ts'

export type TotpPage = {
  setup: string
  qr: string
  seed: string
  uri: string
  error: string | undefined
}

const totp = template<TotpPage>('account/totp')
const path = '/account/security/totp'
const setupSeconds = 1800

export function totpPage(deps: AccountDeps): AccountPage {
  const { database, secretKeys, relyingParty, renderer } = deps
  return {
    path,
    section: 'security',
    sensitive: true,

    async show(request) {
      render(request, createSeed(), 200)
    },

    async submit(request, form) {
      const { ctx, person, words } = request
      const seed = readSetup(deps, request, form.get('setup'))
      // Too old, or of another session: from the beginning, with a new picture.
      if (seed === undefined) return goOn(ctx, path)
      const code = form.get('code')?.trim() ?? ''
      if (code === '') return render(request, seed, 422, 'secondFactor.error.missing')
      const name = words.t('enrolment.totp.name')
      const before = await findStanding(database.prisma, person.id)
      const factor = await atomically(database.prisma, async (tx) => {
        const found = await confirmTotp(
          tx,
          secretKeys,
          { userId: person.id, generation: request.generation, seed, code, name },
          changeBy(request),
        )
        if (found?.added) await notify(deps, tx, request, 'factorAdded')
        return found
      })
      if (!factor) {
        currentUnit().audit({
          event: 'factor.failed',
          outcome: 'failure',
          actor: { kind: 'user', id: person.id },
          detail: { factor: 'totp', reason: 'enrolment' },
        })
        return render(request, seed, 422, 'enrolment.totp.error')
      }
      if (before?.recoveryCodes === 0) return goOn(ctx, '/account/security/recovery-codes', 'first')
      goOn(ctx, `/account/security/factors/${factor.id}`, 'factor')
    },
  }

  function render(request: AccountRequest, seed: string, status: number, wrong?: MessageKey): void {
    const { visitor, person, words, now } = request
    const setup = secretKeys.seal(
      'account-totp',
      visitor.sessionUid,
      JSON.stringify({ seed, at: Math.floor(now.getTime() / 1000) }),
    )
    renderAccount(
      renderer,
      request,
      totp,
      {
        setup,
        qr: `${path}/qr.svg?${new URLSearchParams({ setup })}`,
        seed: seed.replace(/.{4}(?=.)/g, '$& '),
        uri: totpUri(seed, { issuer: relyingParty.name, account: person.email }),
        error: wrong && words.t(wrong),
      },
      { section: 'security', status },
    )
  }
}

/** As an image of its own: the policy of the pages takes none that is written into them. */
export function totpQrCode(deps: AccountDeps): AccountPage {
  return {
    path: `${path}/qr.svg`,
    section: 'security',
    sensitive: true,
    async show(request) {
      const { ctx, person } = request
      const seed = readSetup(deps, request, ctx.query.setup)
      if (seed === undefined) return
      ctx.type = 'image/svg+xml'
      ctx.set('Cache-Control', 'no-store')
      ctx.body = qrCode(totpUri(seed, { issuer: deps.relyingParty.name, account: person.email }))
    },
  }
}

function readSetup({ secretKeys }: AccountDeps, { visitor, now }: AccountRequest, sealed: unknown): string | undefined {
  if (typeof sealed !== 'string' || sealed.length > 400) return undefined
  try {
    const { seed, at } = JSON.parse(secretKeys.unseal('account-totp', visitor.sessionUid, sealed).toString())
    return at + setupSeconds > now.getTime() / 1000 ? seed : undefined
  } catch (error) {
    if (error instanceof SealBroken) return undefined
    throw error
  }
}
