// Somebody guessed at the account: its owner sees what is closed, and can lift it after a fresh sign-in.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { accountKey, type GuessFactor, reserveGuess } from '#src/factors/guessing.ts'
import { type AccountHome, age, headingOf, startAccount, tokenOf } from '#test/support/account.ts'
import { password } from '#test/support/installation.ts'
import { Person } from '#test/support/person.ts'

const path = '/account/security/attempts'
const title = 'Somebody tried to sign in as you'
let home: AccountHome
beforeAll(async () => {
  home = await startAccount()
})
afterAll(() => home.stop())
beforeEach(() => home.server.database.prisma.guessLimit.deleteMany())

async function guess(
  times: number,
  options: { factor?: GuessFactor; email?: string; now?: Date; device?: Buffer } = {},
) {
  const { factor = 'password', email = 'alice@example.com', now = new Date(), device } = options
  const account = accountKey(home.server.secretKeys, email)
  for (let n = 0; n < times; n++)
    await reserveGuess(home.server.database, { factor, account, address: '203.0.113.7', device, now })
}
const unlocked = () => home.server.database.prisma.auditEvent.count({ where: { event: 'user.unlocked' } })
const limits = () => home.server.database.prisma.guessLimit.count({ where: { factor: { not: 'everyone' } } })

test('a wrong password now and then is nobody’s news, nor are the attempts at others', async () => {
  await guess(4)
  await guess(5, { email: 'bob@example.com' })
  const { person, page } = await home.enter('/account/security')
  expect(page.text).not.toContain(title)
  const led = await person.open(path)
  expect([led.status, new URL(led.url).pathname]).toEqual([200, '/account/security'])
})

test('what is closed is told, with how often, from where and until when; what opened again, too', async () => {
  const { person } = await home.enter('/account/security')
  const before = Date.now()
  await guess(5)
  await guess(5, { factor: 'totp', now: new Date(before - 3_600_000) })
  await guess(10, { factor: 'recovery_code', device: Buffer.alloc(16, 1) })
  const page = await person.open('/account/security')
  expect(page.text).toContain(title)
  const [panel = ''] = page.text.split(title)[1]?.split('</section>') ?? []
  const lines = [...panel.matchAll(/<li class="row">.*?<\/li>/gs)].map(([html]) => html.replace(/<[^>]*>|\s+/g, ' '))
  const line = (what: string) => lines.find((text) => text.includes(what))
  expect(lines).toHaveLength(3)
  expect(line('Password')).toMatch(/5 wrong attempts .* on unknown devices .*Closed until /)
  expect(line('authenticator app')).toMatch(/5 wrong attempts .* 1 hour ago .* Open again/)
  expect(line('Recovery code')).toMatch(/10 wrong attempts .* where you have signed in .* Closed until /)
  const until = /<time datetime="([^"]*)">Closed until/.exec(panel.split('Password')[1] ?? '')?.[1] ?? ''
  expect(Math.abs(Date.parse(until) - before - 900_000)).toBeLessThan(60_000)
})

test('lifting forgets them all on every device, and is recorded as the person’s own', async () => {
  const { person } = await home.enter('/account/security')
  await guess(5)
  await guess(10, { device: Buffer.alloc(16, 1) })
  await guess(5, { email: 'bob@example.com' })
  const stranger = new Person(home.server.url)
  const login = await stranger.open('/account')
  expect((await stranger.submit(login, { identifier: 'alice@example.com', password })).status).toBe(429)

  const page = await person.open(path)
  expect(headingOf(page)).toBe(title)
  const done = await person.submit(page, { decision: 'lift' })
  expect(new URL(done.url).pathname).toBe('/account/security')
  expect(done.text).toContain('The attempts are forgotten.')
  expect(done.text).not.toContain(title)
  expect(new URL((await stranger.submit(login, { identifier: 'alice@example.com', password })).url).pathname).toBe(
    '/account',
  )
  const [event] = await home.server.database.prisma.auditEvent.findMany({ where: { event: 'user.unlocked' } })
  expect(event).toMatchObject({ actorKind: 'user', actorId: home.alice.id, targetId: home.alice.id })
  const bob = accountKey(home.server.secretKeys, 'bob@example.com')
  expect(
    await home.server.database.prisma.guessLimit.count({ where: { subject: new Uint8Array(bob) } }),
    'those of others stay',
  ).toBe(2)
})

test('it takes a fresh sign-in, its own button and its own token', async () => {
  const { person } = await home.enter('/account/security')
  await guess(5)
  const [count, before] = [await unlocked(), await limits()]
  const page = await person.open(path)
  const post = (fields: Record<string, string>) =>
    person.fetch(path, { method: 'POST', body: new URLSearchParams(fields), headers: { Origin: home.server.url } })
  expect((await post({ decision: 'lift' })).status).toBe(403)
  expect((await post({ decision: 'lift', csrf: 'x' })).status).toBe(403)
  expect((await post({ csrf: tokenOf(page) })).status).toBe(400)
  expect((await post({ csrf: tokenOf(page), decision: 'end' })).status).toBe(400)
  await age(home, home.alice.id, 301)
  expect((await post({ csrf: tokenOf(page), decision: 'lift' })).status).toBe(303)
  expect((await person.open(path)).url).toContain('/login')
  // The page that only tells does not ask.
  expect((await person.open('/account/security')).text).toContain(title)
  expect([await unlocked(), await limits()]).toEqual([count, before])
})
