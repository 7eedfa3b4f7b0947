// Each way into an account x each reason why a second factor is required: either the token says that there was one, or there is no token
// (CVE-2025-64103, GHSA-4gm4-c4mh-4p7w). Every combination is walked; a way that is added without a line here fails the count below.
import { globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { patchClient } from '#src/clients/editing.ts'
import { enrolPasskey, offerEnrolment, relyingParty } from '#src/factors/passkey.ts'
import { answerPush } from '#src/factors/push.ts'
import { updateUser } from '#src/users/users.ts'
import { Authenticator } from '#test/support/authenticator.ts'
import { codeAt, givePhone, givePushDevice, giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { codeIn, deliver, type Mailbox, startMailbox } from '#test/support/mailbox.ts'
import { type Page, Person } from '#test/support/person.ts'
import { type Receiver, startReceiver } from '#test/support/receiver.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let mailbox: Mailbox
let receiver: Receiver
let server: TestServer
let j: Journey
let person: Person
let seed: string
let codes: string[]
let key: Authenticator

beforeAll(async () => {
  mailbox = await startMailbox()
  receiver = await startReceiver()
  server = await startServer({ env: { SMTP_URL: mailbox.url, EMAIL_SIGN_IN: 'on', ...receiver.env } })
  j = await startJourney(server)
  await createRole(server.database.prisma, 'keeper', { secondFactor: 'required' }, change())
})
afterAll(async () => {
  await server.stop()
  await mailbox.stop()
  await receiver.stop()
})
beforeEach(async () => {
  person = new Person(server.url)
  await server.database.prisma.credential.deleteMany({ where: { kind: { not: 'password' } } })
  await updateUser(server.database.prisma, j.alice.id, { roles: [] }, change())
  await setClientPolicy('optional')
})

async function setClientPolicy(secondFactor: string) {
  await patchClient(server.database.prisma, 'shop-web', { secondFactor }, change())
  await server.settle()
}

/** What Alice has when she comes. */
const belongings = {
  nothing: async () => undefined,
  'an app': async () => {
    seed = await giveTotp(server, j.alice.id)
    codes = await giveRecoveryCodes(server, j.alice.id)
  },
  'a phone': async () => {
    await givePhone(server, j.alice.id)
    codes = await giveRecoveryCodes(server, j.alice.id)
  },
  'an app that approves': async () => {
    await givePushDevice(server, j.alice.id)
    await server.database.prisma.mail.deleteMany() // she was told
    codes = await giveRecoveryCodes(server, j.alice.id)
  },
  'a passkey': async () => {
    const rp = relyingParty(server.url)
    key = new Authenticator(server.url)
    const { generation } = await server.database.prisma.user.findUniqueOrThrow({ where: { id: j.alice.id } })
    const ceremony = { purpose: 'enrolment', flow: 'test', userId: j.alice.id, generation } as const
    const about = { email: 'alice@example.com', name: null }
    const options = await offerEnrolment(server.database.prisma, rp, ceremony, about, new Date())
    const input = { response: key.create(options), name: 'Key' }
    expect(await enrolPasskey(server.database.prisma, rp, ceremony, input, change())).toBeDefined()
    codes = await giveRecoveryCodes(server, j.alice.id)
  },
}

/** Why a second factor is required, and what the request looks like then. */
const reasons = {
  'her role': async () => {
    await updateUser(server.database.prisma, j.alice.id, { roles: ['keeper'] }, change())
    return {}
  },
  'the client': async () => {
    await setClientPolicy('required')
    return {}
  },
  acr_values: async () => ({ acr_values: 'urn:sallyport:acr:2fa' }),
  'an essential acr': async () => ({
    claims: JSON.stringify({ id_token: { acr: { essential: true, values: ['phr', 'urn:sallyport:acr:2fa'] } } }),
  }),
}

/** Ways to begin. Each leads to the page after the first factor. */
const beginnings = {
  'a password': async (page: Page) => person.submit(page, { identifier: 'alice@example.com', password }),
  'a password in two steps': async (page: Page) => {
    const next = await person.submit(page, { identifier: 'alice@example.com' })
    return person.submit(next, { identifier: 'alice@example.com', password })
  },
  'a passkey without a name': async (page: Page) => byPasskey(page),
  'a session of one factor': async (page: Page) => page,
}

/** Ways to go on. Undefined: she does not try, and must not get through. */
const continuations = {
  nothing: async (page: Page) => page,
  'a code of the app': async (page: Page) => person.submit(page, { code: seed ? codeAt(seed, new Date()) : '123456' }),
  'a recovery code': async (page: Page) => person.submit(page, { code: codes[0] ?? 'zzzz-zzzz-zzzz-zzzz-zzzz-zzzz' }),
  'a passkey': async (page: Page) => byPasskey(page),
  'a code from a text message': async (page: Page) => byText(page),
  'an approval on her phone': async (page: Page) => byPush(page),
  'an approval that nobody gave': async (page: Page) => person.submit(page, { decision: 'approved' }),
  'an empty form': async (page: Page) => person.submit(page, {}),
  'her password again': async (page: Page) =>
    person.submit(
      { ...page, text: page.text.replace(/action="[^"]*"/, ''), url: page.url.replace(/[^/]+$/, 'login') },
      {
        identifier: 'alice@example.com',
        password,
      },
    ),
}

/** Where there is a button for it; else a code that was never sent. */
async function byText(page: Page): Promise<Page> {
  const [, send] = /name="send" value="([^"]*)"/.exec(page.text) ?? []
  if (send === undefined) return person.submit(page, { code: '12345678' })
  const waiting = await person.submit(page, { send })
  return person.submit(waiting, { code: receiver.newest().code })
}

async function byPush(page: Page): Promise<Page> {
  const [, push] = /name="push" value="([^"]*)"/.exec(page.text) ?? []
  if (push === undefined) return page
  const waiting = await person.submit(page, { push })
  const number = Number(/class="match">(\d\d)</.exec(waiting.text)?.[1])
  const answer = { id: receiver.newest().id, answer: { approved: true, number } } as const
  expect(await answerPush(server.database, server.secretKeys, answer, change())).toBe('approved')
  return person.submit(waiting, { decision: 'approved' })
}

