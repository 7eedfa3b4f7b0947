// People in the console, form by form.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { createUser, findUser, findUserByEmail, updateUser } from '#src/users/users.ts'
import { type Administrator, type ConsoleHome, headingOf, startConsole, tokenOf } from '#test/support/console.ts'
import { giveTotp } from '#test/support/factors.ts'
import { change, orders } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person
let support: { as: Administrator; person: Person }

beforeAll(async () => {
  home = await startConsole()
  owner = (await home.enter()).person
  await createRole(home.server.database.prisma, 'auditor', { permissions: ['audit:read'] }, change())
  const as = await home.appointWith('support@example.com', 'support', { permissions: ['users:read', 'users:write'] })
  support = { as, person: (await home.enter('/admin', { as })).person }
})
afterAll(() => home.stop())

const prisma = () => home.server.database.prisma
let made = 0
const somebody = () => createUser(prisma(), { email: `somebody${++made}@example.com`, name: 'Sam Body' }, change())
const find = async (id: string) => (await findUser(prisma(), id)) as NonNullable<Awaited<ReturnType<typeof findUser>>>
const send = async (person: Person, path: string, fields: Record<string, string | string[]>): Promise<Page> =>
  person.submit(await person.open(path), fields)

test('a person is created, and the record says by whom', async () => {
  const page = await send(owner, '/admin/people/new', {
    email: 'grace@example.com',
    name: 'Grace Hopper',
    locale: 'de',
    attributes: '{"department": "navy"}',
    roles: ['auditor'],
  })
  expect([page.status, headingOf(page)]).toEqual([200, 'Grace Hopper Active'])
  const user = await findUserByEmail(prisma(), 'grace@example.com')
  expect(user).toMatchObject({ name: 'Grace Hopper', locale: 'de', emailVerifiedAt: null })
  expect(user?.attributes).toEqual({ department: 'navy' })
  expect(user?.roles.map(({ roleName }) => roleName)).toEqual(['auditor'])
  const [event] = await prisma().auditEvent.findMany({ where: { event: 'user.created', targetId: user?.id ?? '' } })
  expect(event).toMatchObject({ actorKind: 'user', actorId: home.owner.id })
})

test('what is refused is said, nothing is made, and what was typed is still there', async () => {
  const before = await prisma().user.count()
  const page = await send(owner, '/admin/people/new', { email: 'not an address', name: 'Kept Name', attributes: '[1]' })
  expect(page.status).toBe(422)
  expect(page.text).toContain('<code>attributes</code> is not a JSON object')
  expect(page.text).toContain('value="Kept Name"')
  const taken = await send(owner, '/admin/people/new', { email: 'alice@example.com', attributes: '' })
  expect([taken.status, taken.text.includes('belongs to somebody already')]).toEqual([409, true])
  expect(await prisma().user.count()).toBe(before)
})

test('a person is changed; of two who opened the form the second is told, and nothing is overwritten', async () => {
  const { id } = await somebody()
  const first = await owner.open(`/admin/people/${id}/edit`)
  const second = await owner.open(`/admin/people/${id}/edit`)
  const fields = { email: 'changed@example.com', attributes: '', locale: '', roles: ['auditor'] }
  const saved = await owner.submit(first, { ...fields, name: 'Changed First' })
  expect([saved.status, saved.text.includes('Your changes were saved.')]).toEqual([200, true])
  const told = await owner.submit(second, { ...fields, name: 'Changed Second' })
  expect([told.status, told.text.includes('somebody changed it since you read it')]).toEqual([409, true])
  expect(await find(id)).toMatchObject({ email: 'changed@example.com', name: 'Changed First' })
})

test('switching off counts first, then ends sessions and tokens; switching on again gives nothing of it back', async () => {
  const { access_token: token = '' } = await home.tokensFor(
    { scope: 'openid orders:read', resource: orders },
    undefined,
    {
      resource: orders,
    },
  )
  const asked = await owner.open(`/admin/people/${home.alice.id}/disable`)
  expect(asked.text).toMatch(/<dt>Sessions<\/dt><dd>[1-9]/)
  expect((await home.introspect(token, 'orders-api')).body.active).toBe(true)
  const done = await owner.submit(asked, { decision: 'confirm' })
  expect(headingOf(done)).toBe('Alice Liddell Switched off')
  expect((await home.introspect(token, 'orders-api')).body.active).toBe(false)
  const again = await owner.open(`/admin/people/${home.alice.id}/disable`)
  expect(again.text).toMatch(/<dt>Sessions<\/dt><dd>0/)
  expect(headingOf(await send(owner, `/admin/people/${home.alice.id}`, { decision: 'enable' }))).toBe(
    'Alice Liddell Active',
  )
  expect((await home.introspect(token, 'orders-api')).body.active).toBe(false)
})

