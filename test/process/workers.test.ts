// WORKERS: several processes on one port. What an operator sees of them, and what nobody else should notice.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { freePort, gone, killAll, processesWith, type Running, runNode } from '#test/support/processes.ts'

const secretKey = randomBytes(32).toString('base64url')
let db: TestDatabase
let directory: string
let port: number

beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())
beforeEach(async () => {
  directory = fs.mkdtempSync(join(tmpdir(), 'sallyport-workers-'))
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

function start(env: Record<string, string> = {}, nodeOptions: string[] = []): Running {
  return runNode([...nodeOptions, 'src/sallyport.mjs', 'start'], {
    env: {
      DATA_DIR: directory,
      PORT: String(port),
      ISSUER_URL: `http://localhost:${port}`,
      WORKERS: '2',
      DATABASE_URL: db.url,
      SECRET_KEY: secretKey,
      ...env,
    },
  })
}

/** A fault that tests bring along: it is loaded in every process of the server. */
const withFault = (code: string) => ['--import', `data:text/javascript,${encodeURIComponent(code)}`]

const listening = '"event":"server.started"'

const events = (running: Running, name: string): Record<string, unknown>[] =>
  running
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{') && line.includes(`"event":"${name}"`))
    .map((line) => JSON.parse(line))

/** worker -> pid, the youngest of each. */
const pidsOf = (running: Running) => events(running, 'worker.started').map(({ pid }) => Number(pid))

type Answer = { status: number; id: string }

function ask(path: string, agent?: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    request({ host: 'localhost', port, path, ...(agent ? { agent } : {}) }, async (response) => {
      await text(response)
      resolve({ status: response.statusCode ?? 0, id: String(response.headers['x-request-id']) })
    })
      .on('error', reject)
      .end()
  })
}

/** The log line of the request names the worker that wrote it. */
async function workerBehind(running: Running, { id }: Pick<Answer, 'id'>): Promise<unknown> {
  const line = () => events(running, 'request.completed').find(({ requestId }) => requestId === id)
  await expect.poll(line, { timeout: 5_000 }).toBeDefined()
  return line()?.worker
}

/** A connection of its own to the worker that is not `other`. */
async function connectionBeside(running: Running, other: unknown): Promise<{ agent: Agent; worker: unknown }> {
  for (;;) {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const worker = await workerBehind(running, await ask('/healthz', agent))
    if (worker !== other) return { agent, worker }
    agent.destroy()
  }
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
  const answer = once(sent, 'response').then(async ([response]) => {
    await text(response)
    return { status: response.statusCode, id: String(response.headers['x-request-id']) }
  })
  answer.catch(() => undefined)
  sent.flushHeaders()
  await once(sent, 'continue') // the server is at it
  sent.write(body.slice(0, 10))
  return { answer, finish: () => sent.end(body.slice(10)) }
}

test('two workers answer on one port, and SIGTERM drops none of the requests that either has', async () => {
  const running = start()
  await running.prints(listening)
  expect(new Set(pidsOf(running)).size).toBe(2)
  expect(pidsOf(running)).not.toContain(running.child.pid)
  await running.prints('Issuer  ')
  expect(running.output().match(/Issuer {2}/g)).toHaveLength(1) // what is printed for people is printed once
  const lines = processesWith('worker.ts').filter((line) => pidsOf(running).includes(Number.parseInt(line, 10)))
  expect(lines).toHaveLength(2)
  for (const line of lines) expect(line).not.toContain(secretKey)
  const one = await connectionBeside(running, undefined)
  const two = await connectionBeside(running, one.worker)
  expect([one.worker, two.worker].sort()).toEqual([1, 2])
  for (const { agent } of [one, two]) expect((await ask('/readyz', agent)).status).toBe(200)

  const inFlight = await Promise.all(Array.from({ length: 24 }, requestInFlight))
  running.child.kill('SIGTERM')
  await running.prints('server.draining')
  for (const { finish } of inFlight) finish()
  const answers = await Promise.all(inFlight.map(({ answer }) => answer))
  expect(answers.map(({ status }) => status)).toEqual(inFlight.map(() => 401))
  const answeredBy = await Promise.all(answers.map((answer) => workerBehind(running, answer)))
  expect(new Set(answeredBy)).toEqual(new Set([1, 2]))
  expect(await running.ended(10_000)).toEqual({ code: 0, signal: null })
  expect(events(running, 'worker.stopped')).toHaveLength(2)
  for (const pid of pidsOf(running)) expect(isRunning(pid)).toBe(false)
})

test('one that is killed comes back, and no request of the other notices', async () => {
  const running = start()
  await running.prints(listening)
  const [victim] = events(running, 'worker.started')
  const { agent } = await connectionBeside(running, victim?.worker)
  const statuses: number[] = []
  let done = false
  const load = (async () => {
    while (!done) statuses.push((await ask('/oauth/jwks', agent)).status)
  })()
  await expect.poll(() => statuses.length, { timeout: 5_000 }).toBeGreaterThan(10)
  process.kill(Number(victim?.pid), 'SIGKILL')
  await expect.poll(() => events(running, 'worker.ended'), { timeout: 5_000 }).toHaveLength(1)
  const before = statuses.length
  await expect.poll(() => events(running, 'worker.started'), { timeout: 20_000 }).toHaveLength(3)
  const replacement = events(running, 'worker.started').at(-1)?.worker
  const found = await connectionBeside(running, events(running, 'worker.started')[1]?.worker)
  done = true
  await load
  expect(found.worker).toBe(replacement)
  expect(statuses.length).toBeGreaterThan(before)
  expect(new Set(statuses)).toEqual(new Set([200]))
  running.child.kill('SIGTERM')
  expect((await running.ended()).code).toBe(0)
})

test('one with an exception that nobody caught finishes its requests and is replaced', async () => {
  const running = start({}, withFault('process.on("SIGUSR2", () => { throw new TypeError("boom") })'))
  await running.prints(listening)
  const inFlight = await Promise.all(Array.from({ length: 8 }, requestInFlight))
  for (const pid of pidsOf(running)) process.kill(pid, 'SIGUSR2')
  await expect.poll(() => events(running, 'process.exception_uncaught'), { timeout: 5_000 }).toHaveLength(2)
  for (const { finish } of inFlight) finish()
  for (const { answer } of inFlight) expect((await answer).status).toBe(401)
  await expect.poll(() => events(running, 'worker.started'), { timeout: 20_000 }).toHaveLength(4)
  expect((await ask('/readyz')).status).toBe(200)
  running.child.kill('SIGTERM')
  expect((await running.ended()).code).toBe(0)
})

test('after kill -9 of the first process nothing is left: no worker, no database', async () => {
  const running = start({ DATABASE_URL: '' })
  await running.prints(listening)
  const everybody = [...descendants(running.child.pid ?? 0)]
  expect(everybody).toEqual(expect.arrayContaining(pidsOf(running)))
  const inFlight = await requestInFlight()
  running.child.kill('SIGKILL')
  await expect(inFlight.answer).rejects.toThrow()
  await expect.poll(() => everybody.filter(isRunning), { timeout: 5_000 }).toEqual([])
  await gone(directory, 5_000)
})

test('a second stop signal ends all of them at once', async () => {
  const running = start({ SHUTDOWN_TIMEOUT_SECONDS: '60' })
  await running.prints(listening)
  const inFlight = await requestInFlight()
  running.child.kill('SIGINT')
  await running.prints('server.draining')
  await new Promise((resolve) => setTimeout(resolve, 600)) // sooner it counts as the same key press
  running.child.kill('SIGINT')
  expect(await running.ended(5_000)).toEqual({ code: 1, signal: null })
  await expect(inFlight.answer).rejects.toThrow()
  await expect.poll(() => pidsOf(running).filter(isRunning), { timeout: 5_000 }).toEqual([])
})

describe('gives up', () => {
  test('when no worker survives its start any more: code 1, and the reason is in the log', async () => {
    const broken = join(directory, 'broken')
    const running = start(
      {},
      withFault(`
        import { existsSync } from 'node:fs'
        if (process.argv[1].endsWith('worker.ts') && existsSync(${JSON.stringify(broken)})) process.exit(3)`),
    )
    await running.prints(listening)
    fs.writeFileSync(broken, '')
    for (const pid of pidsOf(running)) process.kill(pid, 'SIGKILL')
    expect(await running.ended(60_000)).toEqual({ code: 1, signal: null })
    expect(running.output()).toContain('Every worker has ended, and 5 starts in a row failed.')
    expect(events(running, 'worker.start_failed').length).toBeLessThan(12)
  })

  test('at once, when the first start fails, with the sentence a single process would print', async () => {
    // Both have workers that share the port, and would share it with each other's if nobody looked.
    const both = [start({ LOG_LEVEL: 'silent' }), start({ LOG_LEVEL: 'silent' })]
    const refused = await Promise.race(both.map((running) => running.ended().then(() => running)))
    expect(refused.child.exitCode).toBe(1)
    expect(refused.output()).toBe(
      `Port ${port} on localhost is in use by another program. Stop it, or set PORT (and ISSUER_URL with it).\n`,
    )
    await both.find((running) => running !== refused)?.prints('Issuer  ')
    for (const WORKERS of ['1', '2']) {
      const late = start({ LOG_LEVEL: 'silent', WORKERS })
      expect(await late.ended()).toMatchObject({ code: 1 })
      expect(late.output()).toBe(refused.output())
    }
    expect((await ask('/readyz')).status).toBe(200)
  })

  test('on SECRET_KEY that does not open the keys: the workers are not the ones to find out', async () => {
    const first = start()
    await first.prints(listening)
    first.child.kill('SIGTERM')
    await first.ended()
    const running = start({ SECRET_KEY: randomBytes(32).toString('base64url'), LOG_LEVEL: 'silent' })
    expect(await running.ended()).toMatchObject({ code: 1 })
    expect(running.output()).toMatch(/^SECRET_KEY does not open what the database holds: 6 signing keys\. .*\n$/)
  })
})

test('WORKERS=1 is one process', async () => {
  const running = start({ WORKERS: '1' })
  await running.prints(listening)
  expect([...descendants(running.child.pid ?? 0)]).toEqual([])
})

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function* descendants(pid: number): Generator<number> {
  for (const line of processesWith(' ')) {
    const child = Number.parseInt(line, 10)
    if (parentOf(child) !== pid) continue
    yield child
    yield* descendants(child)
  }
}

function parentOf(pid: number): number {
  try {
    return Number(
      fs
        .readFileSync(`/proc/${pid}/stat`, 'utf8')
        .replace(/^.*\) /, '')
        .split(' ')[1],
    )
  } catch {
    return 0 // it has ended
  }
}
