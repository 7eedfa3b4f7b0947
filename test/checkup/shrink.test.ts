// What one click takes from applications: what was named, of that what is unused still, and nothing else.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createApi } from '#src/apis/apis.ts'
import { findUnusedScopes, shrink } from '#src/checkup/shrink.ts'
import { createClient } from '#src/clients/clients.ts'
import { readConfigurationVersion } from '#src/db/configuration-version.ts'
import { clearAudit } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const orders = 'https://api.example.com/orders'
const change = () => ({ now: new Date(), actor: { kind: 'cli' as const } })
let db: TestDatabase
const query = async (text: string, values: unknown[] = []) => (await db.database.pool.query(text, values)).rows
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())
beforeEach(async () => {
  const { prisma } = db.database
  await query('TRUNCATE api, client, client_use, token CASCADE')
  await clearAudit(db.database)
  const scopes = Object.fromEntries(['a', 'b', 'c'].map((name) => [name, name]))
  await createApi(prisma, { identifier: orders, name: 'Orders', scopes }, change())
  for (const id of ['one', 'two'])
    await createClient(prisma, { id, type: 'service', apis: { [orders]: ['a', 'b', 'c'] } }, [], change())
  await query(`UPDATE client_scope SET granted_at = now() - interval '91 days'`)
  await query(`INSERT INTO client_use VALUES ('one', $1, 'a', now() - interval '1 day')`, [orders])
})
const of = (clientId: string, ...names: string[]) => names.map((scope) => ({ clientId, api: orders, scope }))
const left = async () =>
  (await query('SELECT client_id, scope_name FROM client_scope ORDER BY 1, 2')).map(
    (row) => `${row.client_id} ${row.scope_name}`,
  )

test('what is named leaves, with its record; what is not named, or is another client’s, stays', async () => {
  expect((await findUnusedScopes(db.database, new Date())).scopes).toEqual([
    ...of('one', 'b', 'c'),
    ...of('two', 'a', 'b', 'c'),
  ])
  const before = await readConfigurationVersion(db.database)
  const named = [...of('one', 'b'), ...of('two', 'a', 'c')]
  expect(await shrink(db.database, named, {}, change())).toEqual({ removed: named, kept: [] })
  expect(await left()).toEqual(['one a', 'one c', 'two b'])
  expect(await readConfigurationVersion(db.database)).toBeGreaterThan(before)
  const rows = await db.database.prisma.auditEvent.findMany({
    where: { event: 'client.scopes_removed' },
    orderBy: { targetId: 'asc' },
  })
  expect(rows).toMatchObject([
    { targetId: 'one', actorKind: 'cli', detail: { why: 'unused for 90 days', scopes: [`${orders} b`] } },
    { targetId: 'two', detail: { scopes: [`${orders} a`, `${orders} c`] } },
  ])
})

test('what was used meanwhile, given anew, or is not there stays, and is named', async () => {
  await query(`UPDATE client_scope SET granted_at = now() WHERE client_id = 'two' AND scope_name = 'c'`)
  await query(
    `INSERT INTO token (id, kind, client_id, resource, scope, expires_at, payload) VALUES ('x', 4, 'two', $1, 'b', now() + interval '1 hour', '{}')`,
    [orders],
  )
  const kept = [...of('one', 'a'), ...of('two', 'b', 'c'), ...of('nobody', 'a')]
  const done = await shrink(db.database, [...kept, ...of('two', 'a'), ...of('two', 'a')], {}, change())
  expect(done).toEqual({ removed: of('two', 'a'), kept })
  expect(await left()).toEqual(['one a', 'one b', 'one c', 'two b', 'two c'])
})

test('a dry run only tells; of two that do it at once one removes', async () => {
  const named = of('two', 'a', 'b')
  const before = await readConfigurationVersion(db.database)
  expect((await shrink(db.database, named, { dryRun: true }, change())).removed).toEqual(named)
  expect(await left()).toHaveLength(6)
  expect(await readConfigurationVersion(db.database)).toBe(before)
  const both = await Promise.all([1, 2].map(() => shrink(db.database, named, {}, change())))
  expect(both.flatMap(({ removed }) => removed)).toHaveLength(2)
  expect(await db.database.prisma.auditEvent.count({ where: { event: 'client.scopes_removed' } })).toBe(1)
})
