// Plan authzen-pdp-evaluation-test-plan of the conformance suite, module by module, and beside it each statement of the Authorization API 1.0 on single
// evaluations. The number in a name is the section.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { alice, bob, type Pdp, read, record, startPdp, transportModules, without, write } from './fixture.ts'

let pdp: Pdp
beforeAll(async () => {
  pdp = await startPdp()
})
afterAll(() => pdp.stop())

const question = { subject: alice, action: read, resource: record(1) }
const decide = async (body: object) => {
  const answer = await pdp.ask('evaluation', body)
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8'])
  return answer.body.decision
}

describe('decisions', () => {
  const bySubject = { ...bob, properties: { role: 'admin' } }
  const soft = (value: boolean) => ({ name: 'delete', properties: { soft: value } })
  const modules: [string, object, boolean][] = [
    ['fixture-request-permit-decision (5.5, rule 1)', question, true],
    ['fixture-request-deny-decision (5.5, rule 4)', { ...question, subject: bob, action: write }, false],
    ['rule 2', { ...question, action: write }, true],
    ['rule 3', { ...question, subject: bob }, true],
    [
      'request-with-optional-context (5.4)',
      { ...question, context: { time: '2025-06-27T18:03-07:00', ip: '192.168.1.1' } },
      true,
    ],
    [
      'request-with-additional-properties (5.1.1, 5.2.1, 5.3.1)',
      {
        subject: { ...alice, properties: { department: 'Sales', role: 'manager' } },
        action: { ...read, properties: { method: 'GET' } },
        resource: { ...record(1), properties: { status: 'active', owner: 'bob' } },
      },
      true,
    ],
    ['request-with-unknown-fields (10.1.1)', { ...question, foo: 'bar', futureField: { nested: true } }, true],
    ['unknown-subject-fields-ignored (10.1.1)', { ...question, subject: { ...alice, role: 'admin' } }, true],
    ['unknown-resource-fields-ignored (10.1.1)', { ...question, resource: { ...record(1), status: 'x' } }, true],
    ['unknown-action-fields-ignored (10.1.1)', { ...question, action: { ...read, soft: 1 } }, true],
    [
      'fixture-request-deny-based-on-properties (rule 5)',
      { subject: alice, action: write, resource: record(2, 'archived') },
      false,
    ],
    [
      'fixture-request-permit-based-on-subject-properties (rule 6)',
      { subject: bySubject, action: write, resource: record(2, 'archived') },
      true,
    ],
    [
      'fixture-request-permit-based-on-action-properties (rule 7)',
      { subject: alice, action: soft(true), resource: record(1) },
      true,
    ],
    [
      'fixture-request-deny-based-on-action-properties (rule 8)',
      { subject: alice, action: soft(false), resource: record(1) },
      false,
    ],
    [
      'values of every kind in properties (5.1.1)',
      { ...question, subject: { ...alice, properties: { a: null, b: [1, { c: true }], d: 1.5 } } },
      true,
    ],
    [
      'what the caller says of a subject is not taken for what is known of it',
      { subject: { ...alice, properties: { role: 'admin' }, attributes: {} }, action: write, resource: record(2) },
      true,
    ],
    [
      'members in another order (10.1.1)',
      { resource: { id: 'record-1', type: 'record' }, action: read, subject: { id: 'alice', type: 'user' } },
      true,
    ],
  ]
  test.each(modules)('authzen-pdp-evaluation: %s', async (_name, body, decision) => {
    expect(await decide(body)).toBe(decision)
  })

  test('authzen-pdp-evaluation-idempotency', async () => {
    const answers = []
    for (let n = 0; n < 3; n++) answers.push((await pdp.ask('evaluation', question)).text)
    expect(new Set(answers)).toEqual(new Set(['{"decision":true}']))
  })

  test('a no may carry a context, which is an object, and says nothing but its receipt (5.5.1)', async () => {
    const { body } = await pdp.ask('evaluation', { ...question, subject: bob, action: write })
    expect(body).toEqual({ decision: false, context: { id: expect.stringMatching(/^[0-9a-f-]{36}$/) } })
  })
})

describe('400 for what lacks something (10.1.1)', () => {
  const modules: [string, object, string][] = [
    ['missing-subject (6.1)', without(question, 'subject'), '"subject"'],
    ['missing-action (6.1)', without(question, 'action'), '"action"'],
    ['missing-resource (6.1)', without(question, 'resource'), '"resource"'],
    ['subject-missing-type (5.1)', { ...question, subject: without(alice, 'type') }, '"subject.type"'],
    ['subject-missing-id (5.1)', { ...question, subject: without(alice, 'id') }, '"subject.id"'],
    ['action-missing-name (5.3)', { ...question, action: {} }, '"action.name"'],
    ['resource-missing-type (5.2)', { ...question, resource: without(record(1), 'type') }, '"resource.type"'],
    ['resource-missing-id (5.2)', { ...question, resource: without(record(1), 'id') }, '"resource.id"'],
    ['subject-is-string (5.1)', { ...question, subject: 'alice' }, '"subject"'],
    ['action-name-is-number (5.3)', { ...question, action: { name: 123 } }, '"action.name"'],
    ['properties that are no object (5.1)', { ...question, subject: { ...alice, properties: [] } }, 'properties'],
    ['a context that is no object (5.4)', { ...question, context: 'now' }, '"context"'],
  ]
  test.each(modules)('authzen-pdp-evaluation-%s', async (_name, body, words) => {
    const answer = await pdp.ask('evaluation', body)
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
    expect(answer.body.error_description).toContain(words)
    expect(answer.body).not.toHaveProperty('decision')
  })
})

test.each(transportModules('authzen-pdp-evaluation', question))(
  '%s',
  async (_name, { body, more, status = 200, ...sent }) => {
    expect((await pdp.ask('evaluation', body ?? { ...question, ...more }, sent)).status).toBe(status)
  },
)

describe('X-Request-ID (10.1.3)', () => {
  test.each(['bfe9eb29-ab87-4ca3-be83-a1d5d8305716', 'any text, with spaces: "and" more', 'x'.repeat(2_000)])(
    'authzen-pdp-evaluation-x-request-id-echoed: %s',
    async (id) => {
      const headers = { 'X-Request-ID': id }
      expect((await pdp.ask('evaluation', question, { headers })).headers.get('x-request-id')).toBe(id)
      const refused = await pdp.ask('evaluation', {}, { headers })
      expect([refused.status, refused.headers.get('x-request-id')]).toEqual([400, id])
    },
  )
  test('absent: ours', async () => {
    expect((await pdp.ask('evaluation', question)).headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
  })
})

describe('the caller (11.2, 11.3)', () => {
  test('authzen-pdp-evaluation-missing-credentials-returns-401, with a challenge', async () => {
    const response = await fetch(`${pdp.server.url}/access/v1/evaluation`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: '{}',
    })
    expect([response.status, response.headers.get('www-authenticate')]).toEqual([
      401,
      `Bearer realm="${pdp.server.url}/api"`,
    ])
  })
  test('with credentials that are wrong: 401', async () => {
    const answer = await pdp.ask('evaluation', question, { headers: { 'X-API-Key': 'sp_key_wrong' } })
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([
      401,
      `Bearer realm="${pdp.server.url}/api", error="invalid_token"`,
    ])
  })
  test('known, and not allowed to ask: 403 (10.1.2)', async () => {
    const answer = await pdp.ask('evaluation', question, { headers: { 'X-API-Key': pdp.weakKey } })
    expect([answer.status, answer.body.error]).toEqual([403, 'insufficient_scope'])
    expect(answer.body).not.toHaveProperty('decision')
  })
})
