// Adding a passkey. Only a script can speak to an authenticator, so what travels is JSON: first the options, then the answer.
import { z } from 'zod'
import { nameBrowser } from '#src/browser-name.ts'
import { atomically } from '#src/db/transaction.ts'
import type { LetIn } from '#src/factors/credentials.ts'
import { type Ceremony, enrolPasskey, offerEnrolment } from '#src/factors/passkey.ts'
import { findStanding } from '#src/factors/second-factors.ts'
import { HttpError } from '#src/http/http-error.ts'
import { template } from '#src/http/render.ts'
import { allowFetch } from '#src/http/security-headers.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { type AccountDeps, type AccountPage, type AccountRequest, changeBy, notify, renderAccount } from './page.ts'

export type PasskeyPage = { passkey: { address: string; does: 'create'; primary: true } }

const passkey = template<PasskeyPage>('account/passkey')
const path = '/account/security/passkeys'

export function passkeyPage(deps: AccountDeps): AccountPage {
  const { database, relyingParty, renderer } = deps
  return {
    path,
    section: 'security',
    sensitive: true,

    async show(request) {
      allowFetch(request.ctx)
      const part = { address: path, does: 'create', primary: true } as const
      renderAccount(renderer, request, passkey, { passkey: part }, { section: 'security' })
    },

    json: {
      shape: z.strictObject({ csrf: z.string(), response: z.looseObject({}) }),
      async submit(request, { response }) {
        const { ctx, person, words } = request
        const name = nameBrowser(words, ctx.get('User-Agent')).name
        const before = await findStanding(database.prisma, person.id)
        const added = await atomically(database.prisma, async (tx) => {
          const key = await enrolPasskey(tx, relyingParty, ceremonyOf(request), { response, name }, changeBy(request))
          if (key) await notify(deps, tx, request, 'factorAdded')
          return key
        })
        if (!added) throw refuse(request)
        const next =
          before?.recoveryCodes === 0
            ? '/account/security/recovery-codes?done=first'
            : `/account/security/factors/${added.id}?done=factor`
        ctx.set('Cache-Control', 'no-store')
        ctx.body = { next }
      },
    },
  }
}

export function passkeyOptions({ database, relyingParty }: AccountDeps): AccountPage {
  return {
    path: `${path}/options`,
    section: 'security',
    sensitive: true,
    json: {
      shape: z.strictObject({ csrf: z.string() }),
      async submit(request) {
        const { ctx, person, now } = request
        ctx.set('Cache-Control', 'no-store')
        ctx.body = await offerEnrolment(database.prisma, relyingParty, ceremonyOf(request), person, now)
      },
    },
  }
}

/** A challenge is good in the session that asked for it. */
function ceremonyOf({ person, visitor, generation }: AccountRequest): Ceremony & LetIn {
  return { purpose: 'enrolment', flow: `account ${visitor.sessionUid}`, userId: person.id, generation }
}

function refuse({ person }: AccountRequest): HttpError {
  currentUnit().audit({
    event: 'factor.failed',
    outcome: 'failure',
    actor: { kind: 'user', id: person.id },
    detail: { factor: 'passkey', reason: 'enrolment' },
  })
  return new HttpError({
    status: 422,
    error: 'passkey_refused',
    description: 'This passkey was not accepted. Ask for new options and try again.',
  })
}
