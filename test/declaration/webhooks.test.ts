// Webhooks in the declarative file: made, changed and removed by name; their secrets go in and never come out.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { applyDeclaration } from '#src/declaration/apply.ts'
import { exportDeclaration } from '#src/declaration/export.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { newWebhookSecret } from '#src/outbound/standard-webhooks.ts'
import { createEndpoint, secretPurpose } from '#src/webhooks/endpoints.ts'
import { clearAudit } from '#test/support/audit.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const webhookDeps = { secretKeys: createSecretKeys([randomBytes(32)]), networks: ['127.0.0.0/8'] }
const secret = newWebhookSecret()
let created: TestDatabase
let prisma: TestDatabase['database']['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  prisma = created.database.prisma
})
afterAll(() => created.drop())
beforeEach(async () => {
  await prisma.webhookEndpoint.deleteMany()
  await clearAudit(created.database)
})

const apply = (text: string, options: { dryRun?: boolean; prune?: boolean } = {}) =>
  applyDeclaration(created.database, parseDeclaration(text), {
    ...{ ...change, prune: false, dryRun: false, webhookDeps },
    ...options,
  })
const file = (fields = '', name = 'audit-log', url = 'https://hooks.example.com/sallyport') =>
  `webhooks: [{ name: ${name}, url: "${url}", types: [user.*, session.ended]${fields} }]\n`
const only = () => prisma.webhookEndpoint.findFirstOrThrow()
const secretOf = ({ id, secret: sealed }: { id: string; secret: string }) =>
  webhookDeps.secretKeys.unseal(secretPurpose, id, sealed).toString()

test('is made with the secret of the file, sealed; the second time changes nothing; plan, record and export do not hold it', async () => {
  const text = file(`, secret: "${secret}", description: For the archive`)
  const plan = await apply(text, { dryRun: true })
  expect(plan).toEqual([{ action: 'create', kind: 'webhook', id: 'audit-log' }])
  expect(await prisma.webhookEndpoint.count()).toBe(0)
  expect(await apply(text)).toEqual(plan)
  const record = await only()
  expect(record).toMatchObject({
    ...{ name: 'audit-log', url: 'https://hooks.example.com/sallyport', types: ['user.*', 'session.ended'] },
    ...{ description: 'For the archive', disabledAt: null },
  })
  expect(secretOf(record)).toBe(secret)
  expect(await apply(text)).toEqual([])
  const events = await prisma.auditEvent.findMany()
  expect(events.map(({ event }) => event)).toEqual(['webhook.created', 'configuration.applied'])
  const exported = await exportDeclaration(prisma)
  for (const seen of [exported, JSON.stringify(events.map(({ detail }) => detail)), JSON.stringify(record)])
    expect(seen).not.toContain(secret.slice('whsec_'.length))
  expect(exported).toContain('webhooks:\n  - name: audit-log\n    url: https://hooks.example.com/sallyport\n')
})

test('without a secret it gets one; on an empty installation an export makes the same, with other secrets', async () => {
  await apply(file())
  const before = await only()
  expect(secretOf(before)).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
  const text = await exportDeclaration(prisma)
  expect(await apply(text, { prune: true })).toEqual([])
  await prisma.webhookEndpoint.deleteMany()
  await apply(text)
  expect(await exportDeclaration(prisma)).toBe(text)
  expect(secretOf(await only())).not.toBe(secretOf(before))
})

test('another address, other types: the same webhook, with its secret', async () => {
  await apply(file(`, secret: "${secret}"`))
  const { id } = await only()
  const other = 'webhooks: [{ name: audit-log, url: "https://other.example.com", types: ["*"] }]'
  expect(await apply(other)).toEqual([
    {
      ...{ action: 'update', kind: 'webhook', id: 'audit-log' },
      fields: {
        url: { from: 'https://hooks.example.com/sallyport', to: 'https://other.example.com/' },
        types: { from: ['user.*', 'session.ended'], to: ['*'] },
      },
    },
  ])
  const record = await only()
  expect([record.id, secretOf(record)]).toEqual([id, secret])
  expect(await apply(other)).toEqual([])
})

test('a secret counts at creation only', async () => {
  await apply(file(`, secret: "${secret}"`))
  expect(await apply(file(`, secret: "${newWebhookSecret()}"`))).toEqual([])
  expect(secretOf(await only())).toBe(secret)
})

