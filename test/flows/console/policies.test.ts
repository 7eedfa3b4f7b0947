// Policies in the console, form by form.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createPolicy, findPolicy, findPolicyByName, type PolicyRecord } from '#src/access/policies/policies.ts'
import { createRole } from '#src/access/roles.ts'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import { change, orders } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

const all = 'permit (principal, action, resource);'
const writes = 'permit (principal, action == Action::"orders:write", resource);'
const never = 'forbid (principal, action, resource);'

let home: ConsoleHome
let owner: Person
let reader: Person

beforeAll(async () => {
  home = await startConsole()
  owner = (await home.enter()).person
  const as = await home.appointWith('reader@example.com', 'reader', { permissions: ['policies:read'] })
  reader = (await home.enter('/admin', { as })).person
  await createRole(prisma(), 'buyer', { permissions: ['orders:read'] }, change())
  await prisma().userRole.create({ data: { userId: home.alice.id, roleName: 'buyer' } })
})
afterAll(() => home.stop())
beforeEach(async () => {
  await prisma().policy.deleteMany()
  await prisma().decisionReceipt.deleteMany()
})

const prisma = () => home.server.database.prisma
const send = async (person: Person, path: string, fields: Record<string, string>): Promise<Page> =>
  person.submit(await person.open(path), fields)
const make = (text: string, more: { state?: string; name?: string } = {}): Promise<PolicyRecord> =>
  createPolicy(prisma(), { apiIdentifier: orders, name: 'limit', text, ...more }, change())
const stateOf = async ({ id }: PolicyRecord) => (await findPolicy(prisma(), id))?.state

