// What a person does with their own identity. Every page stands in the table below and passes through the one guard of this file, so
// none can be open by oversight: a session, a sign-in that is fresh enough, a CSRF token of this very session on every form.
//
//   GET  /account/…        without a session -> 303 through the login, and back to the page
//   POST /account/…        its own address; afterwards 303 to a page that can be loaded again
//   GET  /account/callback the way back from the login; GET /account/deleted after the last form of all
import Router from '@koa/router'
import type { Context } from 'koa'
import { wasSpared } from '#src/factors/second-factors.ts'
import type { Csrf } from '#src/http/csrf.ts'
import { readForm } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import { readJson } from '#src/http/json-body.ts'
import { template } from '#src/http/render.ts'
import { endImpersonation } from '#src/impersonation/end.ts'
import { notInAnotherName, type Visitor, type Visitors } from '#src/oauth/visitors.ts'
import { Refusal } from '#src/refusal.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { findUser } from '#src/users/users.ts'
import { activityPage } from './activity.ts'
import { apiKeyPage, apiKeysPage, newApiKeyPage, rotateApiKeyPage } from './api-keys.ts'
import { applicationPage, applicationsPage } from './applications.ts'
import { attemptsPage } from './attempts.ts'
import { dataPage } from './data.ts'
import { deletionPage } from './deletion.ts'
import { emailPage } from './email.ts'
import { factorPage } from './factors.ts'
import { overviewPage } from './overview.ts'
import {
  type AccountDeps,
  type AccountPage,
  type AccountRequest,
  changeBy,
  goOn,
  localesOf,
  renderAccount,
} from './page.ts'
import { passkeyOptions, passkeyPage } from './passkeys.ts'
import { passwordPage } from './password.ts'
import { phonePage } from './phone.ts'
import { profilePage } from './profile.ts'
import { recoveryCodesPage } from './recovery-codes.ts'
import { rememberedPage } from './remembered.ts'
import { securityPage } from './security.ts'
import { sessionPage, sessionsPage } from './sessions.ts'
import { totpPage, totpQrCode } from './totp.ts'

export const accountPages = (deps: AccountDeps): AccountPage[] => [
  overviewPage(deps),
  profilePage(deps),
  emailPage(deps),
  securityPage(deps),
  passwordPage(deps),
  passkeyPage(deps),
  passkeyOptions(deps),
  totpPage(deps),
  totpQrCode(deps),
  phonePage(deps),
  factorPage(deps),
  recoveryCodesPage(deps),
  rememberedPage(deps),
  attemptsPage(deps),
  sessionsPage(deps),
  sessionPage(deps),
  applicationsPage(deps),
  applicationPage(deps),
  apiKeysPage(deps),
  newApiKeyPage(deps),
  apiKeyPage(deps),
  rotateApiKeyPage(deps),
  activityPage(deps),
  dataPage(deps),
  deletionPage(deps),
]

/** How long ago the sign-in may be for something sensitive (ASVS 7.5.1). The form asks a little earlier than its answer is judged, so
 *  that nobody who fills it in at once is sent away with it. */
const freshSeconds = { show: 180, submit: 300 }

const leftPage = template<Record<string, never>>('account/left')
const actingPage = template<{ other: string }>('account/impersonation')
const deletedPage = template<{ days: number }>('account/deleted')

export function createAccountRouter(deps: AccountDeps & { visitors: Visitors; csrf: Csrf }): Router {
  const { config, database, renderer, visitors, csrf, now } = deps
  const router = new Router()

  router.get('/account/callback', async (ctx) => {
    const arrival = visitors.arrive(ctx)
    if (arrival !== 'refused') return goOn(ctx, arrival.to)
    // They cancelled: whoever is signed in keeps what they had.
    if (await visitors.who(ctx)) return goOn(ctx, '/account')
    renderer.renderPage(ctx, leftPage, {})
  })
  router.get('/account/deleted', (ctx) =>
    renderer.renderPage(ctx, deletedPage, { days: config.accountDeletionGraceDays }, { languageSwitch: true }),
  )

  // The one thing that whoever acts as somebody else may do here: to stop.
  for (const method of ['get', 'post'] as const)
    router[method]('/account/impersonation', async (ctx) => {
      const visitor = await visitors.enter(ctx, { back: '/account' })
      if (!visitor) return
      const { acting } = visitor
      if (!acting) return goOn(ctx, '/account')
      const request = await requestOf(ctx, visitor)
      if (method === 'get')
        return renderAccount(renderer, request, actingPage, { other: acting.email }, { section: 'overview' })
      csrf.verify(ctx, await readForm(ctx), { binding: bindingOf(request) })
      const change = { ...changeBy(request), actor: { kind: 'user', id: acting.impersonatorId } } as const
      await endImpersonation(database.prisma, acting.id, 'impersonator', change)
      goOn(ctx, `/admin/people/${acting.userId}`)
    })

  for (const page of accountPages(deps)) {
    const { show, submit, json } = page
    if (show)
      router.get(page.path, async (ctx) => {
        const request = await admit(ctx, page, freshSeconds.show)
        if (request) await answer(() => show(request))
      })
    if (json)
      router.post(page.path, async (ctx) => {
        const request = await admit(ctx, page, freshSeconds.submit)
        if (!request) return
        const body = await readJson(ctx, json.shape)
        csrf.verify(ctx, { get: (name) => (name === 'csrf' ? body.csrf : undefined) }, { binding: bindingOf(request) })
        await answer(() => json.submit(request, body))
      })
    else if (submit)
      router.post(page.path, async (ctx) => {
        // What a form of somebody else's session, or of none, wants is not looked at: only where it was shown.
        const request = await admit(ctx, page, freshSeconds.submit)
        if (!request) return
        const form = await readForm(ctx, { repeatable: page.repeatable ?? [] })
        csrf.verify(ctx, form, { binding: bindingOf(request) })
        await answer(() => submit(request, form))
      })
  }
  return router

  /** A second factor that a remembered browser spared the person is asked for now. */
  async function suffices(visitor: Visitor): Promise<boolean> {
    return !(await wasSpared(database.prisma, visitor))
  }

  async function admit(ctx: Context, page: AccountPage, withinSeconds: number): Promise<AccountRequest | undefined> {
    const back = ctx.method === 'POST' ? ctx.path : ctx.url
    const visitor = await visitors.enter(ctx, {
      back,
      sensitive: page.sensitive ? { withinSeconds, suffices } : undefined,
    })
    if (!visitor) return undefined
    // Somebody else looks in the person's name: nothing here is theirs to change.
    if (visitor.acting && ctx.method !== 'GET') throw notInAnotherName()
    return requestOf(ctx, visitor)
  }

  async function requestOf(ctx: Context, visitor: Visitor): Promise<AccountRequest> {
    const person = await findUser(database.prisma, visitor.userId)
    if (!person) throw new HttpError({ status: 404, error: 'not_found', description: 'There is nobody here any more.' })
    const words = renderer.translator(ctx, localesOf(person))
    const generation = currentUnit().generationOf('user', person.id)
    return { ctx, visitor, person, generation, words, csrf: csrf.token(ctx, bindingOf({ visitor })), now: now() }
  }
}

/** A token is good for the session it was shown in, and for no other. */
const bindingOf = ({ visitor }: Pick<AccountRequest, 'visitor'>): string => `account ${visitor.sessionUid}`

/** Somebody else's and what never was look the same. */
async function answer(run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    if (error instanceof Refusal && error.kind === 'missing')
      throw new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })
    throw error
  }
}
