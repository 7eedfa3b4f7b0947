// sallyport probe against real APIs over real HTTP: the examples, and one API with every fault that it looks for, one at a time.
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { findApi, updateApi } from '#src/apis/apis.ts'
import { readOpenapi } from '#src/openapi/document.ts'
import { type FindingKind, findingKinds } from '#src/probe/findings.ts'
import { type ObjectPlan, readObjects } from '#src/probe/objects.ts'
import { type ProbePlan, runProbe } from '#src/probe/probe.ts'
import { describeReport, type Report } from '#src/probe/report.ts'
import { mint } from '#src/probe/throwaways.ts'
import { type Program, startProgram } from '#test/examples/program.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { freePort } from '#test/support/processes.ts'
import { startServer, type TestServer } from '#test/support/server.ts'
import { type BrokenApi, brokenDocument, conditionalDocument, type Fault, onMade, startBrokenApi } from './broken.ts'

let server: TestServer
let j: Journey
let api: BrokenApi

const documentOf = (source: string) => {
  const read = readOpenapi(Buffer.from(source), 'orders.yaml')
  if ('flaws' in read) throw new Error(JSON.stringify(read.flaws))
  return read.document
}
const objectsOf = (source: string): ObjectPlan => {
  const read = readObjects(source, 'objects.yaml')
  if ('flaws' in read) throw new Error(JSON.stringify(read.flaws))
  return read.objects
}
const makeOrder = { create: 'POST /orders', remove: 'DELETE /orders/{id}' }
const made: ObjectPlan = { orders: makeOrder }
const never = new AbortController().signal

function probe(url: string, more: Partial<ProbePlan> & { source?: string } = {}, stop = never): Promise<Report> {
  const { source = brokenDocument, ...plan } = more
  return runProbe(
    { database: server.database, secretKeys: server.secretKeys, issuer: server.url, change },
    {
      ...{ document: documentOf(source), url, api: orders, objects: made, unsafe: false, isMine: false },
      ...plan,
      limits: { perSecond: 500, ...plan.limits },
    },
    stop,
  )
}
/** `object_read GET /orders/{id}` */
const found = ({ findings }: Report) => findings.map(({ kind, operation }) => `${kind} ${operation}`)
const kinds = ({ findings }: Report) => [...new Set(findings.map(({ kind }) => kind))]

/** Everything that a probe makes here, whatever it is called. */
async function left() {
  const { prisma } = server.database
  return {
    users: (await prisma.user.findMany({ where: { NOT: { id: j.alice.id } } })).length,
    clients: await prisma.client.count({ where: { id: { contains: 'probe' } } }),
    apis: await prisma.api.count({ where: { identifier: { contains: 'probe' } } }),
    roles: await prisma.role.count(),
    keys: await prisma.apiKey.count(),
    relations: await prisma.relation.count(),
  }
}
const nothing = { users: 0, clients: 0, apis: 0, roles: 0, keys: 0, relations: 0 }

const settings = {
  name: 'Orders',
  accept: ['oauth', 'api_key'],
  introspectionClients: ['orders-api'],
  scopes: { 'orders:read': 'See orders', 'orders:write': 'Create and change orders' },
}

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  await updateApi(server.database.prisma, orders, settings, change())
  await server.settle()
  api = await startBrokenApi({ issuer: server.url, audience: orders })
}, 60_000)
afterAll(async () => {
  await api?.stop()
  await server?.stop()
})
beforeEach(() => {
  Object.assign(api, { fault: undefined, asked: [], onRequest: () => undefined, onMade })
  api.orders.clear()
})

test('an API without a fault has no finding, by tokens that it verifies itself, also where methods that change something are called', async () => {
  const report = await probe(api.url, { unsafe: true })
  expect([found(report), report.stopped, report.probed]).toEqual([[], null, 5])
  expect(report.notes).toEqual([])
  expect(await left()).toEqual(nothing)
  expect(api.orders.size).toBe(0)
})

