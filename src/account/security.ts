// The ways this person can prove who they are, and where each is changed.
import { findPasswordDate } from '#src/factors/password.ts'
import { findStanding, listFactors } from '#src/factors/second-factors.ts'
import { template } from '#src/http/render.ts'
import { kindWords } from './factors.ts'
import { type AccountDeps, type AccountPage, renderAccount } from './page.ts'
import { type Moment, moment } from './words.ts'

export type SecurityPage = {
  password: Moment | undefined
  factors: readonly { href: string; kind: string; icon: string; name: string; lastUsed: string }[]
  /** How many are left; undefined while there is nothing they could stand in for. */
  recoveryCodes: number | undefined
}

const security = template<SecurityPage>('account/security')
const icons = { passkey: 'passkey', totp: 'phone' } as const

export function securityPage({ database: { prisma }, renderer }: AccountDeps): AccountPage {
  return {
    path: '/account/security',
    section: 'security',
    async show(request) {
      const { person, words, now } = request
      const [changedAt, factors, standing] = await Promise.all([
        findPasswordDate(prisma, person.id),
        listFactors(prisma, person.id),
        findStanding(prisma, person.id),
      ])
      renderAccount(
        renderer,
        request,
        security,
        {
          password: changedAt && moment(words, changedAt, now, person.zoneinfo),
          factors: factors.map(({ id, kind, name, createdAt, lastUsedAt }) => ({
            href: `/account/security/factors/${id}`,
            kind: words.t(kindWords[kind]),
            icon: icons[kind],
            name,
            lastUsed: words.t('account.factors.used', {
              when: moment(words, lastUsedAt ?? createdAt, now, person.zoneinfo).ago,
            }),
          })),
          recoveryCodes: factors.length > 0 ? (standing?.recoveryCodes ?? 0) : undefined,
        },
        { section: 'security' },
      )
    },
  }
}
