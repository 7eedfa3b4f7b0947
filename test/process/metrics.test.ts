// METRICS_PORT: what a scrape shows, of one process and of several.
import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { recordAudit } from '#src/audit/audit.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createEndpoint } from '#src/webhooks/endpoints.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { change } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { freePort, killAll, knownEverywhere, type Running, runNode } from '#test/support/processes.ts'
import { startEndpoint, verify } from '#test/support/webhook-receiver.ts'

const secretKey = randomBytes(32).toString('base64url')
let db: TestDatabase
let port: number
let metricsPort: number

beforeEach(async () => {
  db = await createTestDatabase()
})
afterEach(async () => {
  killAll()
  await db.drop()
})

async function start(env: Record<string, string>): Promise<Running> {
  port = await freePort()
  metricsPort = await freePort()
  const running = runNode(['src/sallyport.mjs', 'start'], {
    env: {
      DATA_DIR: '/nonexistent',
      PORT: String(port),
      METRICS_PORT: String(metricsPort),
      ISSUER_URL: `http://localhost:${port}`,
      DATABASE_URL: db.url,
      SECRET_KEY: secretKey,
      ...env,
    },
  })
  await running.prints('"event":"server.started"')
  return running
}

const url = () => `http://localhost:${port}`

/** name{labels} -> value */
async function scrape(): Promise<Map<string, number>> {
  const answer = await fetch(`http://localhost:${metricsPort}/metrics`)
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const samples = (await answer.text()).split('\n').filter((line) => line && !line.startsWith('#'))
  return new Map(
    samples.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  )
}

const furnish = (): Promise<Journey> =>
  startJourney({
    url: url(),
    database: db.database,
    settle: () => knownEverywhere(url(), { client_id: 'shop-web', redirect_uri: 'https://shop.example/cb' }),
  })

/** As if this machine had failed too often. */
const closeAddress = () =>
  db.database.pool.query(`DELETE FROM guess_limit; INSERT INTO guess_limit (subject, device, factor, failures, failed_at, open_at, expires_at)
    SELECT convert_to(range, 'UTF8'), '', 'address', 100, now(), now() + interval '5 minutes', now() + interval '5 minutes'
    FROM unnest(ARRAY['127.0.0.1', '0:0:0:0::/64']) range`)

describe.each([1, 2])('with %i workers', (workers) => {
  test('a scrape shows what happened', async () => {
    const running = await start({ WORKERS: String(workers), RATE_LIMIT_PAR_PER_MINUTE: '1' })
    const j = await furnish()
    const before = await scrape()
    const moved = async (name: string) => ((await scrape()).get(name) ?? 0) - (before.get(name) ?? 0)

    for (let i = 0; i < 30; i++)
      expect((await fetch(`${url()}/healthz`, { headers: { Connection: 'close' } })).status).toBe(200)
    const { access_token, refresh } = await j.tokensFor()
    await j.userinfo(access_token)
    expect((await j.revoke(refresh)).status).toBe(200)
    const refused = await fetch(`${url()}/oauth/token`, { method: 'POST' })
    expect(refused.status).toBeGreaterThanOrEqual(400)
    await closeAddress()
    const person = new Person(url())
    const login = await person.open((await j.begin()).address)
    expect((await person.submit(login, { identifier: 'x@example.com', password: 'x' })).status).toBe(429)
    // Each process has a budget of its own.
    const pushed = Object.fromEntries(new URLSearchParams((await j.begin()).address.split('?')[1]))
    let limited = 0
    for (let n = 0; n < 6; n++) if ((await j.post('/oauth/par', pushed)).status === 429) limited++
    expect(limited).toBeGreaterThanOrEqual(6 - workers)
    await fetch(`${url()}/${randomBytes(8).toString('hex')}/x`)
    await fetch(`${url()}/oauth/${randomBytes(8).toString('hex')}`)

    // The sum of all: connections were shared out, and nobody knows how.
    expect(await moved('sallyport_http_requests_total{route="health",status="200"}')).toBe(30)
    expect(await moved('sallyport_http_request_duration_seconds_count{route="health"}')).toBe(30)
    expect(await moved('sallyport_http_requests_total{route="token",status="200"}')).toBe(1)
    expect(await moved(`sallyport_http_requests_total{route="token",status="${refused.status}"}`)).toBe(1)
    expect(await moved('sallyport_http_requests_total{route="userinfo",status="200"}')).toBe(1)
    expect(await moved('sallyport_http_requests_total{route="other",status="404"}')).toBe(2)
    expect(await moved('sallyport_password_hash_duration_seconds_count')).toBe(1)
    expect(await moved('sallyport_guesses_limited_total{factor="password"}')).toBe(1)
    expect(await moved('sallyport_requests_limited_total{limit="par"}')).toBe(limited)
    await expect.poll(() => moved('revocation_propagation_seconds_count'), { timeout: 5_000 }).toBe(workers) // each learns of it

    const now = await scrape()
    expect(now.get('sallyport_table_bytes{table="token"}')).toBeGreaterThan(8_000)
    expect(now.get('sallyport_sweep_lag_seconds{table="token"}')).toBe(0)
    expect(now.get('sallyport_signing_key_age_seconds{alg="ES256"}')).toBeGreaterThan(0)
    expect(now.get('sallyport_signing_key_age_seconds{alg="ES256"}')).toBeLessThan(600)
    expect(now.get('secret_key_rows_pending{purpose="totp"}')).toBe(0)
    expect(now.get('sallyport_queue_depth{queue="hash"}')).toBe(0)
    expect(now.get('process_resident_memory_bytes')).toBeGreaterThan(workers * 50_000_000)
    expect(now.get('nodejs_eventloop_lag_p99_seconds')).toBeLessThan(60)
    running.child.kill('SIGTERM')
    expect((await running.ended()).code).toBe(0)
  })
})

