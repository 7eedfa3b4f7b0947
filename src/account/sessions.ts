// Where the person is signed in, and ending it: one by one, or all but this one. No fresh sign-in is asked for: whoever finds a stranger
// in the list should not have to look for their password first.
import { type Device, nameBrowser } from '#src/browser-name.ts'
import { atomically } from '#src/db/transaction.ts'
import { refuseDecision } from '#src/http/decision.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { settleOf } from '#src/impersonation/end.ts'
import { impersonationIn } from '#src/impersonation/mark.ts'
import { SessionNotFound } from '#src/tokens/revoke.ts'
import { endOtherSessions, endOwnSession, listSessions, type OpenSession } from '#src/tokens/sessions.ts'
import {
  type AccountDeps,
  type AccountPage,
  type AccountRequest,
  changeBy,
  goOn,
  notify,
  renderAccount,
} from './page.ts'
import { type SupportLine, supportLines } from './support.ts'

export type SessionLine = {
  href: string
  device: Device
  address: string | undefined
  began: Moment
  lastUsed: Moment
  current: boolean
  /** An administrator acts as the person in it. */
  support: boolean
}
export type SessionsPage = {
  current: SessionLine | undefined
  others: readonly SessionLine[]
  support: readonly SupportLine[]
}

const sessions = template<SessionsPage>('account/sessions')
const session = template<{ session: SessionLine }>('account/session')

export function sessionsPage(deps: AccountDeps): AccountPage {
  const { database, renderer } = deps
  return {
    path: '/account/sessions',
    section: 'sessions',

    async show(request) {
      const lines = (await findSessions(deps, request)).map((open) => describe(request, open))
      renderAccount(
        renderer,
        request,
        sessions,
        {
          current: lines.find(({ current }) => current),
          others: lines.filter(({ current }) => !current),
          support: await supportLines(database.prisma, request),
        },
        { section: 'sessions' },
      )
    },

    async submit(request, form) {
      if (form.get('decision') !== 'end-others') refuseDecision()
      const { person, visitor, ctx } = request
      await atomically(database.prisma, async (tx) => {
        const kept = { userId: person.id, uid: visitor.sessionUid }
        if ((await endOtherSessions(tx, kept, changeBy(request))) > 0) await notify(deps, tx, request, 'sessionsEnded')
        await settleOf(tx, person.id, changeBy(request))
      })
      goOn(ctx, '/account/sessions', 'sessions')
    },
  }
}

export function sessionPage(deps: AccountDeps): AccountPage {
  const { database, renderer } = deps
  return {
    path: '/account/sessions/:uid',
    section: 'sessions',

    async show(request) {
      const uid = String(request.ctx.params.uid)
      const found = (await findSessions(deps, request)).find((open) => open.uid === uid)
      if (!found) throw new SessionNotFound(uid)
      renderAccount(renderer, request, session, { session: describe(request, found) }, { section: 'sessions' })
    },

    async submit(request, form) {
      if (form.get('decision') !== 'end') refuseDecision()
      const { person, ctx } = request
      await atomically(database.prisma, async (tx) => {
        await endOwnSession(tx, { userId: person.id, uid: String(ctx.params.uid) }, changeBy(request))
        await notify(deps, tx, request, 'sessionsEnded')
        await settleOf(tx, person.id, changeBy(request))
      })
      goOn(ctx, '/account/sessions', 'session')
    },
  }
}

function findSessions({ config, database }: AccountDeps, { person, now }: AccountRequest): Promise<OpenSession[]> {
  return listSessions(database.prisma, { userId: person.id, idleSeconds: config.sessionIdleTtlSeconds, now })
}

function describe({ words, person, visitor, now }: AccountRequest, open: OpenSession): SessionLine {
  const at = (time: Date) => moment(words, time, now, person.zoneinfo)
  return {
    href: `/account/sessions/${encodeURIComponent(open.uid)}`,
    device: nameBrowser(words, open.userAgent),
    address: open.address ?? undefined,
    began: at(open.beganAt),
    lastUsed: at(open.lastUsedAt),
    current: open.uid === visitor.sessionUid,
    support: impersonationIn(open.acr) !== undefined,
  }
}
