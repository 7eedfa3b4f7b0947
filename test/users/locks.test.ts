// Whoever changes a person takes the owners' role before the person: two who took them in opposite orders would end each other.
import pg from 'pg'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createRole, insertRole, ownerRole } from '#src/access/roles.ts'
import { purgeDeleted, requestDeletion } from '#src/users/deletion.ts'
import { patchUser, takeRole } from '#src/users/editing.ts'
import { createUser, deleteUser, setUserDisabled, updateUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { waitingForLocks } from '#test/support/locks.ts'

const change = changeAt()
let own: TestDatabase
const db = () => own.database.prisma
beforeAll(async () => {
  own = await createTestDatabase()
  await db().$transaction((tx) => insertRole(tx, ownerRole, { permissions: [] }, change))
  await createRole(db(), 'reader', {}, change)
})
afterAll(() => own.drop())

test.each<[string, (id: string) => Promise<unknown>]>([
  ['roles are edited', (id) => patchUser(db(), id, { roles: [] }, change)],
  [
    'somebody is switched off beside another change',
    (id) => patchUser(db(), id, { name: 'A', disabled: true }, change),
  ],
  ['a review takes a role away', (id) => takeRole(db(), id, 'reader', change)],
  [
    'grace is over',
    async (id) => {
      await db().user.update({ where: { id }, data: { disabledAt: change.now, deleteAfter: change.now } })
      return purgeDeleted(own.database, change)
    },
  ],
  ['somebody leaves', (id) => requestDeletion(db(), { userId: id, graceDays: 1 }, change)],
  ['somebody is switched off', (id) => setUserDisabled(db(), id, true, change)],
  ['somebody is removed', (id) => deleteUser(db(), id, change)],
  ['roles are written', (id) => updateUser(db(), id, { roles: [] }, change)],
])('%s: nobody holds the person while they wait for the role', async (_, run) => {
  const { id } = await createUser(db(), { email: `${Math.random()}@example.com`, roles: ['reader'] }, change)
  const other = new pg.Client({ connectionString: own.url })
  other.on('error', () => undefined)
  await other.connect()
  try {
    await other.query('BEGIN')
    await other.query('SELECT FROM role WHERE name = $1 FOR UPDATE', [ownerRole])
    const running = run(id)
    await expect.poll(() => waitingForLocks(own.database)).toBe(1)
    await other.query('SELECT FROM users WHERE id = $1 FOR UPDATE NOWAIT', [id])
    await other.query('COMMIT')
    await running
  } finally {
    await other.end()
  }
})