test('what a worker counted is not forgotten when it ends', async () => {
  const running = await start({ WORKERS: '2' })
  for (let i = 0; i < 40; i++) await fetch(`${url()}/healthz`, { headers: { Connection: 'close' } })
  const health = 'sallyport_http_requests_total{route="health",status="200"}'
  expect((await scrape()).get(health)).toBe(40)
  const pids = [...running.output().matchAll(/"event":"worker\.started","pid":(\d+)/g)].map((match) => Number(match[1]))
  for (const pid of pids) process.kill(pid, 'SIGKILL')
  await expect.poll(() => running.output().match(/worker\.started/g)?.length, { timeout: 20_000 }).toBe(4)
  await fetch(`${url()}/healthz`)
  expect((await scrape()).get(health)).toBe(41)
  running.child.kill('SIGTERM')
  await running.ended()
})

test('the server sends webhooks, and shows what waits and how long an attempt took', async () => {
  await start({})
  const endpoint = await startEndpoint()
  const { prisma } = db.database
  try {
    const made = { secretKeys: createSecretKeys([Buffer.from(secretKey, 'base64url')]), networks: ['127.0.0.1'] }
    endpoint.answer = (_heard, response) => void response.writeHead(500).end()
    const { secret } = await createEndpoint(prisma, { url: endpoint.url, types: ['user.created'] }, made, change())
    await recordAudit(prisma, { event: 'user.created', outcome: 'success', target: { kind: 'user', id: 'u1' } })
    const attempts = async () =>
      (await scrape()).get('sallyport_webhook_attempt_duration_seconds_count{outcome="failed"}')
    await expect.poll(attempts, { timeout: 10_000 }).toBe(1)
    const [heard] = endpoint.heard
    expect(heard && verify(secret, heard)).toMatchObject({ type: 'user.created' })
    await expect
      .poll(async () => (await scrape()).get('sallyport_webhook_backlog_rows{stage="deliveries"}'), { timeout: 5_000 })
      .toBe(1)
    expect((await scrape()).get('sallyport_webhook_backlog_rows{stage="outbox"}')).toBe(0)
  } finally {
    await endpoint.stop()
  }
})

test('it is on a port of its own, and nothing else is on that', async () => {
  await start({ WORKERS: '1', HOST: '127.0.0.1', ISSUER_URL: `http://127.0.0.1:1` })
  expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(421) // the host rule: this is not the issuer
  expect((await fetch(`http://127.0.0.1:${metricsPort}/`)).status).toBe(404)
  expect((await fetch(`http://127.0.0.1:${metricsPort}/healthz`)).status).toBe(404)
  expect((await fetch(`http://127.0.0.1:${metricsPort}/metrics`, { method: 'POST' })).status).toBe(405)
  expect((await fetch(`http://127.0.0.1:${metricsPort}/metrics`, { method: 'HEAD' })).status).toBe(200)
})

test('METRICS_PORT=0 opens nothing, and the main port has no metrics', async () => {
  await start({ METRICS_PORT: '0' })
  await expect(fetch(`http://localhost:${metricsPort}/metrics`)).rejects.toThrow()
  const answer = await fetch(`${url()}/metrics`)
  expect(answer.status).toBe(404)
  expect(await answer.text()).not.toContain('sallyport_http_requests_total')
})

test('a METRICS_PORT in use is one sentence, and nothing is left running', async () => {
  await start({})
  const taken = metricsPort
  const second = runNode(['src/sallyport.mjs', 'start'], {
    env: {
      DATA_DIR: '/nonexistent',
      PORT: String(await freePort()),
      METRICS_PORT: String(taken),
      DATABASE_URL: db.url,
      SECRET_KEY: secretKey,
      WORKERS: '2',
      LOG_LEVEL: 'silent',
    },
  })
  expect(await second.ended()).toMatchObject({ code: 1 })
  expect(second.output()).toBe(`METRICS_PORT ${taken} on localhost is in use by another program.\n`)
})