describe('each fault is found, and nothing else', () => {
  test.each<[Fault, FindingKind, unsafe?: boolean]>([
    ['reads anybody’s', 'object_read'],
    ['deletes anybody’s', 'object_changed', true],
    ['asks nobody', 'open'],
    ['believes a gateway', 'headers_believed'],
    ['knows people by the headers of a gateway', 'headers_believed'],
    ['takes any word', 'malformed_accepted'],
    ['takes an empty Bearer', 'malformed_accepted'],
    ['forgets exp', 'expired_accepted'],
    ['forgets signatures', 'tampered_accepted'],
    ['believes alg none', 'unsigned_accepted'],
    ['forgets aud', 'audience_ignored'],
    ['forgets scopes', 'scope_ignored'],
    ['takes tokens in the address', 'query_accepted'],
    ['takes keys in the address', 'query_accepted'],
    ['takes the first of two', 'two_credentials_accepted'],
    ['403 for strangers', 'forbidden_to_stranger'],
    ['403 for expired tokens', 'forbidden_to_stranger'],
    ['401 for a missing scope', 'unauthorized_to_known'],
    ['401 for somebody else', 'unauthorized_to_known'],
    ['no challenge for strangers', 'challenge_missing'],
    ['no challenge for a missing scope', 'challenge_missing'],
    ['another challenge', 'challenge_wrong'],
    ['an error where nothing was sent', 'challenge_wrong'],
    ['no error where a token was', 'challenge_wrong'],
    ['fails on alg none', 'server_error'],
    ['another issuer', 'good_token_refused'],
  ])('%s: %s', async (fault, kind, unsafe = false) => {
    api.fault = fault
    const report = await probe(api.url, { unsafe })
    expect(kinds(report), JSON.stringify(report.findings)).toEqual([kind])
    expect(await left()).toEqual(nothing)
    for (const finding of report.findings) {
      expect(finding.reference).toMatch(/RFC \d{4}|OWASP API\d+:2023/)
      expect([finding.why, finding.fix, finding.saw.join()].every((text) => text.length > 10)).toBe(true)
    }
  })

  test.each<[Fault, FindingKind, string]>([
    ['forgets roles', 'role_ignored', 'GET /reports'],
    ['401 for a missing role', 'unauthorized_to_known', 'GET /reports'],
    ['forgets fresh sign-ins', 'sign_in_ignored', 'GET /payouts'],
    ['no word about fresh sign-ins', 'challenge_wrong', 'GET /payouts'],
  ])('where a role or a sign-in is asked for, %s: %s', async (fault, kind, operation) => {
    expect(found(await probe(api.url, { source: conditionalDocument }))).toEqual([])
    api.fault = fault
    expect(found(await probe(api.url, { source: conditionalDocument }))).toEqual([`${kind} ${operation}`])
  })

  test('a bad token that comes as far as the role hears 403, and that is told as what it is', async () => {
    api.fault = 'forgets exp'
    expect(found(await probe(api.url, { source: conditionalDocument }))).toEqual([
      'expired_accepted GET /orders',
      'expired_accepted GET /orders/{id}',
      'forbidden_to_stranger GET /reports',
      'challenge_wrong GET /payouts',
    ])
  })

  test('where the API introspects opaque tokens: audience and scope are its own to look at, time is not', async () => {
    const { prisma } = server.database
    await updateApi(prisma, orders, { ...settings, accessTokenFormat: 'opaque' }, change())
    await server.settle()
    const asking = await startBrokenApi({ issuer: server.url, audience: orders, introspect: `orders-api:${j.secret}` })
    try {
      expect(found(await probe(asking.url, { unsafe: true }))).toEqual([])
      for (const [fault, kind] of [
        ['forgets aud', 'audience_ignored'],
        ['forgets scopes', 'scope_ignored'],
        ['reads anybody’s', 'object_read'],
      ] as const) {
        asking.fault = fault
        expect(kinds(await probe(asking.url))).toEqual([kind])
      }
    } finally {
      await asking.stop()
      await updateApi(prisma, orders, settings, change())
      await server.settle()
    }
  })
})

