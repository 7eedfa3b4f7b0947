import { afterAll, beforeAll, expect, test } from 'vitest'
import { type AccountHome, addedSince, startAccount } from '#test/support/account.ts'
import { giveTotp } from '#test/support/factors.ts'
import { password } from '#test/support/installation.ts'
import { Person } from '#test/support/person.ts'

const next = 'a quite different phrase'
let home: AccountHome
beforeAll(async () => {
  home = await startAccount()
})
afterAll(() => home.stop())

const canSignIn = async (secret: string, as = 'bob@example.com') => {
  const person = new Person(home.server.url)
  const page = await person.submit(await person.open('/account'), { identifier: as, password: secret })
  return page.status === 200
}

test.each([
  ['the wrong current one', { current: 'not it', password: next }, 'current', 'not your current password'],
  ['no current one', { current: '', password: next }, 'current', 'Enter your current password'],
  ['a new one that is too short', { current: password, password: 'short' }, 'password', 'at least 15'],
  ['a new one that repeats', { current: password, password: 'abababababababab' }, 'password', 'repeats or counts'],
  [
    'a new one that is one’s address',
    { current: password, password: 'alice@example.com' },
    'password',
    'your name or address',
  ],
  ['one of 257 characters', { current: password, password: 'x y '.repeat(65) }, 'password', 'at most 256'],
  ['none at all', {}, 'current', 'Enter your current password'],
])('refuses %s beside its field (ASVS 6.2.3)', async (_what, fields, field, words) => {
  const { person, page } = await home.enter('/account/security/password')
  const refused = await person.submit(page, fields)
  expect(refused.status).toBe(422)
  expect(new RegExp(`id="${field}-error".*?</p>`, 's').exec(refused.text)?.[0]).toContain(words)
  expect(refused.text).not.toContain(password)
  expect(await canSignIn(password, 'alice@example.com')).toBe(true)
})

test('the page asks for as many characters as the rule does: fewer beside another factor (ASVS 6.2.1)', async () => {
  const { person, page } = await home.enter('/account/security/password')
  expect(page.text.match(/At least 15 characters/g)).toHaveLength(1) // of the new one
  expect(page.text).toContain('data-least="15"')
  await giveTotp(home.server, home.alice.id)
  await addedSince(home)
  const beside = await person.open('/account/security/password')
  expect(beside.text).toContain('At least 8 characters')
  expect(beside.text).toContain('data-least="8"')
  expect((await person.submit(beside, { current: password, password: 'shorter' })).text).toContain('at least 8')
  await home.server.database.prisma.credential.deleteMany({ where: { userId: home.alice.id, kind: 'totp' } })
})

test('a change ends everything else that was signed in, tokens included, and nothing of this browser', async () => {
  const thief = await home.enter('/account', { as: 'bob@example.com' })
  const bobs = new Person(home.server.url)
  await home.enter('/account', { as: 'bob@example.com', person: bobs })
  const consent = await bobs.open((await home.begin({ scope: 'openid offline_access', prompt: 'consent' })).address)
  expect(consent.url).toContain('/consent')

  const { person, page } = await home.enter('/account/security/password', { as: 'bob@example.com' })
  const done = await person.submit(page, { current: password, password: next })
  expect(done.text).toContain('Your password was changed.')
  expect((await person.open('/account')).url).toBe(`${home.server.url}/account`)
  for (const other of [thief.person, bobs]) expect((await other.fetch('/account')).status).toBe(303)
  expect(await canSignIn(next)).toBe(true)
  expect(await canSignIn(password)).toBe(false)
  const events = await home.server.database.prisma.auditEvent.findMany({ where: { event: 'user.password_changed' } })
  expect(events).toMatchObject([{ actorKind: 'user', actorId: home.bob.id, targetId: home.bob.id }])
  expect(home.server.logged.join('')).not.toContain(next)
})

test('tokens that this browser got before the change are over too, and new ones can be had', async () => {
  const before = await home.tokensFor({ scope: 'openid offline_access', prompt: 'consent' })
  const page = await before.person.open('/account/security/password')
  expect((await before.person.submit(page, { current: password, password: next })).status).toBe(200)
  expect((await home.refresh(before.refresh)).body.error).toBe('invalid_grant')
  const after = await home.tokensFor({ scope: 'openid' }, before.person)
  expect((await home.refresh(after.refresh)).status).toBe(200)
})
