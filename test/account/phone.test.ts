// Adding a phone number in the account: proven by a code before it is kept, and told by mail.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { listMails } from '#src/mail/shown.ts'
import { type AccountHome, age, startAccount } from '#test/support/account.ts'
import { givePhone, giveRecoveryCodes } from '#test/support/factors.ts'
import { Person } from '#test/support/person.ts'
import { type Receiver, startReceiver } from '#test/support/receiver.ts'

let receiver: Receiver
let home: AccountHome
beforeAll(async () => {
  receiver = await startReceiver()
  home = await startAccount({ env: receiver.env })
})
afterAll(async () => {
  await home.stop()
  await receiver.stop()
})
beforeEach(async () => {
  receiver.answer = undefined
  receiver.arrived.length = 0
  await db().credential.deleteMany({ where: { kind: { not: 'password' } } })
  await db().mail.deleteMany()
  await db().guessLimit.deleteMany()
  await db().outOfBandMessage.deleteMany()
})

const db = () => home.server.database.prisma
const path = '/account/security/phone'
const number = '+447700900112'
const phones = () => db().credential.findMany({ where: { kind: 'phone' } })
const mails = async () =>
  (await listMails(db(), { secretKeys: home.server.secretKeys, issuerUrl: home.server.url }))
    .map(({ subject }) => subject)
    .filter((subject) => !subject.startsWith('New sign-in'))
const other = (code: string) => String((Number(code) + 1) % 1e8).padStart(8, '0')

async function asked(typed = '+44 7700 900112') {
  const { person, page } = await home.enter(path)
  return { person, page: await person.submit(page, { number: typed }) }
}

test('number, code, recovery codes; then it is in the list, with two digits of it, and asked for at the next sign-in', async () => {
  const { person, page: security } = await home.enter('/account/security')
  expect(security.text).toContain(`href="${path}"`)
  const form = await person.open(path)
  expect(form.text).toMatch(/<input id="number"[^>]*type="tel"[^>]*autocomplete="tel"/)
  expect(form.text).toContain('can be read or redirected by others') // NIST SP 800-63B-4 3.2.9: the risk is told
  const page = await person.submit(form, { number: '+44 7700 900112' })
  expect([page.status, receiver.newest().to, receiver.newest().purpose]).toEqual([200, number, 'enrolment'])
  expect(await phones()).toEqual([])
  const added = await person.submit(page, { code: receiver.newest().code })
  expect(added.url).toBe(`${home.server.url}/account/security/recovery-codes?done=first`)
  expect(await mails()).toEqual(['A second step was added to your account'])
  await person.submit(added, { decision: 'create' })
  const list = await person.open('/account/security')
  expect(list.text).toContain('Text messages to •••12')
  expect(list.text).not.toContain('7700900112')
  const { person: another, page: waiting } = await home.enter('/account')
  expect(waiting.url).toContain('/second-factor')
  const [phone] = await phones()
  const sent = await another.submit(waiting, { send: phone?.id ?? '' })
  expect(new URL((await another.submit(sent, { code: receiver.newest().code })).url).pathname).toBe('/account')
})

test.each(['', '07700 900112', 'my phone', '+44 7700', '+'.repeat(200), '<b>+447700900112</b>'])(
  'what is no complete number is said to be none, and nothing is sent: %j',
  async (typed) => {
    const { page } = await asked(typed)
    expect([page.status, page.text.includes('id="number-error"')]).toEqual([422, true])
    expect(receiver.arrived).toEqual([])
  },
)

describe('a code', () => {
  test('that is wrong or empty adds nothing; the page waits for the right one', async () => {
    const { person, page } = await asked()
    const { code } = receiver.newest()
    for (const wrong of ['', other(code), 'abc']) {
      const answer = await person.submit(page, { code: wrong })
      expect([wrong, answer.status, answer.text.includes('id="code-error"')]).toEqual([wrong, 422, true])
    }
    expect([await phones(), await mails()]).toEqual([[], []])
    expect((await person.submit(page, { code })).status).toBe(200)
    expect(await phones()).toHaveLength(1)
  })

  test('is for the number it went to, this session and this person', async () => {
    const { person, page } = await asked()
    const { code } = receiver.newest()
    expect((await person.submit(page, { code, number: '+447700900113' })).status).toBe(422)
    const second = await home.enter(path)
    expect((await second.person.submit(second.page, { number, code })).status).toBe(422)
    const bob = await home.enter(path, { as: 'bob@example.com' })
    expect((await bob.person.submit(bob.page, { number, code })).status).toBe(422)
    expect(await phones()).toEqual([])
    expect((await person.submit(page, { code })).status).toBe(200)
  })

  test('is guessed at five times; whoever has new ones sent guesses ten times in all, then waits', async () => {
    const { person, page } = await asked()
    for (let round = 0; round < 2; round++) {
      if (round > 0) await person.submit(page, { decision: 'again', code: '' })
      const { code } = receiver.newest()
      for (let n = 0; n < 5; n++) expect((await person.submit(page, { code: other(code) })).status).toBe(422)
      if (round === 0) expect((await person.submit(page, { code })).text).toContain('no longer works')
    }
    await person.submit(page, { decision: 'again', code: '' })
    const limited = await person.submit(page, { code: receiver.newest().code })
    expect([limited.status, Number(limited.headers.get('retry-after')) > 0]).toEqual([429, true])
    expect(await phones()).toEqual([])
  })
})

