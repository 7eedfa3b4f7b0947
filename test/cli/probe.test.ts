// sallyport probe, as a person and a pipeline see it: what it prints, and how it ends.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { updateApi } from '#src/apis/apis.ts'
import { type BrokenApi, brokenDocument, startBrokenApi } from '#test/probe/broken.ts'
import { change, orders } from '#test/support/installation.ts'
import { startJourney } from '#test/support/journey.ts'
import { freePort } from '#test/support/processes.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const secretKey = randomBytes(32)
const directory = mkdtempSync(join(tmpdir(), 'sallyport-probe-'))
const write = (name: string, content: string) => {
  writeFileSync(join(directory, name), content)
  return join(directory, name)
}
const document = write('orders.yaml', brokenDocument)
const objects = write('objects.yaml', 'objects: { orders: { create: POST /orders, remove: "DELETE /orders/{id}" } }\n')
let server: TestServer
let api: BrokenApi

beforeAll(async () => {
  server = await startServer({ secretKey })
  await startJourney(server)
  const scopes = { 'orders:read': 'See orders', 'orders:write': 'Create and change orders' }
  await updateApi(server.database.prisma, orders, { name: 'Orders', accept: ['oauth', 'api_key'], scopes }, change())
  await server.settle()
  api = await startBrokenApi({ issuer: server.url, audience: orders })
})
afterAll(async () => {
  await api?.stop()
  await server?.stop()
  rmSync(directory, { recursive: true })
})
beforeEach(() => {
  Object.assign(api, { fault: undefined, asked: [], onRequest: () => undefined })
  api.orders.clear()
})

function start(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['src/sallyport.mjs', 'probe', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...{ PATH: process.env.PATH, DATABASE_URL: server.databaseUrl, LOG_LEVEL: 'error', ISSUER_URL: server.url },
      ...{ SECRET_KEY: secretKey.toString('base64url'), ...env },
    },
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const done = Promise.all([text(child.stdout), text(child.stderr), ended])
  return { child, ended: done.then(([out, err, code]) => ({ code, out, err })) }
}
const probe = (args: string[], env?: Record<string, string>) => start(args, env).ended
const frame = (...more: string[]) => [document, '--url', api.url, '--api', orders, '--rate', '500', ...more]

describe('how it ends', () => {
  test('0 where nothing was found', async () => {
    const { code, out, err } = await probe(frame('--objects', objects))
    expect([code, err]).toEqual([0, ''])
    expect(out).toMatch(/^Nothing was found at http:\S+: 3 of 3 operations could be judged, \d+ requests\.$/m)
    expect(out).toMatch(/^DELETE \/orders\/\{id\} +Not called, because it may change something: see --unsafe\.$/m)
  })

  test('1 with each finding: what was seen, why it matters, what mends it; and the same as JSON', async () => {
    api.fault = 'reads anybody’s'
    const { code, out } = await probe(frame('--objects', objects))
    expect(code).toBe(1)
    expect(out).toMatch(/^GET \/orders\/\{id\} +B reads what is A’s +200 with a good token of B at what is A’s$/m)
    expect(out).toMatch(/^B reads what is A’s \(OWASP API1:2023\)\n {2}Whoever .*\n {2}Ask whose it is .*$/m)
    expect(out).toMatch(/^1 finding at http/m)
    const asJson = await probe(frame('--objects', objects, '--json'))
    expect([asJson.code, asJson.err]).toEqual([1, ''])
    expect(JSON.parse(asJson.out)).toMatchObject({
      ...{ url: api.url, api: orders, probed: 3, judged: 3, stopped: null },
      findings: [{ kind: 'object_read', operation: 'GET /orders/{id}', reference: 'OWASP API1:2023' }],
      notes: [{ operation: 'POST /orders' }, { operation: 'DELETE /orders/{id}' }],
    })
  })

  test('2 where nobody knows: at a limit, where nothing answers, without a server', async () => {
    expect(await probe(frame('--requests', '4'))).toMatchObject({
      code: 2,
      out: expect.stringContaining('Ended early: 4 requests were made.'),
    })
    const closed = `http://localhost:${await freePort()}`
    expect(await probe([document, '--url', closed, '--api', orders, '--rate', '500'])).toMatchObject({
      code: 2,
      out: expect.stringContaining(`Nothing could be judged at ${closed}: 0 of 3`),
    })
    expect(await probe(frame('--json'), { ISSUER_URL: closed })).toMatchObject({
      ...{ code: 2, out: '' },
      err: expect.stringMatching(/^\{"error":"http:.*\/oauth\/token does not answer \(ECONNREFUSED\).*"\}\n$/),
    })
  })

  test('2 when it is interrupted, and nothing of it is left', async () => {
    const running = start(frame('--objects', objects))
    api.onRequest = () => api.asked.length === 5 && running.child.kill('SIGINT')
    const { code, out } = await running.ended
    expect([code, out]).toEqual([2, expect.stringContaining('Ended early: it was told to stop.')])
    const { prisma } = server.database
    expect(api.orders.size).toBe(0)
    expect(await prisma.user.count({ where: { email: { contains: 'probe' } } })).toBe(0)
    expect(await prisma.client.count({ where: { id: { contains: 'probe' } } })).toBe(0)
  })
})

test.each<[string, () => string[], RegExp]>([
  ['no address', () => [document, '--api', orders], /required option '--url <url>'/],
  [
    'an address elsewhere',
    () => frame('--url', 'https://api.example.com'),
    /is not on this machine.*--yes-this-is-mine/s,
  ],
  ['an unknown API', () => frame('--api', 'urn:nobody'), /api is "urn:nobody", which is not an API here/],
  ['a document that is not there', () => ['none.yaml', ...frame().slice(1)], /none\.yaml cannot be read \(ENOENT\)/],
  ['a document that is none', () => [write('none.yaml', 'paths: ['), ...frame().slice(1)], /none\.yaml/],
  ['objects that are not there', () => frame('--objects', 'none'), /none cannot be read \(ENOENT\)/],
  [
    'objects of the wrong form',
    () => frame('--objects', write('wrong.yaml', 'orders: 7')),
    /objects has the wrong form/,
  ],
  ['an object without an id', () => frame('--object', 'orders'), /--object is orders\. Write name=id/],
  ['no request a second', () => frame('--rate', '0'), /--rate is 0/],
])('%s is wrong usage: 2, and nobody is called', async (_what, args, words) => {
  const { code, out, err } = await probe(args())
  expect([code, out, api.asked]).toEqual([2, '', []])
  expect(err).toMatch(words)
})
