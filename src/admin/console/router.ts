// The console. Every page stands in the table below and passes through the one guard of this file, so none can be open by oversight.
//
//   GET  /admin/…     door (session, scope) -> is the sign-in good enough, else through the login and back -> the page
//   POST /admin/…     door -> form -> CSRF token of this session -> scope of the form -> is the sign-in good and fresh enough, else a page
//                     that keeps the form until it is -> the page -> 303
//   GET  /admin/again signs in again, in a tab of its own, for the form that waits in another
import Router from '@koa/router'
import type { Context } from 'koa'
import { freshSeconds } from '#src/admin/guard.ts'
import type { Csrf } from '#src/http/csrf.ts'
import { type Form, formOf, readPairs } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import { template } from '#src/http/render.ts'
import type { Visitors } from '#src/oauth/visitors.ts'
import { Refusal } from '#src/refusal.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { findUser } from '#src/users/users.ts'
import { apiPage, deleteApiPage, newApiPage } from './apis/form.ts'
import { apisPage } from './apis/list.ts'
import { applicationPage } from './applications/application.ts'
import { applicationCodePage } from './applications/code-page.ts'
import { applicationEndings } from './applications/endings.ts'
import { applicationsPage } from './applications/list.ts'
import { newApplicationPage, whoIsItPage } from './applications/new.ts'
import { secretsPage } from './applications/secrets.ts'
import { applicationSettingsPage } from './applications/settings.ts'
import { tryPages } from './applications/try/try.ts'
import { auditEventPage } from './audit/event.ts'
import { auditExportPage } from './audit/export.ts'
import { auditPage } from './audit/search.ts'
import { auditViewPage } from './audit/views.ts'
import { backupPage } from './checkup/backup.ts'
import { checkupPage } from './checkup/report.ts'
import { shrinkPage } from './checkup/shrink.ts'
import { type Admitted, createConsoleDoor } from './door.ts'
import { newApiKeyPage, revokeApiKeyPage, rotateApiKeyPage } from './keys/api-key-changes.ts'
import { apiKeyPage, apiKeysPage } from './keys/api-keys.ts'
import { retireKeyPage, rotateKeysPage } from './keys/changes.ts'
import { keysPage } from './keys/signing.ts'
import { mailsPage } from './mails/list.ts'
import { mailPage } from './mails/mail.ts'
import { overviewPage } from './overview.ts'
import {
  type ConsoleDeps,
  type ConsolePage,
  type ConsoleRequest,
  createConsoleRenderer,
  holds,
  type PageDeps,
  type Section,
} from './page.ts'
import { personEndings } from './people/endings.ts'
import { editPersonPage, newPersonPage } from './people/form.ts'
import { impersonatePage } from './people/impersonate.ts'
import { peoplePage } from './people/list.ts'
import { personPage } from './people/person.ts'
import { policyEndings } from './policies/endings.ts'
import { newPolicyPage, policyPage } from './policies/form.ts'
import { policiesPage } from './policies/list.ts'
import { policyReplayPage, policyTryPage } from './policies/trial.ts'
import { policyVersionPage } from './policies/version.ts'
import { checkRelationPage } from './relations/check.ts'
import { relationsPage } from './relations/list.ts'
import { deleteRelationPage, writeRelationsPage } from './relations/write.ts'
import { reviewsPage } from './reviews/list.ts'
import { reviewPages } from './reviews/review.ts'
import { deleteRolePage, newRolePage, rolePage } from './roles/form.ts'
import { rolesPage } from './roles/list.ts'
import { testerPage } from './roles/tester.ts'
import { deleteRoutePage, newRoutePage, routePage } from './routes/form.ts'
import { routesPage } from './routes/list.ts'
import { routeTesterPage } from './routes/tester.ts'
import { jobsPage } from './settings/jobs.ts'
import { previewPage } from './settings/preview.ts'
import { settingsPage } from './settings/settings.ts'
import { familyPages } from './tokens/family.ts'
import { tokensPage } from './tokens/find.ts'
import { revokePage } from './tokens/revoke.ts'
import { webhookChanges } from './webhooks/changes.ts'
import { editWebhookPage, newWebhookPage } from './webhooks/form.ts'
import { webhooksPage } from './webhooks/list.ts'
import { deliveryPage, webhookPage } from './webhooks/webhook.ts'

