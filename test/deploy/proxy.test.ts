// The layout of docker-compose.yml without Docker: two server processes in production mode on one database, Debian's nginx with
// deploy/nginx.conf in front (only addresses and folders are changed). No request may notice which process answers it.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { freePort, type Running, runNode } from '#test/support/processes.ts'

const nginx = '/usr/sbin/nginx'
const folder = mkdtempSync(join(tmpdir(), 'sallyport-proxy-'))
const accessLog = join(folder, 'access.log')
const secret = randomBytes(32).toString('base64url')
const declaration = `
apis:
  - identifier: https://api.example.com/orders
    name: Orders
    scopes: { "orders:read": See orders }
  - identifier: https://api.example.com/parcels
    name: Parcels
    accessTokenFormat: opaque
    scopes: { "parcels:read": See parcels }
clients:
  - clientId: reports-service
    type: service
    clientSecret: "${secret}"
    apis: { "https://api.example.com/orders": ["orders:read"], "https://api.example.com/parcels": ["parcels:read"] }
`

describe.runIf(existsSync(nginx))('two processes behind nginx', { timeout: 180_000 }, () => {
  let database: TestDatabase
  let processes: Running[]
  let ports: number[]
  let proxy: ChildProcess
  let issuer: string

  beforeAll(async () => {
    chmodSync(folder, 0o755) // nginx's workers are another user
    const proxyPort = await freePort()
    ports = [await freePort(), await freePort()]
    issuer = `http://localhost:${proxyPort}`
    database = await createTestDatabase({ migrated: false })
    writeFileSync(join(folder, 'sallyport.yaml'), declaration)
    // Both start at once on an empty database: one migrates and makes the keys, the other waits for it.
    processes = ports.map((port) => runNode(['src/sallyport.mjs', 'start'], { env: environment(port) }))
    await Promise.all(processes.map((running) => running.prints('server.started')))
    writeFileSync(join(folder, 'nginx.conf'), render(proxyPort))
    const log = openSync(accessLog, 'a')
    proxy = spawn(nginx, ['-c', join(folder, 'nginx.conf'), '-g', 'daemon off;'], { stdio: ['ignore', log, log] })
    await until(async () => (await fetch(`${issuer}/readyz`)).status === 200)
  }, 90_000)

  afterAll(async () => {
    if (proxy && proxy.exitCode === null) {
      const ended = once(proxy, 'exit')
      proxy.kill('SIGTERM')
      await ended
    }
    for (const running of processes ?? []) running.child.kill('SIGTERM')
    await Promise.all((processes ?? []).map((running) => running.ended()))
    await database?.drop()
    rmSync(folder, { recursive: true, force: true })
  })

  it('answers discovery and keys alike from both', async () => {
    const answers = new Set<string>()
    const seen = await spreads(async () => {
      for (let n = 0; n < 20; n++) {
        const discovery = await getJson('/.well-known/openid-configuration')
        const keys = await getJson('/oauth/jwks')
        expect(discovery.body).toMatchObject({ issuer, token_endpoint: `${issuer}/oauth/token` })
        answers.add(JSON.stringify([discovery.body, keys.body]))
      }
    })
    expect(answers.size).toBe(1)
    expect(seen).toEqual(new Set(ports))
  })

  it('issues opaque tokens at one and introspects them at the other, every time', async () => {
    const outcomes: unknown[] = []
    const seen = await spreads(async () => {
      for (let n = 0; n < 20; n++) {
        const issued = await requestToken('parcels')
        const inspected = await post('/oauth/introspect', { token: issued.body.access_token ?? '' })
        outcomes.push([issued.status, inspected.status, inspected.body.active, inspected.body.scope])
        if (n % 2) await getJson('/oauth/jwks') // an odd request now and then: pairs do not stay with one process
      }
    })
    expect(outcomes).toEqual(Array.from({ length: 20 }, () => [200, 200, true, 'parcels:read']))
    expect(seen).toEqual(new Set(ports))
  })

  it('signs JWT access tokens that the keys of either process verify', async () => {
    const keys = createRemoteJWKSet(new URL(`${issuer}/oauth/jwks`), { cacheMaxAge: 0, cooldownDuration: 0 })
    const seen = await spreads(async () => {
      for (let n = 0; n < 20; n++) {
        const { body } = await requestToken('orders')
        const { payload } = await jwtVerify(body.access_token ?? '', keys, { issuer, typ: 'at+jwt' })
        expect(payload).toMatchObject({ aud: 'https://api.example.com/orders', scope: 'orders:read' })
        if (n % 2) await getJson('/oauth/jwks')
      }
    })
    expect(seen).toEqual(new Set(ports))
  })

  it('loses no request when one process is told to stop', async () => {
    const [leaving] = processes
    const statuses: number[] = []
    let running = true
    const load = (async () => {
      while (running) {
        statuses.push((await getJson('/oauth/jwks')).status)
        statuses.push((await post('/oauth/introspect', { token: 'unknown' })).status)
      }
    })()
    await delay(300)
    leaving?.child.kill('SIGTERM')
    expect(await leaving?.ended()).toEqual({ code: 0, signal: null })
    await delay(300)
    running = false
    await load
    expect(statuses.length).toBeGreaterThan(20)
    expect(new Set(statuses), readFileSync(accessLog, 'utf8').slice(-1500)).toEqual(new Set([200]))
  })

  function environment(port: number): Record<string, string> {
    return {
      NODE_ENV: 'production',
      ISSUER_URL: issuer,
      HOST: '127.0.0.1',
      PORT: String(port),
      DATABASE_URL: database.url,
      SECRET_KEY: 'q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA',
      TRUST_PROXY: '127.0.0.0/8',
      SALLYPORT_CONFIG: join(folder, 'sallyport.yaml'),
      DATA_DIR: join(folder, 'data'),
    }
  }

  function render(proxyPort: number): string {
    const [first, second] = ports
    return readFileSync('deploy/nginx.conf', 'utf8')
      .replace('listen 8080;', `listen 127.0.0.1:${proxyPort}; listen [::1]:${proxyPort};`)
      .replace('server sallyport-1:3000', `server 127.0.0.1:${first}`)
      .replace('server sallyport-2:3000', `server 127.0.0.1:${second}`)
      .replace('worker_processes auto', 'worker_processes 1')
      .replaceAll('/tmp/', `${folder}/`)
  }

  /** @returns the ports of the processes that answered in the meantime, from nginx's log. */
  async function spreads(work: () => Promise<void>): Promise<Set<number>> {
    const before = readFileSync(accessLog, 'utf8').length
    await work()
    const lines = readFileSync(accessLog, 'utf8').slice(before)
    return new Set([...lines.matchAll(/upstream=127\.0\.0\.1:(\d+)/g)].map((match) => Number(match[1])))
  }

  function requestToken(name: string) {
    const resource = `https://api.example.com/${name}`
    return post('/oauth/token', { grant_type: 'client_credentials', scope: `${name}:read`, resource })
  }

  async function getJson(path: string) {
    const response = await fetch(issuer + path)
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }

  async function post(path: string, form: Record<string, string>) {
    const response = await fetch(issuer + path, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`reports-service:${secret}`)}` },
      body: new URLSearchParams(form),
    })
    return { status: response.status, body: (await response.json()) as Record<string, string> }
  }
})

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 30_000; ; await delay(50)) {
    if (await condition().catch(() => false)) return
    if (Date.now() > end) throw new Error(`nginx does not answer:\n${readFileSync(accessLog, 'utf8')}`)
  }
}