test('second factors are removed, sessions ended, people deleted', async () => {
  const { id } = await somebody()
  await giveTotp(home.server, id)
  expect((await owner.open(`/admin/people/${id}/reset-factors`)).text).toMatch(/<dt>Second factors<\/dt><dd>1</)
  await send(owner, `/admin/people/${id}/reset-factors`, { decision: 'confirm' })
  expect(await prisma().credential.count({ where: { userId: id } })).toBe(0)
  await send(owner, `/admin/people/${id}/sign-out`, { decision: 'confirm' })
  const gone = await send(owner, `/admin/people/${id}/delete`, { decision: 'confirm' })
  expect([gone.status, headingOf(gone)]).toEqual([200, 'People'])
  expect(await findUser(prisma(), id)).toBeNull()
  expect((await owner.open(`/admin/people/${id}`)).status).toBe(404)
})

test('the last owner cannot be switched off or deleted', async () => {
  for (const what of ['disable', 'delete']) {
    const page = await send(owner, `/admin/people/${home.owner.id}/${what}`, { decision: 'confirm' })
    expect([page.status, page.text.includes('role="alert"')], what).toEqual([409, true])
  }
  expect((await find(home.owner.id)).disabledAt).toBeNull()
})

describe('nobody hands out what they lack', () => {
  test('support may change people, and give nobody a role that permits more', async () => {
    const { id } = await somebody()
    const form = await support.person.open(`/admin/people/${id}/edit`)
    expect(form.text).toMatch(/value="auditor" disabled/)
    const page = await support.person.submit(form, {
      email: `somebody${made}@example.com`,
      attributes: '',
      roles: ['auditor'],
    })
    expect(page.status).toBe(403)
    expect((await find(id)).roles).toEqual([])
    const may = await send(support.person, `/admin/people/${id}/edit`, {
      email: `somebody${made}@example.com`,
      name: 'By Support',
      attributes: '',
    })
    expect(may.status).toBe(200)
    expect((await find(id)).name).toBe('By Support')
  })

  test('nor touch whoever may do more than they may', async () => {
    for (const path of ['edit', 'disable', 'sign-out', 'reset-factors', 'delete']) {
      const page = await send(support.person, `/admin/people/${home.owner.id}/${path}`, {
        decision: 'confirm',
        email: 'mine@example.com',
        attributes: '',
      })
      expect(page.status, path).toBe(403)
    }
    expect(await find(home.owner.id)).toMatchObject({ email: 'owner@example.com', disabledAt: null })
    // A guesser would get new tries at them; a person below may have their limits lifted.
    const csrf = tokenOf(await support.person.open(`/admin/people/${home.owner.id}/edit`))
    const lift = async (id: string) => {
      const body = new URLSearchParams({ csrf, decision: 'unlock' })
      const headers = { Origin: home.server.url }
      return (await support.person.fetch(`/admin/people/${id}`, { method: 'POST', body, headers })).status
    }
    expect(await lift(home.owner.id)).toBe(403)
    expect(await lift((await somebody()).id)).toBe(303)
  })
})

test('whoever may only read sees no buttons, and their forms are refused', async () => {
  const reader = await home.appointWith('reader@example.com', 'reader', { permissions: ['users:read'] })
  const { person } = await home.enter('/admin/people', { as: reader })
  const { id } = await somebody()
  const page = await person.open(`/admin/people/${id}`)
  expect(page.status).toBe(200)
  expect(page.text).not.toContain('/edit"')
  expect((await person.open(`/admin/people/${id}/edit`)).status).toBe(403)
  const asked = await person.open(`/admin/people/${id}/disable`)
  expect((await person.submit(asked, { decision: 'confirm' })).status).toBe(403)
  expect((await find(id)).disabledAt).toBeNull()
})

describe('a sign-in that is more than five minutes old', () => {
  test('keeps the form until its author has signed in again', async () => {
    const { id } = await somebody()
    const { person } = await home.enter('/admin')
    const form = await person.open(`/admin/people/${id}/edit`)
    await home.age(home.owner.id, 400)
    const fields = { email: `somebody${made}@example.com`, name: 'Waited', attributes: '{"a":\n1}', roles: ['auditor'] }
    const waiting = await person.submit(form, fields)
    expect(headingOf(waiting)).toBe('Please sign in again')
    expect((await find(id)).name).toBe('Sam Body')
    const kept = { attributes: fields.attributes } // a text of several lines is no input
    const early = await person.submit(waiting, kept)
    expect(early.text).toContain('You have not signed in again yet')
    const tab = await home.signIn(person, await person.open('/admin/again'))
    expect(headingOf(tab)).toBe('You are signed in')
    const done = await person.submit(early, kept)
    expect([done.status, headingOf(done)]).toEqual([200, 'Waited Active'])
    expect((await find(id)).roles.map(({ roleName }) => roleName)).toEqual(['auditor'])
  })

  test('and what waits is nobody else’s', async () => {
    const { id } = await somebody()
    await updateUser(prisma(), id, { name: 'Untouched' }, change())
    const { person } = await home.enter('/admin')
    const asked = await person.open(`/admin/people/${id}/delete`)
    await home.age(home.owner.id, 400)
    const waiting = await person.submit(asked, { decision: 'confirm' })
    expect((await support.person.submit(waiting, {})).status).toBe(403)
    expect((await find(id)).name).toBe('Untouched')
  })
})