describe('the examples', () => {
  const start = (file: string) => startProgram(file, { ISSUER_URL: server.url, API_IDENTIFIER: orders, PORT: '0' })
  const programs: Program[] = []
  afterAll(() => Promise.all(programs.map((program) => program.stop())))

  test('ownership: SELECT … WHERE id = ? is found out, the fixed routes are clean', async () => {
    const program = await start('examples/ownership/orders.ts')
    programs.push(program)
    const plan = {
      source: readFileSync('examples/ownership/orders.openapi.yaml', 'utf8'),
      objects: objectsOf(readFileSync('examples/ownership/objects.yaml', 'utf8')),
    }
    const report = await probe(program.url, plan)
    expect(found(report)).toEqual(['object_read GET /broken/orders/{id}'])
    expect(report.findings[0]?.saw).toEqual(['200 with a good token of B at what is A’s'])
    expect(found(await probe(program.url, { ...plan, unsafe: true }))).toEqual(found(report))
    expect(await left()).toEqual(nothing)
  })

  test('resource-server is clean', async () => {
    const program = await start('examples/resource-server/server.ts')
    programs.push(program)
    const { prisma } = server.database
    const more = { ...settings.scopes, 'orders:delete': { description: 'Delete orders', byRole: true } }
    await updateApi(prisma, orders, { ...settings, scopes: more }, change())
    await server.settle()
    const source = readFileSync('examples/resource-server/orders.openapi.yaml', 'utf8')
    const report = await probe(program.url, { source, unsafe: true })
    expect([found(report), report.notes]).toEqual([[], []]) // orders:delete came from a role that is gone again
    expect(await left()).toEqual(nothing)
    await updateApi(prisma, orders, settings, change())
    await server.settle()
  })
})

test('docs/probe.md names every finding', () => {
  const text = readFileSync('docs/probe.md', 'utf8')
  expect(Object.keys(findingKinds).filter((kind) => !text.includes(`\`${kind}\``))).toEqual([])
})

describe('what it may do', () => {
  test('reads only, besides making and removing the object that the plan names', async () => {
    const report = await probe(api.url)
    expect(new Set(api.asked.map((one) => one.split(' ')[0]))).toEqual(new Set(['GET', 'POST', 'DELETE']))
    expect(api.asked.filter((one) => !one.startsWith('GET'))).toEqual(['POST /orders', 'DELETE /orders/1'])
    expect(report.notes.map(({ operation }) => operation)).toEqual(['POST /orders', 'DELETE /orders/{id}'])
    await probe(api.url, { objects: {} })
    expect(api.asked.filter((one) => !one.startsWith('GET'))).toHaveLength(2)
  })

  test.each([
    ['http://api.example.com', /url \("api\.example\.com"\) is not on this machine\. .*--yes-this-is-mine/],
    ['http://localhost.example.com', /is not on this machine/],
    ['http://10.0.0.1:4002', /is not on this machine/],
    ['http://127.0.0.1.nip.io', /is not on this machine/],
    ['http://user:secret@localhost:1', /is not where an API answers/],
    ['http://localhost:1/?x=1', /is not where an API answers/],
    ['file:///etc', /is not where an API answers/],
    ['localhost', /is not where an API answers/],
  ])('%s is refused before anything is made or called', async (url, words) => {
    const { prisma } = server.database
    const before = await prisma.auditEvent.count()
    await expect(probe(url)).rejects.toThrow(words)
    expect(await prisma.auditEvent.count()).toBe(before)
  })

  test('elsewhere only where somebody says that it is theirs', async () => {
    const stop = new AbortController()
    stop.abort() // nobody is called
    const report = await probe('https://api.example.com', { isMine: true, objects: {} }, stop.signal)
    expect([report.stopped, report.requests]).toEqual(['it was told to stop', 0])
  })

  test('required headers are sent, unless they are the probe’s own or none', async () => {
    const names = ['X-Tenant', 'Authorization', 'X-Api-Key', 'Host', 'X-Sallyport-User', 'X-A: 1\\r\\nX-B']
    const parameters = names.map((name) => `{ in: header, required: true, name: "${name}", example: seven }`).join()
    const broken = '{ in: header, required: true, name: X-C, example: "1\\r\\nX-B: 2" }'
    const source = brokenDocument.replace(
      '/orders:\n    get: {}',
      `/orders:\n    get: { parameters: [${parameters},${broken}] }`,
    )
    const seen: unknown[] = []
    api.onRequest = ({ headers, url }) => url === '/orders' && seen.push(headers)
    expect(found(await probe(api.url, { source, objects: {} }))).toEqual([])
    expect(seen[0]).toEqual(expect.objectContaining({ 'x-tenant': 'seven', host: new URL(api.url).host }))
    expect(Object.keys(seen[0] ?? {}).sort()).toEqual(['accept', 'connection', 'host', 'user-agent', 'x-tenant'])
  })

  test.each<[string, Partial<ProbePlan> & { source?: string }, RegExp]>([
    [
      'an unknown API',
      { api: 'https://nobody.example' },
      /api is "https:\/\/nobody\.example", which is not an API here/,
    ],
    [
      'a scope that the API lacks',
      { source: brokenDocument.replace('orders:read', 'orders:see') },
      /GET \/orders asks for "orders:see"/,
    ],
    ['objects of no path', { objects: { shops: '7' } }, /objects\.shops is in no path/],
    [
      'an operation that is none',
      { objects: { orders: { create: 'POST /order' } } },
      /objects\.orders\.create is "POST \/order"/,
    ],
    [
      'a document that says nothing of what it asks',
      {
        source: brokenDocument.replace(/^security.*$/m, '').replace(/security: \[\{.*?\}\]|security: \[\]/g, ''),
        objects: {},
      },
      /has no operation that says what it asks/,
    ],
  ])('refuses %s', async (_what, plan, words) => {
    await expect(probe(api.url, plan)).rejects.toThrow(words)
    expect(api.asked).toEqual([])
  })

  test('where every scope is by role and the document asks for none, a token can be had all the same', async () => {
    const { prisma } = server.database
    const scopes = { 'orders:read': { description: 'See orders', byRole: true } }
    await updateApi(prisma, orders, { ...settings, scopes }, change())
    await server.settle()
    api.fault = 'forgets scopes'
    const source = brokenDocument.replaceAll(/\["orders:\w+"\]/g, '[]')
    expect(found(await probe(api.url, { source, objects: {} }))).toEqual([])
    expect(await left()).toEqual(nothing)
    await updateApi(prisma, orders, settings, change())
    await server.settle()
  })

  test('what everybody may do is not done, whatever else is', async () => {
    const source = brokenDocument.replace('get: { security: [] }', 'post: { security: [] }')
    const report = await probe(api.url, { source, unsafe: true })
    expect(report.notes).toEqual([
      { operation: 'POST /health', note: 'Is for everybody, and may change something: not called.' },
    ])
    expect(api.asked).not.toContain('POST /health')
  })

  test('one at a time: the second is refused, and leaves alone what the first one uses', async () => {
    const first = probe(api.url)
    let second: unknown
    api.onRequest = () => {
      second ??= probe(api.url).catch((error: Error) => error.name)
    }
    expect(found(await first)).toEqual([])
    expect(await second).toBe('ProbeRunning')
  })
})

