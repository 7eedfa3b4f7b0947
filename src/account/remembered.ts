// The browsers in which the person is not asked for the second step, and forgetting them. No fresh sign-in is asked for: it only makes the
// next sign-in harder, and whoever finds a stranger's browser in the list should not have to look for their password first.
import { type Device, nameBrowser } from '#src/browser-name.ts'
import { forgetRememberedDevices, listRememberedDevices } from '#src/factors/remembered-device.ts'
import { refuseDecision } from '#src/http/decision.ts'
import { formatDay, type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { type AccountDeps, type AccountPage, changeBy, goOn, renderAccount } from './page.ts'

export type RememberedPage = {
  browsers: readonly {
    id: string
    device: Device
    address: string | undefined
    /** Days. */
    since: string
    until: string
    lastUsed: Moment
    current: boolean
  }[]
}

const rememberedBrowsers = template<RememberedPage>('account/browsers')
const path = '/account/security/browsers'

export function rememberedPage({ database: { prisma }, renderer, remembered }: AccountDeps): AccountPage {
  return {
    path,
    section: 'security',

    async show(request) {
      const { ctx, person, words, now } = request
      const [found, current] = await Promise.all([
        listRememberedDevices(prisma, { userId: person.id, days: remembered.days, now }),
        remembered.find(ctx, person.id),
      ])
      const browsers = found.map(({ id, userAgent, address, createdAt, lastUsedAt, expiresAt }) => ({
        id,
        device: nameBrowser(words, userAgent),
        address: address ?? undefined,
        since: formatDay(words, createdAt, person.zoneinfo),
        until: formatDay(words, expiresAt, person.zoneinfo),
        lastUsed: moment(words, lastUsedAt ?? createdAt, now, person.zoneinfo),
        current: id === current,
      }))
      renderAccount(renderer, request, rememberedBrowsers, { browsers }, { section: 'security' })
    },

    async submit(request, form) {
      const { ctx, person } = request
      const userId = person.id
      const decision = form.get('decision')
      if (decision !== 'forget' && decision !== 'forget-all') refuseDecision()
      const which = decision === 'forget' ? { userId, id: form.get('id') ?? '' } : { userId }
      // One that is gone already, or was never theirs, is not remembered either way.
      await forgetRememberedDevices(prisma, which, changeBy(request))
      goOn(ctx, path, 'forgotten')
    },
  }
}