test('again and another number are buttons', async () => {
  const { person, page } = await asked()
  const first = receiver.newest().code
  await person.submit(page, { decision: 'again', code: '' })
  expect(receiver.arrived).toHaveLength(2)
  expect((await person.submit(page, { code: first })).status).toBe(422)
  const back = await person.submit(page, { decision: 'other' })
  expect([back.status, back.text.includes('id="number"'), back.text.includes(`value="${number}"`)]).toEqual([
    200,
    true,
    true,
  ])
})

test('what cannot be sent, is there already, or is too much is said', async () => {
  receiver.answer = (_request, response) => response.writeHead(500).end()
  const failed = (await asked()).page
  expect([failed.status, failed.text.includes('could not be sent')]).toEqual([503, true])
  receiver.answer = undefined
  const { person, page } = await asked()
  for (let n = 0; n < 3; n++) await person.submit(page, { decision: 'again' })
  expect((await person.submit(page, { decision: 'again' })).status).toBe(429)
  await db().outOfBandMessage.deleteMany()
  await givePhone(home.server, home.alice.id, number)
  const taken = await person.submit(page, { decision: 'again' })
  expect([taken.status, taken.text.includes('in your account already')]).toEqual([422, true])
})

test('a sign-in of the last five minutes is asked for before it is shown and before anything is sent (ASVS 7.5.1)', async () => {
  const { person, page } = await home.enter(path)
  await age(home, home.alice.id, 600)
  expect((await person.open(path)).url).toContain('/login')
  expect((await person.submit(page, { number })).url).toContain('/login')
  expect(receiver.arrived).toEqual([])
})

test('the copy of one’s data has the number whole; nobody else’s', async () => {
  const { person, page } = await home.enter('/account/data')
  await givePhone(home.server, home.alice.id, number)
  await givePhone(home.server, home.bob.id, '+447700900199')
  const answer = await person.submit(page, { decision: 'download' })
  const data = JSON.parse(answer.text)
  expect(data.phones).toEqual([{ id: expect.any(String), number }])
  expect(data.credentials.map(({ kind }: { kind: string }) => kind)).toContain('phone')
  expect(answer.text).not.toContain('900199')
})

test('it is named and removed like every factor; the recovery codes go with the last', async () => {
  const { person } = await home.enter('/account/security')
  const id = await givePhone(home.server, home.alice.id)
  await giveRecoveryCodes(home.server, home.alice.id)
  const page = await person.open(`/account/security/factors/${id}`)
  expect(page.text).toContain('Text messages to •••12')
  await person.submit(page, { decision: 'rename', name: 'Old phone' })
  expect((await person.open('/account/security')).text).toContain('Old phone')
  await person.submit(page, { decision: 'remove' })
  expect(await db().credential.count({ where: { userId: home.alice.id, kind: { not: 'password' } } })).toBe(0)
  expect(await mails()).toEqual(['A second step was removed from your account'])
})

test('where the operator has no program for it there is no such page', async () => {
  const plain = await startAccount()
  try {
    const { person, page } = await plain.enter('/account/security')
    expect(page.text).not.toContain(path)
    expect((await person.open(path)).status).toBe(404)
    const csrf = /name="csrf" value="([^"]+)"/.exec((await person.open('/account/profile')).text)?.[1] ?? ''
    const body = new URLSearchParams({ csrf, number })
    const headers = { Origin: plain.server.url }
    expect((await person.fetch(path, { method: 'POST', body, headers })).status).toBe(404)
    expect((await new Person(plain.server.url).fetch(path)).status).toBe(303)
  } finally {
    await plain.stop()
  }
})
