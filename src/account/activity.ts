// What happened to the account, in words, newest first.
import { listPersonEvents, type PersonEvent } from '#src/audit/activity.ts'
import { nameBrowser } from '#src/browser-name.ts'
import { ownClientId } from '#src/clients/own-client.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { type AccountDeps, type AccountPage, type AccountRequest, renderAccount } from './page.ts'
import { type SupportLine, supportLines } from './support.ts'

export type ActivityLine = {
  what: string
  /** By an administrator, or by the server itself. */
  byOthers: boolean
  where: string
  at: Moment
}
export type ActivityPage = {
  lines: readonly ActivityLine[]
  newer: string | undefined
  older: string | undefined
  support: readonly SupportLine[]
}

const activity = template<ActivityPage>('account/activity')
const perPage = 20
const lastPage = 50

export function activityPage({ database: { prisma }, renderer }: AccountDeps): AccountPage {
  return {
    path: '/account/activity',
    section: 'activity',
    async show(request) {
      const asked = /^[1-9]\d?$/.exec(String(request.ctx.query.page ?? ''))?.[0]
      const page = Math.min(Number(asked ?? 1), lastPage)
      const found = await listPersonEvents(prisma, request.person.id, {
        skip: (page - 1) * perPage,
        limit: perPage + 1,
      })
      const address = (n: number) => (n === 1 ? '/account/activity' : `/account/activity?page=${n}`)
      renderAccount(
        renderer,
        request,
        activity,
        {
          lines: found.slice(0, perPage).map((event) => describe(request, event)),
          newer: page > 1 ? address(page - 1) : undefined,
          support: page === 1 ? await supportLines(prisma, request) : [],
          older: found.length > perPage && page < lastPage ? address(page + 1) : undefined,
        },
        { section: 'activity' },
      )
    },
  }
}

function describe({ words, person, now }: AccountRequest, event: PersonEvent): ActivityLine {
  const { t } = words
  const client = event.clientId === ownClientId ? undefined : (event.clientName ?? event.clientId ?? undefined)
  const parts = [
    client,
    event.byOthers ? undefined : event.userAgent && nameBrowser(words, event.userAgent).name,
    event.byOthers ? undefined : event.address,
  ]
  return {
    what: t(`account.event.${event.event}`),
    byOthers: event.byOthers,
    where: parts.filter(Boolean).join(' · '),
    at: moment(words, event.at, now, person.zoneinfo),
  }
}
