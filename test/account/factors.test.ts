// Second factors in the account: adding, naming and taking away, recovery codes, and who hears of it.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { listMails } from '#src/mail/shown.ts'
import { type AccountHome, addedSince, age, startAccount } from '#test/support/account.ts'
import { codeAt, giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { password } from '#test/support/installation.ts'
import { type Page, Person } from '#test/support/person.ts'

let home: AccountHome
beforeAll(async () => {
  home = await startAccount()
})
afterAll(() => home.stop())
beforeEach(async () => {
  const { prisma } = home.server.database
  await prisma.credential.deleteMany({ where: { kind: { not: 'password' } } })
  await prisma.mail.deleteMany()
  await prisma.guessLimit.deleteMany()
})

const factors = () =>
  home.server.database.prisma.credential.findMany({
    where: { kind: { not: 'password' } },
    orderBy: { createdAt: 'asc' },
  })
/** Sign-ins aside: every test begins with one. */
const mails = async () =>
  (
    await listMails(home.server.database.prisma, { secretKeys: home.server.secretKeys, issuerUrl: home.server.url })
  ).filter(({ subject }) => !subject.startsWith('New sign-in'))
const seedIn = (page: Page) => (/<code class="key">([^<]*)/.exec(page.text)?.[1] ?? '').replaceAll(' ', '')
const codesIn = (page: Page) => [...page.text.matchAll(/<li><div><code>([^<]*)/g)].map(([, code]) => code ?? '')

describe('an authenticator app', () => {
  test('is added with a first code, then recovery codes are made, and both are asked for at the next sign-in', async () => {
    const { person, page } = await home.enter('/account/security/totp')
    const seed = seedIn(page)
    expect(seed).toMatch(/^[A-Z2-7]{32}$/)
    const picture = await person.fetch(/src="([^"]*qr\.svg[^"]*)"/.exec(page.text)?.[1] ?? '')
    expect([picture.status, picture.headers.get('content-type')]).toEqual([200, expect.stringMatching(/^image\/svg/)])
    expect(picture.headers.get('cache-control')).toBe('no-store')

    const added = await person.submit(page, { code: codeAt(seed, new Date()) })
    expect(added.url).toContain('/account/security/recovery-codes?done=first')
    const shown = await person.submit(added, { decision: 'create' })
    const codes = codesIn(shown)
    expect(codes.length).toBeGreaterThanOrEqual(8)
    expect((await person.open('/account/security/recovery-codes')).text).not.toContain(codes[0])
    expect((await person.open('/account/security')).text).toContain(`${codes.length} left`)
    expect((await mails()).map(({ subject, to }) => [subject, to]).sort()).toEqual([
      ['A second step was added to your account', 'Alice@Example.com'],
      ['New recovery codes for your account', 'Alice@Example.com'],
    ])

    const another = new Person(home.server.url)
    const asked = await home.signIn(another, await another.open('/account'))
    expect(asked.url).toContain('/second-factor')
    const inside = await another.submit(asked, { code: codes[0] ?? '' })
    expect(new URL(inside.url).pathname).toBe('/account')
  })

  test('is one app however often its form is sent, at once or later with another code', async () => {
    const { person, page } = await home.enter('/account/security/totp')
    const seed = seedIn(page)
    const send = (code: string) => person.submit(page, { code })
    const [now, next] = [codeAt(seed, new Date()), codeAt(seed, new Date(), 1)]
    const answers = await Promise.all([now, now, now, next].map(send))
    expect(await factors()).toHaveLength(1)
    for (const { status, url } of answers) {
      expect(status).toBe(200)
      expect(url).toMatch(/recovery-codes\?done=first|\/factors\/[\w-]+\?done=factor/)
    }
    await send(next)
    expect(await factors()).toHaveLength(1)
    expect(await mails()).toHaveLength(1)
  })

  test('a wrong code adds nothing and keeps the picture; no code neither', async () => {
    const { person, page } = await home.enter('/account/security/totp')
    for (const code of ['', '000000', 'abcdef']) {
      const refused = await person.submit(page, { code })
      expect(refused.status).toBe(422)
      expect(seedIn(refused)).toBe(seedIn(page))
      expect(refused.text).toContain('id="code-error"')
    }
    expect(await factors()).toEqual([])
  })

  test('a set-up that began in another session, long ago, or was made up begins anew, with another seed', async () => {
    const first = await home.enter('/account/security/totp')
    const second = await home.enter('/account/security/totp')
    const setup = /name="setup" value="([^"]*)"/.exec(first.page.text)?.[1] ?? ''
    for (const made of [setup, 'x', '', `${setup.slice(0, -2)}AA`]) {
      const answer = await second.person.submit(second.page, {
        setup: made,
        code: codeAt(seedIn(first.page), new Date()),
      })
      expect(answer.url).toBe(`${home.server.url}/account/security/totp`)
      expect(seedIn(answer)).not.toBe(seedIn(first.page))
      expect((await second.person.fetch(`/account/security/totp/qr.svg?setup=${made}`)).status).toBe(404)
    }
    expect(await factors()).toEqual([])
  })
})

