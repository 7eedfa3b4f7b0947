// The composition root: every part is built here, and every router is mounted in the one list below, in the order in which a
// request meets them.
import type { RequestListener } from 'node:http'
import Koa from 'koa'
import mount from 'koa-mount'
import { createAccountRouter } from './account/router.ts'
import type { ConsoleDeps } from './admin/console/page.ts'
import { createLeakedKeysRouter } from './admin/leaked-keys.ts'
import { createSetupRouter } from './admin/setup.ts'
import { type Config, followStored } from './config.ts'
import type { Database } from './db/database.ts'
import { pendingMigrations, readMigrations } from './db/migrate.ts'
import { createDevMailRouter } from './dev/mail.ts'
import { relyingParty } from './factors/passkey.ts'
import { createWebhookTransport } from './factors/webhook-transport.ts'
import { createGatewaySessions } from './gate/gateway-session.ts'
import { createGateRouter } from './gate/router.ts'
import { whichRoute } from './gate/which-route.ts'
import { loadAssets } from './http/assets.ts'
import { cookieNames } from './http/cookies.ts'
import { createCsrf } from './http/csrf.ts'
import { errorPages, refuse } from './http/error-page.ts'
import { createHealthRouter } from './http/health.ts'
import { hostRule } from './http/host.ts'
import { createKnownDevices } from './http/known-device.ts'
import { leaveByPage } from './http/leave.ts'
import { createRateLimits } from './http/rate-limits.ts'
import { createRenderer } from './http/render.ts'
import { requestChecks } from './http/request-checks.ts'
import { requestContext } from './http/request-context.ts'
import { securityHeaders } from './http/security-headers.ts'
import { whenFirstAsked } from './http/when-first-asked.ts'
import { createInvitationRouter } from './interaction/invitation.ts'
import { createLogoRouter } from './interaction/logos.ts'
import { createInteractionRouter } from './interaction/router.ts'
import type { SecretKeys } from './keys/secret-key.ts'
import type { ServerLog } from './log.ts'
import { clientChallenge } from './oauth/client-challenge.ts'
import { createClientLimits } from './oauth/client-limits.ts'
import { commitBoundary } from './oauth/commit-boundary.ts'
import { decisionIds } from './oauth/decision-id.ts'
import { introspectEveryCredential } from './oauth/every-credential.ts'
import { createFindImpersonation } from './oauth/impersonations.ts'
import { createInteractions } from './oauth/interactions.ts'
import { acceptJwts } from './oauth/jwt-tokens.ts'
import { countOperations, type OperationCounters } from './oauth/operations.ts'
import { createTokenFinder } from './oauth/own-tokens.ts'
import { createEngineFieldsRouter, createEnginePages, restyleFormPosts } from './oauth/pages.ts'
import { createPossessions } from './oauth/possession.ts'
import { openPreflight } from './oauth/preflight.ts'
import { createProviderSource, type ProviderSource } from './oauth/provider.ts'
import { createReadyAnswers } from './oauth/ready-answers.ts'
import { createReceipts } from './oauth/receipts.ts'
import { createRememberedDevices } from './oauth/remembered-devices.ts'
import { ownApiOf } from './oauth/snapshot.ts'
import { createTwoDoors } from './oauth/two-doors.ts'
import { createVisitors } from './oauth/visitors.ts'
import { actingNow } from './tokens/unit-of-work.ts'

export type App = { callback(): RequestListener; providers: ProviderSource; stop(): Promise<void> }

