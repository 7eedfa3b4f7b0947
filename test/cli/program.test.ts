// The command line as a script sees it: exit code, standard output, standard error.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { runNode } from '#test/support/processes.ts'

let db: TestDatabase
let empty: TestDatabase
const directory = mkdtempSync(join(tmpdir(), 'sallyport-cli-'))

beforeAll(async () => {
  db = await createTestDatabase()
  empty = await createTestDatabase({ migrated: false })
})
afterAll(async () => {
  await db.drop()
  await empty.drop()
  rmSync(directory, { recursive: true })
})

async function sallyport(args: string[], env: Record<string, string> = {}) {
  const { child } = runNode(['src/sallyport.mjs', ...args], { env: { DATABASE_URL: db.url, ...env } })
  if (!child.stdout || !child.stderr) throw new Error('no pipes')
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, out, err }
}

test('migrate brings a database up to date, and says so as text and as JSON', async () => {
  const first = await sallyport(['migrate', '--json'], { DATABASE_URL: empty.url })
  expect(first).toMatchObject({ code: 0, err: '' })
  expect(JSON.parse(first.out)).toEqual({ applied: expect.arrayContaining(['20261122000000_init']) })
  expect(await sallyport(['migrate', '--json'], { DATABASE_URL: empty.url })).toMatchObject({
    code: 0,
    out: '{"applied":[]}\n',
  })
  expect(await sallyport(['migrate'], { DATABASE_URL: empty.url })).toMatchObject({
    code: 0,
    out: 'The schema is up to date.\n',
  })
})

test.each([[['--help']], [['start', '--help']], [['migrate', '--help']], [['help', 'migrate']]])(
  '%s: help on standard output, code 0',
  async (args) => {
    const { code, out, err } = await sallyport(args)
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(/^Usage: sallyport/)
    expect(out).toContain('--json')
  },
)

test.each([[[]], [['fly']], [['migrate', '--sideways']], [['migrate', 'now']]])(
  '%s is wrong usage: code 2',
  async (args) => {
    const { code, out, err } = await sallyport(args)
    expect([code, out]).toEqual([2, ''])
    expect(err).not.toBe('')
    expect(err).not.toContain('    at ') // no stack
  },
)

test('wrong usage with --json is one JSON document', async () => {
  const { code, out, err } = await sallyport(['fly', '--json'])
  expect([code, out]).toEqual([2, ''])
  expect(JSON.parse(err)).toEqual({ error: expect.stringContaining('fly') })
})

test('a bad configuration is code 2 and one list', async () => {
  const bad = { PORT: 'x', LOG_LEVEL: 'y' }
  const { code, err } = await sallyport(['migrate'], bad)
  expect([code, err.trim().split('\n')]).toEqual([
    2,
    ['Configuration problems:', expect.stringMatching(/^ {2}- PORT /), expect.stringMatching(/^ {2}- LOG_LEVEL /)],
  ])
  const json = await sallyport(['migrate', '--json'], bad)
  expect(JSON.parse(json.err).problems).toHaveLength(2)
})

test('a database that does not answer is one sentence without the password: code 1', async () => {
  const { code, out, err } = await sallyport(['migrate'], { DATABASE_URL: 'postgresql://a:hunter2@127.0.0.1:1/x' })
  expect([code, out]).toEqual([1, ''])
  expect(err).toMatch(/^The database at 127\.0\.0\.1:1\/x did not answer/)
  expect(err).not.toContain('hunter2')
  expect(err.trim().split('\n')).toHaveLength(1)
})

test('without DATABASE_URL a server is started for the command, and stopped after it', async () => {
  const env = { DATABASE_URL: '', DATA_DIR: directory }
  expect(await sallyport(['migrate', '--json'], env)).toMatchObject({ code: 0, out: expect.stringContaining('_init') })
  expect(await sallyport(['migrate', '--json'], env)).toMatchObject({ code: 0, out: '{"applied":[]}\n' })
})
