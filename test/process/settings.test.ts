// Two real processes on one database, and a command line beside them: what one stores is in force in the others, without a restart.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { startJourney } from '#test/support/journey.ts'
import { freePort, killAll, type Running, runNode } from '#test/support/processes.ts'

const folder = mkdtempSync(join(tmpdir(), 'sallyport-settings-'))
const SECRET_KEY = randomBytes(32).toString('base64url')
let db: TestDatabase

beforeEach(async () => {
  db = await createTestDatabase()
})
afterEach(async () => {
  killAll()
  await db.drop()
})
afterAll(() => rmSync(folder, { recursive: true }))

const env = (more: Record<string, string> = {}) => ({
  DATABASE_URL: db.url,
  SECRET_KEY,
  LOG_LEVEL: 'info',
  DATA_DIR: '/nonexistent',
  SMTP_URL: 'smtp://localhost:9',
  ...more,
})

async function start(
  more: Record<string, string> = {},
  options: string[] = [],
): Promise<{ url: string; running: Running }> {
  const port = await freePort()
  const url = `http://localhost:${port}`
  const running = runNode([...options, 'src/sallyport.mjs', 'start'], {
    env: env({ PORT: String(port), ISSUER_URL: url, ...more }),
  })
  await running.prints('"event":"server.started"')
  return { url, running }
}

async function sallyport(args: readonly string[], more: Record<string, string> = {}) {
  const command = runNode(['src/sallyport.mjs', ...args], { env: env({ LOG_LEVEL: 'error', ...more }) })
  const { code } = await command.ended()
  return { code, text: command.output() }
}

const styles = async (url: string) => {
  const page = await (await fetch(`${url}/account/deleted`, { headers: { Accept: 'text/html' } })).text()
  return /href="\/assets\/theme\.[\w-]{12}\.css"/.test(page)
}

test('a command opens sign-up and changes the sheet in both, and takes it back', async () => {
  const [one, two] = [await start(), await start()]
  const j = await startJourney({ url: one.url, database: db.database, settle: async () => undefined })
  const { address } = await j.begin()
  const open = async (url: string) => {
    const login = await fetch(url + address, { redirect: 'manual' })
    const page = await fetch(new URL(login.headers.get('location') ?? '', url), {
      headers: {
        Accept: 'text/html',
        Cookie: login.headers
          .getSetCookie()
          .map((line) => line.split(';')[0])
          .join('; '),
      },
    })
    return /\/signup"/.test(await page.text())
  }
  await expect.poll(() => open(one.url), { timeout: 10_000 }).toBe(false)
  const done = await sallyport(['settings', 'set', 'SIGN_UP=open', 'THEME_CSS=a{}', '--json'])
  expect([done.code, JSON.parse(done.text).map(({ name, source }: Record<string, string>) => [name, source])]).toEqual([
    0,
    [
      ['SIGN_UP', 'stored'],
      ['THEME_CSS', 'stored'],
    ],
  ])
  for (const { url } of [one, two]) {
    await expect.poll(() => open(url), { timeout: 10_000 }).toBe(true)
    expect(await styles(url)).toBe(true)
  }
  const listed = await sallyport(['settings', 'list'])
  expect(listed.text).toMatch(/SIGN_UP +open +stored/)
  expect(listed.text).not.toContain(SECRET_KEY)
  expect((await sallyport(['settings', 'unset', 'SIGN_UP', 'THEME_CSS'])).code).toBe(0)
  for (const { url } of [one, two]) {
    await expect.poll(() => open(url), { timeout: 10_000 }).toBe(false)
    expect(await styles(url)).toBe(false)
  }
})

