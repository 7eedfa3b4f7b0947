// Plans authzen-pdp-subject-search-, -resource-search- and -action-search-test-plan of the conformance suite, module by module, and beside them each
// statement of the Authorization API 1.0 on searches.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeRelations } from '#src/access/relations/relations.ts'
import { change } from '#test/support/installation.ts'
import { alice, bob, type Pdp, read, record, startPdp, transportModules, without, write } from './fixture.ts'

let pdp: Pdp
beforeAll(async () => {
  pdp = await startPdp()
})
afterAll(() => pdp.stop())

const questions = {
  subject: { subject: { type: 'user' }, action: read, resource: record(1) },
  resource: { subject: alice, action: read, resource: { type: 'record' } },
  action: { subject: alice, resource: record(1) },
}
type Kind = keyof typeof questions
type Page = { next_token: string; count: number }
const search = async (kind: Kind, body: object) => {
  const answer = await pdp.ask(`search/${kind}`, body)
  expect([answer.status, answer.headers.get('content-type')], answer.text).toEqual([
    200,
    'application/json; charset=utf-8',
  ])
  const { page, results } = answer.body as { page: Page; results: Record<string, string>[] }
  expect(answer.text, '`page` is the first member (8.3)').toMatch(/^\{"page":/)
  expect(page).toEqual({ next_token: expect.any(String), count: results.length }) // 8.2.2
  return { page, results, found: results.map((one) => one.id ?? one.name ?? '').sort() }
}

describe('results', () => {
  const modules: [Kind, string, object, string[]][] = [
    ['subject', 'valid-subject-search-request-with-non-empty-results (8.4)', {}, ['alice', 'bob']],
    [
      'subject',
      'subject-search-with-context (8.4.1)',
      { context: { time: '2024-10-26T01:22-07:00' } },
      ['alice', 'bob'],
    ],
    ['subject', 'subject-search-with-subject-id-omitted (8.4.1)', {}, ['alice', 'bob']],
    ['subject', 'extra-subject-id-ignored (8.4.1)', { subject: { type: 'user', id: 'alice' } }, ['alice', 'bob']],
    ['subject', 'an id of another type ignored (8.4.1)', { subject: { type: 'user', id: 7 } }, ['alice', 'bob']],
    ['subject', 'unknown-entity-type', { subject: { type: 'spaceship' } }, []],
    ['subject', 'unknown resource: nobody', { resource: { type: 'record', id: 'record-9' } }, []],
    ['subject', 'unknown action: nobody', { action: { name: 'launch' } }, []],
    ['subject', 'unknown-page-fields-ignored (10.1.1)', { page: { limit: 10, foo: 'bar' } }, ['alice', 'bob']],
    [
      'subject',
      'page attributes of the implementation (8.2.1)',
      { page: { properties: { sort: 'id' } } },
      ['alice', 'bob'],
    ],
    [
      'subject',
      'subject-search-with-resource-properties (rule 6)',
      { action: write, resource: record(2, 'archived') },
      ['bob'],
    ],
    ['resource', 'valid-resource-search-request-with-non-empty-results (8.5)', {}, ['record-1', 'record-2']],
    ['resource', 'resource-search-with-resource-id-omitted (8.5.1)', {}, ['record-1', 'record-2']],
    ['resource', 'extra-resource-id-ignored (8.5.1)', { resource: record(1) }, ['record-1', 'record-2']],
    ['resource', 'with a context (8.5.1)', { context: { time: 'now' } }, ['record-1', 'record-2']],
    ['resource', 'unknown subject', { subject: { type: 'user', id: 'nonexistent-user' } }, []],
    ['resource', 'unknown type', { resource: { type: 'spaceship' } }, []],
    [
      'resource',
      'resource-search-with-subject-properties (rule 6)',
      { subject: { ...bob, properties: { role: 'admin' } }, action: write },
      ['record-2'],
    ],
    ['action', 'valid-action-search-request-with-non-empty-results (8.6)', {}, ['read', 'write']],
    [
      'action',
      'action-search-with-context (8.6.1)',
      { context: { time: '2024-10-26T01:22-07:00' } },
      ['read', 'write'],
    ],
    ['action', 'unknown-entity-identifier', { subject: { type: 'user', id: 'nonexistent-user' } }, []],
    ['action', 'extra-action-ignored (8.6.1, 10.1.1)', { action: { name: 'read' } }, ['read', 'write']],
    ['action', 'an action of another type ignored (10.1.1)', { action: 7 }, ['read', 'write']],
    [
      'action',
      'action-search-with-properties (rule 6)',
      { subject: { ...bob, properties: { role: 'admin' } }, resource: record(2, 'archived') },
      ['read', 'write'],
    ],
    ['action', 'a page of it (8.2)', { page: { limit: 1 } }, ['read', 'write']],
  ]
  test.each(modules)('authzen-pdp-%s-search: %s', async (kind, _name, more, expected) => {
    const { found, results, page } = await search(kind, { ...questions[kind], ...more })
    expect([found, page.next_token]).toEqual([expected, ''])
    // 8.3: only entities of the type that is searched for.
    const form = {
      subject: { type: 'user', id: expect.any(String) },
      resource: { type: 'record', id: expect.any(String) },
    }
    for (const one of results) expect(one).toEqual(kind === 'action' ? { name: expect.any(String) } : form[kind])
  })

  test.each(Object.entries(questions))('authzen-pdp-%s-search-idempotency', async (kind, question) => {
    const seen = []
    for (let n = 0; n < 3; n++) seen.push((await pdp.ask(`search/${kind}`, question)).text)
    expect(new Set(seen).size).toBe(1)
  })

  test('what is found is permitted when it is asked about (8.1)', async () => {
    for (const action of ['read', 'write']) {
      const { results } = await search('subject', { ...questions.subject, action: { name: action } })
      for (const subject of results)
        expect((await pdp.ask('evaluation', { subject, action: { name: action }, resource: record(1) })).body).toEqual({
          decision: true,
        })
    }
  })

  test('by way of a group as well (8.1)', async () => {
    const { prisma } = pdp.server.database
    const { results } = await search('subject', questions.subject)
    expect(results.length).toBeGreaterThan(0)
    const everybody = await prisma.user.findMany()
    const write = [
      'record:record-3#viewer@group:readers#member',
      ...everybody.map(({ id }) => `group:readers#member@user:${id}`),
    ]
    await writeRelations(prisma, { write, delete: [] }, change())
    const third = { type: 'record', id: 'record-3' }
    expect((await search('subject', { ...questions.subject, resource: third })).found).toEqual(['alice', 'bob'])
    expect((await search('resource', questions.resource)).found).toEqual(['record-1', 'record-2', 'record-3'])
    await writeRelations(prisma, { write: [], delete: write }, change())
  })
})

describe('400 for what lacks something (10.1.1)', () => {
  const modules: [Kind, string, object][] = [
    ['subject', 'missing-action', without(questions.subject, 'action')],
    ['subject', 'action-missing-name', { ...questions.subject, action: {} }],
    ['subject', 'action-is-string', { ...questions.subject, action: 'read' }],
    ['subject', 'missing-resource', without(questions.subject, 'resource')],
    ['subject', 'resource-missing-id', { ...questions.subject, resource: { type: 'record' } }],
    ['subject', 'resource-missing-type', { ...questions.subject, resource: { id: 'record-1' } }],
    ['subject', 'missing subject', without(questions.subject, 'subject')],
    ['subject', 'subject-missing-type', { ...questions.subject, subject: {} }],
    ['resource', 'missing-subject', without(questions.resource, 'subject')],
    ['resource', 'subject-missing-id', { ...questions.resource, subject: { type: 'user' } }],
    ['resource', 'missing-resource', without(questions.resource, 'resource')],
    ['resource', 'resource-missing-type', { ...questions.resource, resource: {} }],
    ['resource', 'missing-action', without(questions.resource, 'action')],
    ['resource', 'action-missing-name', { ...questions.resource, action: {} }],
    ['action', 'missing-resource', without(questions.action, 'resource')],
    ['action', 'resource-missing-id', { ...questions.action, resource: { type: 'record' } }],
    ['action', 'resource-missing-type', { ...questions.action, resource: { id: 'record-1' } }],
    ['action', 'missing-subject', without(questions.action, 'subject')],
    ['action', 'subject-missing-id', { ...questions.action, subject: { type: 'user' } }],
    ['action', 'subject-missing-type', { ...questions.action, subject: { id: 'alice' } }],
    ['action', 'subject-is-string', { ...questions.action, subject: 'alice' }],
  ]
  test.each(modules)('authzen-pdp-%s-search-%s', async (kind, _name, body) => {
    const answer = await pdp.ask(`search/${kind}`, body)
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
  })
})

describe('pages (8.2)', () => {
  const paged = (page: object, more: object = {}) =>
    pdp.ask('search/subject', { ...questions.subject, ...more, page }) as unknown as Promise<{
      status: number
      body: { page: Page; results: { id: string }[] }
    }>

  test('authzen-pdp-subject-search-request-with-page-limit: no more than the limit, each once, an empty token at the end', async () => {
    const found: string[] = []
    let pages = 0
    for (let token = ''; pages === 0 || token !== ''; pages++) {
      // 8.2.2, and the examples: the limit may be left out from the second page on.
      const { body } = await paged(token === '' ? { limit: 1 } : { token })
      expect(body.results.length).toBeLessThanOrEqual(1)
      found.push(...body.results.map(({ id }) => id))
      token = body.page.next_token
      expect(pages).toBeLessThan(10)
    }
    expect(found.sort()).toEqual(['alice', 'bob'])
  })

  test('a page that holds all there is has no token, though others might have followed (8.2.2)', async () => {
    const { body } = await paged({ limit: 2 })
    expect([body.results.length, body.page.next_token]).toEqual([2, ''])
  })

  test('a limit of zero is one: no result, and a token where there are any (8.2.1)', async () => {
    const { body } = await paged({ limit: 0 })
    expect([body.results, body.page.count]).toEqual([[], 0])
    expect(body.page.next_token).not.toBe('')
    const none = await paged({ limit: 0 }, { resource: { type: 'record', id: 'record-9' } })
    expect(none.body.page.next_token).toBe('')
  })

  test('a limit beyond ours is a maximum like any other (8.2.1)', async () => {
    expect((await paged({ limit: 100_000 })).body.results).toHaveLength(2)
  })

  test.each([-1, 1.5, '10'])('a limit of %j is none: 400 (8.2.1)', async (limit) => {
    expect((await paged({ limit })).status).toBe(400)
  })

  test('an empty token is none', async () => {
    expect((await paged({ token: '' })).body.results).toHaveLength(2)
  })

  test('a token goes with its question and its limit, and with no other (8.2)', async () => {
    const { next_token: token } = (await paged({ limit: 1 })).body.page
    const others: [object, object][] = [
      [{ token, limit: 2 }, {}],
      [{ token, properties: { sort: 'id' } }, {}],
      [{ token }, { action: write }],
      [{ token }, { resource: record(2) }],
      [{ token }, { resource: record(1, 'archived') }],
      [{ token }, { context: { time: 'now' } }],
      [{ token }, { subject: { type: 'client' } }],
    ]
    for (const [page, more] of others) expect((await paged(page, more)).status, JSON.stringify([page, more])).toBe(400)
    // The same in another order of members is the same (10.1.1).
    const same = { resource: { id: 'record-1', type: 'record' } }
    expect((await paged({ limit: 1, token }, same)).status).toBe(200)
    const crossed = await pdp.ask('search/resource', { ...questions.resource, page: { token } })
    expect(crossed.status).toBe(400)
  })

  test.each(['garbage', '////', Buffer.from('["a",1]').toString('base64url'), 'x'.repeat(5_000)])(
    'a token that was never given: 400 (%#)',
    async (token) => {
      expect((await paged({ token })).status).toBe(400)
    },
  )

  test('one with a place that no page had: 400', async () => {
    const { next_token: token } = (await paged({ limit: 1 })).body.page
    const [belongs, limit] = JSON.parse(Buffer.from(token, 'base64url').toString())
    for (const place of ['', 'd', `d${'x'.repeat(10)}`, "' OR 1=1", 'n\u0000']) {
      const forged = Buffer.from(JSON.stringify([belongs, limit, Buffer.from(place).toString('base64url')]))
      expect((await paged({ token: forged.toString('base64url') })).status, place).toBe(400)
    }
  })
})

describe.each(Object.entries(questions))('%s', (kind, question) => {
  test.each(transportModules(`authzen-pdp-${kind}-search`, question))(
    '%s',
    async (_name, { body, more, status = 200, ...sent }) => {
      expect((await pdp.ask(`search/${kind}`, body ?? { ...question, ...more }, sent)).status).toBe(status)
    },
  )

  test(`authzen-pdp-${kind}-search-x-request-id-echoed (10.1.3)`, async () => {
    const { headers } = await pdp.ask(`search/${kind}`, question, { headers: { 'X-Request-ID': 'a-1' } })
    expect(headers.get('x-request-id')).toBe('a-1')
  })

  test('401 to nobody, 403 to whoever may not ask (10.1.2)', async () => {
    const asked = (key: string) => pdp.ask(`search/${kind}`, question, { headers: { 'X-API-Key': key } })
    expect([(await asked('sp_key_wrong')).status, (await asked(pdp.weakKey)).status]).toEqual([401, 403])
  })
})
