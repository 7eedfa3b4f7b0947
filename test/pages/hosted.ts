// The hosted pages on a port of their own, without the protocol room: our middlewares in the order of app.ts, a real database, and
// in the place of the engine one pending request that the test writes.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa, { type Context } from 'koa'
import { createSetupRouter } from '#src/admin/setup.ts'
import { ensureOwnerRole } from '#src/bootstrap/own-api.ts'
import { createClient } from '#src/clients/clients.ts'
import { setClientLogo } from '#src/clients/logos.ts'
import type { Config } from '#src/config.ts'
import { createDevMailRouter } from '#src/dev/mail.ts'
import type { OutOfBandTransport } from '#src/factors/out-of-band.ts'
import { relyingParty } from '#src/factors/passkey.ts'
import { loadAssets } from '#src/http/assets.ts'
import { createCsrf } from '#src/http/csrf.ts'
import { errorPages } from '#src/http/error-page.ts'
import { hostRule } from '#src/http/host.ts'
import { createKnownDevices } from '#src/http/known-device.ts'
import { leaveByPage } from '#src/http/leave.ts'
import { createRenderer, type Renderer } from '#src/http/render.ts'
import { requestChecks } from '#src/http/request-checks.ts'
import { requestContext } from '#src/http/request-context.ts'
import { securityHeaders } from '#src/http/security-headers.ts'
import { createInvitationRouter } from '#src/interaction/invitation.ts'
import { createLogoRouter } from '#src/interaction/logos.ts'
import { createInteractionRouter } from '#src/interaction/router.ts'
import { type InteractionDeps, seeOther } from '#src/interaction/step.ts'
import { createSecretKeys, type SecretKeys } from '#src/keys/secret-key.ts'
import { createLog } from '#src/log.ts'
import { listMails } from '#src/mail/shown.ts'
import { InteractionExpired, type Interactions, type PendingInteraction } from '#src/oauth/interactions.ts'
import { createRememberedDevices } from '#src/oauth/remembered-devices.ts'
import { invite } from '#src/registration/invitations.ts'
import { createUnit, runUnit } from '#src/tokens/unit-of-work.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { harbourLogo } from '#test/support/logos.ts'

export type Hosted = {
  origin: string
  database: TestDatabase['database']
  /** What the next request to /interaction finds; undefined: expired. */
  pending: PendingInteraction | undefined
  /** Where the browser is sent after an answer. */
  next: string
  /** What the screens handed over, in order. */
  handedOver: { what: 'login' | 'consent' | 'deny' | 'unmet' | 'impersonation'; with?: unknown }[]
  lines: string[]
  secretKeys: SecretKeys
  /** Of the newest mail that has one. */
  newestCode(): Promise<string>
  /** @returns the token of its link. */
  invite(): Promise<string>
  /** The clock of the server. */
  now: Date
  stop(): Promise<void>
}