describe('nothing stays', () => {
  test('at a limit, which is told', async () => {
    const report = await probe(api.url, { limits: { mostRequests: 5 } })
    expect([report.stopped, report.requests]).toEqual(['5 requests were made', 6]) // and one to remove the order
    expect([await left(), api.orders.size]).toEqual([nothing, 0])
  })

  test('when it is told to stop', async () => {
    const stop = new AbortController()
    api.onRequest = () => api.asked.length > 4 && stop.abort()
    const report = await probe(api.url, {}, stop.signal)
    expect(report.stopped).toBe('it was told to stop')
    expect([await left(), api.orders.size]).toEqual([nothing, 0])
  })

  test('when no token can be had', async () => {
    const issuer = `http://localhost:${await freePort()}`
    const elsewhere = { database: server.database, secretKeys: server.secretKeys, issuer, change }
    const plan = {
      document: documentOf(brokenDocument),
      url: api.url,
      api: orders,
      objects: {},
      unsafe: false,
      isMine: false,
    }
    await expect(runProbe(elsewhere, plan, never)).rejects.toThrow(
      `${issuer}/oauth/token does not answer (ECONNREFUSED): the server must run`,
    )
    expect(await left()).toEqual(nothing)
  })

  test('of a probe that was killed: the next one removes it, and the record tells both', async () => {
    const { prisma } = server.database
    const record = await findApi(prisma, orders)
    if (!record) throw new Error('no API')
    await mint(server.database, record, ['orders:read'], change())
    expect(await left()).toMatchObject({ users: 2, clients: 1, apis: 1, keys: 2 })
    const ends = await prisma.apiKeyValue.findMany()
    expect(ends.every(({ expiresAt }) => expiresAt && expiresAt.getTime() < Date.now() + 11 * 60_000)).toBe(true)
    const since = (await prisma.auditEvent.findFirstOrThrow({ orderBy: { id: 'desc' } })).id
    await probe(api.url, { limits: { mostRequests: 1 } })
    expect(await left()).toEqual(nothing)
    const events = await prisma.auditEvent.findMany({ where: { id: { gt: since } }, orderBy: { id: 'asc' } })
    expect(events.slice(0, 5).map(({ event }) => event)).toEqual([
      ...['user.deleted', 'user.deleted', 'client.deleted', 'api.deleted', 'probe.started'],
    ])
    expect(events.find(({ event }) => event === 'probe.started')).toMatchObject({
      actorKind: 'cli',
      targetId: orders,
      detail: { url: api.url, left: 4 },
    })
    expect(events.at(-1)).toMatchObject({ event: 'probe.ended', detail: { removed: 4, findings: 0 } })
  })

  test('its tokens are over with it, and it shows none of them', async () => {
    const seen: string[] = []
    const watched = await startBrokenApi({ issuer: server.url, audience: orders })
    watched.onRequest = ({ headers }) => {
      const token = headers.authorization?.slice(7)
      if (token) seen.push(token)
    }
    const report = await probe(watched.url)
    await watched.stop()
    expect(seen.length).toBeGreaterThan(10)
    for (const token of new Set(seen)) {
      expect((await j.introspect(token, 'orders-api')).body).toEqual({ active: false })
      expect(JSON.stringify(report)).not.toContain(token.slice(-20))
    }
  })

  test('what A’s object at the API became, when it cannot be removed, is told', async () => {
    const refusing = { orders: { create: 'POST /orders', remove: 'POST /orders' } }
    api.onRequest = () => {
      if (api.asked.filter((one) => one === 'POST /orders').length === 2) api.fault = '403 for everything'
    }
    const { notes } = await probe(api.url, { objects: refusing })
    expect(notes).toContainEqual({ operation: 'POST /orders', note: "The object 1 of A's is still there (403)." })
  })
})

