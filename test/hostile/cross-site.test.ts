// Another site makes the person's browser send something here. Every route that changes state refuses it, and nothing changed.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bootstrap } from '#src/bootstrap/bootstrap.ts'
import { createLog } from '#src/log.ts'
import { password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
let setupCode: string
beforeAll(async () => {
  server = await startServer()
  const { banner } = await bootstrap({
    config: server.config,
    database: server.database,
    secretKeys: server.secretKeys,
    log: createLog({ logLevel: 'silent' }),
    now: () => new Date(),
  })
  setupCode = /#code=([\w-]+)/.exec(banner.join('\n'))?.[1] ?? ''
  j = await startJourney(server)
})
afterAll(() => server.stop())

type Form = {
  person: Person
  url: string
  fields: Record<string, string>
  refused: readonly number[]
  unchanged(): Promise<void>
}

const tokenOf = (page: Page) => /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
const isSignedIn = async (person: Person) =>
  (await person.open((await j.begin({ prompt: 'none', scope: 'openid' })).address)).url.includes('code=')

/** A form of the account, as a person who is signed in sees it. */
async function accountForm(
  path: (person: Person) => Promise<string> | string,
  fields: Record<string, string>,
  unchanged: (person: Person) => Promise<void>,
): Promise<Form> {
  const { person } = await j.tokensFor({ scope: 'openid profile', prompt: 'consent' })
  const page = await person.open(await path(person))
  expect(page.status).toBe(200)
  return {
    person,
    url: page.url,
    fields: { csrf: tokenOf(page), ...fields },
    refused: [403, 415],
    unchanged: () => unchanged(person),
  }
}
const alice = () => server.database.prisma.user.findUniqueOrThrow({ where: { id: j.alice.id } })
const newestSession = () =>
  server.database.prisma.session.findFirstOrThrow({ where: { userId: j.alice.id }, orderBy: { createdAt: 'desc' } })

/** Every form there is, as its page shows it, with what it would do. */
const forms: [string, () => Promise<Form>][] = [
  [
    'login',
    async () => {
      const person = new Person(server.url)
      const page = await person.open((await j.begin()).address)
      const fields = { csrf: tokenOf(page), identifier: 'alice@example.com', password }
      const unchanged = async () => expect(person.cookies.has('sallyport_session')).toBe(false)
      return { person, url: page.url, fields, refused: [403, 415], unchanged }
    },
  ],
  [
    'consent',
    async () => {
      const person = new Person(server.url)
      const login = await person.open((await j.begin({ prompt: 'consent' })).address)
      const page = await person.submit(login, { identifier: 'alice@example.com', password })
      const unchanged = async () => expect((await person.open(page.url)).status).toBe(200)
      return {
        person,
        url: page.url,
        fields: { csrf: tokenOf(page), decision: 'allow' },
        refused: [403, 415],
        unchanged,
      }
    },
  ],
  [
    'logout',
    async () => {
      const { person } = await j.codeFor()
      const page = await person.open('/oauth/logout')
      const url = `${server.url}/oauth/logout/confirm`
      const unchanged = async () => expect(await isSignedIn(person)).toBe(true)
      return { person, url, fields: { csrf: tokenOf(page), decision: 'logout' }, refused: [400, 403, 415], unchanged }
    },
  ],
  [
    'set-up',
    async () => {
      const person = new Person(server.url)
      const page = await person.open('/admin/setup')
      const fields = {
        csrf: tokenOf(page),
        code: setupCode,
        email: 'eve@example.com',
        name: 'Eve',
        password: 'a password of the attacker',
      }
      const unchanged = async () => expect((await new Person(server.url).open('/admin/setup')).status).toBe(200)
      return { person, url: page.url, fields, refused: [403, 415], unchanged }
    },
  ],
  [
    'profile',
    () =>
      accountForm(
        () => '/account/profile',
        { name: 'Mallory' },
        async () => expect((await alice()).name).toBe('Alice Liddell'),
      ),
  ],
  [
    'password',
    () =>
      accountForm(
        () => '/account/security/password',
        { current: password, password: 'a password of the attacker' },
        async () => expect((await alice()).generation).toBe(j.alice.generation),
      ),
  ],
  [
    'ending a session',
    () =>
      accountForm(
        async () => `/account/sessions/${(await newestSession()).uid}`,
        { decision: 'end' },
        async (person) => expect((await person.fetch('/account')).status).toBe(200),
      ),
  ],
  [
    'ending all other sessions',
    () =>
      accountForm(
        () => '/account/sessions',
        { decision: 'end-others' },
        async () =>
          expect(await server.database.prisma.auditEvent.count({ where: { event: 'session.ended' } })).toBe(0),
      ),
  ],
  [
    'taking an application’s access away',
    () =>
      accountForm(
        () => '/account/applications/shop-web',
        { decision: 'remove' },
        async () => expect(await server.database.prisma.consent.count()).toBe(1),
      ),
  ],
  [
    'deleting the account',
    () =>
      accountForm(
        () => '/account/data/deletion',
        { confirm: 'yes' },
        async () => expect((await alice()).disabledAt).toBeNull(),
      ),
  ],
]

const post = (form: Form, fields: Record<string, string>, headers: Record<string, string> = {}) =>
  form.person.fetch(form.url, {
    method: 'POST',
    body: new URLSearchParams(fields),
    headers: { Origin: server.url, ...headers },
  })

describe.each(forms)('%s', (_name, open) => {
  test('without its token, or with another browser’s (CVE-2023-34927)', async () => {
    const form = await open()
    const { csrf: _csrf, ...rest } = form.fields
    const stranger = await open()
    for (const fields of [rest, { ...rest, csrf: '' }, { ...rest, csrf: stranger.fields.csrf ?? '' }])
      expect(form.refused).toContain((await post(form, fields)).status)
    await form.unchanged()
  })

  test('as JSON in text/plain, as JSON, as multipart: what a foreign form or script can send without being asked', async () => {
    const form = await open()
    const json = JSON.stringify(form.fields)
    for (const [type, body] of [
      ['text/plain', json],
      ['text/plain', new URLSearchParams(form.fields).toString()],
      ['application/json', json],
      [
        'multipart/form-data; boundary=x',
        `--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n${form.fields.csrf}\r\n--x--`,
      ],
      ['', new URLSearchParams(form.fields).toString()],
    ] as const) {
      const response = await form.person.fetch(form.url, {
        method: 'POST',
        body,
        headers: { 'Content-Type': type, Origin: server.url },
      })
      expect(response.status, type).toBeGreaterThanOrEqual(400)
      expect(response.status, type).toBeLessThan(500)
    }
    await form.unchanged()
  })

  test('by GET, HEAD, PUT, PATCH and DELETE nothing changes (ASVS 3.5.3)', async () => {
    const form = await open()
    const query = new URLSearchParams(form.fields)
    for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE']) {
      const response = await form.person.fetch(`${form.url.split('?')[0]}?${query}`, { method })
      expect(response.headers.get('location') ?? '', method).not.toContain('code=')
      expect(response.status, method).toBeLessThan(500)
    }
    await form.unchanged()
  })

  test('with the method overridden', async () => {
    const form = await open()
    const { csrf: _csrf, ...rest } = form.fields
    const response = await post(form, { ...rest, _method: 'GET' }, { 'X-HTTP-Method-Override': 'GET' })
    expect(form.refused).toContain(response.status)
    await form.unchanged()
  })
})

