// sallyport policies, as a script sees it.
import { spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApi } from '#src/apis/apis.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const api = 'https://api.example.com/orders'
const directory = mkdtempSync(join(tmpdir(), 'sallyport-policies-'))
let db: TestDatabase

beforeAll(async () => {
  db = await createTestDatabase()
  await createApi(db.database.prisma, { identifier: api, name: 'Orders', scopes: { 'orders:read': 'See' } }, changeAt())
})
afterAll(async () => {
  await db.drop()
  rmSync(directory, { recursive: true })
})

async function sallyport(...args: string[]) {
  const child = spawn(process.execPath, ['src/sallyport.mjs', 'policies', ...args], {
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: db.url,
      LOG_LEVEL: 'error',
      SECRET_KEY: randomBytes(32).toString('base64url'),
    },
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, out, err }
}
async function json(...args: string[]) {
  const { code, out, err } = await sallyport(...args, '--json')
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out)
}
function file(name: string, content: string): string {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}

test('declare, apply, try, enforce, list, show, disable', async () => {
  const declared = { attributes: '{ department: String }' }
  expect(await json('schema', api, '--file', file('schema.json', JSON.stringify(declared)))).toEqual({
    api,
    version: 1,
    ...declared,
    actions: ['orders:read'],
  })

  const sales = 'permit (principal is User, action, resource) when { principal.attributes.department == "sales" };'
  const cedar = file('orders.cedar', `@id("sales") @description("Sales sees orders")\n${sales}\n`)
  expect(await json('apply', cedar, '--api', api)).toEqual([
    { name: 'sales', done: 'created', state: 'draft', version: 1 },
  ])
  expect(await json('apply', cedar, '--api', api)).toMatchObject([{ done: 'unchanged' }])

  const person = (department: string) => ({
    principal: { kind: 'user', id: department, attributes: { department } },
    action: 'orders:read',
    resource: { type: 'order', id: '8' },
  })
  const trial = { api, drafts: [{ name: 'sales', text: sales }], questions: [person('sales'), person('hr')] }
  expect(await json('try', file('try.json', JSON.stringify(trial)))).toMatchObject({ gains: 1, loses: 0 })
  const shown = await sallyport('try', join(directory, 'try.json'))
  expect(shown.out).toBe(
    'CHANGE  WHO         ACTION       WHAT     ANSWER          BY\ngains   user:sales  orders:read  order:8  none -> permit  sales\n1 gain, 0 lose, of 2 questions.\n',
  )

  expect(await json('enforce', 'sales', '--api', api)).toMatchObject({ state: 'enforced', version: 2 })
  expect(await json('list', '--api', api)).toMatchObject([{ name: 'sales', state: 'enforced', effect: 'permit' }])
  const whole = await json('show', 'sales', '--api', api)
  expect(whole).toMatchObject({ name: 'sales', versions: [{ version: 2, changedBy: { kind: 'cli' } }, { version: 1 }] })
  expect((await sallyport('show', whole.id)).out).toContain(sales)
  expect(await json('disable', 'sales', '--api', api)).toMatchObject({ state: 'draft', version: 3 })
})

test('replay: who would gain, the same person at the same thing in one line, and whether a loss could be seen', async () => {
  const permit = file('all.cedar', '@id("guests") permit (principal, action, resource);')
  await json('apply', permit, '--api', api)
  const nobody = '00000000-0000-4000-8000-000000000000'
  const receipt = (at: Date) => ({
    ...{ id: randomUUID(), at, expiresAt: new Date(Date.now() + 60_000), endpoint: 'POST /access/v1/evaluation', api },
    ...{ allowed: false, gate: 'policy', reason: 'no_policy_permits', action: 'orders:read' },
    ...{ subjectKind: 'user', subjectId: nobody, objectType: 'order', objectId: '8', facts: {} },
  })
  const rows = [1, 2, 3].map((minutes) => receipt(new Date(Date.now() - minutes * 60_000)))
  await db.database.prisma.decisionReceipt.createMany({
    data: [...rows, { ...receipt(new Date(Date.now() - 240_000)), facts: { left: ['*'] } }],
  })
  const { out, code } = await sallyport('replay', 'guests', '--api', api)
  expect([code, out.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/, 'TIME')]).toEqual([
    0,
    [
      'CHANGE  WHO                                        ACTION       WHAT     NOW       AFTER         TIMES  LAST DECISION',
      `gains   user:${nobody}  orders:read  order:8  no, role  yes (guests)  3      ${rows[0]?.id}`,
      '4 receipts since TIME: 0 of yes, 4 of no.',
      '0 never came as far as the policies. 3 gain, 0 lose, 0 stay as they are, 1 cannot be decided again.',
      '  1 times policies may look at what was said and not kept: *',
      'No receipt of a yes is kept: who would lose something is not seen. DECISION_RECEIPTS_PERMITTED says of how many one is.',
      '',
    ].join('\n'),
  ])
  expect(await json('replay', 'guests', '--api', api, '--most', '2')).toMatchObject({
    ...{ looked: { refused: 2 }, complete: false, permittedShare: 0 },
    gains: rows.slice(0, 2).map(({ id }) => ({ id })),
  })
  const none = file('nobody.cedar', 'forbid (principal, action, resource);')
  expect(await json('replay', 'guests', '--api', api, '--file', none)).toMatchObject({ gains: [], unchanged: 3 })
  expect(await sallyport('replay', 'guests', '--api', api, '--days', '31')).toMatchObject({ code: 1 })
  expect(await sallyport('replay', 'nobody', '--api', api)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/not a policy here/),
  })
})

test('what is refused says why, code 1; wrong usage is 2', async () => {
  const bad = file('bad.cedar', '@id("a") permit (principal, action == Action::"orders:raed", resource);')
  expect(await sallyport('apply', bad, '--api', api)).toMatchObject({
    code: 1,
    out: '',
    err: expect.stringMatching(/text at line 1, column .*orders:raed.*orders:read/),
  })
  expect(await sallyport('apply', join(directory, 'none.cedar'), '--api', api)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/cannot be read/),
  })
  expect(await sallyport('try', file('bad.json', '{"api": 5}'))).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^api has the wrong form/),
  })
  expect(await sallyport('try', file('no.json', '{'))).toMatchObject({
    code: 1,
    err: expect.stringMatching(/is not JSON/),
  })
  expect(await sallyport('show', 'nobody', '--api', api)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/not a policy here/),
  })
  expect(await sallyport('apply', bad)).toMatchObject({ code: 2 })
})
