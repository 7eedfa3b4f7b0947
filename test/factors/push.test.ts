import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { OutOfBandDeps, OutOfBandMessage } from '#src/factors/out-of-band.ts'
import { addPushDevice, answerPush, findPush, sendPush, takePush } from '#src/factors/push.ts'
import { findStanding, removeFactor } from '#src/factors/second-factors.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { giveRecoveryCodes } from '#test/support/factors.ts'

const secretKeys = createSecretKeys([randomBytes(32)])
const now = new Date('2026-11-26T12:00:00Z')
const change = changeAt(now.toISOString())
let own: TestDatabase
let db: TestDatabase['database']['prisma']
let alice: string
let bob: string
const sent: OutOfBandMessage[] = []

beforeAll(async () => {
  own = await createTestDatabase()
  db = own.database.prisma
  alice = (await createUser(db, { email: 'alice@example.com' }, change)).id
  bob = (await createUser(db, { email: 'bob@example.com' }, change)).id
})
afterAll(() => own.drop())
beforeEach(async () => {
  await db.outOfBandMessage.deleteMany()
  await db.credential.deleteMany()
  await db.guessLimit.deleteMany()
})

const add = (userId = alice, reference = 'device') =>
  addPushDevice(db, secretKeys, { userId, reference, name: 'Pixel' }, change)
async function send(deviceId: string, uid = 'request', userId = alice) {
  const transport = { send: async (message: OutOfBandMessage) => void sent.push(message) }
  const deps: OutOfBandDeps = { database: own.database, secretKeys, transport, now }
  const ask = { userId, deviceId, uid, locale: 'en', application: 'Shop', askedFrom: '192.0.2.1' } as const
  const sending = await sendPush(deps, { ...ask, device: undefined })
  const id = sending?.outcome === 'sent' ? sending.id : ''
  return { outcome: sending?.outcome, id, number: sending?.number ?? 0 }
}
const approve = (id: string, number: number) =>
  answerPush(own.database, secretKeys, { id, answer: { approved: true, number } }, change)

test('an approval is taken for its request and its person, once, and nowhere else', async () => {
  const { id, number } = await send(await add())
  expect(await findPush(db, { uid: 'request', id }, now)).toBe('waiting')
  expect(await approve(id, number)).toBe('approved')
  const take = (uid: string, userId: string) => takePush(db, { uid, userId, id, now })
  expect(await take('another request', alice)).toBe(false)
  expect(await take('request', bob)).toBe(false)
  expect(await findPush(db, { uid: 'another request', id }, now)).toBe('over')
  const takes = await Promise.all(Array.from({ length: 10 }, () => take('request', alice)))
  expect(takes.filter(Boolean)).toHaveLength(1)
  expect(await findPush(db, { uid: 'request', id }, now)).toBe('over')
})

test('five requests in a quarter of an hour, over all devices of a person', async () => {
  const devices = [await add(alice, 'one'), await add(alice, 'two')]
  const outcomes: (string | undefined)[] = []
  for (let n = 0; n < 7; n++) outcomes.push((await send(devices[n % 2] ?? '', `request ${n}`)).outcome)
  expect(outcomes).toEqual([...Array(5).fill('sent'), 'limited', 'limited'])
  expect((await send(await add(bob, 'three'), 'another', bob)).outcome).toBe('sent')
})

test('every number comes up, has two digits, and is nowhere in the rows', async () => {
  const device = await add()
  const numbers = new Set<number>()
  for (let n = 0; n < 60; n++) {
    await db.outOfBandMessage.deleteMany()
    numbers.add((await send(device, `request ${n}`)).number)
  }
  expect(Math.min(...numbers)).toBeGreaterThanOrEqual(10)
  expect(Math.max(...numbers)).toBeLessThanOrEqual(99)
  expect(numbers.size).toBeGreaterThan(25)
  const { numberHash } = await db.pushApproval.findFirstOrThrow()
  expect(numberHash).toHaveLength(32)
})

test('the device is sealed in its row, counts as a second factor, and takes the recovery codes along when it was the last', async () => {
  const device = await add(alice, 'a reference of the app')
  const { secret } = await db.credential.findUniqueOrThrow({ where: { id: device } })
  expect(secretKeys.unseal('push', device, secret).toString()).toBe('a reference of the app')
  expect(() => secretKeys.unseal('phone', device, secret)).toThrow()
  await giveRecoveryCodes({ database: own.database }, alice)
  await send(device)
  expect(await findStanding(db, alice)).toMatchObject({ pushDevices: 1, recoveryCodes: 10 })
  expect(await removeFactor(db, alice, device, change)).toBe(true)
  expect(await findStanding(db, alice)).toMatchObject({ pushDevices: 0, recoveryCodes: 0 })
  expect(await db.pushApproval.count()).toBe(0)
})
