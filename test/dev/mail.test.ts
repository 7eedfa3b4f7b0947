// The page that stands in for a mailbox: there for whoever tries the server on their own machine, and for nobody else.
import { afterAll, afterEach, expect, it } from 'vitest'
import { queueMail } from '#src/mail/outbox.ts'
import { deliver } from '#test/support/mailbox.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const running: TestServer[] = []
async function start(options: Parameters<typeof startServer>[0] = {}) {
  const server = await startServer(options)
  running.push(server)
  return server
}
const stopAll = () => Promise.all(running.splice(0).map((server) => server.stop()))
afterEach(stopAll)
afterAll(stopAll)

const page = async (server: TestServer, path = '', headers: Record<string, string> = {}) => {
  const response = await fetch(`http://localhost:${server.port}/dev/mail${path}`, { headers })
  return { status: response.status, text: await response.text(), csp: response.headers.get('content-security-policy') }
}

it('shows what would have been mailed, as text and as HTML in a sandbox', async () => {
  const server = await start()
  expect((await page(server)).text).toContain('Nothing was mailed yet')
  const mail = {
    template: 'recovery_code',
    to: 'a+"><b>@example.com',
    locale: 'en',
    data: { code: '13572468' },
  } as const
  await queueMail(server.database.prisma, mail, { secretKeys: server.secretKeys, now: new Date() })
  await queueMail(
    server.database.prisma,
    { template: 'nothing', to: 'canary@example.com', locale: 'en', data: {} },
    { secretKeys: server.secretKeys, now: new Date() },
  )
  await deliver(server)
  const list = await page(server)
  expect(list.status).toBe(200)
  expect(list.text).toContain('1357 2468')
  expect(list.text).toContain('a+&quot;&gt;&lt;b&gt;@example.com')
  expect(list.text).not.toContain('canary')
  const html = await page(server, /href="\/dev\/mail(\/[0-9a-f-]{36})"/.exec(list.text)?.[1] ?? '')
  expect(html.text).toContain('<h1')
  expect(html.csp).toBe(
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; style-src 'unsafe-inline'; sandbox",
  )
  for (const path of ['/00000000-0000-4000-8000-000000000000', '/x', '/__proto__'])
    expect((await page(server, path)).status).toBe(404)
})

it.each<[string, Parameters<typeof startServer>[0]]>([
  ['there is a mail server', { env: { SMTP_URL: 'smtp://127.0.0.1:9' } }],
  [
    'this is production',
    {
      env: {
        NODE_ENV: 'production',
        SECRET_KEY: Buffer.from('0123456789abcdefghijklmnopqrstuv').toString('base64url'),
      },
    },
  ],
])('does not exist where %s', async (_what, options) => {
  const server = await start(options)
  await queueMail(
    server.database.prisma,
    { template: 'recovery_code', to: 'a@example.com', locale: 'en', data: { code: '13572468' } },
    { secretKeys: server.secretKeys, now: new Date() },
  )
  const [row] = await server.database.prisma.mail.findMany()
  for (const path of ['', '/', `/${row?.id}`]) expect((await page(server, path)).status).toBe(404)
})

it('does not exist on an issuer that others can reach', async () => {
  const server = await start({ issuer: () => 'http://id.example.com' })
  const { request } = await import('node:http')
  const status = await new Promise((resolve) =>
    request(
      { port: server.port, host: 'localhost', path: '/dev/mail', headers: { Host: 'id.example.com' } },
      (response) => {
        response.resume()
        resolve(response.statusCode)
      },
    ).end(),
  )
  expect(status).toBe(404)
})