test('commands honour what is stored, and refuse what is wrong', async () => {
  const key = async () => {
    const made = await sallyport([
      'api-keys',
      'create',
      'k',
      '--api',
      'https://api.example.com/orders=orders:read',
      '--client',
      'reports',
      '--json',
    ])
    return Math.round((Date.parse(JSON.parse(made.text).expiresAt) - Date.now()) / 86_400_000)
  }
  await startJourney({ url: 'http://localhost:3000', database: db.database, settle: async () => undefined })
  expect(await key()).toBe(90)
  expect((await sallyport(['settings', 'set', 'API_KEY_DAYS=7'])).code).toBe(0)
  expect(await key()).toBe(7)
  const invitation = () => sallyport(['users', 'invite', 'zoe@example.com'])
  expect((await invitation()).code).toBe(1)
  expect((await sallyport(['settings', 'set', 'SIGN_UP=invitation'])).code).toBe(0)
  expect((await invitation()).code).toBe(0)
  const wrong = await sallyport(['settings', 'set', 'SIGN_UP=open', 'API_KEY_DAYS=0', 'SECRET_KEY=x'])
  expect(wrong.code).toBe(1)
  expect(wrong.text).toMatch(/API_KEY_DAYS must be .*\n.*SECRET_KEY is decided by the environment alone/)
  expect((await sallyport(['settings', 'set', 'SIGN_UP'])).code).toBe(2)
  expect((await sallyport(['settings', 'set', 'SIGN_UP=open'], { SIGN_UP: 'off' })).text).toContain(
    'SIGN_UP is set by the environment',
  )
  expect((await sallyport(['settings', 'list'])).text).toMatch(/SIGN_UP +invitation +stored/)
})

test('signing keys follow one another as often as is stored', async () => {
  const stop = async ({ running }: { running: Running }) => {
    running.child.kill('SIGTERM')
    await running.ended()
  }
  await stop(await start())
  await db.database.pool.query(
    "UPDATE signing_key SET created_at = now() - interval '3 days', activated_at = activated_at - interval '3 days'",
  )
  expect((await sallyport(['settings', 'set', 'SIGNING_KEY_ROTATION_DAYS=2'])).code).toBe(0)
  // The first look of a job comes at a random moment of its interval: here at once.
  const atOnce = `data:text/javascript,${encodeURIComponent('Math.random = () => 0.001')}`
  const home = await start({}, ['--import', atOnce])
  await home.running.prints('"event":"key.rotated"')
  await stop(home)
})

test('a file of a start stores settings; what the environment overrides keeps nothing from starting', async () => {
  const file = join(folder, 'sallyport.yaml')
  writeFileSync(join(folder, 'theme.css'), 'a{}')
  writeFileSync(file, 'settings: { signUp: open, sessionTtlSeconds: 7200 }\nbranding: { cssFile: ./theme.css }\n')
  const first = await start({ SALLYPORT_CONFIG: file, SIGN_UP: 'off' })
  expect(first.running.output()).toMatch(/"event":"settings.not_in_force".*"settings":\["SIGN_UP"\]/)
  expect(await styles(first.url)).toBe(true)
  first.running.child.kill('SIGTERM')
  await first.running.ended()

  // Somebody changed what the file says; the next start puts it back, as it does everything else that the file states.
  expect((await sallyport(['settings', 'set', 'SESSION_TTL_SECONDS=9000'])).code).toBe(0)
  writeFileSync(join(folder, 'theme.css'), 'b{}')
  const second = await start({ SALLYPORT_CONFIG: file })
  const { text } = await sallyport(['settings', 'list'])
  expect(text).toMatch(/SESSION_TTL_SECONDS +7200 +stored/)
  expect(text).toMatch(/THEME_CSS +b\{\} +stored/)
  second.running.child.kill('SIGTERM')
  await second.running.ended()

  const plan = await sallyport(['apply', '--file', file, '--dry-run'], { SIGN_UP: 'off' })
  expect(plan.text).toContain('Nothing to change.')
  writeFileSync(file, 'settings: { signUp: invitation }\n')
  const differing = await sallyport(['apply', '--file', file, '--dry-run', '--prune'], { SIGN_UP: 'off' })
  expect(differing.text).toContain('"open" -> "invitation"')
  expect(differing.text).toContain('note: SIGN_UP is set in the environment here')
  expect(differing.text).toMatch(/- setting sessionTtlSeconds/)
  writeFileSync(file, 'settings: { signUp: invitation }\n')
  const json = await sallyport(['apply', '--file', file, '--json'])
  expect(JSON.parse(json.text).changes).toHaveLength(1)
  expect(JSON.parse((await sallyport(['apply', '--file', file, '--json'])).text)).toEqual({ changes: [] })
})
