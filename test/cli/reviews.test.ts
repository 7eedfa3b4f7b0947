// sallyport reviews, as a script sees it.
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { createUser, findUser } from '#src/users/users.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { change } from '#test/support/installation.ts'

const folder = mkdtempSync(join(tmpdir(), 'sallyport-reviews-'))
let db: TestDatabase
let ann = ''
beforeAll(async () => {
  db = await createTestDatabase()
  const { prisma } = db.database
  await createRole(prisma, 'clerk', { permissions: ['orders:read'] }, change())
  await createRole(prisma, 'helper', { permissions: ['stock:read'] }, change())
  ann = (await createUser(prisma, { email: 'ann@example.com', roles: ['clerk', 'helper'] }, change())).id
})
afterAll(async () => {
  await db.drop()
  rmSync(folder, { recursive: true })
})

async function reviews(...args: string[]) {
  const child = spawn(process.execPath, ['src/sallyport.mjs', 'reviews', ...args], {
    env: { PATH: process.env.PATH, DATABASE_URL: db.url, LOG_LEVEL: 'error' },
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, out, err }
}

test('create, lines, approve, revoke, list and export', async () => {
  expect((await reviews('list')).out).toBe('There is no access review yet.\n')
  const { id } = JSON.parse((await reviews('create', 'Spring', '--json')).out)
  const shown = await reviews('lines', id)
  expect(shown.out).toMatch(
    /1 +ann@example\.com +role clerk +orders:read +-\n2 +ann@example\.com +role helper +stock:read +-\n/,
  )
  expect(await reviews('approve', id, '1', '--note', 'Asked')).toEqual({ code: 0, out: '1: approved\n', err: '' })
  expect(await reviews('revoke', id, '2')).toEqual({ code: 0, out: '2: revoked\n', err: '' })
  expect((await findUser(db.database.prisma, ann))?.roles.map(({ roleName }) => roleName)).toEqual(['clerk'])
  expect(await reviews('revoke', id, '1')).toMatchObject({
    code: 1,
    err: expect.stringContaining('was decided already: approve'),
  })
  expect(JSON.parse((await reviews('lines', id, '--open', '--json')).out)).toEqual({ data: [], next: null })
  expect(JSON.parse((await reviews('list', '--json')).out)).toMatchObject([{ id, approved: 1, revoked: 1, open: 0 }])

  const output = join(folder, 'spring.jsonl')
  expect((await reviews('export', id, '--output', output)).code).toBe(0)
  expect(readFileSync(output, 'utf8').trimEnd().split('\n')).toHaveLength(4)
  expect(await reviews('export', id, '--output', output)).toMatchObject({
    code: 1,
    err: expect.stringContaining('the file exists'),
  })
})

test('wrong usage is told apart from a refusal', async () => {
  expect(await reviews('lines', 'none')).toMatchObject({ code: 1, out: '' })
  expect(await reviews('lines', 'none', '--subject', 'ann')).toMatchObject({ code: 2, out: '' })
  expect(await reviews('export', 'none')).toMatchObject({ code: 2, out: '' })
})