describe('a policy', () => {
  const fields = { api: orders, name: 'limit', description: '' }

  test('is drafted, changed, enforced, made a draft again and deleted; its versions stay', async () => {
    const made = await send(owner, '/admin/policies/new', { ...fields, text: all })
    expect([made.status, headingOf(made)]).toEqual([200, 'limit'])
    const policy = (await findPolicyByName(prisma(), orders, 'limit')) as PolicyRecord
    expect(policy).toMatchObject({ text: all, state: 'draft', version: 1 })
    const path = `/admin/policies/${policy.id}`
    await send(owner, path, { name: 'writers', description: 'Who writes', text: `${writes}\r\n// second line` })
    expect(await findPolicy(prisma(), policy.id)).toMatchObject({
      ...{ name: 'writers', description: 'Who writes', text: `${writes}\n// second line` },
      ...{ state: 'draft', version: 2 },
    })
    await send(owner, `${path}/state`, { decision: 'enforce' })
    expect(await stateOf(policy)).toBe('enforced')
    expect((await owner.open(`/admin/policies?api=${encodeURIComponent(orders)}`)).text).toContain(
      'badge-good">Enforced',
    )
    await send(owner, `${path}/state`, { decision: 'draft' })
    expect(await stateOf(policy)).toBe('draft')
    const history = (await owner.open(path)).text
    expect(history).toContain(`${path}/versions/4`)
    expect(history).toContain('owner@example.com')
    const gone = await send(owner, `${path}/delete`, { decision: 'delete' })
    expect([gone.status, headingOf(gone)]).toEqual([200, 'Policies'])
    expect(await findPolicy(prisma(), policy.id)).toBeNull()
    const first = await owner.open(`${path}/versions/1`)
    expect([first.status, first.text.includes(all)]).toEqual([200, true])
    expect((await owner.open(path)).status).toBe(404)
  })

  test.each([
    ['what is no Cedar', 'permit this', 'text'],
    ['an action that the API does not have', 'permit (principal, action == Action::"fly", resource);', 'text'],
    ['two statements', `${all} ${never}`, 'text'],
  ])('%s is refused, with its field, and the text is still there', async (_what, text, field) => {
    const page = await send(owner, '/admin/policies/new', { ...fields, text })
    expect(page.status).toBe(422)
    expect(page.text).toMatch(new RegExp(`<code>${field}`))
    expect(page.text).toContain(text.replaceAll('"', '&quot;'))
    const policy = await make(all)
    const changed = await send(owner, `/admin/policies/${policy.id}`, { name: 'limit', description: '', text })
    expect([changed.status, changed.text.includes(text.replaceAll('"', '&quot;'))]).toEqual([422, true])
    expect(await findPolicy(prisma(), policy.id)).toMatchObject({ text: all, version: 1 })
  })

  test('of two editors the second is told, also by what changes its state or ends it', async () => {
    const policy = await make(all)
    const path = `/admin/policies/${policy.id}`
    const shown = await Promise.all([path, path, `${path}/state`, `${path}/delete`].map((one) => owner.open(one)))
    const [first, second, state, deletion] = shown as [Page, Page, Page, Page]
    const saved = await owner.submit(first, { name: 'limit', description: '', text: writes })
    expect(saved.status).toBe(200)
    const told = await owner.submit(second, { name: 'limit', description: '', text: never })
    expect([told.status, told.text.includes('the version now is 2'), told.text.includes(never)]).toEqual([
      409,
      true,
      true,
    ])
    // Sent once more as it is, it is told again.
    expect((await owner.submit(told, { name: 'limit', description: '', text: never })).status).toBe(409)
    expect((await owner.submit(state, { decision: 'enforce' })).status).toBe(409)
    expect((await owner.submit(deletion, { decision: 'delete' })).status).toBe(409)
    expect(await findPolicy(prisma(), policy.id)).toMatchObject({ text: writes, state: 'draft', version: 2 })
  })

  test('is not for whoever may only read, and not for who signed in long ago', async () => {
    const policy = await make(all)
    const path = `/admin/policies/${policy.id}`
    expect((await reader.open(path)).status).toBe(200)
    expect((await reader.open('/admin/policies/new')).status).toBe(403)
    expect((await send(reader, path, { name: 'mine', description: '', text: never })).status).toBe(403)
    expect((await send(reader, `${path}/state`, { decision: 'enforce' })).status).toBe(403)
    expect((await send(reader, `${path}/delete`, { decision: 'delete' })).status).toBe(403)
    await home.age(home.owner.id, 400)
    expect(headingOf(await send(owner, `${path}/state`, { decision: 'enforce' }))).toBe('Please sign in again')
    expect(headingOf(await send(owner, path, { name: 'mine', description: '', text: never }))).toBe(
      'Please sign in again',
    )
    await home.age(home.owner.id, -400)
    expect(await findPolicy(prisma(), policy.id)).toMatchObject({ name: 'limit', state: 'draft', version: 1 })
  })

  test('that nobody has is not there', async () => {
    for (const path of ['', '/state', '/delete', '/try', '/replay', '/versions/1'])
      expect((await owner.open(`/admin/policies/${randomUUID()}${path}`)).status, path).toBe(404)
    const policy = await make(all)
    expect((await owner.open(`/admin/policies/${policy.id}/versions/2`)).status).toBe(404)
    expect(
      (await send(owner, '/admin/policies/new', { ...fields, api: 'https://nobody.example', text: all })).status,
    ).toBe(404)
  })

  test('shows addresses of people only to those who may see people', async () => {
    const policy = await make(all)
    await send(owner, `/admin/policies/${policy.id}/state`, { decision: 'enforce' })
    const shown = (await reader.open(`/admin/policies/${policy.id}`)).text
    expect([shown.includes(home.owner.id), shown.includes('owner@example.com')]).toEqual([true, false])
  })
})

