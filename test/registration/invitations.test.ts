import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createRole, deleteRole } from '#src/access/roles.ts'
import type { Change } from '#src/audit/change.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { unsealMail } from '#src/mail/outbox.ts'
import { acceptInvitation, findInvitation, invite } from '#src/registration/invitations.ts'
import { clearAudit } from '#test/support/audit.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change: Change = { ...changeAt(), actor: { kind: 'user', id: 'the operator' } }
const deps = { secretKeys: createSecretKeys([Buffer.alloc(32, 1)]), signUp: 'invitation' } as const
const later = (days: number, ms = 0): Change => ({
  ...change,
  now: new Date(change.now.getTime() + days * 86_400_000 + ms),
})
const chosen = { name: 'Guest', passwordHash: 'hash', locale: 'fr' } as const
let created: TestDatabase
let db: TestDatabase['database']['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  db = created.database.prisma
  await createRole(db, 'clerk', {}, change)
  await createRole(db, 'keeper', {}, change)
})
afterAll(() => created.drop())
beforeEach(async () => {
  await db.mail.deleteMany()
  await db.invitation.deleteMany()
  await db.user.deleteMany()
  await clearAudit(created.database)
})

/** @returns what only the reader of the mailbox has. */
async function tokenOf(ask: Partial<Parameters<typeof invite>[1]> = {}): Promise<string> {
  await invite(db, { email: 'guest@example.com', ...ask }, change, deps)
  const mail = await db.mail.findFirstOrThrow({ orderBy: { createdAt: 'desc' } })
  return (unsealMail(deps.secretKeys, { id: mail.id, sealed: mail.sealed ?? '' }).data as { token: string }).token
}

test('is good until its last millisecond, to be shown and to be accepted, and not after', async () => {
  const token = await tokenOf({ days: 2 })
  expect(await findInvitation(db, token, later(2, -1).now)).toMatchObject({ email: 'guest@example.com' })
  expect(await findInvitation(db, token, later(2).now)).toBeUndefined()
  expect(await acceptInvitation(db, { token, ...chosen }, later(2))).toBeUndefined()
  expect(await db.user.count()).toBe(0)
  expect(await acceptInvitation(db, { token, ...chosen }, later(2, -1))).toMatchObject({ userId: expect.any(String) })
  expect(await acceptInvitation(db, { token, ...chosen }, later(1))).toBeUndefined()
})

test('is on record, with who invited, to what, and who came', async () => {
  const token = await tokenOf({ roles: ['clerk', 'keeper'], days: 3 })
  const { id } = await db.invitation.findFirstOrThrow()
  const accepted = await acceptInvitation(db, { token, ...chosen }, change)
  const events = await db.auditEvent.findMany({
    where: { event: { startsWith: 'invitation.' } },
    orderBy: { id: 'asc' },
  })
  expect(events).toMatchObject([
    {
      event: 'invitation.created',
      outcome: 'success',
      actorId: 'the operator',
      targetKind: 'invitation',
      targetId: id,
      detail: { roles: ['clerk', 'keeper'], days: 3 },
    },
    { event: 'invitation.accepted', actorKind: 'user', actorId: accepted?.userId, targetId: id },
  ])
  expect(JSON.stringify(events.map(({ detail }) => detail))).not.toContain(token)
})

test('makes a person with the address that was invited, verified, their language, and the roles that are still there', async () => {
  const token = await tokenOf({ roles: ['clerk', 'keeper'] })
  await deleteRole(db, 'keeper', change)
  await acceptInvitation(db, { token, ...chosen }, change)
  expect(await db.user.findMany({ include: { roles: true } })).toMatchObject([
    { email: 'guest@example.com', emailVerifiedAt: change.now, locale: 'fr', roles: [{ roleName: 'clerk' }] },
  ])
  await createRole(db, 'keeper', {}, change)
})

describe('is refused, and nothing is written or mailed,', () => {
  test.each<[string, Partial<Parameters<typeof invite>[1]>]>([
    ['a role named twice', { roles: ['clerk', 'clerk'] }],
    ['a role that is not there', { roles: ['clerk', 'nothing'] }],
    ['a role that cannot be one', { roles: ['a\0b'] }],
    ['no day', { days: 0 }],
    ['more than thirty days', { days: 31 }],
    ['half a day', { days: 1.5 }],
    ['no address', { email: 'guest' }],
    ['an address that looks like another', { email: 'gu\u200best@example.com' }],
  ])('%s', async (_what, ask) => {
    await expect(invite(db, { email: 'guest@example.com', ...ask }, change, deps)).rejects.toThrow()
    expect([await db.invitation.count(), await db.mail.count(), await db.auditEvent.count()]).toEqual([0, 0, 0])
  })

  test('where nobody may sign up', async () => {
    const off = { ...deps, signUp: 'off' } as const
    await expect(invite(db, { email: 'guest@example.com' }, change, off)).rejects.toThrow('SIGN_UP is off')
    expect([await db.invitation.count(), await db.mail.count()]).toEqual([0, 0])
  })
})
