// Settings in the console: the configuration without a secret in it, what of it is stored, and a sign-in page that does nothing.
import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ConsoleHome, headingOf, startConsole, tokenOf } from '#test/support/console.ts'
import type { Page, Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person
const secret = randomBytes(32).toString('base64url')

beforeAll(async () => {
  home = await startConsole({
    env: {
      SMTP_URL: 'smtps://postbox:hunter2hunter2@mail.example.com:465',
      FACTOR_WEBHOOK_URL: 'https://hooks.example.com/in/very-secret-path?token=abcdef',
      FACTOR_WEBHOOK_SECRET: secret,
      SIGN_UP: 'open',
    },
  })
  owner = (await home.enter()).person
})
afterAll(() => home.stop())

/** Sends the form of a group, as it was shown. */
async function send(person: Person, fields: Record<string, string>, seen?: Page): Promise<Page> {
  const page = seen ?? (await person.open('/admin/settings'))
  const shown = /name="seen" value="([\w-]{22})"/.exec(page.text)?.[1] ?? ''
  return person.submit(page, { seen: shown, ...fields }, { csrf: tokenOf(page) })
}

/** And waits until it is in force. */
async function store(fields: Record<string, string>): Promise<Page> {
  const page = await send(owner, fields)
  expect([page.status, page.url]).toEqual([200, expect.stringContaining('/admin/settings?done=saved')])
  await home.server.settle()
  return page
}
const stored = async () =>
  Object.fromEntries(
    (await home.server.database.prisma.setting.findMany()).map(({ name, value }) => [name, value] as const),
  )

test('every variable is there with its value or default; of addresses only where they lead, of secrets only that they are set', async () => {
  const page = await owner.open('/admin/settings')
  expect([page.status, headingOf(page)]).toEqual([200, 'Settings'])
  for (const { name } of home.server.config.inForce) expect(page.text, name).toContain(`<code>${name}</code>`)
  for (const shown of ['smtps://mail.example.com:465', 'https://hooks.example.com', '<code>open</code>'])
    expect(page.text).toContain(shown)
  expect(page.text).not.toMatch(new RegExp(`hunter2|postbox|very-secret|abcdef|${secret}`))
  const { username, password, hostname, pathname } = new URL(home.server.databaseUrl)
  expect(page.text).toContain(hostname)
  expect(page.text).not.toContain(`${username}:${password}@`)
  expect(page.text).not.toContain(pathname)
})

test('the preview is the sign-in page, for one of the two schemes and with the operator’s sheet, and nothing in it can be sent', async () => {
  const sheet = ':root { --accent: #5b21b6 } @media (prefers-color-scheme: dark) { :root { --accent: #c4b5fd } }'
  await store({ THEME_CSS: sheet })
  const page = await owner.open('/admin/settings/preview?scheme=dark&client=shop-web')
  expect([page.status, headingOf(page)]).toEqual([200, 'Sign in'])
  expect(page.text).toMatch(/<form [^>]* inert>/)
  expect(page.text).not.toMatch(/<script/)
  const sheets = [...page.text.matchAll(/rel="stylesheet" href="([^"]+)"/g)].map(([, href]) => href ?? '')
  expect(sheets).toEqual([expect.stringMatching(/sallyport-dark/), expect.stringMatching(/theme-dark/)])
  const theme = await (await fetch(new URL(sheets[1] ?? '', home.server.url))).text()
  expect(theme).toContain('@media (min-width: 0) { :root { --accent: #c4b5fd }')
  const light = await (await fetch(new URL((sheets[0] ?? '').replace('dark', 'light'), home.server.url))).text()
  expect(light).not.toContain('prefers-color-scheme')
  expect(
    (await owner.open('/admin/settings/preview', { method: 'POST', body: new URLSearchParams({}) })).status,
  ).toBeGreaterThan(399)
})

test('whoever may not see applications sees none in the preview, and without settings:read there is no page', async () => {
  const as = await home.appointWith('reader@example.com', 'reader', { permissions: ['settings:read'] })
  const { person } = await home.enter('/admin/settings', { as })
  const name = 'Harbour Shop'
  await home.server.database.prisma.client.update({ where: { id: 'shop-web' }, data: { name } })
  expect((await owner.open('/admin/settings/preview?client=shop-web')).text).toContain(name)
  expect((await person.open('/admin/settings')).text).not.toContain(name)
  expect((await person.open('/admin/settings/preview?client=shop-web')).text).not.toContain(name)
  const other = await home.appointWith('people@example.com', 'people', { permissions: ['users:read'] })
  const { person: stranger } = await home.enter('/admin', { as: other })
  for (const path of ['/admin/settings', '/admin/settings/preview', '/admin/mails'])
    expect((await stranger.open(path)).status, path).toBe(403)
})

describe('changing them', () => {
  test('is in force at once, shown as stored, and taken away by leaving the field empty', async () => {
    const { signUp, apiKeys } = home.server.config
    expect([signUp, apiKeys.usualDays]).toEqual(['open', 90])
    const page = await store({ EMAIL_VERIFICATION: 'required', API_KEY_DAYS: '7' })
    expect(page.text).toMatch(/<option value="required" selected>/)
    expect(page.text).toMatch(/name="API_KEY_DAYS"[^>]* value="7"/)
    expect(await stored()).toMatchObject({ EMAIL_VERIFICATION: 'required', API_KEY_DAYS: '7' })
    expect((await owner.open('/admin/keys/api-keys/new?client=reports')).text).toMatch(/<option value="7" selected>/)
    await store({ EMAIL_VERIFICATION: '', API_KEY_DAYS: ' ' })
    expect(await stored()).not.toHaveProperty('API_KEY_DAYS')
    expect(await stored()).not.toHaveProperty('EMAIL_VERIFICATION')
    const events = await home.server.database.prisma.auditEvent.findMany({ where: { event: 'setting.changed' } })
    expect(events.map(({ actorKind, actorId }) => [actorKind, actorId])).toContainEqual(['user', home.owner.id])
  })

  test('what the environment sets has no field, and is refused', async () => {
    const page = await owner.open('/admin/settings')
    expect(page.text).toMatch(/<code>SIGN_UP<\/code><\/dt><dd><code>open<\/code> <span[^>]*>set by the environment/)
    expect(page.text).not.toContain('name="SIGN_UP"')
    for (const name of ['SIGN_UP', 'PORT', 'SECRET_KEY', 'ISSUER_URL']) {
      const before = await stored()
      const sent = await send(owner, { [name]: 'invitation' })
      if (name === 'SIGN_UP') {
        expect(sent.status).toBe(422)
        expect(sent.text).toContain('is set by the environment of the server')
      }
      expect(await stored()).toEqual(before)
    }
  })

  test('what is wrong stands beside its field with what was typed, and nothing of the form is stored', async () => {
    const page = await send(owner, {
      SESSION_TTL_SECONDS: '12',
      SESSION_IDLE_TTL_SECONDS: '600',
      API_KEY_DAYS: 'x"><b>',
    })
    expect(page.status).toBe(422)
    expect(page.text).toMatch(/name="SESSION_TTL_SECONDS"[^>]* value="12"[^>]* aria-invalid="true"/)
    expect(page.text.match(/ autofocus/g)).toHaveLength(1)
    expect(page.text).toMatch(/id="SESSION_TTL_SECONDS-error"[\s\S]*must be[\s\S]*The default is 86400/)
    expect(page.text).toMatch(/name="SESSION_IDLE_TTL_SECONDS"[^>]* value="600"/)
    expect(page.text).not.toContain('x"><b>')
    expect(await stored()).not.toHaveProperty('SESSION_IDLE_TTL_SECONDS')
  })

  test('of two administrators the second hears of the first', async () => {
    const seen = await owner.open('/admin/settings')
    await store({ ACCOUNT_DELETION_GRACE_DAYS: '3' })
    const late = await send(owner, { ACCOUNT_DELETION_GRACE_DAYS: '5' }, seen)
    expect(late.status).toBe(409)
    expect(late.text).toContain('somebody changed it since you read it')
    expect(await stored()).toMatchObject({ ACCOUNT_DELETION_GRACE_DAYS: '3' })
  })

  test('asks for a sign-in of the last five minutes, and keeps what was typed until then', async () => {
    const page = await owner.open('/admin/settings')
    await home.age(home.owner.id, 400)
    const waits = await send(owner, { REMEMBER_DEVICE_DAYS: '1' }, page)
    expect(waits.text).toContain('name="REMEMBER_DEVICE_DAYS" value="1"')
    expect(await stored()).not.toHaveProperty('REMEMBER_DEVICE_DAYS')
    await home.age(home.owner.id, -400)
  })

  test('whoever may only read sees the values and no form', async () => {
    const as = await home.appointWith('looker@example.com', 'looker', { permissions: ['settings:read'] })
    const { person } = await home.enter('/admin/settings', { as })
    const page = await person.open('/admin/settings')
    expect(page.text).toContain('<code>EMAIL_SIGN_IN</code>')
    expect(page.text).not.toContain('name="EMAIL_SIGN_IN"')
    expect(page.text).not.toContain('method="post"')
  })
})

describe('a sheet that is not stored', () => {
  const look = async (css: string, path = '/admin/settings/preview', person = owner) => {
    const csrf = tokenOf(await owner.open('/admin/settings'))
    const body = new URLSearchParams({ csrf, THEME_CSS: css, seen: '' })
    return person.open(path, { method: 'POST', body, headers: { Origin: home.server.url } })
  }

  test('is shown on the sign-in page, allowed by its hash, and stored nowhere', async () => {
    const before = await stored()
    const css = ':root { --accent: #b91c1c }\n.card::after { content: "</style><script>alert(1)</script>" }'
    const page = await look(css.replaceAll('\n', '\r\n'))
    expect([page.status, headingOf(page)]).toEqual([200, 'Sign in'])
    const text = /<style>([\s\S]*?)<\/style>/.exec(page.text)?.[1] ?? ''
    expect(text).toBe(css.replaceAll('</', '<\\/'))
    expect(page.text.match(/<\/style>/g)).toHaveLength(1)
    const hash = createHash('sha256').update(text).digest('base64')
    expect(page.headers.get('content-security-policy')).toContain(`style-src 'self' 'sha256-${hash}';`)
    expect(page.text).not.toMatch(/href="[^"]*theme/)
    expect(await stored()).toEqual(before)
    const other = await owner.open('/admin/settings/preview')
    expect(other.headers.get('content-security-policy')).toContain("style-src 'self';")
  })

  test('may be none, may be for one scheme, and must be one that could be stored', async () => {
    expect((await look('')).text).toContain('<style></style>')
    const dark = await look('@media (prefers-color-scheme: dark) { a {} }', '/admin/settings/preview?scheme=dark')
    expect(dark.text).toContain('@media (min-width: 0) { a {} }')
    expect((await look('x'.repeat(16_385))).status).toBe(422)
    expect((await look('a\0b')).status).toBe(400)
  })

  test('is nobody’s to try who may not store it', async () => {
    const as = await home.appointWith('viewer@example.com', 'viewer', { permissions: ['settings:read'] })
    const { person } = await home.enter('/admin/settings', { as })
    expect((await look('a{}', '/admin/settings/preview', person)).status).toBe(403)
  })
})
