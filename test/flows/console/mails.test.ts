// Mails in the console and in the admin API: what waits is seen and hurried, what it says is seen by nobody.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { queueMail } from '#src/mail/outbox.ts'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import type { Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person
let reader: Person

beforeAll(async () => {
  home = await startConsole({ env: { SMTP_URL: 'smtp://127.0.0.1:9' } })
  owner = (await home.enter()).person
  const as = await home.appointWith('reader@example.com', 'reader', { permissions: ['settings:read', 'tokens:read'] })
  reader = (await home.enter('/admin', { as })).person
})
afterAll(() => home.stop())

const prisma = () => home.server.database.prisma

/** @param state as it stands after a few tries in vain, or after the last one. */
async function mailTo(to: string, state: 'waiting' | 'delayed' | 'given_up' = 'delayed'): Promise<string> {
  const { secretKeys } = home.server
  await queueMail(
    prisma(),
    { template: 'recovery_code', to, locale: 'en', data: { code: '86420975' } },
    { secretKeys, now: new Date() },
  )
  const { id } = await prisma().mail.findFirstOrThrow({ orderBy: { createdAt: 'desc' } })
  const later = new Date(Date.now() + 900_000)
  const data = {
    waiting: {},
    delayed: { attempts: 3, problem: 'EENVELOPE 451', nextAttemptAt: later },
    given_up: { attempts: 9, problem: 'too_late', nextAttemptAt: null, givenUpAt: new Date(), sealed: null },
  }[state]
  await prisma().mail.update({ where: { id }, data })
  return id
}
const nextOf = async (id: string) =>
  (await prisma().mail.findUniqueOrThrow({ where: { id } })).nextAttemptAt?.getTime() ?? 0

test('what waits is listed with a part of its address; no page holds the address or the code', async () => {
  const id = await mailTo('gertrude@example.com')
  const [list, one] = [await reader.open('/admin/mails'), await reader.open(`/admin/mails/${id}`)]
  expect([list.status, one.status]).toEqual([200, 200])
  for (const { text } of [list, one]) {
    expect(text).toContain('g…@example.com')
    expect(text).not.toMatch(/gertrude|86420975|8642 0975/)
  }
  expect(one.text).toContain('EENVELOPE 451')
  expect(headingOf(one)).toBe('Code to recover an account Delayed')
})

test('the filter holds, and rows that stand for nobody are not there', async () => {
  const { secretKeys } = home.server
  const [delayed, lost] = [await mailTo('one@example.com'), await mailTo('two@example.com', 'given_up')]
  await queueMail(
    prisma(),
    { template: 'nothing', to: 'x@example.com', locale: 'en', data: {} },
    { secretKeys, now: new Date() },
  )
  const decoy = await prisma().mail.findFirstOrThrow({ where: { template: 'nothing' } })
  const page = await owner.open('/admin/mails?state=given_up')
  expect([page.text.includes(lost), page.text.includes(delayed)]).toEqual([true, false])
  expect((await owner.open('/admin/mails')).text).not.toContain(decoy.id)
  expect((await owner.open(`/admin/mails/${decoy.id}`)).status).toBe(404)
})

test('what was tried in vain is tried again now, and the record says by whom', async () => {
  const id = await mailTo('frida@example.com')
  const page = await owner.submit(await owner.open(`/admin/mails/${id}`), { decision: 'retry' })
  expect([page.status, page.text.includes('It is tried again now.')]).toEqual([200, true])
  expect(await nextOf(id)).toBeLessThanOrEqual(Date.now())
  const event = await prisma().auditEvent.findFirst({ where: { event: 'mail.hurried', targetId: id } })
  expect(event).toMatchObject({ actorKind: 'user', actorId: home.owner.id })
})

test('whoever may only read has no button, and their form is refused', async () => {
  const id = await mailTo('ada@example.com')
  const before = await nextOf(id)
  const seen = await reader.open(`/admin/mails/${id}`)
  expect(seen.text).not.toContain('Send again now')
  const csrf = /name="csrf" value="([^"]+)"/.exec((await reader.open('/admin/tokens')).text)?.[1] ?? ''
  expect(csrf).not.toBe('')
  const sent = await reader.open(`/admin/mails/${id}`, {
    method: 'POST',
    body: new URLSearchParams({ csrf, decision: 'retry' }),
    headers: { Origin: home.server.url },
  })
  expect([sent.status, await nextOf(id)]).toEqual([403, before])
})

test('one that is on its way at this moment, or is over, is left alone: it could go out twice', async () => {
  const id = await mailTo('lise@example.com')
  const form = await owner.open(`/admin/mails/${id}`)
  await prisma().mail.update({ where: { id }, data: { problem: null } }) // claimed by the sender
  const before = await nextOf(id)
  const page = await owner.submit(form, { decision: 'retry' })
  expect([page.status, page.text.includes('waits for another try'), await nextOf(id)]).toEqual([409, true, before])
  expect((await owner.open(`/admin/mails/${randomUUID()}`)).status).toBe(404)
  expect((await owner.open('/admin/mails/nothing')).status).toBe(404)
})

test('pages follow each other without a gap', async () => {
  for (let n = 0; n < 26; n++) await mailTo(`n${n}@example.com`, 'waiting')
  const first = await owner.open('/admin/mails?state=waiting')
  const next = /href="([^"]+)" rel="next"/.exec(first.text)?.[1]?.replaceAll('&amp;', '&') ?? ''
  const second = await owner.open(next)
  const idsOf = (text: string) => [...text.matchAll(/href="\/admin\/mails\/([\w-]{36})"/g)].map(([, id]) => id)
  const all = [...idsOf(first.text), ...idsOf(second.text)]
  const waiting = await prisma().mail.count({
    where: { nextAttemptAt: { not: null }, problem: null, template: { not: 'nothing' } },
  })
  expect([new Set(all).size, all.length]).toEqual([waiting, waiting])
})