describe('one that is there', () => {
  const giveAndOpen = async () => {
    const { person } = await home.enter('/account/security')
    await giveTotp(home.server, home.alice.id)
    await giveRecoveryCodes(home.server, home.alice.id)
    await addedSince(home)
    const [totp] = (await factors()).filter(({ kind }) => kind === 'totp')
    return { person, id: totp?.id ?? '', page: await person.open(`/account/security/factors/${totp?.id}`) }
  }

  test('is named', async () => {
    const { person, page, id } = await giveAndOpen()
    const done = await person.submit(page, { decision: 'rename', name: ' My <b>phone</b> ' })
    expect(done.text).toContain('My &lt;b&gt;phone&lt;/b&gt;')
    expect((await person.open('/account/security')).text).toContain('My &lt;b&gt;phone&lt;/b&gt;')
    for (const name of ['', ' ', 'x'.repeat(65), 'a\u202eb'])
      expect((await person.submit(page, { decision: 'rename', name })).status, name).toBe(422)
    expect((await factors()).find((factor) => factor.id === id)?.name).toBe('My <b>phone</b>')
  })

  test('is removed; with the last of them the recovery codes go, and the person hears of it', async () => {
    const { person, page } = await giveAndOpen()
    expect(page.text).toContain('It is your last one')
    const done = await person.submit(page, { decision: 'remove' })
    expect(done.text).toContain('Removed.')
    expect(await factors()).toEqual([])
    expect((await mails()).map(({ subject }) => subject)).toEqual(['A second step was removed from your account'])
    expect((await person.submit(page, { decision: 'remove' })).status).toBe(404)
    expect((await person.open('/account/security/recovery-codes')).url).toBe(`${home.server.url}/account/security`)
  })

  test('is nobody else’s', async () => {
    const { id } = await giveAndOpen()
    const { person } = await home.enter('/account/security', { as: 'bob@example.com' })
    expect((await person.open(`/account/security/factors/${id}`)).status).toBe(404)
    for (const other of ['nobody', '00000000-0000-4000-8000-000000000000', '%00'])
      expect([400, 404]).toContain((await person.open(`/account/security/factors/${other}`)).status)
  })
})

test('a fresh sign-in with the second factor counts as one, and without it the form is not reached', async () => {
  const { person } = await home.enter('/account/security')
  const seed = await giveTotp(home.server, home.alice.id)
  await age(home, home.alice.id, 600)
  const asked = await home.signIn(person, await person.open('/account/security/password'))
  expect(asked.url).toContain('/second-factor')
  expect((await person.open('/account/security/password')).url).toContain('/interaction/')
  const login = await home.signIn(person, await person.open('/account/security/password'))
  const inside = await person.submit(login, { code: codeAt(seed, new Date()) })
  expect(new URL(inside.url).pathname).toBe('/account/security/password')
})

test('whoever has a second factor may have a shorter password', async () => {
  const { person, page } = await home.enter('/account/security/password', { as: 'bob@example.com' })
  expect((await person.submit(page, { current: password, password: 'qzv4 rw!k8' })).status).toBe(422)
  await giveTotp(home.server, home.bob.id)
  await addedSince(home)
  expect((await person.submit(page, { current: password, password: 'qzv4 rw!k8' })).status).toBe(200)
  expect((await mails()).map(({ subject, to }) => [subject, to])).toEqual([
    ['Your password was changed', 'bob@example.com'],
  ])
})