/** The database must be migrated and hold signing keys. Nothing listens yet. */
export async function createApp(deps: {
  config: Config
  log: ServerLog
  database: Database
  secretKeys: SecretKeys
  isDraining?: () => boolean
  counters?: OperationCounters
  latency?: ConsoleDeps['latency']
  now?: () => Date
}): Promise<App> {
  const { log, database, secretKeys, isDraining = () => false, counters, latency, now = () => new Date() } = deps
  // What is stored may change at any moment: whoever is given this reads what is in force when they look.
  const { config, follow } = followStored(deps.config)
  const migrations = readMigrations()
  const assets = loadAssets(config)
  const renderer = createRenderer({ config, assets, acting: actingNow })
  const pages = createEnginePages({ renderer, database })
  const rateLimits = createRateLimits({ config, observe: counters?.requestLimited, now })
  const limits = createClientLimits(rateLimits)
  const providers = await createProviderSource({ config, follow, database, secretKeys, pages, limits, log, now })
  const health = createHealthRouter({
    database,
    isDraining,
    pendingMigrations: () => pendingMigrations(database, migrations),
    hasCurrentKey: () => providers.current().snapshot.keys.some((key) => key.state === 'current'),
  })
  const ready = createReadyAnswers({ config, providers, log })
  const fields = createEngineFieldsRouter(renderer)
  const csrf = createCsrf({ config, secretKeys })
  const setup = createSetupRouter({ database, renderer, csrf, now })
  const devMail = createDevMailRouter({ config, database, renderer, secretKeys })
  const snapshot = () => providers.current().snapshot
  const receipts = createReceipts({ config, now })
  const decisions = {
    database,
    now,
    findToken: createTokenFinder({
      ...{ database, snapshot, now },
      issuer: config.issuerUrl,
      findImpersonation: createFindImpersonation({ database, config, now }),
    }),
    possessions: createPossessions({ database, secretKeys, now }),
    findClient: (id: string) => snapshot().client(id),
    policiesOf: (api: string) => snapshot().policies.get(api),
  }
  const doors = createTwoDoors({
    ...decisions,
    api: () => ownApiOf(snapshot(), config.issuerUrl),
    issuer: config.issuerUrl,
    rateLimits,
    receipts,
  })
  const leakedKeys = createLeakedKeysRouter({ database, secretKeys, rateLimits, now })
  const outOfBand = config.factorWebhook && createWebhookTransport(config.factorWebhook, { now })
  const visitors = createVisitors({
    providers,
    secretKeys,
    issuerUrl: config.issuerUrl,
    homes: ['/account', '/admin', '/d', '/authz/start'],
    now,
  })
  const sessions = createGatewaySessions({
    ...{ database, secretKeys, visitors, now },
    issuer: config.issuerUrl,
    isProtected: (host) => snapshot().routes.some((route) => route.host === host),
  })
  const gate = createGateRouter({
    ...decisions,
    ...{ doors, receipts, visitors, renderer, sessions, rateLimits },
    routes: () => snapshot().routes,
    apiOf: (identifier) => snapshot().apis.get(identifier),
    apis: () => snapshot().apis.values(),
    groundOf: (api) => snapshot().policyGrounds.get(api),
    issuer: config.issuerUrl,
  })
  const devices = createKnownDevices({ config, secretKeys, now })
  const remembered = createRememberedDevices({ config, database, now })
  const account = createAccountRouter({
    ...{ config, database, renderer, visitors, csrf, secretKeys, devices, remembered, outOfBand, now },
    relyingParty: relyingParty(config.issuerUrl),
  })
  const adminDoors = whenFirstAsked(operatorPaths, async () => {
    const { createAdminDoors } = await import('./admin/doors.ts')
    const deps = { ...decisions, doors, config, secretKeys, whichRoute, renderer, visitors, csrf, latency }
    return inOrder(createAdminDoors(deps).flatMap((router) => [router.routes(), router.allowedMethods()]))
  })
  const screens = {
    database,
    renderer,
    csrf,
    config,
    devices,
    remembered,
    secretKeys,
    outOfBand,
    relyingParty: relyingParty(config.issuerUrl),
    now,
  }
  const interaction = createInteractionRouter({ ...screens, interactions: createInteractions(providers) })
  const invitation = createInvitationRouter(screens)
  const logos = createLogoRouter({ database })

  const app = new Koa()
  app.keys = [...secretKeys.cookieKeys]
  app.proxy = true // forwarded headers are pinned by hostRule
  for (const middleware of [
    requestContext({ log }),
    decisionIds(),
    securityHeaders(config),
    errorPages(renderer),
    hostRule(config),
    requestChecks(),
    forPeople(health.routes(), assets.middleware),

    ready.middleware,
    openPreflight(),
    ...(counters ? [countOperations(counters)] : []),
    // Inside: everything that reads or writes for a request. Its errors become answers before the commit sees their status.
    commitBoundary({
      database,
      sessionCookie: cookieNames(config).session,
      receipts,
      refuse: (ctx, refusal, cause) => refuse(ctx, renderer, refusal, cause),
    }),
    errorPages(renderer),
    forPeople(
      leaveByPage(renderer, (ctx) => ctx.path.startsWith('/oauth/authorize/') || ctx.path === '/oauth/logout/confirm'),
      ...[interaction, invitation, logos, account, setup, leakedKeys, gate, fields, devMail].flatMap((router) => [
        router.routes(),
        router.allowedMethods(),
      ]),
      adminDoors,
      restyleFormPosts(renderer),
    ),
    limits.middleware,
    clientChallenge(config.issuerUrl),
    introspectEveryCredential({
      ...decisions,
      snapshot,
      issuer: config.issuerUrl,
      findSession: (host, value, api) => sessions.findByValue(host, value, api),
    }),
    acceptJwts({ issuer: config.issuerUrl, snapshot, now }),
    (ctx: Koa.Context, next: Koa.Next) => providers.current().middleware(ctx, next),
  ] as Koa.Middleware[])
    app.use(middleware)
  // A request that broke off or was no HTTP is the sender's doing.
  app.on('error', (err: NodeJS.ErrnoException) => {
    if (/^(HPE_|ECONN|EPIPE|ERR_STREAM)/.test(err.code ?? '')) log.info({ event: 'request.aborted', reason: err.code })
    else log.error({ event: 'request.failed', err })
  })

  return {
    callback: () => ready.inFrontOf(app.callback()),
    providers,
    async stop() {
      providers.stop()
    },
  }
}

/** Where only programs call, thousands of times a second: no page, no form and no static file is looked for there. */
const programPaths = new Set(['/oauth/token', '/oauth/introspect', '/oauth/revoke', '/oauth/userinfo', '/oauth/par'])

/** Of every address of the doors of admin/doors.ts. Capital letters make no difference, to this and to the routers. */
const operatorPaths = /^\/(admin|api)(\/|$)/i

function forPeople(...middleware: unknown[]): Koa.Middleware {
  const all = inOrder(middleware)
  return (ctx, next) => (programPaths.has(ctx.path) ? next() : all(ctx, next))
}

const inOrder = (middleware: unknown[]) => mount(middleware as unknown as Koa) as unknown as Koa.Middleware