describe('trying', () => {
  const asked = { subject: 'alice@example.com', action: 'orders:write', type: '', id: '' }
  const answers = ({ text }: Page) => [...text.matchAll(/badge-(?:good|bad)">(Yes|No)/g)].map(([, said]) => said)

  test('a draft is asked one question, with it and without it, and stays as it is', async () => {
    const policy = await make(writes)
    const path = `/admin/policies/${policy.id}/try`
    expect(answers(await send(owner, path, { ...asked, text: writes }))).toEqual(['No', 'Yes'])
    expect(answers(await send(owner, path, { ...asked, action: 'orders:read', text: never }))).toEqual(['Yes', 'No'])
    const wrong = await send(owner, path, { ...asked, text: 'permit this' })
    expect([wrong.status, wrong.text.includes('permit this'), answers(wrong)]).toEqual([422, true, []])
    const nobody = await send(owner, path, { ...asked, subject: 'nobody', text: writes })
    expect([nobody.status, nobody.text.includes('Nobody and no client here is called so.')]).toEqual([422, true])
    expect(await findPolicy(prisma(), policy.id)).toMatchObject({ text: writes, state: 'draft', version: 1 })
  })

  test('an enforced one is taken away, or another text put in its place', async () => {
    const policy = await make(writes, { state: 'enforced' })
    const path = `/admin/policies/${policy.id}/try`
    expect(answers(await send(owner, path, { ...asked, what: 'away', text: writes }))).toEqual(['Yes', 'No'])
    expect(answers(await send(owner, path, { ...asked, what: 'text', text: all }))).toEqual(['Yes', 'Yes'])
  })

  test('needs what the tester of roles needs', async () => {
    const policy = await make(writes)
    expect((await reader.open(`/admin/policies/${policy.id}/try`)).status).toBe(403)
  })
})

describe('replaying', () => {
  const receipt = (more: object = {}) =>
    prisma().decisionReceipt.create({
      data: {
        ...{ id: randomUUID(), at: new Date(Date.now() - 3_600_000), expiresAt: new Date(Date.now() + 86_400_000) },
        ...{ api: orders, facts: {}, endpoint: 'POST /access/v1/evaluation', allowed: false },
        ...{ gate: 'role', reason: 'lacks_role', subjectKind: 'user', subjectId: home.alice.id },
        ...{ action: 'orders:write', objectType: 'order', objectId: '7', ...more },
      },
    })
  const counts = ({ text }: Page) =>
    Object.fromEntries(
      ['Would gain', 'Would lose', 'Stays as it is', 'Cannot be decided again'].map((label) => [
        label,
        Number(new RegExp(`<dt>${label}</dt><dd>(\\d+)`).exec(text)?.[1]),
      ]),
    )

  test('says who would gain and lose what, and what cannot be said', async () => {
    await receipt()
    await receipt({ action: 'orders:read', allowed: true, gate: null, reason: 'permitted' })
    await receipt({ facts: undefined })
    await receipt({ at: new Date(Date.now() - 5 * 86_400_000) })
    const policy = await make(writes)
    const path = `/admin/policies/${policy.id}/replay`
    const gains = await send(owner, path, { text: writes, days: '2' })
    const [one, none] = [1, 0]
    expect(counts(gains)).toEqual({
      ...{ 'Would gain': one, 'Would lose': none, 'Stays as it is': one, 'Cannot be decided again': one },
    })
    expect(gains.text).toContain('Its receipt is of a release that kept too little.')
    expect(counts(await send(owner, path, { text: writes, days: '7' }))).toMatchObject({ 'Would gain': 2 })
    expect(counts(await send(owner, path, { text: never, days: '2' }))).toMatchObject({ 'Would lose': one })
    const wrong = await send(owner, path, { text: 'permit this', days: '2' })
    expect([wrong.status, wrong.text.includes('permit this')]).toEqual([422, true])
    expect(await findPolicy(prisma(), policy.id)).toMatchObject({ text: writes, state: 'draft', version: 1 })
  })

  test('goes on with older ones', async () => {
    for (let made = 0; made < 201; made++) await receipt()
    const policy = await make(writes)
    const path = `/admin/policies/${policy.id}/replay`
    const first = await send(owner, path, { text: writes, days: '7' })
    expect(counts(first)).toMatchObject({ 'Would gain': 200 })
    const after = /name="after" value="([^"]+)"/.exec(first.text)?.[1] ?? ''
    const second = await owner.submit(first, { text: writes, days: '7', after })
    expect(counts(second)).toMatchObject({ 'Would gain': 1 })
    expect(second.text).not.toContain('name="after"')
  })

  test('is for whoever may read the record of decisions, as in the API', async () => {
    const policy = await make(writes)
    const path = `/admin/policies/${policy.id}`
    expect((await reader.open(path)).text).not.toContain('/replay')
    expect((await reader.open(`${path}/replay`)).status).toBe(403)
  })
})
