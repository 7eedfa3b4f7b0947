// Settings in the console: the configuration in force without a secret in it, and a sign-in page that does nothing.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import type { Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person
const secret = randomBytes(32).toString('base64url')

beforeAll(async () => {
  home = await startConsole({
    env: {
      SMTP_URL: 'smtps://postbox:hunter2hunter2@mail.example.com:465',
      FACTOR_WEBHOOK_URL: 'https://hooks.example.com/in/very-secret-path?token=abcdef',
      FACTOR_WEBHOOK_SECRET: secret,
      THEME_CSS: ':root { --accent: #5b21b6 } @media (prefers-color-scheme: dark) { :root { --accent: #c4b5fd } }',
      SIGN_UP: 'open',
    },
  })
  owner = (await home.enter()).person
})
afterAll(() => home.stop())

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
