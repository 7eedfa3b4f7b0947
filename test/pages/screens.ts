// Every screen a person can meet, and how to get there.
import { randomBytes } from 'node:crypto'
import type { Context } from 'koa'
import type { Page } from 'playwright-core'
import { ownerRole } from '#src/access/roles.ts'
import { hashSetupCode } from '#src/bootstrap/first-administrator.ts'
import { accountKey, reserveGuess } from '#src/factors/guessing.ts'
import { hashPassword } from '#src/factors/password.ts'
import { beginVerification } from '#src/factors/verification.ts'
import { errorScreens, HttpError } from '#src/http/http-error.ts'
import { renderFormPost, renderLoggedOut, renderLogout } from '#src/http/protocol-pages.ts'
import type { Renderer } from '#src/http/render.ts'
import { renderMailOff } from '#src/interaction/notice.ts'
import { createUser, findUser } from '#src/users/users.ts'
import { codeAt, givePhone, givePushDevice, giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { harbourLogo } from '#test/support/logos.ts'
import { consentScopes, type Hosted, pendingInteraction } from './hosted.ts'

export const harbourLogoAddress = `/logos/${harbourLogo.name}`

export const person = {
  email: 'ada.lovelace@example.com',
  name: 'Ada Lovelace',
  password: 'correct horse battery staple',
}

export async function issueSetupCode(hosted: Hosted): Promise<string> {
  const code = randomBytes(16).toString('base64url')
  await hosted.database.prisma.setupCode.create({
    data: { id: hashSetupCode(code), expiresAt: new Date(Date.now() + 60_000) },
  })
  return code
}

/** As before the first administrator. */
export async function withoutOwner(hosted: Hosted): Promise<void> {
  await hosted.database.prisma.user.deleteMany({ where: { roles: { some: { roleName: ownerRole } } } })
}

export async function createPerson(hosted: Hosted): Promise<string> {
  const passwordHash = await hashPassword(person.password)
  const { id } = await createUser(
    hosted.database.prisma,
    { email: person.email, name: person.name, emailVerified: true, passwordHash },
    { now: new Date(), actor: { kind: 'system' } },
  )
  return id
}

export type Screen = { name: string; status: number; open(hosted: Hosted, page: Page): Promise<number> }

/** Screens of the protocol room, which the engine shows at its own addresses. */
export function protocolRoutes(ctx: Context, renderer: Renderer): void {
  if (ctx.path === '/show/logout')
    renderLogout(ctx, renderer, {
      action: '/oauth/logout/confirm',
      hidden: { csrf: 'abc' },
      client: 'Harbour Shop',
      logo: harbourLogoAddress,
      person: person.email,
      redirectTo: 'https://shop.example/bye',
    })
  if (ctx.path === '/show/logged-out')
    renderLoggedOut(ctx, renderer, { client: 'Harbour Shop', clientUri: 'https://shop.example/' })
  if (ctx.path === '/show/form-post')
    renderFormPost(ctx, renderer, { action: String(ctx.query.action), fields: { code: 'a"b<c', state: '1' } })
  if (ctx.path === '/show/mail-off') renderMailOff(ctx, renderer, '/')
  const screen = errorScreens.find((name) => ctx.path === `/show/error/${name}`)
  if (screen)
    throw new HttpError({
      status: screen === 'unexpected' ? 500 : 400,
      error: 'invalid_request',
      description: 'The parameter scope is repeated.',
      screen,
    })
}

export function screens(userId: string): Screen[] {
  const client = { ...pendingInteraction().client, logo: harbourLogoAddress }
  const consent = pendingInteraction({ ...consentScopes, userId, client })
  return [
    at('login', '/interaction/:uid/login', { pending: pendingInteraction() }),
    at('login-again', '/interaction/:uid/login', {
      pending: pendingInteraction({ userId, reasons: ['login_prompt'], loginHint: person.email }),
    }),
    {
      name: 'login-logo',
      status: 200,
      async open(hosted, page) {
        hosted.pending = pendingInteraction({ client })
        return open(hosted, page, '/interaction/:uid/login')
      },
    },
    {
      name: 'login-refused',
      status: 401,
      async open(hosted, page) {
        hosted.pending = pendingInteraction()
        await page.goto(addressOf(hosted, '/interaction/:uid/login'))
        await page.fill('[name=identifier]', person.email)
        await page.fill('[name=password]', 'not it')
        return submit(page, 'form .primary')
      },
    },
    {
      name: 'login-limited',
      status: 429,
      async open(hosted, page) {
        hosted.pending = pendingInteraction()
        const email = 'grace.hopper@example.com'
        const account = accountKey(hosted.secretKeys, email)
        for (let n = 0; n < 5; n++)
          await reserveGuess(hosted.database, { factor: 'password', account, address: undefined, now: hosted.now })
        await page.goto(addressOf(hosted, '/interaction/:uid/login'))
        await page.fill('[name=identifier]', email)
        await page.fill('[name=password]', 'not it')
        return submit(page, 'form .primary')
      },
    },
    {
      name: 'login-incomplete',
      status: 422,
      async open(hosted, page) {
        hosted.pending = pendingInteraction()
        await page.goto(addressOf(hosted, '/interaction/:uid/login'))
        await withoutBrowserChecks(page)
        return submit(page, 'form .primary')
      },
    },
    {
      name: 'second-factor',
      status: 200,
      async open(hosted, page) {
        await withApp(hosted, userId)
        return open(hosted, page, '/interaction/:uid/second-factor')
      },
    },
    {
      name: 'second-factor-refused',
      status: 401,
      async open(hosted, page) {
        await withApp(hosted, userId)
        await open(hosted, page, '/interaction/:uid/second-factor')
        await page.fill('[name=code]', '000000')
        return submit(page, 'form .primary')
      },
    },
    {
      name: 'second-factor-recovery',
      status: 200,
      async open(hosted, page) {
        await withApp(hosted, userId)
        return open(hosted, page, '/interaction/:uid/second-factor?with=recovery-code')
      },
    },
    {
      name: 'second-factor-passkey',
      status: 200,
      async open(hosted, page) {
        await withApp(hosted, userId)
        await hosted.database.prisma.credential.updateMany({ where: { kind: 'totp' }, data: { kind: 'passkey' } })
        return open(hosted, page, '/interaction/:uid/second-factor')
      },
    },
    {
      name: 'step-up',
      status: 200,
      async open(hosted, page) {
        await withApp(hosted, userId)
        hosted.pending = pendingInteraction({
          userId,
          reasons: ['stronger_proof'],
          session: { amr: ['pwd'], acr: 'urn:sallyport:acr:1fa', at: Math.floor(Date.now() / 1000) - 3600 },
          asked: { values: ['urn:sallyport:acr:2fa'] },
        })
        return open(hosted, page, '/interaction/:uid/second-factor')
      },
    },
    {
      name: 'second-factor-choose',
      status: 200,
      async open(hosted, page) {
        await withApp(hosted, userId)
        await givePhone(hosted, userId)
        return open(hosted, page, '/interaction/:uid/second-factor')
      },
    },
    {
      name: 'second-factor-sms',
      status: 200,
      async open(hosted, page) {
        await withPhone(hosted, userId)
        await open(hosted, page, '/interaction/:uid/second-factor')
        return submit(page, '[name=send]')
      },
    },
    {
      name: 'second-factor-sms-refused',
      status: 401,
      async open(hosted, page) {
        await withPhone(hosted, userId)
        await open(hosted, page, '/interaction/:uid/second-factor')
        await submit(page, '[name=send]')
        await page.fill('[name=code]', '0000 0000')
        return submit(page, 'form .primary')
      },
    },
    {
      name: 'second-factor-push',
      status: 200,
      async open(hosted, page) {
        await withPhone(hosted, userId)
        await givePushDevice(hosted, userId)
        await open(hosted, page, '/interaction/:uid/second-factor')
        return submit(page, '[name=push]')
      },
    },
    {
      name: 'second-factor-push-waiting',
      status: 422,
      async open(hosted, page) {
        await withPhone(hosted, userId)
        await givePushDevice(hosted, userId)
        await givePushDevice(hosted, userId)
        await open(hosted, page, '/interaction/:uid/second-factor')
        await submit(page, '[name=push]')
        return submit(page, '[value=approved]')
      },
    },
    {
      name: 'second-factor-phone',
      status: 200,
      async open(hosted, page) {
        await withPhone(hosted, userId)
        return open(hosted, page, '/interaction/:uid/second-factor')
      },
    },
    {
      name: 'enrolment',
      status: 200,
      async open(hosted, page) {
        await withNothing(hosted, userId)
        return open(hosted, page, '/interaction/:uid/enrolment')
      },
    },
    {
      name: 'enrolment-passkey',
      status: 200,
      async open(hosted, page) {
        await withNothing(hosted, userId)
        hosted.pending = { ...(hosted.pending ?? pendingInteraction()), asked: { values: ['phr'] } }
        return open(hosted, page, '/interaction/:uid/enrolment')
      },
    },
    {
      name: 'enrolment-app',
      status: 200,
      async open(hosted, page) {
        await withNothing(hosted, userId)
        await open(hosted, page, '/interaction/:uid/enrolment')
        const status = await submit(page, '[value=totp]')
        await page.click('summary')
        await page.focus('[name=code]')
        return status
      },
    },
    {
      name: 'enrolment-app-refused',
      status: 422,
      async open(hosted, page) {
        await withNothing(hosted, userId)
        await open(hosted, page, '/interaction/:uid/enrolment')
        await submit(page, '[value=totp]')
        await page.fill('[name=code]', '000000')
        return submit(page, 'form .primary')
      },
    },
    {
      name: 'recovery-codes',
      status: 200,
      async open(hosted, page) {
        await withNothing(hosted, userId)
        await open(hosted, page, '/interaction/:uid/enrolment')
        await submit(page, '[value=totp]')
        const seed = (await page.textContent('.key'))?.replaceAll(' ', '') ?? ''
        await page.fill('[name=code]', codeAt(seed, hosted.now))
        return submit(page, 'form .primary')
      },
    },
    at('consent', '/interaction/:uid/consent', { pending: consent }),
    {
      name: 'consent-nothing-ticked',
      status: 422,
      async open(hosted, page) {
        hosted.pending = { ...consent, openidScopes: [] }
        await page.goto(addressOf(hosted, '/interaction/:uid/consent'))
        for (const box of await page.locator('[name=scope]').all()) await box.uncheck()
        return submit(page, '[value=allow]')
      },
    },
    ...byMail(userId),
    at('logout', '/show/logout'),
    at('logged-out', '/show/logged-out'),
    {
      name: 'form-post',
      status: 200,
      async open(hosted, page) {
        await page.route('**/submit.*.js', (route) => route.abort()) // it would leave at once
        const response = await page.goto(addressOf(hosted, '/show/form-post?action=https://shop.example/cb'))
        return response?.status() ?? 0
      },
    },
    {
      name: 'setup',
      status: 200,
      async open(hosted, page) {
        await withoutOwner(hosted)
        const response = await page.goto(addressOf(hosted, '/admin/setup'))
        return response?.status() ?? 0
      },
    },
    {
      name: 'setup-refused',
      status: 422,
      async open(hosted, page) {
        await page.goto(addressOf(hosted, '/admin/setup'))
        await withoutBrowserChecks(page)
        await page.fill('[name=name]', person.name)
        await page.fill('[name=password]', 'short')
        return submit(page, 'form .primary')
      },
    },
    at('not-found', '/nowhere', { status: 404 }),
    at('expired', '/interaction/gone', { status: 410 }),
    at('redirect-uri', '/show/error/redirectUri', { status: 400 }),
    at('unexpected', '/show/error/unexpected', { status: 500 }),
    {
      name: 'setup-done',
      status: 200,
      async open(hosted, page) {
        await withoutOwner(hosted)
        const code = await issueSetupCode(hosted)
        await page.goto(addressOf(hosted, `/admin/setup#code=${code}`))
        await page.fill('[name=email]', 'grace.hopper@example.com')
        await page.fill('[name=name]', person.name)
        await page.fill('[name=password]', person.password)
        return submit(page, 'form .primary')
      },
    },
  ]
}

/** Sign-up, recovery and what a mail leads to. */
function byMail(userId: string): Screen[] {
  const secret = 'nine purple walruses paint'
  const begin = (hosted: Hosted, page: Page, step: string) => {
    hosted.pending = pendingInteraction({ uid: randomBytes(12).toString('base64url') })
    return page.goto(addressOf(hosted, `/interaction/:uid/${step}`))
  }
  const recovery = async (hosted: Hosted, page: Page) => {
    await begin(hosted, page, 'recovery')
    await page.fill('[name=email]', person.email)
    return submit(page, 'form .primary')
  }
  const proven = async (hosted: Hosted, page: Page) => {
    await hosted.database.prisma.mail.deleteMany()
    await recovery(hosted, page)
    await page.fill('[name=code]', await hosted.newestCode())
    return submit(page, 'form .primary')
  }
  return [
    {
      name: 'sign-up',
      status: 200,
      open: async (hosted, page) => (await begin(hosted, page, 'signup'))?.status() ?? 0,
    },
    {
      name: 'sign-up-refused',
      status: 422,
      async open(hosted, page) {
        await begin(hosted, page, 'signup')
        await withoutBrowserChecks(page)
        await page.fill('[name=name]', person.name)
        return submit(page, 'form .primary')
      },
    },
    {
      name: 'sign-up-code',
      status: 200,
      async open(hosted, page) {
        await begin(hosted, page, 'signup')
        await page.fill('[name=name]', 'Grace Hopper')
        await page.fill('[name=email]', 'rear.admiral.grace.hopper@example.com')
        await page.fill('[name=password]', secret)
        return submit(page, 'form .primary')
      },
    },
    {
      name: 'recovery',
      status: 200,
      open: async (hosted, page) => (await begin(hosted, page, 'recovery'))?.status() ?? 0,
    },
    {
      name: 'recovery-code',
      status: 200,
      open: recovery,
    },
    {
      name: 'recovery-code-again',
      status: 200,
      async open(hosted, page) {
        await hosted.database.prisma.mail.deleteMany()
        await recovery(hosted, page)
        return submit(page, '[value=resend]')
      },
    },
    {
      name: 'recovery-code-refused',
      status: 422,
      async open(hosted, page) {
        await hosted.database.prisma.mail.deleteMany()
        await recovery(hosted, page)
        await page.fill('[name=code]', '1234 5678')
        return submit(page, 'form .primary')
      },
    },
    { name: 'new-password', status: 200, open: proven },
    {
      name: 'new-password-refused',
      status: 422,
      async open(hosted, page) {
        await proven(hosted, page)
        await page.fill('[name=password]', 'short')
        return submit(page, 'form .primary')
      },
    },
    {
      name: 'email-code',
      status: 200,
      open: async (hosted, page) => (await begin(hosted, page, 'email-code'))?.status() ?? 0,
    },
    {
      name: 'email-code-refused',
      status: 422,
      async open(hosted, page) {
        await begin(hosted, page, 'email-code')
        await withoutBrowserChecks(page)
        return submit(page, 'form .primary')
      },
    },
    {
      name: 'email-code-sent',
      status: 200,
      async open(hosted, page) {
        await hosted.database.prisma.mail.deleteMany()
        await begin(hosted, page, 'login')
        await page.fill('[name=identifier]', person.email)
        return submit(page, '[formaction]')
      },
    },
    {
      name: 'verify',
      status: 200,
      async open(hosted, page) {
        const { database, secretKeys, now } = hosted
        hosted.pending = pendingInteraction({ uid: randomBytes(12).toString('base64url') })
        const user = await findUser(database.prisma, userId)
        if (!user) throw new Error('the person is missing')
        const ask = { uid: hosted.pending.uid, user, locale: 'en', proven: { factor: 'password' } } as const
        await database.prisma.mail.deleteMany()
        await beginVerification(database, ask, { now, actor: { kind: 'system' } }, secretKeys)
        return open(hosted, page, '/interaction/:uid/verify')
      },
    },
    {
      name: 'invitation-done',
      status: 200,
      async open(hosted, page) {
        await page.goto(addressOf(hosted, `/invitation/${await hosted.invite()}`))
        await page.fill('[name=name]', 'Mary Anning')
        await page.fill('[name=password]', secret)
        return submit(page, 'form .primary')
      },
    },
    {
      name: 'invitation',
      status: 200,
      async open(hosted, page) {
        const response = await page.goto(addressOf(hosted, `/invitation/${await hosted.invite()}`))
        return response?.status() ?? 0
      },
    },
    at('invitation-gone', '/invitation/gone', { status: 410 }),
    at('dev-mail', '/dev/mail'),
    at('mail-off', '/show/mail-off', { status: 503 }),
  ]
}

/** The password was right, and the person has an app and recovery codes. */
async function withApp(hosted: Hosted, userId: string): Promise<void> {
  await withNothing(hosted, userId)
  await giveTotp(hosted, userId)
  await giveRecoveryCodes(hosted, userId)
  // Nobody but her own factors asks: so she may ask to be remembered.
  if (hosted.pending) hosted.pending = { ...hosted.pending, secondFactor: 'optional' }
}

/** The password was right, and the person has a phone and recovery codes. */
async function withPhone(hosted: Hosted, userId: string): Promise<void> {
  await withNothing(hosted, userId)
  await hosted.database.prisma.outOfBandMessage.deleteMany()
  await hosted.database.prisma.guessLimit.deleteMany()
  await givePhone(hosted, userId)
  await giveRecoveryCodes(hosted, userId)
}

/** The password was right, the client asks for more, and the person has nothing. */
async function withNothing(hosted: Hosted, userId: string): Promise<void> {
  await hosted.database.prisma.credential.deleteMany({ where: { kind: { not: 'password' } } })
  const proofs = [{ factor: 'password', amr: ['pwd'], at: Math.floor(Date.now() / 1000) }]
  hosted.pending = pendingInteraction({
    secondFactor: 'required',
    progress: { userId, generation: 0, fromSession: false, proofs },
  })
}

async function open(hosted: Hosted, page: Page, path: string): Promise<number> {
  const response = await page.goto(addressOf(hosted, path))
  return response?.status() ?? 0
}

function at(name: string, path: string, options: { status?: number; pending?: Hosted['pending'] } = {}): Screen {
  return {
    name,
    status: options.status ?? 200,
    async open(hosted, page) {
      hosted.pending = options.pending
      const response = await page.goto(addressOf(hosted, path))
      return response?.status() ?? 0
    },
  }
}

export function addressOf(hosted: Hosted, path: string): string {
  return hosted.origin + path.replace(':uid', hosted.pending?.uid ?? '')
}

/** As a browser without `required` would, or a person who types the request by hand. */
async function withoutBrowserChecks(page: Page): Promise<void> {
  await page.locator('form').evaluateAll((forms) => {
    for (const form of forms) if (form instanceof HTMLFormElement) form.noValidate = true
  })
}

export async function submit(page: Page, button: string): Promise<number> {
  const [response] = await Promise.all([
    page.waitForResponse((candidate) => candidate.request().isNavigationRequest() && candidate.status() !== 303),
    page.click(button),
  ])
  await page.waitForLoadState('load')
  return response.status()
}
