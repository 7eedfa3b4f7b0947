// The first page: where everything is, with the one fact of each that people come for.

import { listApiKeys } from '#src/access/api-keys/reads.ts'
import { findPasswordDate } from '#src/factors/password.ts'
import { moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { listApplications } from '#src/tokens/applications.ts'
import { listSessions } from '#src/tokens/sessions.ts'
import { type AccountDeps, type AccountPage, renderAccount } from './page.ts'

export type OverviewPage = {
  name: string
  rows: readonly { href: string; icon: string; title: string; text: string }[]
}

const overview = template<OverviewPage>('account/overview')

export function overviewPage({ config, database: { prisma }, renderer }: AccountDeps): AccountPage {
  return {
    path: '/account',
    section: 'overview',
    async show(request) {
      const { person, words, now } = request
      const { t } = words
      const [sessions, applications, apiKeys, passwordAt] = await Promise.all([
        listSessions(prisma, { userId: person.id, idleSeconds: config.sessionIdleTtlSeconds, now }),
        listApplications(prisma, person.id, now),
        listApiKeys(prisma, { owner: { userId: person.id } }, now),
        findPasswordDate(prisma, person.id),
      ])
      const changed = passwordAt && moment(words, passwordAt, now, person.zoneinfo).ago
      renderAccount(
        renderer,
        request,
        overview,
        {
          name: person.givenName ?? person.name ?? person.email,
          rows: [
            { href: '/account/profile', icon: 'person', title: t('account.profile.title'), text: person.email },
            {
              href: '/account/security',
              icon: 'shield',
              title: t('account.security.title'),
              text: changed ? t('account.password.changed', { when: changed }) : t('account.password.none'),
            },
            {
              href: '/account/sessions',
              icon: 'monitor',
              title: t('account.sessions.title'),
              text: t('account.overview.sessions', { count: sessions.length }),
            },
            {
              href: '/account/applications',
              icon: 'grid',
              title: t('account.applications.title'),
              text: t('account.overview.applications', { count: applications.length }),
            },
            {
              href: '/account/api-keys',
              icon: 'passkey',
              title: t('account.apiKeys.title'),
              text: t('account.overview.apiKeys', { count: apiKeys.filter(({ state }) => state === 'active').length }),
            },
            {
              href: '/account/activity',
              icon: 'clock',
              title: t('account.activity.title'),
              text: t('account.overview.activity'),
            },
            {
              href: '/account/data',
              icon: 'archive',
              title: t('account.data.title'),
              text: t('account.overview.data'),
            },
          ],
        },
        { section: 'overview' },
      )
    },
  }
}
