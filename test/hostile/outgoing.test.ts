// Somebody wants this server to call an address of theirs (CVE-2020-10770, CVE-2026-1180, CVE-2026-56739): metadata services, the
// neighbours on the private network, a page that answers with keys. It calls nobody but its database, its mail
// server, the operator's own program that passes codes on (FACTOR_WEBHOOK_URL), and what administrators name as webhooks
// (test/outbound, test/webhooks).
import { globSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
let connections = 0
const trap = createServer((socket) => {
  connections++
  socket.destroy()
})
let address = ''
beforeAll(async () => {
  await new Promise<void>((resolve) => trap.listen(0, 'localhost', resolve))
  const listening = trap.address()
  address = `http://localhost:${typeof listening === 'object' ? listening?.port : ''}/x`
  server = await startServer()
  j = await startJourney(server)
})
afterAll(async () => {
  await server.stop()
  trap.close()
})

const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
/** A JWT whose header asks for keys to be fetched. */
const jwt = (claims: object) =>
  `${part({ alg: 'ES256', typ: 'JWT', jku: address, x5u: address, kid: address })}.${part({ iss: address, ...claims })}.${'A'.repeat(86)}`

test('whatever address a request names, nobody is called there', async () => {
  const named: Record<string, string> = {
    client_id: address,
    redirect_uri: address,
    post_logout_redirect_uri: address,
    request_uri: address,
    request: jwt({ client_id: 'shop-web', request_uri: address }),
    registration: JSON.stringify({ jwks_uri: address, sector_identifier_uri: address }),
    jwks_uri: address,
    sector_identifier_uri: address,
    initiate_login_uri: address,
    backchannel_logout_uri: address,
    resource: address,
    audience: address,
    id_token_hint: jwt({}),
    client_assertion: jwt({ sub: 'shop-web' }),
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    token: jwt({ aud: orders }),
    code: address,
    refresh_token: address,
    subject_token: jwt({}),
    login_hint: address,
    web_message_uri: address,
    return_to: address,
    callbackURL: address,
  }
  const { address: sound } = await j.begin()
  const parameters = Object.fromEntries(new URLSearchParams(sound.split('?')[1]))
  const grants = [
    'authorization_code',
    'refresh_token',
    'client_credentials',
    'urn:ietf:params:oauth:grant-type:jwt-bearer',
  ]
  for (const [name, value] of Object.entries(named)) {
    const query = new URLSearchParams({ ...parameters, [name]: value })
    for (const path of ['/oauth/authorize', '/oauth/logout', '/account'])
      expect((await fetch(`${server.url}${path}?${query}`, { redirect: 'manual' })).status).toBeLessThan(500)
    for (const path of ['/oauth/token', '/oauth/par', '/oauth/introspect', '/oauth/revoke', '/oauth/register'])
      for (const grant_type of path === '/oauth/token' ? grants : ['x'])
        for (const as of ['shop-web', null])
          expect((await j.post(path, { ...parameters, grant_type, [name]: value }, { as })).status).toBeLessThan(500)
  }
  for (const token of [jwt({ aud: `${server.url}/api` }), jwt({ aud: orders })])
    for (const path of ['/oauth/userinfo', '/api/v1/clients'])
      expect((await fetch(`${server.url}${path}`, { headers: { Authorization: `Bearer ${token}` } })).status).toBe(401)
  expect(connections).toBe(0)
})

/** Ways out of a process. The database's own are pg and Prisma; whoever adds another adds an address-checking fetch with it. */
const waysOut =
  /\bfetch\(|\bWebSocket\(|from '(?:undici|node:dgram|node:dns|node:dns\/promises|node:https|node:http2|node:tls|nodemailer|axios|got)'|import \{[^}]*\b(?:request|get|connect|createConnection)\b[^}]*\} from 'node:(?:http|net)'/

test('no file of the server opens a connection of its own, but to where the operator sent it', () => {
  const files = globSync('src/**/*.{ts,mjs}').filter((path) => !path.includes('generated'))
  expect(files.length).toBeGreaterThan(150)
  const found = files.filter((path) => waysOut.test(readFileSync(path, 'utf8').replace(/^\s*(?:\/\/|\*).*$/gm, '')))
  expect(found.sort()).toEqual([
    'src/admin/console/applications/try/steps.ts', // ISSUER_URL, without redirects
    'src/audit/syslog.ts', // AUDIT_SYSLOG_URL
    'src/cli/audit.ts', // a command of the operator's: the keys that an export is proven with
    'src/db/batched-reads.ts', // has a function of that name
    'src/guard/issuer.ts', // runs in an API of somebody, and asks its issuer
    'src/mail/transport.ts', // SMTP_URL
    'src/outbound/post.ts', // FACTOR_WEBHOOK_URL, and webhooks under a guard; without redirects
    'src/probe/credentials.ts', // a command of the operator's: the issuer's own token endpoint
    'src/probe/wire.ts', // and the API that it names
  ])
})
