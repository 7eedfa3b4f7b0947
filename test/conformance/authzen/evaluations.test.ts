// Plan authzen-pdp-evaluations-test-plan of the conformance suite, module by module, and beside it each statement of the Authorization API 1.0 on
// evaluations that travel together.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { alice, bob, type Pdp, read, record, startPdp, transportModules, write } from './fixture.ts'

let pdp: Pdp
beforeAll(async () => {
  pdp = await startPdp()
})
afterAll(() => pdp.stop())

/** bob may read record-1 and may not write it. */
const question = { subject: bob, resource: record(1), evaluations: [{ action: read }, { action: write }] }
type Decision = { decision: boolean; context?: Record<string, unknown> }
const ask = async (body: object) => {
  const { status, body: answered } = await pdp.ask('evaluations', body)
  expect(status).toBe(200)
  expect(answered).not.toHaveProperty('decision') // 7.2: better omitted
  return answered.evaluations as Decision[]
}
const decisions = async (body: object) => (await ask(body)).map(({ decision }) => decision)

describe('decisions', () => {
  const modules: [string, object, boolean[]][] = [
    [
      'batch-request-with-evaluations-array (7.1)',
      { subject: alice, action: read, evaluations: [{ resource: record(1) }, { resource: record(2) }] },
      [true, true],
    ],
    ['batch-with-fixture-decisions-validated, in the order of the questions (7.2)', question, [true, false]],
    [
      'batch-with-fully-specified-evaluations (7.1)',
      {
        evaluations: [
          { subject: alice, action: read, resource: record(1) },
          { subject: bob, action: write, resource: record(1) },
        ],
      },
      [true, false],
    ],
    [
      'batch-with-context-inheritance (7.1.1)',
      {
        subject: alice,
        action: read,
        context: { audience: 'https://elsewhere.example' },
        evaluations: [{ resource: record(1) }, { resource: record(1), context: { source: 'batch-override' } }],
      },
      [false, true],
    ],
    [
      'per-eval-overrides-default (7.1.1)',
      { subject: bob, action: write, resource: record(1), evaluations: [{ subject: alice }, { action: read }, {}] },
      [true, true, false],
    ],
    [
      'unknown-top-level-fields-ignored (10.1.1)',
      { ...question, foo: 'bar', futureField: { nested: true } },
      [true, false],
    ],
    ['unknown fields of an entry ignored (10.1.1)', { ...question, evaluations: [{ action: read, foo: 1 }] }, [true]],
    ['unknown options ignored (7.1.2)', { ...question, options: { another_option: 'value' } }, [true, false]],
    [
      'batch-with-properties-validated (rules 2 and 5)',
      {
        subject: alice,
        action: write,
        evaluations: [{ resource: record(1, 'active') }, { resource: record(2, 'archived') }],
      },
      [true, false],
    ],
    [
      'batch-with-subject-properties-validated (rules 5 and 6)',
      {
        action: write,
        resource: record(2, 'archived'),
        evaluations: [{ subject: alice }, { subject: { ...bob, properties: { role: 'admin' } } }],
      },
      [false, true],
    ],
    [
      'batch-with-default-value-merging: what an entry needs and half says',
      {
        subject: alice,
        action: write,
        resource: { type: 'record', properties: { status: 'archived' } },
        evaluations: [
          { resource: { id: 'record-1', properties: { status: 'active' } } },
          { resource: record(2, 'archived') },
          { resource: { id: 'record-1' } }, // as a whole: the properties of the default are not its own
        ],
      },
      [true, false, true],
    ],
  ]
  test.each(modules)('authzen-pdp-evaluations: %s', async (_name, body, expected) => {
    expect(await decisions(body)).toEqual(expected)
  })

  test('authzen-pdp-evaluations-idempotency', async () => {
    const seen = []
    for (let n = 0; n < 3; n++) seen.push(await decisions(question))
    expect(seen).toEqual(Array(3).fill([true, false]))
  })

  test.each([
    ['missing-evaluations-array-backward-compat (7.1)', undefined],
    ['empty-evaluations-array-backward-compat (7.1)', []],
  ])('authzen-pdp-evaluations-%s', async (_name, evaluations) => {
    const whole = { subject: alice, action: read, resource: record(1) }
    expect((await pdp.ask('evaluations', { ...whole, evaluations })).body).toEqual({ decision: true })
    const half = await pdp.ask('evaluations', { action: read, resource: record(1), evaluations })
    expect([half.status, half.body.error]).toEqual([400, 'invalid_request'])
  })
})