export const consolePages = (deps: PageDeps): ConsolePage[] => [
  // Overview
  overviewPage(deps),

  // People
  peoplePage(deps),
  newPersonPage(deps),
  personPage(deps),
  editPersonPage(deps),
  ...personEndings(deps),
  impersonatePage(deps),

  // Applications
  applicationsPage(deps),
  whoIsItPage(deps),
  newApplicationPage(deps),
  applicationPage(deps),
  applicationSettingsPage(deps),
  secretsPage(deps),
  applicationCodePage(deps),
  ...tryPages(deps),
  ...applicationEndings(deps),

  // APIs
  apisPage(deps),
  newApiPage(deps),
  apiPage(deps),
  deleteApiPage(deps),

  // Gateway routes
  routesPage(deps),
  newRoutePage(deps),
  routeTesterPage(deps),
  routePage(deps),
  deleteRoutePage(deps),

  // Roles
  rolesPage(deps),
  newRolePage(deps),
  testerPage(deps),
  rolePage(deps),
  deleteRolePage(deps),

  // Relations
  relationsPage(deps),
  writeRelationsPage(deps),
  deleteRelationPage(deps),
  checkRelationPage(deps),

  // Policies
  policiesPage(deps),
  newPolicyPage(deps),
  policyPage(deps),
  policyVersionPage(deps),
  ...policyEndings(deps),
  policyTryPage(deps),
  policyReplayPage(deps),

  // Tokens
  tokensPage(deps),
  ...familyPages(deps),
  revokePage(deps),

  // Keys
  keysPage(deps),
  rotateKeysPage(deps),
  retireKeyPage(deps),
  apiKeysPage(deps),
  newApiKeyPage(deps),
  apiKeyPage(deps),
  rotateApiKeyPage(deps),
  revokeApiKeyPage(deps),

  // Webhooks
  webhooksPage(deps),
  newWebhookPage(deps),
  webhookPage(deps),
  editWebhookPage(deps),
  ...webhookChanges(deps),
  deliveryPage(deps),

  // Mails
  mailsPage(deps),
  mailPage(deps),

  // Audit
  auditPage(deps),
  auditEventPage(deps),
  auditViewPage(deps),
  auditExportPage(deps),
  reviewsPage(deps),
  ...reviewPages(deps),

  // Checkup
  checkupPage(deps),
  shrinkPage(deps),
  backupPage(deps),

  // Settings
  settingsPage(deps),
  previewPage(deps),
  jobsPage(deps),
]

const againPage = template<{ fields: readonly (readonly [string, string])[]; ready: boolean }>('admin/console/again')
const signedInPage = template<Record<never, never>>('admin/console/signed-in')

export function createConsoleRouter(deps: ConsoleDeps & { visitors: Visitors; csrf: Csrf }): Router {
  const { database, renderer, csrf, now } = deps
  const router = new Router()
  const door = createConsoleDoor(deps)
  const shown = new Set<Section>()
  const render = createConsoleRenderer(renderer, { sections: shown })
  const pages = consolePages({ ...deps, render })
  for (const { section } of pages) shown.add(section)

  router.get('/admin/again', async (ctx) => {
    const admitted = await door.enter(ctx, 'any')
    if (!admitted) return
    // Shown a little earlier than the form is judged, so that it is still good enough when the other tab goes on.
    if (!(await door.suffices(ctx, admitted.visitor, freshSeconds - 120)))
      return door.signInAgain(ctx, admitted.visitor, '/admin/again')
    door.touch(ctx, admitted.visitor)
    render(await requestOf(ctx, admitted), signedInPage, {}, { section: 'overview' })
  })

  for (const page of pages) {
    const { show, submit } = page
    if (show)
      router.get(page.path, async (ctx) => {
        const admitted = await door.enter(ctx, page.scope)
        if (!admitted) return
        if (!(await door.suffices(ctx, admitted.visitor))) return door.signInAgain(ctx, admitted.visitor, ctx.url)
        door.touch(ctx, admitted.visitor)
        await answer(async () => show(await requestOf(ctx, admitted)))
      })
    if (submit)
      router.post(page.path, async (ctx) => {
        const admitted = await door.enter(ctx, page.scope)
        if (!admitted) return
        const pairs = await readPairs(ctx, {
          lines: page.lines ?? [],
          ...(page.formLimit && { limit: page.formLimit }),
        })
        const form = formOf(pairs, { repeatable: page.repeatable ?? [] })
        csrf.verify(ctx, form, { binding: bindingOf(admitted) })
        const needed = page.writes ?? page.scope
        if (!holds(admitted.held, needed)) throw lacks(needed)
        const request = await requestOf(ctx, admitted)
        if (!(await door.suffices(ctx, admitted.visitor, page.sensitive ? freshSeconds : undefined)))
          return render(request, againPage, waiting(pairs, form), { section: page.section })
        door.touch(ctx, admitted.visitor)
        await answer(() => submit(request, form))
      })
  }
  return router

  async function requestOf(ctx: Context, { visitor, caller, held }: Admitted): Promise<ConsoleRequest> {
    const person = await findUser(database.prisma, visitor.userId)
    if (!person) throw nothingHere()
    const time = now()
    return {
      ...{ ctx, visitor, person, held, now: time },
      words: renderer.translator(ctx, person.locale ? [person.locale] : []),
      csrf: csrf.token(ctx, bindingOf({ visitor })),
      bounds: { doors: deps.doors, caller },
      change: { now: time, actor: caller.actor, origin: currentUnit().origin },
    }
  }
}

/** What was typed stays in the page. @returns `ready` once it was sent from there. */
const waiting = (pairs: readonly [string, string][], form: Form) => ({
  fields: pairs.filter(([name]) => name !== 'csrf' && name !== 'again'),
  ready: form.get('again') !== undefined,
})

/** A token is good for the session it was shown in, and for no other. */
const bindingOf = ({ visitor }: Pick<Admitted, 'visitor'>): string => `console ${visitor.sessionUid}`

const lacks = (scope: string): HttpError =>
  new HttpError({
    status: 403,
    error: 'access_denied',
    description: `This needs ${scope}, which none of your roles carries.`,
    screen: 'forbidden',
  })

const nothingHere = (): HttpError =>
  new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })

async function answer(run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    if (error instanceof Refusal && error.kind === 'missing') throw nothingHere()
    throw error
  }
}
