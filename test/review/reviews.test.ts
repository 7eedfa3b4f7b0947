// Access reviews: the lines say who can do what at one moment, each is decided once, and what is revoked is gone with the same commit.
import { createHash, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey, revokeApiKey } from '#src/access/api-keys/api-keys.ts'
import { createRole, LastOwner, ownerRole } from '#src/access/roles.ts'
import { createApi } from '#src/apis/apis.ts'
import { ensureOwnApi, ensureOwnerRole } from '#src/bootstrap/own-api.ts'
import { createClient, findClient } from '#src/clients/clients.ts'
import { clientSettings } from '#src/clients/settings.ts'
import type { Prisma } from '#src/db/database.ts'
import { decideLine, LineDecided } from '#src/review/decide.ts'
import { SnapshotContradicted, writeReview } from '#src/review/export.ts'
import {
  createReview,
  findReview,
  LineNotFound,
  type LineRecord,
  listLines,
  listReviews,
  ReviewNotFound,
} from '#src/review/reviews.ts'
import { createUser, findUser, updateUser } from '#src/users/users.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { change } from '#test/support/installation.ts'
import { explain } from '#test/support/plans.ts'

const orders = 'https://api.example.com/orders'
const ownApi = 'https://id.example.com/api'
let own: TestDatabase
let prisma: TestDatabase['database']['prisma']
let [ann, bob, key, factor] = ['', '', '', '']

beforeAll(async () => {
  own = await createTestDatabase()
  prisma = own.database.prisma
  await ensureOwnApi(own.database, ownApi, change())
  await ensureOwnerRole(own.database, change())
  await createApi(
    prisma,
    { identifier: orders, name: 'Orders', scopes: { 'orders:read': 'See', 'orders:write': 'Write' } },
    change(),
  )
  await createRole(prisma, 'clerk', { permissions: ['orders:write', 'orders:read'] }, change())
  await createRole(prisma, 'helper', { permissions: ['users:read'], secondFactor: 'required' }, change())
  await createRole(prisma, 'elsewhere', { permissions: ['users:read'], api: orders }, change())
  ann = (await createUser(prisma, { email: 'ann@example.com', roles: [ownerRole, 'clerk'] }, change())).id
  bob = (await createUser(prisma, { email: 'bob@example.com', roles: ['helper', 'elsewhere'] }, change())).id
  const idle = await createUser(prisma, { email: 'idle@example.com' }, change())
  await createClient(
    prisma,
    { id: 'reports', type: 'service', apis: { [orders]: ['orders:read'] }, roles: ['clerk'] },
    [],
    change(),
  )
  await createClient(prisma, { id: 'robot', type: 'service', apis: { [ownApi]: ['users:read'] } }, [], change())
  await createClient(prisma, { id: 'nothing', type: 'service' }, [], change())
  factor = randomUUID()
  await prisma.credential.createMany({
    data: [
      { id: factor, userId: ann, kind: 'totp', secret: 'sealed' },
      { id: randomUUID(), userId: ann, kind: 'password', secret: 'hash' },
      { id: randomUUID(), userId: idle.id, kind: 'totp', secret: 'sealed' },
    ],
  })
  key = (
    await createApiKey(
      prisma,
      { name: 'Nightly', apis: { [orders]: ['orders:read'] }, owner: { clientId: 'reports' } },
      change(),
    )
  ).id
  const over = await createApiKey(
    prisma,
    { name: 'Over', apis: { [orders]: ['orders:read'] }, owner: { clientId: 'reports' } },
    change(),
  )
  await revokeApiKey(prisma, over.id, change())
})
afterAll(() => own.drop())

const begin = (name = 'Spring') => createReview(own.database, { name }, change())
const linesOf = (reviewId: string, filter = {}) => listLines(prisma, reviewId, filter, { limit: 1_000 })
const find = async (reviewId: string, kind: string, target: string): Promise<LineRecord> =>
  (await linesOf(reviewId)).find((line) => line.kind === kind && line.target === target) ??
  expect.fail(`no ${kind} ${target}`)
const decide = ({ reviewId, number }: LineRecord, decision: 'approve' | 'revoke', note?: string) =>
  decideLine(prisma, { reviewId, number }, { decision, note }, change())
