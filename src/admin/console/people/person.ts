// One person: who they are, what they hold, how and where they are signed in, what they let in, what happened to them. What ends something
// is a page of its own (endings.ts).
import { permissionsOf } from '#src/access/roles.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { listPersonEvents } from '#src/audit/activity.ts'
import { nameBrowser } from '#src/browser-name.ts'
import { accountKeys, liftGuessLimits, listGuessLimits } from '#src/factors/guessing.ts'
import { findStanding, listFactors } from '#src/factors/second-factors.ts'
import { refuseDecision } from '#src/http/decision.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { listApplications } from '#src/tokens/applications.ts'
import { listSessions } from '#src/tokens/sessions.ts'
import { setUserDisabled } from '#src/users/users.ts'
import { refuseBeyondPerson } from '../../bounds.ts'
import { type ConsolePage, goOn, type PageDeps } from '../page.ts'
import { readPerson } from './read.ts'

export type PersonPage = {
  href: string
  id: string
  name: string | null
  email: string
  verified: boolean
  disabled: boolean
  deleteAfter: Moment | undefined
  since: Moment
  roles: readonly string[]
  permissions: readonly string[]
  attributes: string
  /** Somebody may act as them: not as an administrator, nor as whoever has to prove more than a password. */
  impersonable: boolean
  factors: readonly { kind: string; name: string; lastUsed: Moment | undefined }[]
  recoveryCodes: number
  limits: readonly { factor: string; failures: number; last: Moment; until: Moment | undefined }[]
  sessions: readonly { icon: string; device: string; address: string | null; lastUsed: Moment }[]
  applications: readonly { href: string; name: string; since: Moment; scopes: readonly string[] }[]
  events: readonly { what: string; byOthers: boolean; where: string; at: Moment }[]
}

const ownPermissions = Object.keys(ownScopes)
const page = template<PersonPage>('admin/console/person')

export function personPage({ config, database, doors, secretKeys, render }: PageDeps): ConsolePage {
  const { prisma } = database
  return {
    path: '/admin/people/:id',
    section: 'people',
    scope: 'users:read',
    writes: 'users:write',
    sensitive: true,

    async show(request) {
      const { words, now, person: reader } = request
      const user = await readPerson(prisma, request)
      const at = (time: Date): Moment => moment(words, time, now, reader.zoneinfo)
      const whose = { userId: user.id, idleSeconds: config.sessionIdleTtlSeconds, now }
      const [factors, standing, limits, sessions, applications, events, permissions] = await Promise.all([
        listFactors(prisma, user.id),
        findStanding(prisma, user.id),
        listGuessLimits(prisma, accountKeys(secretKeys, user.emailKey), now),
        listSessions(prisma, whose),
        listApplications(prisma, user.id, now),
        listPersonEvents(prisma, user.id, { skip: 0, limit: 8 }),
        permissionsOf(prisma, user.id, doors.api().identifier),
      ])
      render(
        request,
        page,
        {
          href: `/admin/people/${user.id}`,
          id: user.id,
          name: user.name,
          email: user.email,
          verified: user.emailVerifiedAt !== null,
          disabled: user.disabledAt !== null,
          deleteAfter: user.deleteAfter ? at(user.deleteAfter) : undefined,
          since: at(user.createdAt),
          roles: user.roles.map(({ roleName }) => roleName),
          permissions: [...permissions].sort(),
          impersonable:
            config.impersonation === 'on' &&
            user.disabledAt === null &&
            user.id !== reader.id &&
            !standing?.roleRequires &&
            !ownPermissions.some((name) => permissions.has(name)),
          attributes: Object.keys(user.attributes ?? {}).length > 0 ? JSON.stringify(user.attributes, null, 2) : '',
          factors: factors.map(({ kind, name, lastUsedAt }) => ({
            kind,
            name,
            lastUsed: lastUsedAt ? at(lastUsedAt) : undefined,
          })),
          recoveryCodes: standing?.recoveryCodes ?? 0,
          limits: limits
            .filter(({ reached }) => reached)
            .map(({ factor, failures, lastAt, closedUntil }) => ({
              factor,
              failures,
              last: at(lastAt),
              until: closedUntil ? at(closedUntil) : undefined,
            })),
          sessions: sessions.map(({ userAgent, address, lastUsedAt }) => {
            const { icon, name } = nameBrowser(words, userAgent)
            return { icon, device: name, address, lastUsed: at(lastUsedAt) }
          }),
          applications: applications.map(({ clientId, name, since, scopes, resources }) => ({
            href: `/admin/applications/${encodeURIComponent(clientId)}`,
            name,
            since: at(since),
            scopes: [...scopes, ...resources.flatMap((resource) => resource.scopes.map((scope) => scope.name))],
          })),
          events: events.map((event) => ({
            what: words.t(`account.event.${event.event}`),
            byOthers: event.byOthers,
            where: [event.clientName ?? event.clientId, event.address].filter(Boolean).join(' · '),
            at: at(event.at),
          })),
        },
        { section: 'people' },
      )
    },

    async submit(request, form) {
      const { ctx, bounds, change } = request
      const user = await readPerson(prisma, request)
      const back = `/admin/people/${user.id}`
      await refuseBeyondPerson(bounds, prisma, user.id)
      switch (form.get('decision')) {
        case 'enable':
          await setUserDisabled(prisma, user.id, false, change)
          return goOn(ctx, back, 'enabled')
        case 'unlock':
          await liftGuessLimits(prisma, { id: user.id, accounts: accountKeys(secretKeys, user.emailKey) }, change)
          return goOn(ctx, back, 'lifted')
        default:
          refuseDecision()
      }
    },
  }
}
