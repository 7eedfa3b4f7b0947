// Everything that is held about the person, as one file (GDPR art. 15 and 20). No secret is in it: of a password or key, that it is there.
import { listApiKeys } from '#src/access/api-keys/reads.ts'
import { listPersonEvents } from '#src/audit/activity.ts'
import { listCredentials } from '#src/factors/credentials.ts'
import { readPhones } from '#src/factors/phone.ts'
import { listRememberedDevices } from '#src/factors/remembered-device.ts'
import { refuseDecision } from '#src/http/decision.ts'
import { template } from '#src/http/render.ts'
import { listImpersonations } from '#src/impersonation/list.ts'
import { listApplications } from '#src/tokens/applications.ts'
import { listSessions } from '#src/tokens/sessions.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { describeUser } from '#src/users/users.ts'
import { type AccountDeps, type AccountPage, type AccountRequest, renderAccount } from './page.ts'

const data = template<Record<string, never>>('account/data')

/** The newest; older ones stay in the record, which an administrator can read. */
const mostEvents = 10_000

export function dataPage(deps: AccountDeps): AccountPage {
  const { config, database, secretKeys, renderer, remembered } = deps
  const { prisma } = database
  return {
    path: '/account/data',
    section: 'data',
    sensitive: true,

    async show(request) {
      renderAccount(renderer, request, data, {}, { section: 'data' })
    },

    async submit(request, form) {
      if (form.get('decision') !== 'download') refuseDecision()
      const { ctx, person } = request
      currentUnit().audit({
        event: 'user.data_exported',
        outcome: 'success',
        actor: { kind: 'user', id: person.id },
        target: { kind: 'user', id: person.id },
      })
      ctx.body = JSON.stringify(await collect(request), null, 2)
      ctx.type = 'application/json; charset=utf-8'
      ctx.set('Content-Disposition', 'attachment; filename="account-data.json"')
      ctx.set('Cache-Control', 'no-store')
    },
  }

  async function collect({ person, now }: AccountRequest): Promise<object> {
    const userId = person.id
    const [credentials, phones, rememberedBrowsers, sessions, applications, apiKeys, activity, impersonations] =
      await Promise.all([
        listCredentials(prisma, userId),
        readPhones(prisma, secretKeys, userId),
        listRememberedDevices(prisma, { userId, days: remembered.days, now }),
        listSessions(prisma, { userId, idleSeconds: config.sessionIdleTtlSeconds, now }),
        listApplications(prisma, userId, now),
        listApiKeys(prisma, { owner: { userId } }, now),
        listPersonEvents(prisma, userId, { skip: 0, limit: mostEvents }),
        listImpersonations(prisma, userId, now, mostEvents),
      ])
    return {
      issuer: config.issuerUrl,
      exportedAt: now,
      profile: describeUser(person),
      credentials,
      rememberedBrowsers: rememberedBrowsers.map(({ id: _, ...browser }) => browser),
      phones,
      sessions: sessions.map(({ uid: _, acr: __, ...session }) => session),
      impersonations,
      applications,
      apiKeys: apiKeys.map(({ id: _, owner: __, ...key }) => key),
      activity,
    }
  }
}