describe('what it cannot judge, it says', () => {
  const about = ({ notes }: Report, operation: string) =>
    notes.filter((one) => one.operation === operation).map(({ note }) => note)

  test('an API that does not answer in time, redirects, or is busy', async () => {
    api.fault = 'says nothing'
    const report = await probe(api.url, { objects: {}, limits: { timeoutSeconds: 0.05 } })
    expect(about(report, 'GET /orders')).toContain('No answer with a good token of A: no answer in time.')
    api.fault = 'redirects strangers'
    expect(about(await probe(api.url), 'GET /orders')).toContain('302 with no credential: not followed, so not judged.')
    expect(api.asked).not.toContain('GET /login')
    api.fault = 'is busy'
    expect(about(await probe(api.url), 'GET /orders')).toContain(
      '429 with no credential: not judged. A lower --rate may help.',
    )
  })

  test('an answer without end is cut off', async () => {
    api.fault = 'says very much'
    const report = await probe(api.url, { objects: {} })
    expect(kinds(report)).toEqual(
      ['challenge_wrong', 'good_token_refused'].filter((kind) => kinds(report).includes(kind as FindingKind)),
    )
    expect(report.stopped).toBeNull()
  })

  test('an answer that never ends has a status all the same', async () => {
    api.fault = 'asks nobody, and never ends'
    expect(found(await probe(api.url, { objects: {}, limits: { timeoutSeconds: 0.2 } }))).toEqual([
      'open GET /orders',
      'open GET /orders/{id}',
    ])
  })

  test('that nothing answers', async () => {
    const report = await probe('http://localhost:1', { objects: {} })
    expect(about(report, 'GET /orders')).toContain('No answer with no credential: ECONNREFUSED.')
    expect([report.probed, report.judged]).toEqual([3, 0])
    expect(describeReport(report, () => '')).toContain(
      'Nothing could be judged at http://localhost:1: 0 of 3 operations',
    )
  })

  test('that it looks at the wrong place, or at requests that the API does not understand', async () => {
    api.fault = '404 for everything'
    const report = await probe(api.url, { objects: {} })
    expect([report.findings, report.judged]).toEqual([[], 0])
    expect(about(report, 'GET /orders')).toContain(
      '404 with no credential: nobody was asked who they are. Is --url right?',
    )
    api.fault = 'wants a body first'
    const { notes } = await probe(api.url, { objects: {}, unsafe: true })
    expect(notes).toContainEqual({
      operation: 'POST /orders',
      note: '400 with bad tokens: not judged. An example of what it accepts, in the document, may help.',
    })
  })

  test('an object that is missing, or that A cannot reach either', async () => {
    expect(about(await probe(api.url, { objects: {} }), 'GET /orders/{id}')).toEqual([
      'Whether B reaches what is A’s was not tried: name an object, such as --object orders=ID.',
    ])
    api.orders.set('88', 'somebody else')
    expect(about(await probe(api.url, { objects: { orders: '88' } }), 'GET /orders/{id}')).toEqual([
      'A was refused 88 (403), which is to be theirs: that B is refused proves less.',
    ])
    api.fault = 'reads anybody’s'
    expect(found(await probe(api.url, { objects: { id: '88' } }))).toEqual(['object_read GET /orders/{id}'])
  })

  test('operations that ask for what throw-away people have none of, and those that say nothing', async () => {
    const source = brokenDocument
      .replace('  /orders/{id}:\n    get: {}', '  /orders/{id}:\n    get: { x-sallyport-roles: [support] }')
      .replace('/health: { get: { security: [] } }', '/health: { get: { security: [{ other: [] }] } }')
    const report = await probe(api.url, { source, objects: { orders: '88' } })
    expect(about(report, 'GET /orders/{id}')).toEqual([
      'Asks for a role or a sign-in that A and B have none of: whether B reaches what is A’s was not tried.',
    ])
    expect(about(report, 'GET /health')).toEqual([
      'Not probed: orders.yaml, GET /health: security[0] names "other", which is not among components.securitySchemes. Add the scheme, or correct its name.',
    ])
  })
})

