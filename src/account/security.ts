// The ways this person can prove who they are, and where each is changed.
import { findPasswordDate } from '#src/factors/password.ts'
import { listRememberedDevices } from '#src/factors/remembered-device.ts'
import { findStanding, listFactors } from '#src/factors/second-factors.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { type AttemptLine, findAttempts } from './attempts.ts'
import { kindWords } from './factors.ts'
import { type AccountDeps, type AccountPage, renderAccount } from './page.ts'

export type SecurityPage = {
  password: Moment | undefined
  factors: readonly { href: string; kind: string; icon: string; name: string; lastUsed: string }[]
  /** How many are left; undefined while there is nothing they could stand in for. */
  recoveryCodes: number | undefined
  /** Browsers that are not asked for the second step; undefined: there is nothing to say of them. */
  remembered: number | undefined
  /** Codes can be sent to a phone here. */
  texts: boolean
  attempts: readonly AttemptLine[]
}

const security = template<SecurityPage>('account/security')
const icons = { passkey: 'passkey', totp: 'phone', phone: 'message', push: 'phone' } as const

export function securityPage(deps: AccountDeps): AccountPage {
  const { database, renderer, remembered, outOfBand } = deps
  const { prisma } = database
  return {
    path: '/account/security',
    section: 'security',
    async show(request) {
      const { person, words, now } = request
      const [changedAt, factors, standing, browsers, attempts] = await Promise.all([
        findPasswordDate(prisma, person.id),
        listFactors(prisma, person.id),
        findStanding(prisma, person.id),
        listRememberedDevices(prisma, { userId: person.id, days: remembered.days, now }),
        findAttempts(deps, request),
      ])
      renderAccount(
        renderer,
        request,
        security,
        {
          password: changedAt && moment(words, changedAt, now, person.zoneinfo),
          factors: factors.map(({ id, kind, name, ending, createdAt, lastUsedAt }) => ({
            href: `/account/security/factors/${id}`,
            kind: words.t(kindWords[kind], { ending }),
            icon: icons[kind],
            name,
            lastUsed: words.t('account.factors.used', {
              when: moment(words, lastUsedAt ?? createdAt, now, person.zoneinfo).ago,
            }),
          })),
          recoveryCodes: factors.length > 0 ? (standing?.recoveryCodes ?? 0) : undefined,
          remembered: browsers.length > 0 ? browsers.length : undefined,
          texts: outOfBand !== undefined,
          attempts,
        },
        { section: 'security' },
      )
    },
  }
}
