import { afterAll, beforeAll, expect, test } from 'vitest'
import { type AccountHome, startAccount } from '#test/support/account.ts'

let home: AccountHome
beforeAll(async () => {
  home = await startAccount()
})
afterAll(() => home.stop())

const alice = () => home.server.database.prisma.user.findUniqueOrThrow({ where: { id: home.alice.id } })

test('name, language and time zone are kept, applications see them, and the pages follow', async () => {
  const { person, page } = await home.enter('/account/profile')
  const done = await person.submit(page, {
    name: '  Alice Pleasance Liddell ',
    given_name: 'Alice',
    family_name: 'Liddell',
    locale: 'de',
    zoneinfo: 'Europe/Berlin',
  })
  expect([done.status, new URL(done.url).search]).toEqual([200, '?done=profile'])
  expect(done.text).toContain('lang="de"')
  expect(done.text).toContain('Gespeichert.')
  expect(await alice()).toMatchObject({
    name: 'Alice Pleasance Liddell',
    givenName: 'Alice',
    familyName: 'Liddell',
    locale: 'de',
    zoneinfo: 'Europe/Berlin',
  })
  expect((await person.open('/account/activity')).text).toMatch(/GMT\+[12]|MEZ|MESZ/)
  const { access_token } = await home.tokensFor()
  expect(await (await home.userinfo(access_token)).json()).toMatchObject({
    given_name: 'Alice',
    zoneinfo: 'Europe/Berlin',
    locale: 'de',
  })
})

test('an empty field is none', async () => {
  const { person, page } = await home.enter('/account/profile')
  await person.submit(page, { name: 'Alice', given_name: '', family_name: ' ', locale: '', zoneinfo: '' })
  expect(await alice()).toMatchObject({
    name: 'Alice',
    givenName: null,
    familyName: null,
    locale: null,
    zoneinfo: null,
  })
})

test.each([
  ['a direction override', { given_name: 'Alice \u202e ecilA' }],
  ['more than 128 characters', { given_name: 'x'.repeat(129) }],
])('%s is refused beside its field, and nothing is lost', async (_what, fields) => {
  const { person, page } = await home.enter('/account/profile')
  const refused = await person.submit(page, { name: 'Somebody', ...fields })
  expect(refused.status).toBe(422)
  expect(refused.text).toMatch(
    /id="given_name"[^>]*aria-invalid="true"[^>]*aria-describedby="given_name-error"[^>]*autofocus/,
  )
  expect(refused.text).toContain('value="Somebody"')
  expect((await alice()).name).toBe('Alice')
})

test('a control character is 400; a choice that was not offered changes nothing; other fields are not looked at', async () => {
  const { person, page } = await home.enter('/account/profile')
  expect((await person.submit(page, { name: 'a\u0000b' })).status).toBe(400)
  await person.submit(page, {
    name: 'Alice',
    locale: 'tlh',
    zoneinfo: '../../etc',
    email: 'eve@example.com',
    roles: 'owner',
    emailVerified: 'true',
  })
  expect(await alice()).toMatchObject({ name: 'Alice', locale: null, zoneinfo: null, email: 'Alice@Example.com' })
  expect(await home.server.database.prisma.userRole.count()).toBe(0)
})

test('what an administrator chose and the page does not offer stays', async () => {
  await home.server.database.prisma.user.update({
    where: { id: home.alice.id },
    data: { locale: 'de-CH', zoneinfo: 'Mars/Olympus' },
  })
  const { person, page } = await home.enter('/account/profile')
  expect(page.text).toMatch(/<option value="de-CH" selected>/)
  await person.submit(page, { name: 'Alice', locale: 'de-CH', zoneinfo: 'Mars/Olympus' })
  expect(await alice()).toMatchObject({ locale: 'de-CH', zoneinfo: 'Mars/Olympus' })
  expect((await person.open('/account/activity')).status).toBe(200)
})

test('nothing of an address is shown but what the pages know', async () => {
  const { person } = await home.enter()
  for (const done of ['<script>', 'constructor', '__proto__', 'toString', ''])
    expect((await person.open(`/account/profile?done=${encodeURIComponent(done)}`)).text).not.toContain('role="status"')
})
