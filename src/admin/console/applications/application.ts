// One application: what it is, what it may ask for, and whether it is in use. What ends something is a page of its own (endings.ts).

import { refuseBeyondClient } from '#src/admin/bounds.ts'
import { namesOfApis } from '#src/apis/apis.ts'
import { listTargetEvents } from '#src/audit/activity.ts'
import { setClientDisabled } from '#src/clients/clients.ts'
import { type ClientRecord, clientSettings } from '#src/clients/settings.ts'
import { hasSecret, typeRules } from '#src/clients/types.ts'
import { refuseDecision } from '#src/http/decision.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { readApplicationUse } from '#src/tokens/applications.ts'
import { countRevocation } from '#src/tokens/dry-run.ts'
import { type ConsolePage, goOn, type PageDeps } from '../page.ts'
import { duration } from './durations.ts'
import { type ApplicationHead, headOf, hrefOf, readApplication, typeOf } from './read.ts'

export type ApplicationPage = ApplicationHead & {
  signsIn: string
  redirectUris: readonly string[]
  postLogoutRedirectUris: readonly string[]
  scopes: readonly string[]
  apis: readonly { name: string; identifier: string; scopes: readonly string[] }[]
  roles: readonly string[]
  exchanges: boolean
  /** Whether people sign in to it. */
  forPeople: boolean
  secondFactor: boolean
  profile: string
  refreshTtl: string
  refreshIdleTtl: string | undefined
  secrets: { count: number; lastEnd: Moment | undefined } | undefined
  since: Moment
  changed: Moment
  use: { people: number; more: boolean; last: Moment | undefined; accessTokens: number; refreshTokens: number }
  events: readonly { event: string; by: string; at: Moment }[]
}

const page = template<ApplicationPage>('admin/console/application')

export function applicationPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/applications/:id',
    section: 'applications',
    scope: 'clients:read',
    writes: 'clients:write',
    sensitive: true,

    async show(request) {
      const { words, now, person: reader, held } = request
      const record = await readApplication(prisma, request)
      const at = (time: Date): Moment => moment(words, time, now, reader.zoneinfo)
      const type = typeOf(record)
      const settings = clientSettings(record)
      const [use, counts, events, names] = await Promise.all([
        readApplicationUse(prisma, record.id, now),
        countRevocation(prisma, { kind: 'client', id: record.id }),
        held.has('audit:read') ? listTargetEvents(prisma, { kind: 'client', id: record.id }, 8) : [],
        namesOfApis(prisma, Object.keys(settings.apis)),
      ])
      render(
        request,
        page,
        {
          ...headOf(request, record, 'overview'),
          signsIn: words.t(signsIn[type]),
          redirectUris: settings.redirectUris,
          postLogoutRedirectUris: settings.postLogoutRedirectUris,
          scopes: settings.scopes,
          apis: Object.entries(settings.apis).map(([identifier, scopes]) => ({
            name: names.get(identifier) ?? identifier,
            identifier,
            scopes,
          })),
          roles: settings.roles,
          exchanges: settings.grantTypes.some((grant) => grant.endsWith('token-exchange')),
          forPeople: typeRules[type].person,
          secondFactor: settings.secondFactor === 'required',
          profile: settings.profile,
          refreshTtl: duration(words, settings.refreshTokenTtlSeconds),
          refreshIdleTtl:
            settings.refreshTokenIdleTtlSeconds === null
              ? undefined
              : duration(words, settings.refreshTokenIdleTtlSeconds),
          secrets: hasSecret(type) ? secretsOf(record, now, at) : undefined,
          since: at(record.createdAt),
          changed: at(record.updatedAt),
          use: {
            people: use.people,
            more: use.more || counts.more,
            last: use.lastIssuedAt ? at(use.lastIssuedAt) : undefined,
            accessTokens: counts.accessTokens,
            refreshTokens: counts.refreshTokens,
          },
          events: events.map(({ event, actorKind, at: when }) => ({ event, by: actorKind ?? '', at: at(when) })),
        },
        { section: 'applications' },
      )
    },

    async submit(request, form) {
      if (form.get('decision') !== 'enable') refuseDecision()
      const record = await readApplication(prisma, request)
      await refuseBeyondClient(request.bounds, prisma, clientSettings(record))
      await setClientDisabled(prisma, record.id, false, request.change)
      goOn(request.ctx, hrefOf(record.id), 'enabled')
    },
  }
}

const signsIn = {
  web: 'console.applications.how.web',
  spa: 'console.applications.how.spa',
  native: 'console.applications.how.native',
  device: 'console.applications.how.device',
  service: 'console.applications.how.service',
} as const

function secretsOf({ secrets }: ClientRecord, now: Date, at: (time: Date) => Moment): ApplicationPage['secrets'] {
  const good = secrets.filter(({ expiresAt }) => expiresAt === null || expiresAt > now)
  const ends = good.flatMap(({ expiresAt }) => (expiresAt ? [expiresAt] : []))
  const isEnding = good.length > 0 && ends.length === good.length
  const last = ends.sort((a, b) => a.getTime() - b.getTime()).at(-1)
  return { count: good.length, lastEnd: isEnding && last ? at(last) : undefined }
}
