// What a recovery sweeps out of an account whose address nobody had proven, while somebody is still putting things there. The journeys
// are in test/flows/recovery.test.ts.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { answerProof } from '#src/factors/address-proof.ts'
import { lockCredentials } from '#src/factors/credentials.ts'
import { beginRecovery, finishRecovery } from '#src/factors/recovery.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { unsealMail } from '#src/mail/outbox.ts'
import { createUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { waitingForLocks } from '#test/support/locks.ts'

const change = { ...changeAt(), origin: { address: '192.0.2.1', userAgent: undefined, requestId: 'r' } }
const secretKeys = createSecretKeys([Buffer.alloc(32, 1)])
const deps = { secretKeys, now: change.now }
let created: TestDatabase
beforeAll(async () => {
  created = await createTestDatabase()
})
afterAll(() => created.drop())

test('a factor that is being added while the owner of the address recovers does not outlast it', async () => {
  const { database } = created
  const db = database.prisma
  const { id: userId, email } = await createUser(db, { email: 'ada@example.com' }, change)
  await beginRecovery(database, { uid: 'pending', email, locale: 'en' }, change, secretKeys)
  const mail = await db.mail.findFirstOrThrow()
  const { code } = unsealMail(secretKeys, { id: mail.id, sealed: mail.sealed ?? '' }).data as { code: string }
  expect(await answerProof(db, { purpose: 'recovery', uid: 'pending' }, code, deps)).toBe('right')

  const ask = { uid: 'pending', passwordHash: 'new', locale: 'en', sessionUid: undefined } as const
  let recovering: Promise<string | undefined> | undefined
  await db.$transaction(async (tx) => {
    await lockCredentials(tx, userId)
    await tx.credential.create({
      data: { id: randomUUID(), userId, kind: 'totp', secret: 'trap', createdAt: change.now },
    })
    recovering = finishRecovery(database, ask, change, secretKeys)
    await expect.poll(() => waitingForLocks(database)).toBe(1)
  })
  expect(await recovering).toBe(userId)
  expect(await db.credential.findMany({ where: { userId }, select: { kind: true } })).toEqual([{ kind: 'password' }])
})