describe('objects of A’s', () => {
  test('one that is there becomes A’s where relations are kept here, for as long as the probe lasts', async () => {
    const source = brokenDocument.replace(
      '/orders/{id}:\n    get: {}',
      '/orders/{id}:\n    get: { x-sallyport-relation: "owner@order:{id}" }',
    )
    const rows: Promise<unknown[]>[] = []
    api.onRequest = () => rows.push(server.database.prisma.relation.findMany().then((all) => all)) // asked at once
    await probe(api.url, { source, objects: { orders: '88' } })
    expect(await rows[0]).toMatchObject([
      { objectType: 'order', objectId: '88', relation: 'owner', subjectType: 'user' },
    ])
    expect(await left()).toEqual(nothing)
  })

  test.each<[string, ReturnType<BrokenApi['onMade']>, string]>([
    ['where the plan says', { body: { order: { id: '1' } } }, 'order.id'],
    ['at the end of Location', { body: '', location: '/orders/%31?new=1' }, ''],
  ])('one that A makes has its id %s', async (_where, answer, id) => {
    api.onMade = () => answer
    await probe(api.url, { objects: { orders: { ...makeOrder, ...(id && { id }) } } })
    expect(api.asked).toContain('GET /orders/1')
    expect(api.orders.size).toBe(0)
  })

  test.each<[string, ReturnType<BrokenApi['onMade']>]>([
    ['dots', { body: { id: '..' } }],
    ['dots in Location', { body: '', location: '/orders/%2E%2E' }],
    ['a Location that cannot be read', { body: '', location: '/orders/%E0%A4%A' }],
    ['nothing', { body: '' }],
    ['a long text', { body: { id: 'x'.repeat(201) } }],
  ])('an id that is none, or would lead to another path, is not called: %s', async (_what, answer) => {
    api.onMade = () => answer
    const { notes } = await probe(api.url, { objects: made, limits: { mostRequests: 3 } })
    expect(notes).toContainEqual({
      operation: 'POST /orders',
      note: 'A could not make an object orders (201, and no id).',
    })
    expect(api.asked.filter((one) => one.startsWith('DELETE'))).toEqual([])
  })

  test('A themselves', async () => {
    await probe(api.url, { objects: { orders: '{sub}' } })
    expect(api.asked.some((one) => /^GET \/orders\/[0-9a-f]{8}-[0-9a-f-]{27}$/.test(one))).toBe(true)
  })

  test('a file says how each is made', () => {
    expect(
      objectsOf(
        'objects: { users: "{sub}", shops: 7, orders: { create: POST /orders, body: { a: [1] }, id: order.id } }',
      ),
    ).toEqual({
      users: '{sub}',
      shops: '7',
      orders: { create: 'POST /orders', body: { a: [1] }, id: 'order.id' },
    })
  })

  test.each([
    ['orders: 7', /objects\.yaml: objects has the wrong form/],
    ['objects: { orders: { creat: POST /orders } }', /objects\.yaml: objects\.orders has the wrong form/],
    ['objects: { "a b": 7 }', /has the wrong form/],
    ['objects: [', /objects\.yaml cannot be read at line 1/],
  ])('%s is refused', (source, words) => {
    const read = readObjects(source, 'objects.yaml')
    expect('flaws' in read ? read.flaws.map(({ field, problem }) => `${field} ${problem}`).join() : '').toMatch(words)
  })
})
