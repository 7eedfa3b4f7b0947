// The ways this person can prove who they are, and where each is changed.
import { findPasswordDate } from '#src/factors/password.ts'
import { template } from '#src/http/render.ts'
import { type AccountDeps, type AccountPage, renderAccount } from './page.ts'
import { type Moment, moment } from './words.ts'

export type SecurityPage = { password: Moment | undefined }

const security = template<SecurityPage>('account/security')

export function securityPage({ database: { prisma }, renderer }: AccountDeps): AccountPage {
  return {
    path: '/account/security',
    section: 'security',
    async show(request) {
      const { person, words, now } = request
      const changedAt = await findPasswordDate(prisma, person.id)
      const password = changedAt && moment(words, changedAt, now, person.zoneinfo)
      renderAccount(renderer, request, security, { password }, { section: 'security' })
    },
  }
}