async function byPasskey(page: Page): Promise<Page> {
  const base = /^.*\/interaction\/[^/]+/.exec(page.url)?.[0]
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  if (!base || !key) return page
  const send = async (path: string, body: object) => {
    const response = await person.fetch(`${base}/${path}`, {
      method: 'POST',
      body: JSON.stringify({ csrf, ...body }),
      headers: { 'Content-Type': 'application/json', Accept: 'application/json', Origin: server.url },
    })
    return { status: response.status, body: await response.json() }
  }
  const options = await send('passkey/options', {})
  if (options.status !== 200) return page
  const answer = await send('passkey', { response: key.get(options.body) })
  return answer.status === 200 ? person.open(answer.body.next) : page
}

describe.each(Object.entries(reasons))('required by %s', (_reason, require) => {
  describe.each(Object.entries(belongings))('she has %s', (has, give) => {
    test('whichever way she comes in, the token says what she proved, or there is none', async () => {
      // Sessions of before anybody asked for more: one for each continuation.
      const earlier: Person[] = []
      for (const _ of Object.keys(continuations)) earlier.push((await j.tokensFor()).person)
      const parameters = await require()
      const through: string[] = []
      for (const [first, begin] of Object.entries(beginnings))
        for (const [second, goOn] of Object.entries(continuations)) {
          person = (first === 'a session of one factor' && earlier.pop()) || new Person(server.url)
          seed = ''
          codes = []
          await server.database.prisma.credential.deleteMany({ where: { kind: { not: 'password' } } })
          await server.database.prisma.guessLimit.deleteMany()
          await server.database.prisma.outOfBandMessage.deleteMany()
          await give()
          const { address, verifier } = await j.begin(parameters)
          let page = await begin(await person.open(address))
          if (page.url.startsWith(server.url)) page = await goOn(page) // else she is back at the client already
          if (page.url.endsWith('/consent')) page = await person.submit(page, { decision: 'allow' })
          const code = new URL(page.url).searchParams.get('code')
          if (code === null) continue
          const { body } = await j.redeem(code, verifier)
          const { amr, acr } = decodeJwt(body.id_token ?? '')
          expect(amr, `${first}, then ${second}`).toContain('mfa')
          expect(acr).not.toBe('urn:sallyport:acr:1fa')
          through.push(`${first} / ${second}`)
        }
      expect(through).toEqual(expected(has))
    }, 180_000)
  })
})

