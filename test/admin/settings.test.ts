// /api/v1/settings: the configuration, and what of it is changed while the server runs. Every answer is held against the description.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'

let api: AdminApi
beforeAll(async () => {
  api = await startAdminApi({
    env: { EMAIL_VERIFICATION: 'required', SMTP_URL: 'smtps://postbox:hunter2hunter2@mail.example.com:465' },
  })
})
afterAll(() => api.stop())
beforeEach(() => api.server.database.prisma.setting.deleteMany())

type Shown = { name: string; value: string | null; source: string; stored: boolean; editable: boolean }
const read = async () => {
  const { status, body, headers } = await api.call('GET', '/settings', { scopes: ['settings:read'] })
  expect(status).toBe(200)
  return { etag: headers.get('etag') ?? '', of: (name: string) => body.data.find((one: Shown) => one.name === name) }
}
const patch = (body: unknown, ifMatch: string | null = '*') =>
  api.call('PATCH', '/settings', { body, headers: ifMatch === null ? {} : { 'If-Match': ifMatch } })

test('each says where its value comes from, and whether it can be changed', async () => {
  const { of } = await read()
  expect(of('SIGN_UP')).toMatchObject({ value: 'off', source: 'default', given: false, stored: false, editable: true })
  expect(of('EMAIL_VERIFICATION')).toMatchObject({ value: 'required', source: 'environment', editable: false })
  expect(of('PORT')).toMatchObject({ source: 'environment', editable: false })
  expect(of('SMTP_URL')).toMatchObject({ value: 'smtps://mail.example.com:465', editable: false })
  expect(of('SECRET_KEY')).toMatchObject({ value: null, secret: true, editable: false })
})

test('is changed with the ETag of what was read; null puts one back', async () => {
  const { etag } = await read()
  const changed = await patch({ SIGN_UP: 'open', SESSION_TTL_SECONDS: 7200, THEME_CSS: 'a{}' }, etag)
  expect(changed.status).toBe(200)
  const { etag: next, of } = await read()
  expect(next).toBe(changed.headers.get('etag'))
  expect(of('SIGN_UP')).toMatchObject({ value: 'open', source: 'stored', given: true, stored: true, editable: true })
  expect(of('SESSION_TTL_SECONDS').value).toBe('7200')
  await api.server.settle()
  expect((await patch({ SIGN_UP: null }, etag)).status).toBe(412)
  expect((await patch({ SIGN_UP: null }, next)).status).toBe(200)
  expect((await read()).of('SIGN_UP')).toMatchObject({ value: 'off', source: 'default', stored: false })
})

test('without If-Match nothing is changed, and without the scope nobody changes anything', async () => {
  expect((await patch({ SIGN_UP: 'open' }, null)).status).toBe(428)
  const reader = await api.call('PATCH', '/settings', {
    body: { SIGN_UP: 'open' },
    scopes: ['settings:read', 'users:write'],
    headers: { 'If-Match': '*' },
  })
  expect(reader.status).toBe(403)
  expect((await read()).of('SIGN_UP').source).toBe('default')
})

test('is refused as a whole, with the field and the fix of each', async () => {
  const refused = await patch({
    SIGN_UP: 'open',
    API_KEY_DAYS: 400,
    EMAIL_VERIFICATION: 'optional',
    SMTP_URL: null,
    NO_SUCH: 'x',
  })
  expect(refused.status).toBe(422)
  expect(refused.body.flaws.map(({ field }: { field: string }) => field)).toEqual([
    'API_KEY_DAYS',
    'EMAIL_VERIFICATION',
    'SMTP_URL',
    '"NO_SUCH"',
  ])
  expect(refused.body.flaws[1]).toEqual({
    field: 'EMAIL_VERIFICATION',
    problem: expect.stringContaining('environment'),
    fix: expect.stringContaining('Remove the variable'),
  })
  expect((await read()).of('SIGN_UP').source).toBe('default')
  for (const body of [{ SIGN_UP: true }, { SIGN_UP: ['open'] }, [], 'open'])
    expect((await patch(body)).status, JSON.stringify(body)).toBe(400)
})

test('what the API and the record say afterwards knows what was and what is, and of a sheet its length', async () => {
  await patch({ THEME_CSS: ':root { --accent: #123456 }', REMEMBER_DEVICE_DAYS: 0 })
  const row = await api.server.database.prisma.auditEvent.findFirst({
    where: { event: 'setting.changed' },
    orderBy: { at: 'desc' },
  })
  expect(row?.detail).toEqual({
    names: ['REMEMBER_DEVICE_DAYS', 'THEME_CSS'],
    changes: ['REMEMBER_DEVICE_DAYS: not stored -> 0', 'THEME_CSS: not stored -> 27 characters'],
  })
})

test('the longest sheet fits', async () => {
  expect((await patch({ THEME_CSS: '€'.repeat(16_384) })).status).toBe(200)
  expect((await patch({ THEME_CSS: 'x'.repeat(16_385) })).status).toBe(422)
})
