// sallyport audit, as a script sees it.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys } from '#src/keys/signing-keys.ts'
import { statementKeys } from '#src/keys/statement-signer.ts'
import { createUser } from '#src/users/users.ts'
import { tamper } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { change } from '#test/support/installation.ts'

const secretKey = randomBytes(32)
const folder = mkdtempSync(join(tmpdir(), 'sallyport-audit-cli-'))
const [file, jwks] = [join(folder, 'export.jsonl'), join(folder, 'jwks.json')]
let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
  const secretKeys = createSecretKeys([secretKey])
  await ensureSigningKeys(db.database, secretKeys, new Date())
  writeFileSync(jwks, JSON.stringify({ keys: await statementKeys(db.database, secretKeys) }))
  await createUser(db.database.prisma, { email: 'ann@example.com' }, change())
  await createUser(db.database.prisma, { email: 'bob@example.com' }, change())
})
afterAll(async () => {
  await db.drop()
  rmSync(folder, { recursive: true })
})

async function audit(...args: string[]) {
  const child = spawn(process.execPath, ['src/sallyport.mjs', 'audit', ...args], {
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: db.url,
      LOG_LEVEL: 'error',
      SECRET_KEY: secretKey.toString('base64url'),
    },
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, out, err }
}

test('list: what happened, with names, as a table and as JSON in pages', async () => {
  const shown = await audit('list', '--event', 'user.created')
  expect(shown.code).toBe(0)
  expect(shown.out).toMatch(
    /^AT +EVENT .*\n\S+Z +user\.created +success +cli.* bob@example\.com .*\n.* ann@example\.com /,
  )
  const first = JSON.parse((await audit('list', '--event', 'user.', '--limit', '1', '--json')).out)
  expect(first.data).toHaveLength(1)
  const second = JSON.parse((await audit('list', '--event', 'user.', '--after', first.next, '--json')).out)
  expect([second.data.length, second.next]).toEqual([1, null])
  expect(await audit('list', '--outcome', 'failure')).toEqual({
    code: 0,
    out: 'Nothing of that kind was recorded.\n',
    err: '',
  })
})

test('what means nothing is refused', async () => {
  expect(await audit('list', '--event', 'user.creatd')).toMatchObject({ code: 1, out: '' })
  expect(await audit('list', '--limit', '0')).toMatchObject({ code: 2, out: '' })
  expect(await audit('export', '--json')).toMatchObject({ code: 2 })
  expect(await audit('verify', '--jwks', jwks)).toMatchObject({ code: 2 })
  expect(await audit('export', '--from', '2099-01-01')).toMatchObject({ code: 1, out: '' })
})

test('export writes a new file that verify proves without the database; a changed one is told, with its place', async () => {
  const said = JSON.parse((await audit('export', '--output', file, '--json')).out)
  expect(said).toMatchObject({ file, format: 'jsonl', from: 1, rows: said.to })
  expect(await audit('export', '--output', file)).toMatchObject({
    code: 1,
    err: expect.stringContaining('the file exists'),
  })
  const good = JSON.parse((await audit('verify', file, '--jwks', jwks, '--json')).out)
  expect(good).toMatchObject({ ok: true, rows: said.rows, signedBy: 'given', findings: [] })

  const spoiled = join(folder, 'spoiled.jsonl')
  writeFileSync(spoiled, readFileSync(file, 'utf8').replace('"success"', '"failure"'))
  const bad = await audit('verify', spoiled, '--jwks', jwks)
  expect([bad.code, bad.out]).toEqual([1, expect.stringMatching(/does NOT hold[\s\S]*place 1 /)])
  expect(await audit('verify', join(folder, 'none.jsonl'))).toMatchObject({
    code: 1,
    err: expect.stringContaining('ENOENT'),
  })
})

test('export without a file writes the lines, and nothing else, to standard output', async () => {
  const { code, out, err } = await audit('export', '--format', 'csv')
  expect([code, out.split('\r\n')[0]]).toEqual([0, expect.stringMatching(/^position,hash,/)])
  expect(err).toMatch(/^Exported \d+ rows, from place 1 to \d+\.\n$/)
})

test('verify proves the database itself, and against what somebody kept outside', async () => {
  expect(await audit('verify')).toMatchObject({ code: 0, out: expect.stringContaining('The record holds.') })
  const { rows } = await db.database.pool.query(`SELECT encode(hash, 'hex') AS hash FROM audit_seal WHERE position = 1`)
  expect((await audit('verify', '--witness', `1:${rows[0].hash}`)).code).toBe(0)
  expect((await audit('verify', '--witness', `1:${'0'.repeat(64)}`)).code).toBe(1)
  await tamper(db.database, `UPDATE audit_event SET actor_id = 'nobody' WHERE id = (SELECT min(id) FROM audit_event)`)
  const { code, out } = await audit('verify', '--json')
  expect([code, JSON.parse(out).ok]).toEqual([1, false])
})