describe.each(forms.filter(([name]) => name !== 'logout'))('%s, its own token included,', (_name, open) => {
  test.each<Record<string, string>>([
    { Origin: 'https://evil.example' },
    { Origin: 'http://localhost:1' },
    { Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'same-site' },
    { Origin: 'null', 'Sec-Fetch-Site': 'cross-site' },
  ])('from %o', async (headers) => {
    const form = await open()
    expect((await post(form, form.fields, headers)).status).toBe(403)
    await form.unchanged()
  })
})

test('the token of one sign-in is none for another, in the same browser (CVE-2017-12159)', async () => {
  const person = new Person(server.url)
  const first = await person.open((await j.begin({ prompt: 'consent' })).address)
  const second = await person.open((await j.begin({ prompt: 'consent' })).address)
  const credentials = { identifier: 'alice@example.com', password }
  expect((await person.submit(second, credentials, { csrf: tokenOf(first) })).status).toBe(403)
  const consent = await person.submit(second, credentials)
  expect(consent.url).toContain('/consent')
  expect((await person.submit(consent, { decision: 'allow' }, { csrf: tokenOf(second) })).status).toBe(403)
  expect((await person.submit(consent, { decision: 'allow' })).url).toContain('code=')
})

describe('the protocol’s own endpoints take no cookie for a credential', () => {
  test.each(['/oauth/token', '/oauth/par', '/oauth/revoke', '/oauth/introspect', '/oauth/userinfo'])(
    '%s',
    async (path) => {
      const { person } = await j.codeFor({ scope: 'openid' })
      const body = new URLSearchParams({
        token: 'x',
        grant_type: 'refresh_token',
        refresh_token: 'x',
        client_id: 'shop-web',
        response_type: 'code',
      })
      const response = await person.fetch(path, { method: 'POST', body, headers: { Accept: 'application/json' } })
      expect([400, 401]).toContain(response.status)
    },
  )

  test('the admin API neither, and it never answers a foreign script', async () => {
    const { person } = await j.codeFor({ scope: 'openid' })
    for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'OPTIONS']) {
      const response = await person.fetch('/api/v1/clients', {
        method,
        headers: { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'GET' },
      })
      if (method !== 'OPTIONS') expect([401, 404, 405]).toContain(response.status)
      expect(response.headers.get('access-control-allow-origin')).toBeNull()
    }
  })
})
