// Change of email, limits on guessing inside the account, and the mails that tell a person what was done.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { listMails } from '#src/mail/shown.ts'
import { type AccountHome, startAccount } from '#test/support/account.ts'
import { password } from '#test/support/installation.ts'
import { Person } from '#test/support/person.ts'

let home: AccountHome
beforeAll(async () => {
  home = await startAccount()
})
afterAll(() => home.stop())
beforeEach(async () => {
  await home.server.database.prisma.mail.deleteMany()
  await home.server.database.prisma.guessLimit.deleteMany()
  await home.server.database.prisma.oneTimeCode.deleteMany()
})

const mails = async (to?: string) =>
  (
    await listMails(home.server.database.prisma, { secretKeys: home.server.secretKeys, issuerUrl: home.server.url })
  ).filter((mail) => to === undefined || mail.to === to)
const codeTo = async (to: string) =>
  (/\b(\d{4}) ?(\d{4})\b/.exec((await mails(to))[0]?.text ?? '') ?? []).slice(1).join('')
const userOf = (id: string) => home.server.database.prisma.user.findUniqueOrThrow({ where: { id } })

describe('another email address', () => {
  const enter = () => home.enter('/account/profile/email', { as: 'bob@example.com' })

  test('needs the code that was sent to it; the old one is told', async () => {
    const { person, page } = await enter()
    const waiting = await person.submit(page, { email: 'robert@example.com' })
    expect(waiting.status).toBe(200)
    expect(waiting.text).toContain('a code is on its way there')
    expect((await userOf(home.bob.id)).email).toBe('bob@example.com')
    const code = await codeTo('robert@example.com')
    expect(code).toMatch(/^\d{8}$/)
    const wrong = await person.submit(waiting, { code: code === '00000000' ? '11111111' : '00000000' })
    expect([wrong.status, wrong.text.includes('This code is not right')]).toEqual([422, true])
    const done = await person.submit(waiting, { code: `${code.slice(0, 4)} ${code.slice(4)}` })
    expect(done.text).toContain('Your email address was changed.')
    expect(await userOf(home.bob.id)).toMatchObject({
      email: 'robert@example.com',
      emailKey: 'robert@example.com',
      emailVerifiedAt: expect.any(Date),
    })
    expect((await mails('bob@example.com')).map(({ subject }) => subject)).toContain('Your email address was changed')
    expect((await person.submit(waiting, { code })).status).toBe(422) // once
    const again = new Person(home.server.url)
    const login = await again.open('/account')
    expect((await again.submit(login, { identifier: 'bob@example.com', password })).status).toBe(401)
    const back = await home.enter('/account/profile/email', { as: 'robert@example.com' })
    await back.person.submit(await back.person.submit(back.page, { email: 'bob@example.com' }), {
      code: await codeTo('bob@example.com'),
    })
    expect((await userOf(home.bob.id)).email).toBe('bob@example.com')
  })

  test('one that belongs to somebody gets the same answer, and nobody a code', async () => {
    const { person, page } = await enter()
    const free = await person.submit(page, { email: 'nobody@example.com' })
    const taken = await person.submit(page, { email: 'alice@example.com' })
    expect(taken.status).toBe(free.status)
    const plain = (text: string) =>
      text.replace(/name="csrf" value="[^"]*"/, '').replaceAll('alice@example.com', 'nobody@example.com')
    expect(plain(taken.text)).toBe(plain(free.text))
    expect(await mails('alice@example.com')).toEqual([])
    expect((await person.submit(taken, { code: await codeTo('nobody@example.com') })).status).toBe(422)
    expect((await userOf(home.bob.id)).email).toBe('bob@example.com')
  })

  test('a code for one address is none for another, nor in another session', async () => {
    const { person, page } = await enter()
    const waiting = await person.submit(page, { email: 'mine@example.com' })
    const code = await codeTo('mine@example.com')
    expect((await person.submit(waiting, { email: 'victim@example.com', code })).status).toBe(422)
    const other = await enter()
    expect((await other.person.submit(other.page, { email: 'mine@example.com', code })).status).toBe(422)
    expect((await userOf(home.bob.id)).email).toBe('bob@example.com')
  })

  test.each(['', 'no address', 'a@b', 'Bob <b@example.com>', 'bob@example.com', `${'x'.repeat(300)}@example.com`])(
    'refuses “%s” beside its field',
    async (email) => {
      const { person, page } = await enter()
      const refused = await person.submit(page, { email })
      expect(refused.status).toBe(422)
      expect(refused.text).toContain('id="email-error"')
      expect(
        (await mails()).map(({ subject }) => subject).filter((subject) => !subject.startsWith('New sign-in')),
      ).toEqual([])
    },
  )

  test('a mailbox cannot be flooded with codes', async () => {
    const { person, page } = await enter()
    const statuses = []
    for (let n = 0; n < 6; n++) statuses.push((await person.submit(page, { email: 'flood@example.com' })).status)
    expect(statuses.filter((status) => status === 200).length).toBeLessThanOrEqual(4)
    expect(statuses.at(-1)).toBe(429)
  })
})

test('guessing the current password at an unlocked screen is limited as at the login', async () => {
  const { person, page } = await home.enter('/account/security/password', { as: 'bob@example.com' })
  const statuses = []
  for (let n = 0; n < 14; n++)
    statuses.push((await person.submit(page, { current: `guess ${n}`, password: 'a quite different phrase' })).status)
  expect(statuses.slice(0, 5)).toEqual([422, 422, 422, 422, 422])
  expect(statuses.at(-1)).toBe(429)
})

describe('the person hears by mail', () => {
  test('of a sign-in from a browser that is not known, and not of one that is', async () => {
    const person = new Person(home.server.url)
    await home.enter('/account', { person })
    expect((await mails('Alice@Example.com')).length).toBeLessThanOrEqual(1)
    await home.server.database.prisma.mail.deleteMany()
    await person.submit(await person.open('/oauth/logout'), { decision: 'logout' })
    await home.enter('/account', { person })
    expect(await mails()).toEqual([])
    await home.enter('/account')
    expect((await mails()).map(({ subject, to }) => [subject, to])).toEqual([
      ['New sign-in to your account', 'Alice@Example.com'],
    ])
  })

  test('of devices that were signed out, in their language and with where it was done', async () => {
    await home.server.database.prisma.user.update({ where: { id: home.alice.id }, data: { locale: 'de' } })
    const { person, page } = await home.enter('/account/sessions')
    await home.server.database.prisma.mail.deleteMany()
    await person.submit(page, { decision: 'end-others' })
    const [mail] = await mails('Alice@Example.com')
    expect(mail?.subject).toBe('Geräte wurden von Ihrem Konto abgemeldet')
    expect(mail?.text).toContain(`${home.server.url}/account/security`)
    expect(mail?.text).toMatch(/127\.0\.0\.1|::1/)
  })
})