/** Which combinations lead through; all others do not. */
function expected(has: string): string[] {
  const passwords = ['a password', 'a password in two steps']
  const anything = Object.keys(continuations)
  if (has === 'nothing') return []
  const second = {
    'an app': ['a code of the app', 'a recovery code'],
    'a phone': ['a recovery code', 'a code from a text message'],
    'an app that approves': ['a recovery code', 'an approval on her phone'],
    'a passkey': ['a recovery code', 'a passkey'],
  }[has] as string[]
  const after = (first: string) => second.map((one) => `${first} / ${one}`)
  return [
    ...passwords.flatMap(after),
    ...(has === 'a passkey' ? anything.map((one) => `a passkey without a name / ${one}`) : []),
    ...after('a session of one factor'),
  ]
}

/** Ways in by mail: each leads from the login page to the page after the first factor. */
const byMail = {
  recovery: async (login: Page) => {
    const forgotten = await person.open(/href="([^"]*\/recovery[^"]*)"/.exec(login.text)?.[1] ?? '')
    const proven = await enterCode(await person.submit(forgotten, { email: 'alice@example.com' }))
    return person.submit(proven, { password })
  },
  'a code to sign in with': async (login: Page) => {
    const asked = await person.open(/formaction="([^"]*)"/.exec(login.text)?.[1] ?? '')
    return enterCode(await person.submit(asked, { email: 'alice@example.com' }))
  },
}
/** How she goes on after it, if not by a recovery code. */
const ways: Record<string, (page: Page) => Promise<Page>> = {
  'an app': continuations['a code of the app'],
  'a phone': continuations['a code from a text message'],
  'an app that approves': continuations['an approval on her phone'],
}
async function enterCode(page: Page): Promise<Page> {
  await deliver(server)
  return person.submit(page, { code: codeIn(mailbox.newest('Alice@example.com')) })
}

describe.each(Object.entries(reasons))(
  'required by %s, and a mail takes the place of the password',
  (_reason, require) => {
    describe.each(Object.entries(byMail))('by %s', (_way, begin) => {
      test.each(Object.entries(belongings))(
        'and of nothing else: she has %s (ASVS 6.4.3)',
        async (has, give) => {
          const parameters = await require()
          for (const goOn of [false, true]) {
            person = new Person(server.url)
            seed = ''
            codes = []
            await server.database.prisma.credential.deleteMany({ where: { kind: { not: 'password' } } })
            await server.database.prisma.guessLimit.deleteMany()
            await server.database.prisma.mail.deleteMany()
            await server.database.prisma.outOfBandMessage.deleteMany()
            await give()
            const { address, verifier } = await j.begin(parameters)
            let page = await begin(await person.open(address))
            const way = ways[has] ?? continuations['a recovery code']
            if (goOn && page.url.endsWith('/second-factor')) page = await way(page)
            if (page.url.endsWith('/consent')) page = await person.submit(page, { decision: 'allow' })
            const code = new URL(page.url).searchParams.get('code')
            expect([has, goOn, code !== null]).toEqual([has, goOn, goOn && has !== 'nothing'])
            if (code === null) continue
            const { amr, acr } = decodeJwt((await j.redeem(code, verifier)).body.id_token ?? '')
            const second = { 'a phone': ['sms'], 'an app that approves': [] }[has] ?? []
            expect([amr, acr]).toEqual([['otp', ...second, 'mfa'], 'urn:sallyport:acr:2fa'])
          }
        },
        60_000,
      )
    })
  },
)

