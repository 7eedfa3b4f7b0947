// The checkup in the console: what it finds, and what is mended from there.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import { orders, stock } from '#test/support/installation.ts'
import type { Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person

beforeAll(async () => {
  home = await startConsole()
  owner = (await home.enter()).person
  await query("UPDATE client_scope SET granted_at = now() - interval '91 days' WHERE client_id = 'reports'")
})
afterAll(() => home.stop())

const query = async (text: string, values: unknown[] = []) => (await home.server.database.pool.query(text, values)).rows
const scopesLeft = async () =>
  (await query("SELECT api_identifier || ' ' || scope_name AS one FROM client_scope WHERE client_id = 'reports'"))
    .map(({ one }) => one)
    .sort()
const shrinkReports = '/admin/checkup/shrink?client=reports'
const bothScopes = [`${orders} orders:read`, `${stock} stock:read`]

test('what is found says why and what to do, and leads to what mends it at once', async () => {
  const page = await owner.open('/admin/checkup')
  expect([page.status, headingOf(page)]).toEqual([200, 'Checkup'])
  for (const text of ['Why', 'What to do', 'Looked at on', shrinkReports]) expect(page.text).toContain(text)
})

test('whoever may look, but not change applications or record backups, does neither', async () => {
  const as = await home.appointWith('looker@example.com', 'looker', { permissions: ['checkup:read'] })
  const { person, page } = await home.enter('/admin/checkup', { as })
  expect([page.status, page.text.includes(shrinkReports)]).toEqual([200, false])
  const asked = await person.open(shrinkReports)
  const csrf = await owner.open(shrinkReports)
  expect([asked.status, asked.text.includes('name="csrf"')]).toEqual([200, false])
  expect((await person.submit(csrf, {}, { csrf: 'x' })).status).toBe(403)
  expect((await person.open('/admin/checkup/backup')).status).toBe(403)
  expect(await scopesLeft()).toEqual(bothScopes)
  expect(await query('SELECT * FROM last_backup')).toEqual([])
})

test('a scope of this server leaves only by somebody who has it', async () => {
  const own = `${home.server.url}/api`
  const row = ['reports', own, 'audit:read']
  await query(
    `INSERT INTO client_scope (client_id, api_identifier, scope_name, granted_at) VALUES ($1, $2, $3, now() - interval '91 days')`,
    row,
  )
  const permissions = ['checkup:read', 'clients:write']
  const as = await home.appointWith('gardener@example.com', 'gardener', { permissions })
  const { person } = await home.enter('/admin/checkup', { as })
  expect((await person.submit(await person.open(shrinkReports), { scope: [`${own} audit:read`] })).status).toBe(403)
  expect(await scopesLeft()).toContain(`${own} audit:read`)
  await query('DELETE FROM client_scope WHERE client_id = $1 AND api_identifier = $2 AND scope_name = $3', row)
})

test('what was shown and is unused still is removed; what was given anew meanwhile stays', async () => {
  const [first, second] = [await owner.open(shrinkReports), await owner.open(shrinkReports)]
  await query("UPDATE client_scope SET granted_at = now() WHERE client_id = 'reports' AND scope_name = 'stock:read'")
  const done = await owner.submit(first, { scope: bothScopes })
  expect([done.status, done.text.includes('It was removed.')]).toEqual([200, true])
  expect(await scopesLeft()).toEqual([`${stock} stock:read`])
  const again = await owner.submit(second, { scope: bothScopes })
  expect([again.status, again.text.includes('Nothing was removed')]).toEqual([409, true])
  expect((await owner.open('/admin/checkup/shrink?client=nobody')).status).toBe(404)
})

test('a backup is recorded; a time that is none, or still to come, is refused and kept', async () => {
  for (const at of ['yesterday', '2999-01-01T00:00Z']) {
    const page = await owner.submit(await owner.open('/admin/checkup/backup'), { at })
    expect([page.status, page.text.includes(`value="${at}"`)]).toEqual([422, true])
  }
  expect(await query('SELECT * FROM last_backup')).toEqual([])
  await owner.submit(await owner.open('/admin/checkup/backup'), { at: '2026-01-02T03:04Z' })
  expect(await query('SELECT at FROM last_backup')).toEqual([{ at: new Date('2026-01-02T03:04:00Z') }])
  await owner.submit(await owner.open('/admin/checkup/backup'), { at: '' })
  const [row] = await query('SELECT at > $1::timestamptz AS newer FROM last_backup', ['2026-06-01T00:00Z'])
  expect(row).toEqual({ newer: true })
})
