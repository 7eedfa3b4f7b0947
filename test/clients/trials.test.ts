// What a trial was lent and nobody gave back: taken back after an hour, and recorded as any other change.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createClient, deleteClient, findClient } from '#src/clients/clients.ts'
import { clientSettings } from '#src/clients/settings.ts'
import { endLeftTrials, isTrialLeft, lend, takeBack } from '#src/clients/trials.ts'
import { clearAudit } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const own = 'https://shop.example/cb'
const callback = 'https://id.example/admin/applications/shop/try/callback'
const begun = new Date('2026-11-27T12:00:00Z')
const after = (minutes: number) => new Date(begun.getTime() + minutes * 60_000)
const by = (now: Date) => ({ now, actor: { kind: 'system', id: 'trials' } }) as const

let created: TestDatabase
let prisma: TestDatabase['database']['prisma']
beforeAll(async () => {
  created = await createTestDatabase()
  prisma = created.database.prisma
})
afterAll(() => created.drop())
beforeEach(async () => {
  await created.database.pool.query('DELETE FROM client')
  await createClient(
    prisma,
    { id: 'shop', type: 'web', redirectUris: [own] },
    [{ value: 'kept-0123456789-abcdefghijklmnopq' }],
    by(begun),
  )
  await createClient(prisma, { id: 'phone', type: 'native', redirectUris: [own] }, [], by(begun))
  await clearAudit(created.database)
})

async function read(id: string) {
  const record = await findClient(prisma, id)
  if (!record) throw new Error(`no client ${id}`)
  return record
}
const lendTo = async (id: string, now = begun) => lend(prisma, await read(id), callback, by(now))
const stateOf = async (id: string) => {
  const record = await read(id)
  return { redirectUris: clientSettings(record).redirectUris, secrets: record.secrets.length }
}

test('after an hour, and not before, address and secret are taken back, and the record says by whom', async () => {
  await lendTo('shop')
  await lendTo('phone')
  await clearAudit(created.database)
  for (const minutes of [11, 59]) {
    expect(await isTrialLeft(created.database, after(minutes))).toBe(false)
    expect(await endLeftTrials(prisma, by(after(minutes)))).toEqual({ ended: 0, refused: [] })
  }
  expect(await stateOf('shop')).toEqual({ redirectUris: [own, callback], secrets: 2 })
  expect(await isTrialLeft(created.database, after(61))).toBe(true)
  expect(await endLeftTrials(prisma, by(after(61)))).toEqual({ ended: 2, refused: [] })
  expect(await stateOf('shop')).toEqual({ redirectUris: [own], secrets: 1 })
  expect(await stateOf('phone')).toEqual({ redirectUris: [own], secrets: 0 })
  expect(await isTrialLeft(created.database, after(61))).toBe(false)
  const rows = await prisma.auditEvent.findMany({ orderBy: { id: 'asc' } })
  expect(rows.map(({ event, actorKind, actorId, clientId }) => [event, actorKind, actorId, clientId])).toEqual(
    expect.arrayContaining([
      ['client.updated', 'system', 'trials', 'shop'],
      ['client.secret_removed', 'system', 'trials', 'shop'],
      ['client.updated', 'system', 'trials', 'phone'],
    ]),
  )
  expect(rows).toHaveLength(3)
})

test('what was given back in time is nothing to take', async () => {
  const { secretId } = await lendTo('shop')
  await takeBack(prisma, await read('shop'), { callback, secretId }, by(after(1)))
  expect(await isTrialLeft(created.database, after(61))).toBe(false)
  expect(await endLeftTrials(prisma, by(after(61)))).toEqual({ ended: 0, refused: [] })
})

test('the address of a younger trial stays with it; only the secret of the older one goes', async () => {
  const [older, younger] = [await lendTo('shop'), await lendTo('shop', after(50))]
  expect(await endLeftTrials(prisma, by(after(61)))).toEqual({ ended: 1, refused: [] })
  expect((await stateOf('shop')).redirectUris).toEqual([own, callback])
  const secrets = (await read('shop')).secrets.map(({ id }) => id)
  expect([secrets.includes(older.secretId ?? ''), secrets.includes(younger.secretId ?? '')]).toEqual([false, true])
  await endLeftTrials(prisma, by(after(111)))
  expect(await stateOf('shop')).toEqual({ redirectUris: [own], secrets: 1 })
})

test('what somebody removed by hand meanwhile is not missed, and a client that is gone leaves nothing', async () => {
  await lendTo('shop')
  await prisma.clientSecret.deleteMany({ where: { expiresAt: { not: null } } })
  await lendTo('phone')
  await deleteClient(prisma, 'phone', by(after(1)))
  expect(await endLeftTrials(prisma, by(after(61)))).toEqual({ ended: 1, refused: [] })
  expect(await stateOf('shop')).toEqual({ redirectUris: [own], secrets: 1 })
})
