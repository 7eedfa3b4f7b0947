// The admin API on mails and settings: what became of a mail, never what it says; what is in force, never a secret.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { queueMail } from '#src/mail/outbox.ts'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'

let api: AdminApi
beforeAll(async () => {
  api = await startAdminApi({ env: { SMTP_URL: 'smtp://postbox:hunter2hunter2@127.0.0.1:9' } })
})
afterAll(() => api.stop())

const prisma = () => api.server.database.prisma

async function mailTo(to: string, data: object): Promise<string> {
  const { secretKeys } = api.server
  await queueMail(
    prisma(),
    { template: 'email_code', to, locale: 'en', data: { code: '86420975' } },
    { secretKeys, now: new Date() },
  )
  const { id } = await prisma().mail.findFirstOrThrow({ orderBy: { createdAt: 'desc' } })
  await prisma().mail.update({ where: { id }, data })
  return id
}

test('mails are listed by state, page by page, with a part of the address and no word of theirs', async () => {
  const later = new Date(Date.now() + 900_000)
  const delayed = await mailTo('gertrude@example.com', { attempts: 2, problem: 'EENVELOPE 451', nextAttemptAt: later })
  for (const n of [1, 2, 3])
    await mailTo(`n${n}@example.com`, { attempts: 1, sentAt: new Date(), nextAttemptAt: null, sealed: null })
  const { status, body } = await api.call('GET', '/mails?state=delayed')
  expect([status, body.data.length]).toEqual([200, 1])
  expect(body.data[0]).toMatchObject({ id: delayed, to: 'g…@example.com', state: 'delayed', problem: 'EENVELOPE 451' })
  expect(JSON.stringify(body)).not.toMatch(/gertrude|86420975|sealed/)
  const first = await api.call('GET', '/mails?state=sent&limit=2')
  const second = await api.call('GET', `/mails?state=sent&limit=2&after=${first.body.next}`)
  expect([first.body.data.length, second.body.data.length, second.body.next]).toEqual([2, 1, null])
  expect((await api.call('GET', `/mails/${delayed}`)).body).toEqual(body.data[0])
  for (const [path, expected] of [
    ['/mails/nothing', 404],
    ['/mails?state=lost', 400],
    ['/mails?after=nothing', 400],
  ] as const)
    expect((await api.call('GET', path)).status, path).toBe(expected)
})

test('one that was tried in vain is tried again now; one that is over is a 409; reading does not let you', async () => {
  const later = new Date(Date.now() + 900_000)
  const id = await mailTo('frida@example.com', { attempts: 2, problem: 'ESOCKET', nextAttemptAt: later })
  const retry = (scopes?: readonly string[]) =>
    api.call('POST', `/mails/${id}/retry`, { body: {}, ...(scopes && { scopes }) })
  expect((await retry(['settings:read'])).status).toBe(403)
  expect((await prisma().mail.findUniqueOrThrow({ where: { id } })).nextAttemptAt).toEqual(later)
  expect(await retry()).toMatchObject({ status: 200, body: { id, retried: true } })
  expect((await prisma().mail.findUniqueOrThrow({ where: { id } })).nextAttemptAt?.getTime()).toBeLessThan(
    Date.now() + 1,
  )
  await prisma().mail.update({ where: { id }, data: { givenUpAt: new Date(), nextAttemptAt: null, sealed: null } })
  expect(await retry()).toMatchObject({ status: 409, body: { error: 'changed' } })
})

test('settings are those in force, with what a secret or an address carries left out', async () => {
  const { status, body } = await api.call('GET', '/settings')
  const of = (name: string) => body.data.find((setting: { name: string }) => setting.name === name)
  expect(status).toBe(200)
  expect(of('SMTP_URL')).toMatchObject({ value: 'smtp://127.0.0.1:9', given: true, secret: false, group: 'mail' })
  expect(of('SECRET_KEY')).toMatchObject({ value: null, secret: true })
  expect(of('SESSION_TTL_SECONDS')).toMatchObject({ value: '86400', given: false })
  expect(JSON.stringify(body)).not.toMatch(/hunter2|postbox/)
  expect((await api.call('GET', '/settings', { scopes: ['clients:read'] })).status).toBe(403)
})
