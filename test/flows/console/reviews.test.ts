// Access reviews in the console: begun, judged line by line, exported.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { createReview, type LineRecord, type ReviewRecord } from '#src/review/reviews.ts'
import { type ConsoleHome, headingOf, startConsole, tokenOf } from '#test/support/console.ts'
import { change } from '#test/support/installation.ts'
import type { Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person
let reader: Person

beforeAll(async () => {
  home = await startConsole()
  owner = (await home.enter()).person
  const as = await home.appointWith('reader@example.com', 'reader', { permissions: ['reviews:read'] })
  reader = (await home.enter('/admin', { as })).person
  for (const name of ['buyer', 'seller']) {
    await createRole(prisma(), name, { permissions: ['orders:read'] }, change())
    await prisma().userRole.create({ data: { userId: home.alice.id, roleName: name } })
  }
})
afterAll(() => home.stop())

const prisma = () => home.server.database.prisma
const begin = () => createReview(home.server.database, { name: 'Spring' }, change())
const lineOf = ({ id }: ReviewRecord, target: string): Promise<LineRecord> =>
  prisma().accessReviewLine.findFirstOrThrow({ where: { reviewId: id, kind: 'person_role', target } })
const rolesOf = async (userId: string) =>
  (await prisma().userRole.findMany({ where: { userId } })).map(({ roleName }) => roleName).sort()

test('one is begun, and its lines are approved in the list', async () => {
  const made = await owner.submit(await owner.open('/admin/audit/reviews'), { name: 'Autumn' })
  expect([made.status, headingOf(made)]).toEqual([200, 'Autumn'])
  const review = await prisma().accessReview.findFirstOrThrow({ where: { name: 'Autumn' } })
  expect(review.lines).toBeGreaterThan(2)
  const { number } = await lineOf(review, 'buyer')
  const path = `/admin/audit/reviews/${review.id}`
  const asked = await owner.open(`${path}?kind=person_role&decision=open`)
  expect(asked.text).toContain(`${path}/lines/${number}`)
  const approved = await owner.submit(asked, { approve: String(number) }, { csrf: tokenOf(asked) })
  expect(approved.url).toContain('kind=person_role&decision=open')
  expect(approved.text).not.toContain(`${path}/lines/${number}"`)
  expect(await lineOf(review, 'buyer')).toMatchObject({ decision: 'approve', decidedById: home.owner.id })
  expect(await rolesOf(home.alice.id)).toEqual(['buyer', 'seller'])
})

test('what is revoked is taken away at once, and of two who decide the second is told', async () => {
  const review = await begin()
  const path = `/admin/audit/reviews/${review.id}/lines/${(await lineOf(review, 'seller')).number}`
  const [first, second] = [await owner.open(path), await owner.open(path)]
  const revoked = await owner.submit(first, { decision: 'revoke', note: 'Moved on' })
  expect([revoked.status, revoked.url.endsWith(`/reviews/${review.id}?done=saved`)]).toEqual([200, true])
  expect(await rolesOf(home.alice.id)).toEqual(['buyer'])
  expect(await lineOf(review, 'seller')).toMatchObject({ decision: 'revoke', effect: 'done', note: 'Moved on' })
  const told = await owner.submit(second, { decision: 'approve', note: 'Kept text' })
  expect([told.status, told.text.includes('was decided already: revoke')]).toEqual([409, true])
  expect(await lineOf(review, 'seller')).toMatchObject({ decision: 'revoke', note: 'Moved on' })
})

test('whoever may judge may not thereby take away', async () => {
  const review = await begin()
  const permissions = ['reviews:read', 'reviews:write']
  const as = await home.appointWith('judge@example.com', 'judge', { permissions })
  const { person } = await home.enter('/admin/audit/reviews', { as })
  const path = `/admin/audit/reviews/${review.id}/lines/${(await lineOf(review, 'buyer')).number}`
  expect((await person.submit(await person.open(path), { decision: 'revoke', note: '' })).status).toBe(403)
  expect(await rolesOf(home.alice.id)).toEqual(['buyer'])
  expect(await lineOf(review, 'buyer')).toMatchObject({ decision: null })
  expect((await person.submit(await person.open(path), { decision: 'approve', note: '' })).status).toBe(200)
})

test('whoever may only read changes nothing', async () => {
  const review = await begin()
  const { number } = await lineOf(review, 'buyer')
  const path = `/admin/audit/reviews/${review.id}`
  const shown = await reader.open(path)
  expect([shown.status, shown.text.includes('name="approve"')]).toEqual([200, false])
  // A reader is shown the form for the file alone, so the others are sent by their address.
  const to = (action: string) => ({
    ...shown,
    text: `<form method="post" action="${action}"><input type="hidden" name="csrf" value="${tokenOf(shown)}">`,
  })
  expect((await reader.submit(to(path), { approve: String(number) })).status).toBe(403)
  expect((await reader.submit(to('/admin/audit/reviews'), { name: 'Mine' })).status).toBe(403)
  expect((await reader.submit(to(`${path}/lines/${number}`), { decision: 'revoke' })).status).toBe(403)
  expect(await lineOf(review, 'buyer')).toMatchObject({ decision: null })
  expect(await prisma().accessReview.count({ where: { name: 'Mine' } })).toBe(0)
  const file = await reader.submit(to(`${path}/export`), {})
  expect([file.status, file.headers.get('content-type')]).toEqual([200, 'application/jsonl; charset=utf-8'])
  expect(file.headers.get('content-disposition')).toContain(`access-review-${review.id}.jsonl`)
  expect(file.text.trimEnd().split('\n').length).toBeGreaterThan(review.lines)
})

test('what is refused is said, and what nobody has is not there', async () => {
  const nameless = await owner.submit(await owner.open('/admin/audit/reviews'), { name: '' })
  expect([nameless.status, nameless.text.includes('<code>name</code>')]).toEqual([422, true])
  const review = await begin()
  const missing = [`/${randomUUID()}`, `/${review.id}/lines/0`, `/${review.id}/lines/9999`, '/nothing']
  for (const path of missing) expect((await owner.open(`/admin/audit/reviews${path}`)).status, path).toBe(404)
})

test('taking away asks for a fresh sign-in', async () => {
  const review = await begin()
  const path = `/admin/audit/reviews/${review.id}/lines/${(await lineOf(review, 'buyer')).number}`
  const shown = await owner.open(path)
  await home.age(home.owner.id, 400)
  expect(headingOf(await owner.submit(shown, { decision: 'revoke', note: '' }))).toBe('Please sign in again')
  await home.age(home.owner.id, -400)
  expect(await rolesOf(home.alice.id)).toEqual(['buyer'])
})