const eventsOf = async (id: string) =>
  (
    await prisma.auditEvent.findMany({ where: { targetKind: 'access_review', targetId: id }, orderBy: { id: 'asc' } })
  ).map(({ event, detail }) => ({ event, detail }))

test('the lines are the roles and factors of people, the roles and APIs of clients, and keys in force', async () => {
  const review = await begin()
  const lines = await linesOf(review.id)
  expect(lines.map(({ number }) => number)).toEqual(lines.map((_, index) => index + 1))
  const said = lines.map(({ kind, subjectId, target, administrator }) => [kind, subjectId, target, administrator])
  const people = [ann, bob].sort().flatMap((id) =>
    id === ann
      ? [
          ['person_role', ann, 'clerk', false],
          ['person_role', ann, 'owner', true],
          ['person_factor', ann, factor, false],
        ]
      : [
          ['person_role', bob, 'elsewhere', false], // its permissions are of another API
          ['person_role', bob, 'helper', true],
        ],
  )
  expect(said).toEqual([
    ...people,
    ['client_role', 'reports', 'clerk', false],
    ['client_api', 'reports', orders, false],
    ['client_api', 'robot', ownApi, true],
    ['api_key', 'reports', key, false],
  ])
  expect((await find(review.id, 'person_role', 'helper')).detail).toEqual({
    ...{ permissions: ['users:read'], api: null, disabled: false, secondFactor: false, secondFactorRequired: true },
  })
  expect((await find(review.id, 'person_role', 'clerk')).detail).toMatchObject({
    permissions: ['orders:read', 'orders:write'],
    secondFactor: true,
  })
  expect((await find(review.id, 'api_key', key)).detail).toMatchObject({
    apis: { [orders]: ['orders:read'] },
    lastUsedAt: null,
  })
  expect(JSON.stringify(lines)).not.toMatch(/sealed|hash"|@example/)
  expect(await eventsOf(review.id)).toEqual([
    { event: 'access_review.created', detail: { lines: lines.length, digest: review.digest } },
  ])
})

test('all lines are of one moment: what comes while they are taken is in none', async () => {
  const meanwhile = {
    $transaction: (work: (tx: Prisma.TransactionClient) => Promise<unknown>, options: object) =>
      prisma.$transaction(async (tx) => {
        await tx.accessReview.count()
        await createClient(prisma, { id: 'late', type: 'service', roles: ['clerk'] }, [], change())
        return work(tx)
      }, options),
  } as unknown as typeof prisma
  const review = await createReview({ prisma: meanwhile }, { name: 'Busy' }, change())
  expect((await linesOf(review.id)).filter(({ subjectId }) => subjectId === 'late')).toEqual([])
  expect((await linesOf((await begin()).id)).filter(({ subjectId }) => subjectId === 'late')).toHaveLength(1)
  await prisma.client.delete({ where: { id: 'late' } })
})

describe('a revocation', () => {
  test('takes away what the line says and nothing else, in the commit of its audit rows', async () => {
    const review = await begin()
    const revoke = async (kind: string, target: string) => decide(await find(review.id, kind, target), 'revoke')
    expect(await revoke('person_role', 'elsewhere')).toMatchObject({
      decision: 'revoke',
      effect: 'done',
      decidedByKind: 'cli',
    })
    expect((await findUser(prisma, bob))?.roles.map(({ roleName }) => roleName)).toEqual(['helper'])
    await revoke('person_factor', factor)
    expect(await prisma.credential.findMany({ where: { userId: ann } })).toMatchObject([{ kind: 'password' }])
    await revoke('client_role', 'clerk')
    const reports = (await findClient(prisma, 'reports')) ?? expect.fail('gone')
    expect(clientSettings(reports)).toMatchObject({ roles: [], apis: { [orders]: ['orders:read'] } })
    await revoke('client_api', orders)
    expect(clientSettings((await findClient(prisma, 'reports')) ?? expect.fail('gone')).apis).toEqual({})
    await revoke('api_key', key)
    expect((await prisma.apiKey.findUniqueOrThrow({ where: { id: key } })).revokedAt).not.toBeNull()
    expect(await prisma.auditEvent.count({ where: { event: 'api_key.revoked', targetId: key } })).toBe(1)
    expect((await eventsOf(review.id)).at(-1)).toEqual({
      event: 'access_review.decided',
      detail: { line: (await find(review.id, 'api_key', key)).number, decision: 'revoke', effect: 'done' },
    })
    expect(await findReview(prisma, review.id)).toMatchObject({ approved: 0, revoked: 5, completedAt: null })
  })

  test('of what went since says so', async () => {
    await updateUser(prisma, bob, { roles: ['helper', 'clerk'] }, change())
    const review = await begin()
    await updateUser(prisma, bob, { roles: ['helper'] }, change())
    const line = (await linesOf(review.id, { subject: { kind: 'user', id: bob } })).find(
      ({ target }) => target === 'clerk',
    )
    expect(await decide(line ?? expect.fail('no line'), 'revoke')).toMatchObject({ decision: 'revoke', effect: 'gone' })
  })

  test('that would leave nobody in charge is refused, and the line stays open', async () => {
    const review = await begin()
    const line = await find(review.id, 'person_role', 'owner')
    await expect(decide(line, 'revoke')).rejects.toThrow(LastOwner)
    expect(await find(review.id, 'person_role', 'owner')).toMatchObject({ decision: null, decidedAt: null })
    expect(await eventsOf(review.id)).toHaveLength(1)
  })

  test('that its decider may not do is not done', async () => {
    const review = await begin()
    const { number } = await find(review.id, 'person_role', 'helper')
    const permit = () => Promise.reject(new Error('beyond you'))
    await expect(
      decideLine(prisma, { reviewId: review.id, number }, { decision: 'revoke' }, change(), { permit }),
    ).rejects.toThrow('beyond you')
    expect((await findUser(prisma, bob))?.roles).toHaveLength(1)
    // Approving gives nothing.
    await decideLine(prisma, { reviewId: review.id, number }, { decision: 'approve' }, change(), { permit })
  })
})

describe('a line', () => {
  test('is decided once, also by eight at the same time', async () => {
    const review = await begin()
    const line = await find(review.id, 'client_api', ownApi)
    const outcomes = await Promise.allSettled(
      Array.from({ length: 8 }, (_, n) => decide(line, 'approve', `reader ${n}`)),
    )
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toBeInstanceOf(LineDecided)
    await expect(decide(line, 'revoke')).rejects.toThrow('was decided already: approve')
    expect(await findReview(prisma, review.id)).toMatchObject({ approved: 1, revoked: 0 })
  })

  test('of no review, and one that is not there, are refused', async () => {
    const review = await begin()
    const at = (reviewId: string, number: number) =>
      decideLine(prisma, { reviewId, number }, { decision: 'approve' }, change())
    await expect(at(randomUUID(), 1)).rejects.toThrow(ReviewNotFound)
    await expect(at('none', 1)).rejects.toThrow(ReviewNotFound)
    await expect(at(review.id, 9_999)).rejects.toThrow(LineNotFound)
    await expect(decide(await find(review.id, 'client_api', ownApi), 'approve', 'a\u202eb')).rejects.toThrow(
      'control characters',
    )
    await expect(begin(' ')).rejects.toThrow('is empty')
  })

  test('is found by kind, by whose it is, by what was decided, and by what opens this server', async () => {
    const review = await begin()
    await decide(await find(review.id, 'client_api', ownApi), 'approve')
    const targets = async (filter: object) => (await linesOf(review.id, filter)).map(({ target }) => target)
    expect(await targets({ kind: 'client_api' })).toEqual([ownApi])
    expect(await targets({ subject: { kind: 'user', id: bob } })).toEqual(['helper'])
    expect(await targets({ decision: 'approve' })).toEqual([ownApi])
    expect(await targets({ decision: 'open' })).not.toContain(ownApi)
    expect((await targets({ administrator: true })).sort()).toEqual(['helper', ownApi, 'owner'].sort())
    const [first, second] = await listLines(prisma, review.id, {}, { limit: 2 })
    expect(await listLines(prisma, review.id, {}, { after: first?.number, limit: 1 })).toEqual([second])
  })
})

test('the last decision completes a review, whoever makes it', async () => {
  const review = await begin()
  const lines = await linesOf(review.id)
  await Promise.all(lines.map((line) => decide(line, 'approve')))
  const completed = await findReview(prisma, review.id)
  expect(completed).toMatchObject({ approved: lines.length, revoked: 0 })
  expect(completed.completedAt).not.toBeNull()
  expect((await eventsOf(review.id)).filter(({ event }) => event === 'access_review.completed')).toEqual([
    { event: 'access_review.completed', detail: { approved: lines.length, revoked: 0 } },
  ])
})

test('reviews are listed, the newest first, in pages', async () => {
  const [older, newer] = [await begin('Older'), await begin('Newer')]
  const [first] = await listReviews(prisma, { limit: 1 })
  expect(first?.id).toBe(newer.id)
  expect((await listReviews(prisma, { after: newer.id, limit: 1 })).map(({ id }) => id)).toEqual([older.id])
  expect(await listReviews(prisma, { after: randomUUID(), limit: 1 })).toEqual([])
})

describe('an export', () => {
  const exported = async (id: string) => {
    let text = ''
    for await (const piece of writeReview(own.database, id, 'https://id.example.com', change())) text += piece
    return text
  }
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

  test('has every line with its decision, and the audit record has its digest', async () => {
    const review = await begin()
    await decide(await find(review.id, 'person_role', 'helper'), 'approve', 'Asked her manager')
    const file = await exported(review.id)
    const lines = file
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines[0].accessReview).toMatchObject({
      version: 1,
      issuer: 'https://id.example.com',
      id: review.id,
      digest: review.digest,
      approved: 1,
    })
    expect(lines.filter((line) => line.decision === 'approve')).toMatchObject([
      {
        kind: 'person_role',
        subject: { name: 'bob@example.com' },
        target: { id: 'helper' },
        note: 'Asked her manager',
        decidedBy: { kind: 'cli' },
      },
    ])
    const { end } = lines.at(-1)
    expect(end).toEqual({ lines: lines.length - 2, digest: sha256(file.slice(0, file.lastIndexOf('{"end"'))) })
    expect((await eventsOf(review.id)).at(-1)).toEqual({
      event: 'access_review.exported',
      detail: { lines: end.lines, digest: end.digest, snapshot: review.digest },
    })
  })

  test('of lines that somebody changed past this program ends without its last line', async () => {
    const review = await begin()
    await own.database.pool.query(
      `UPDATE access_review_line SET target = 'nothing much' WHERE review_id = $1 AND kind = 'person_role' AND target = 'owner'`,
      [review.id],
    )
    await expect(exported(review.id)).rejects.toThrow(SnapshotContradicted)
    expect(await eventsOf(review.id)).toHaveLength(1)
  })
})

