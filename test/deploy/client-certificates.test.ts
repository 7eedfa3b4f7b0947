// Client certificates at the gateways of deploy/ with TLS: Debian's nginx and Caddy, their files as they stand with the lines for TLS uncommented. A token
// that is bound to a certificate opens nothing without it (RFC 8705 3); a certificate that a client only claims is none.
import { type ChildProcess, spawn } from 'node:child_process'
import { hash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import { request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { updateApi } from '#src/apis/apis.ts'
import { putRoute } from '#src/apis/routes.ts'
import { rowIdOfValue } from '#src/tokens/row-ids.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { freePort } from '#test/support/processes.ts'
import { startServer, type TestServer } from '#test/support/server.ts'
import { makeCertificate } from '#test/support/tls.ts'

const folder = mkdtempSync(join(tmpdir(), 'sallyport-mtls-'))
const nginxProgram = '/usr/sbin/nginx'
const caddyProgram = '/usr/bin/caddy'
type Keyed = { key: Buffer; cert: Buffer }
type Answer = { status: number; headers: IncomingHttpHeaders; body: string }

let j: Journey
let api: Server
const [mine, other] = [makeCertificate(), makeCertificate()]
const gateways: Record<string, { port: number; server: TestServer }> = {}
const children: ChildProcess[] = []

const deployed = (file: string, changes: [RegExp | string, string][]) =>
  changes.reduce(
    (config, [from, to]) => config.replaceAll(from, to),
    readFileSync(join(import.meta.dirname, '../../deploy', file), 'utf8'),
  )

beforeAll(async () => {
  chmodSync(folder, 0o755) // nginx's workers are another user
  const listed = { TRUST_PROXY: '127.0.0.0/8,::1' }
  const behindNginx = await startServer({ env: { ...listed, CLIENT_CERTIFICATE_HEADER: 'X-Client-Cert' } })
  const behindCaddy = await startServer({
    env: { ...listed, CLIENT_CERTIFICATE_HEADER: 'Client-Cert' },
    share: behindNginx,
  })
  j = await startJourney(behindNginx)
  const { prisma } = behindNginx.database
  api = createServer((incoming, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(incoming.headers))
  }).listen(0, '127.0.0.1')
  await once(api, 'listening')
  const scopes = { 'orders:read': 'See orders', 'orders:write': 'Create and change orders' }
  await updateApi(prisma, orders, { name: 'Orders', accessTokenFormat: 'opaque', scopes }, change())

  const tls = makeCertificate()
  const [certificate, key] = [join(folder, 'fullchain.pem'), join(folder, 'privkey.pem')]
  writeFileSync(certificate, tls.cert)
  writeFileSync(key, tls.key)
  const upstreams = (server: TestServer): [string, string][] => [
    ['sallyport:3000', `127.0.0.1:${server.port}`],
    ['api:4000', `127.0.0.1:${(api.address() as AddressInfo).port}`],
    ['api.example.com', 'localhost'],
  ]
  if (existsSync(nginxProgram)) {
    const port = await freePort()
    const config = deployed('gateway-nginx.conf', [
      ...upstreams(behindNginx),
      [/^ {4}listen 8081;$/gm, ''],
      [/# (listen 8081 ssl|ssl_\w+ \S+);/g, '$1;'],
      ['8081', String(port)],
      ['/etc/nginx/tls/', `${folder}/`],
      ['/tmp/gateway', `${folder}/gateway`],
    ])
    writeFileSync(join(folder, 'nginx.conf'), config)
    const log = openSync(join(folder, 'nginx.log'), 'a')
    const args = ['-c', join(folder, 'nginx.conf'), '-g', 'daemon off;']
    children.push(spawn(nginxProgram, args, { stdio: ['ignore', log, log] }))
    gateways.nginx = { port, server: behindNginx }
  }
  if (existsSync(caddyProgram)) {
    const port = await freePort()
    const config = deployed('gateway.Caddyfile', [
      ...upstreams(behindCaddy),
      ['http://localhost:8082', `https://localhost:${port}`],
      [/^\t# (tls fullchain|\t|\})/gm, '\t$1'],
      ['fullchain.pem privkey.pem', `${certificate} ${key}`],
    ])
    writeFileSync(join(folder, 'Caddyfile'), config)
    const env = { ...process.env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
    const args = ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')]
    const log = openSync(join(folder, 'caddy.log'), 'a')
    children.push(spawn(caddyProgram, args, { stdio: ['ignore', log, log], env }))
    gateways.caddy = { port, server: behindCaddy }
  }
  for (const { port } of Object.values(gateways)) {
    const put = (method: string, path: string, input: object) =>
      putRoute(prisma, { host: `localhost:${port}`, method, path }, { api: orders, position: 0, ...input }, change())
    await put('GET', '/health', { anonymous: true })
    await put('GET', '/orders', { scopes: ['orders:read'] })
  }
  await behindNginx.settle()
  await behindCaddy.settle()
  for (const name of Object.keys(gateways))
    for (let n = 0; n < 200; n++) {
      if ((await ask(name, '/health').catch(() => undefined))?.status === 200) break
      await delay(50)
    }
}, 90_000)

afterAll(async () => {
  for (const child of children)
    if (child.exitCode === null) {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    }
  api.close()
  for (const { server } of Object.values(gateways).reverse()) await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

function ask(name: string, path: string, headers: Record<string, string> = {}, keyed?: Keyed): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { port } = gateways[name] as { port: number }
    const outgoing = request({
      ...{ host: 'localhost', port, path, headers, agent: false, rejectUnauthorized: false },
      ...(keyed && { key: keyed.key, cert: keyed.cert }),
    })
    outgoing.once('error', reject)
    outgoing.once('response', (response) => {
      text(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        reject,
      )
    })
    outgoing.end()
  })
}

const derOf = ({ cert }: Keyed) => new X509Certificate(cert).raw
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const database = () => (gateways.nginx as { server: TestServer }).server.database

/** Bound to a certificate, as a row says it. */
async function boundTo(keyed: Keyed): Promise<string> {
  const fields = { grant_type: 'client_credentials', scope: 'orders:read', resource: orders }
  const { body } = await j.post('/oauth/token', fields, { as: 'reports' })
  const binding = JSON.stringify({ 'x5t#S256': hash('sha256', derOf(keyed), 'base64url') })
  await database().pool.query('UPDATE token SET payload = (payload::jsonb || $2::jsonb) WHERE id = $1', [
    rowIdOfValue(body.access_token),
    binding,
  ])
  return body.access_token
}

async function receiptOf(answer: Answer) {
  const id = String(answer.headers['x-decision-id'])
  return database().prisma.decisionReceipt.findUniqueOrThrow({ where: { id } })
}

/** Every spelling in which a client may claim the certificate of another. */
function claims(keyed: Keyed): Record<string, string>[] {
  const der = derOf(keyed).toString('base64')
  const pem = encodeURIComponent(keyed.cert.toString())
  return [
    'Client-Cert',
    'X-Client-Cert',
    'X-SSL-Client-Cert',
    'X-Forwarded-Tls-Client-Cert',
    'Client_Cert',
    'X_Client_Cert',
    'client-cert',
    'X-Client_Cert',
  ].flatMap((name) => [`:${der}:`, der, pem].map((value) => ({ [name]: value })))
}

test('each gateway is there', () => {
  expect(Object.keys(gateways)).toEqual(['nginx', 'caddy'])
})

describe.each(['nginx', 'caddy'])('behind %s, over TLS', (name) => {
  test('a token that is bound to a certificate: 200 with it', async () => {
    const token = await boundTo(mine)
    const answer = await ask(name, '/orders', bearer(token), mine)
    expect(answer.status, answer.body).toBe(200)
    expect(JSON.parse(answer.body)['x-sallyport-client']).toBe('reports')
  })

  test('without it, or with another: 401, and the receipt says why', async () => {
    const token = await boundTo(mine)
    const none = await ask(name, '/orders', bearer(token))
    expect([none.status, none.headers['www-authenticate']]).toEqual([401, expect.stringContaining('invalid_token')])
    expect(await receiptOf(none)).toMatchObject({ gate: 'signature', reason: 'bound_to_key' })
    const wrong = await ask(name, '/orders', bearer(token), other)
    expect([wrong.status, wrong.headers['www-authenticate']]).toEqual([401, expect.stringContaining('invalid_token')])
    expect(await receiptOf(wrong)).toMatchObject({ gate: 'signature', reason: 'other_certificate' })
  })

  test('claimed in a header: nothing, in any spelling', async () => {
    const token = await boundTo(mine)
    for (const claim of claims(mine)) {
      const answer = await ask(name, '/orders', { ...bearer(token), ...claim })
      expect([answer.status, (await receiptOf(answer)).reason], JSON.stringify(claim)).toEqual([401, 'bound_to_key'])
      const beside = await ask(name, '/orders', { ...bearer(token), ...claim }, other)
      expect([beside.status, (await receiptOf(beside)).reason], JSON.stringify(claim)).toEqual([
        401,
        'other_certificate',
      ])
      const opened = await ask(name, '/health', claim)
      expect(opened.body, 'the application is not told it either').not.toMatch(/MI[A-Za-z0-9]{8}/)
    }
  })

  test('a token that is bound to nothing needs none, and is not stopped by one', async () => {
    const { body } = await j.post(
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'orders:read', resource: orders },
      { as: 'reports' },
    )
    expect((await ask(name, '/orders', bearer(body.access_token))).status).toBe(200)
    expect((await ask(name, '/orders', bearer(body.access_token), mine)).status).toBe(200)
  })
})