export async function startHosted(
  options: {
    routes?: (ctx: Context, renderer: Renderer) => void
    trustProxy?: string[]
    issuerUrl?: string
    config?: Partial<Config>
    outOfBand?: OutOfBandTransport
  } = {},
): Promise<Hosted> {
  const test = await createTestDatabase({ poolSize: 4 })
  const lines: string[] = []
  const log = createLog({ logLevel: 'debug' }, { write: (line: string) => void lines.push(line) })
  const app = new Koa()
  app.proxy = true
  const server = createServer().listen(0, 'localhost')
  await new Promise((resolve) => server.once('listening', resolve))
  const local = `localhost:${(server.address() as AddressInfo).port}`
  const config = {
    issuerUrl: options.issuerUrl ?? `http://${local}`,
    https: options.issuerUrl?.startsWith('https:') ?? false,
    trustProxy: options.trustProxy ?? [],
  }
  const secretKeys = createSecretKeys([Buffer.alloc(32, 7)])
  const assets = loadAssets()
  const renderer = createRenderer({ config, assets })
  const csrf = createCsrf({ config, secretKeys })

  const change = { now: new Date(), actor: { kind: 'system' } } as const
  let invitations = 0
  const hosted: Hosted = {
    origin: `http://${local}`,
    database: test.database,
    pending: undefined,
    next: '/resumed',
    handedOver: [],
    lines,
    secretKeys,
    async newestCode() {
      const mails = await listMails(test.database.prisma, { secretKeys, issuerUrl: config.issuerUrl })
      return /^ *(\d{4} \d{4})$/m.exec(mails[0]?.text ?? '')?.[1] ?? 'no code'
    },
    async invite() {
      const email = `mary.anning.${++invitations}@example.com`
      await invite(test.database.prisma, { email }, { ...change, now: new Date() }, { secretKeys, signUp: 'open' })
      const mails = await listMails(test.database.prisma, { secretKeys, issuerUrl: config.issuerUrl })
      return /invitation\/([\w-]+)/.exec(mails[0]?.text ?? '')?.[1] ?? 'no link'
    },
    now: new Date(),
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      await test.drop()
    },
  }
  const interactions: Interactions = {
    async load(_ctx, uid) {
      if (hosted.pending?.uid !== uid) throw new InteractionExpired()
      return hosted.pending
    },
    async completeLogin(_ctx, _pending, who) {
      hosted.handedOver.push({ what: 'login', with: who })
      return hosted.next
    },
    async completeImpersonation(_ctx, _pending, who) {
      hosted.handedOver.push({ what: 'impersonation', with: who })
      return hosted.next
    },
    async completeConsent(_ctx, _pending, allowed) {
      hosted.handedOver.push({ what: 'consent', with: allowed })
      return hosted.next
    },
    saveProgress(pending, progress) {
      if (hosted.pending?.uid === pending.uid)
        hosted.pending = {
          ...hosted.pending,
          progress: progress ?? undefined,
          progressVersion: pending.progressVersion + 1,
        }
    },
    async refuseUnmet() {
      hosted.handedOver.push({ what: 'unmet' })
      return hosted.next
    },
    async deny() {
      hosted.handedOver.push({ what: 'deny' })
      return hosted.next
    },
  }
  const now = () => hosted.now
  const screens = {
    database: test.database,
    renderer,
    csrf,
    config: {
      impersonation: 'off',
      mail: 'page',
      signUp: 'open',
      emailVerification: 'optional',
      emailSignIn: 'on',
      ...options.config,
    },
    secretKeys,
    devices: createKnownDevices({ config, secretKeys, now }),
    remembered: createRememberedDevices({
      config: { ...config, rememberDeviceDays: 30 },
      database: test.database,
      now,
    }),
    relyingParty: relyingParty(config.issuerUrl),
    outOfBand: options.outOfBand,
    now,
  } satisfies Omit<InteractionDeps, 'interactions'>
  const interaction = createInteractionRouter({ ...screens, interactions })
  const invitation = createInvitationRouter(screens)
  const logos = createLogoRouter({ database: test.database })
  await createClient(test.database.prisma, { id: 'pictured', type: 'service' }, [], change)
  await setClientLogo(test.database.prisma, 'pictured', harbourLogo, change)
  const devMail = createDevMailRouter({
    config: { ...config, mail: 'page', production: false },
    database: test.database,
    renderer,
    secretKeys,
  })
  await ensureOwnerRole(test.database, change)
  const setup = createSetupRouter({ database: test.database, renderer, csrf, now })

  app.use(requestContext({ log }))
  app.use(securityHeaders(config))
  app.use(errorPages(renderer))
  app.use(hostRule(config))
  app.use(requestChecks())
  app.use(assets.middleware)
  app.use((ctx, next) => {
    const unit = createUnit(test.database, { requestId: ctx.state.requestId })
    return runUnit(unit, async () => {
      await next()
      await unit.commit(ctx.status < 400 ? 'all' : 'refusal')
    })
  })
  app.use(leaveByPage(renderer, (ctx) => ctx.path.startsWith('/oauth/authorize/')))
  app.use(interaction.routes()).use(interaction.allowedMethods())
  app.use(logos.routes())
  app.use(invitation.routes()).use(invitation.allowedMethods())
  app.use(devMail.routes()).use(devMail.allowedMethods())
  app.use(setup.routes()).use(setup.allowedMethods())
  app.use(async (ctx, next) => {
    if (ctx.path === '/resumed')
      ctx.body = { ip: ctx.ip, host: ctx.host, origin: `${ctx.protocol}://${ctx.host}`, headers: ctx.headers }
    else if (ctx.path.startsWith('/oauth/authorize/')) seeOther(ctx, String(ctx.query.to))
    else options.routes?.(ctx, renderer)
    await next()
  })
  server.on('request', app.callback())
  return hosted
}

export function pendingInteraction(change: Partial<PendingInteraction> = {}): PendingInteraction {
  return {
    uid: 'b7Qm2xK9tR4wZ1cV6nLpE',
    prompt: 'login',
    reasons: ['no_session'],
    client: {
      id: 'shop-web',
      name: 'Harbour Shop',
      clientUri: 'https://shop.example/',
      logoUri: 'https://shop.example/logo.svg',
      logo: undefined,
      policyUri: 'https://shop.example/privacy',
      tosUri: 'https://shop.example/terms',
    },
    redirectOrigin: 'https://shop.example',
    secondFactor: 'optional',
    userId: undefined,
    sessionUid: undefined,
    session: undefined,
    asked: undefined,
    progress: undefined,
    progressVersion: 0,
    loginHint: undefined,
    acting: false,
    impersonation: undefined,
    uiLocales: [],
    openidScopes: [],
    resources: [],
    ...change,
  }
}

export const consentScopes: Pick<PendingInteraction, 'prompt' | 'openidScopes' | 'resources'> = {
  prompt: 'consent',
  openidScopes: [
    { name: 'openid', required: true },
    { name: 'profile', required: false },
    { name: 'email', required: false },
    { name: 'offline_access', required: false },
  ],
  resources: [
    {
      identifier: 'https://api.example.com/orders',
      name: 'Orders',
      scopes: [
        { name: 'orders:read', description: 'See your orders', required: false },
        { name: 'orders:write', description: 'Create and change orders', required: false },
      ],
    },
  ],
}