test('with very many lines each list is a walk along one index', async () => {
  const { id } = await begin()
  for (let first = 1_000; first < 61_000; first += 10_000)
    await own.database.pool.query(
      `INSERT INTO access_review_line (review_id, number, kind, subject_kind, subject_id, target, administrator, detail, decision)
        SELECT $1, n, CASE WHEN n % 3000 = 0 THEN 'client_role' ELSE 'person_role' END, 'user', md5((n / 3)::text), 'clerk', n % 5000 = 0, '{}',
          CASE WHEN n % 1000 = 0 THEN NULL WHEN n % 2000 = 1 THEN 'revoke' ELSE 'approve' END FROM generate_series($2::int, $2::int + 9999) n`,
      [id, first],
    )
  await own.database.pool.query('VACUUM ANALYZE access_review_line')
  const filters = [
    '',
    `AND kind = 'client_role'`,
    `AND subject_kind = 'user' AND subject_id = '${'a'.repeat(32)}'`,
    'AND decision IS NULL',
    `AND decision = 'revoke'`,
    'AND administrator',
  ]
  for (const filter of filters) {
    const text = `SELECT * FROM access_review_line WHERE review_id = $1 AND number > $2 ${filter} ORDER BY number LIMIT 51`
    const { Plan } = await explain(own.database.pool, { name: '', text, values: [id, 500] }, { analyze: true })
    expect(Number(Plan['Shared Hit Blocks']), `${filter} ${JSON.stringify(Plan)}`).toBeLessThan(300)
    expect(JSON.stringify(Plan)).not.toContain('Seq Scan')
  }
})