test('one that is switched off stays so until the file says otherwise', async () => {
  await apply(file(', disabled: true'))
  expect((await only()).disabledBecause).toBe('by_hand')
  await prisma.webhookEndpoint.updateMany({ data: { disabledBecause: 'failing' } })
  expect(await apply(file())).toEqual([])
  expect(await apply(file(', description: New'))).toHaveLength(1)
  expect(await only()).toMatchObject({ disabledBecause: 'failing', disabledAt: expect.any(Date) })
  expect(await apply(file(', description: New, disabled: false'))).toMatchObject([
    { fields: { disabled: { from: true, to: false } } },
  ])
  expect(await only()).toMatchObject({ disabledBecause: null, disabledAt: null })
})

test('prune removes what the section does not list, and nothing where there is no section', async () => {
  await apply(file())
  expect(await apply('clients: []', { prune: true })).toEqual([])
  expect(await apply(file('', 'other'))).toEqual([{ action: 'create', kind: 'webhook', id: 'other' }])
  expect(await apply(file('', 'other'), { prune: true })).toEqual([
    { action: 'delete', kind: 'webhook', id: 'audit-log' },
  ])
  expect((await only()).name).toBe('other')
})

describe('what is refused, and changes nothing', () => {
  test.each([
    ['a name that is none', file('', 'Audit!'), /webhooks\[0\]\.name \(line 1\) is not a name/],
    ['an address that is none', file('', 'a', 'hooks'), /webhooks\[0\]\.url \(line 1\) is not an address/],
    ['plain http', file('', 'a', 'http://hooks.example.com/'), /url \(line 1\) is not https/],
    ['a private network', file('', 'a', 'https://10.0.0.1/'), /url \(line 1\) is an address of a private network/],
    ['metadata of a cloud', file('', 'a', 'https://169.254.169.254/'), /is an address of a private network/],
    ['a password in the address', file('', 'a', 'https://u:p@hooks.example.com/'), /has a user name or password/],
    [
      'an unknown type',
      'webhooks: [{ name: a, url: "https://a.example", types: [nothing] }]',
      /types\[0\] \(line 1\) is "nothing"/,
    ],
    ['no type', 'webhooks: [{ name: a, url: "https://a.example", types: [] }]', /types \(line 1\) must have 1 to 100/],
    ['a secret that is none', file(', secret: hunter2hunter2hunter2hunter2'), /secret \(line 1\) is not whsec_/],
    ['one that is too short', file(', secret: whsec_aGVsbG8='), /secret \(line 1\) is not whsec_/],
    [
      'two ways to a secret',
      file(`, secret: "${secret}", secretFile: ./x`),
      /secret \(line 1\) stands beside secretFile/,
    ],
    [
      'a name twice',
      'webhooks:\n  - { name: a, url: "https://a.example", types: ["*"] }\n  - { name: a, url: "https://b.example", types: ["*"] }',
      /webhooks\[1\]\.name \(line 3\) repeats webhooks\[0\]/,
    ],
  ])('%s', async (_, text, said) => {
    const message = await Promise.resolve()
      .then(() => apply(text))
      .then(
        () => 'was taken',
        (error: Error) => error.message,
      )
    expect(message).toMatch(said)
    expect(message).not.toContain('hunter2')
    expect(await prisma.webhookEndpoint.count()).toBe(0)
  })

  test('loopback, where WEBHOOK_NETWORKS allows it', async () => {
    expect(await apply(file('', 'a', 'http://127.0.0.1:9999/'))).toHaveLength(1)
  })
})

describe('names', () => {
  const create = (url: string, name?: string) =>
    createEndpoint(prisma, { url, types: ['*'], name }, webhookDeps, change).then(({ record }) => record.name)

  test('the host of the address where none is given, and a number where it is taken', async () => {
    expect(await create('https://hooks.example.com/a')).toBe('hooks.example.com')
    expect(await create('https://hooks.example.com/b')).toBe('hooks.example.com-2')
    expect(await create('https://[2606:4700::1111]/')).toBe('2606:4700::1111'.replaceAll(':', ''))
    await expect(create('https://a.example', 'hooks.example.com')).rejects.toMatchObject({ kind: 'taken' })
    const text = await exportDeclaration(prisma)
    expect(await apply(text, { prune: true })).toEqual([])
  })

  test('two at once get two names', async () => {
    const names = await Promise.all(Array.from({ length: 6 }, () => create('https://hooks.example.com/')))
    expect(new Set(names).size).toBe(6)
  })
})