describe('semantics (7.1.2.1)', () => {
  const [yes, no] = [{ action: read }, { action: write }]
  const semantic = (evaluations_semantic: unknown, ...evaluations: object[]) => ({
    ...question,
    evaluations,
    options: { evaluations_semantic },
  })
  const modules: [string, object, boolean[]][] = [
    ['default-semantic-is-execute-all', { ...question, evaluations: [no, yes, no] }, [false, true, false]],
    ['execute-all-explicit', semantic('execute_all', no, yes, no), [false, true, false]],
    ['deny-on-first-deny', semantic('deny_on_first_deny', yes, no, yes), [true, false]],
    [
      'deny-on-first-deny: an error is a denial',
      semantic('deny_on_first_deny', yes, { resource: 1 }, yes),
      [true, false],
    ],
    ['deny-on-first-deny: all of them permitted', semantic('deny_on_first_deny', yes, yes), [true, true]],
    ['permit-on-first-permit', semantic('permit_on_first_permit', no, yes, no), [false, true]],
    ['permit-on-first-permit: none permitted', semantic('permit_on_first_permit', no, no), [false, false]],
  ]
  test.each(modules)('authzen-pdp-evaluations-%s', async (_name, body, expected) => {
    expect(await decisions(body)).toEqual(expected)
  })
  test.each(['first_come', 'EXECUTE_ALL', '', 1, null])(
    'authzen-pdp-evaluations-unknown-semantic-value: %j',
    async (value) => {
      expect((await pdp.ask('evaluations', semantic(value, yes))).status).toBe(400)
    },
  )
})

describe('what is wrong with one entry is its own (7.2.1)', () => {
  const closed = (words: string) => ({
    decision: false,
    context: { error: { status: 400, message: expect.stringContaining(words) } },
  })
  const modules: [string, object, unknown[]][] = [
    [
      'evaluation-level-errors',
      { subject: alice, action: read, evaluations: [{ resource: record(1) }, {}] },
      [{ decision: true }, closed('"resource" is missing')],
    ],
    [
      'missing-subject-returns-decision-false',
      { action: read, resource: record(1), evaluations: [{}, { subject: alice }] },
      [closed('"subject" is missing'), { decision: true }],
    ],
    [
      'a member of another type',
      {
        subject: alice,
        action: read,
        evaluations: [{ resource: 'record-1' }, { resource: { type: 'record', id: 1 } }],
      },
      [closed('"resource"'), closed('"resource.id"')],
    ],
    [
      'a default that lacks something, for those who need it',
      { subject: { type: 'user' }, action: read, resource: record(1), evaluations: [{}, { subject: { id: 'alice' } }] },
      [closed('"subject.id" is missing'), { decision: true }],
    ],
  ]
  test.each(modules)('authzen-pdp-evaluations-%s', async (_name, body, expected) => {
    expect(await ask(body)).toEqual(expected)
  })
  test.each([
    ['evaluations that are no array', { ...question, evaluations: {} }],
    ['an entry that is no object', { ...question, evaluations: [1] }],
    ['options that are no object', { ...question, options: 'execute_all' }],
    ['more of them than are answered (11.7)', { ...question, evaluations: Array(201).fill({}) }],
  ])('what is wrong with the whole is 400: %s', async (_name, body) => {
    expect((await pdp.ask('evaluations', body)).status).toBe(400)
  })
})

test.each(transportModules('authzen-pdp-evaluations', question))(
  '%s',
  async (_name, { body, more, status = 200, ...sent }) => {
    expect((await pdp.ask('evaluations', body ?? { ...question, ...more }, sent)).status).toBe(status)
  },
)

test('authzen-pdp-evaluations-x-request-id-echoed (10.1.3)', async () => {
  const { headers } = await pdp.ask('evaluations', question, { headers: { 'X-Request-ID': 'bfe9 29' } })
  expect(headers.get('x-request-id')).toBe('bfe9 29')
})