/** Asks to be remembered, where nobody asks for a second factor but what she has. @returns the cookie of that browser. */
async function remember(): Promise<string> {
  person = new Person(server.url)
  const { address } = await j.begin()
  const asked = await beginnings['a password'](await person.open(address))
  expect(asked.text).toContain('name="remember"')
  await person.submit(asked, { code: codes.shift() ?? '', remember: 'yes' })
  return person.cookies.get('sallyport_remembered')?.value ?? ''
}

describe.each(Object.entries({ 'nobody but what she has': async () => ({}), ...reasons }))(
  'required by %s, in a browser that she asked us to remember',
  (reason, require) => {
    test.each(['an app', 'a passkey'] as const)(
      'she has %s: it stands in for nothing that somebody else asks for, and is reported as nothing',
      async (has) => {
        await server.database.prisma.guessLimit.deleteMany()
        await server.database.prisma.mail.deleteMany()
        await belongings[has]()
        // The way that changes what she proves herself with is the last.
        const ways = {
          ...beginnings,
          'a code to sign in with': byMail['a code to sign in with'],
          recovery: byMail.recovery,
        }
        const browsers: Person[] = []
        for (const _ of Object.keys(ways)) {
          const cookie = await remember()
          browsers.push(new Person(server.url))
          browsers.at(-1)?.cookies.set('sallyport_remembered', { value: cookie, path: '/' })
        }
        const session = browsers[Object.keys(ways).indexOf('a session of one factor')] as Person
        await j.tokensFor({}, session)
        const parameters: Record<string, string> = await require()
        const through: string[] = []
        for (const [way, begin] of Object.entries(ways)) {
          if (way === 'a passkey without a name' && has === 'an app') continue
          person = browsers[Object.keys(ways).indexOf(way)] as Person
          await server.database.prisma.mail.deleteMany() // what tells her of the sign-ins before
          const { address, verifier } = await j.begin(parameters)
          let page = await person.open(address)
          if (page.url.startsWith(server.url)) page = await begin(page)
          if (page.url.endsWith('/consent')) page = await person.submit(page, { decision: 'allow' })
          const code = new URL(page.url).searchParams.get('code')
          if (code === null) {
            expect(page.url, way).toMatch(/\/second-factor$/)
            expect(page.text.includes('name="remember"'), way).toBe(reason === 'nobody but what she has')
            continue
          }
          const { amr, acr } = decodeJwt((await j.redeem(code, verifier)).body.id_token ?? '')
          through.push(way)
          if (way === 'a passkey without a name')
            expect([(amr as string[]).includes('mfa'), acr !== 'urn:sallyport:acr:1fa']).toEqual([true, true])
          else expect([way, amr, acr]).toEqual([way, [way.includes('code') ? 'otp' : 'pwd'], 'urn:sallyport:acr:1fa'])
        }
        const passkey = has === 'a passkey' ? ['a passkey without a name'] : []
        expect(through).toEqual(
          reason === 'nobody but what she has'
            ? [
                'a password',
                'a password in two steps',
                ...passkey,
                'a session of one factor',
                'a code to sign in with', // recovery ends what was remembered
              ]
            : passkey,
        )
      },
      60_000,
    )
  },
)

test('every place that completes a login goes through sign-in.ts, and every first factor has its line above', () => {
  const root = join(import.meta.dirname, '../..')
  const files = globSync('src/**/*.ts', { cwd: root, exclude: ['src/db/generated/**'] })
  const callers = (what: RegExp) => files.filter((file) => what.test(readFileSync(join(root, file), 'utf8'))).sort()
  expect(callers(/interactions\.completeLogin\(/)).toEqual(['src/interaction/sign-in.ts'])
  // A new caller is a new way in: add it to `beginnings` or `byMail`.
  expect(callers(/signIn\.proveFirst\(/).map((file) => basename(file, '.ts'))).toEqual([
    'email-code',
    'first-factor', // in front of the others, where an address has to be verified
    'login',
    'passkey',
    'recovery',
    'sign-up', // makes a person who has nothing yet: what follows is asked of them like of everybody
  ])
})
