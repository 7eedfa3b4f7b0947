// Who may see the console: both doors, two factors, limits of its own, and a form that waits while somebody signs in again.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser } from '#src/users/users.ts'
import { type ConsoleHome, headingOf, startConsole, tokenOf } from '#test/support/console.ts'
import { change, password } from '#test/support/installation.ts'
import { Person } from '#test/support/person.ts'

let home: ConsoleHome

beforeAll(async () => {
  home = await startConsole()
})
afterAll(() => home.stop())

test('nobody is sent through the login, proves both factors, and comes back to the page they asked for', async () => {
  const person = new Person(home.server.url)
  const first = await person.fetch('/admin/people?state=active')
  expect(first.status).toBe(303)
  expect(first.headers.get('location')).toMatch(/^\/oauth\/authorize\?/)
  const { page } = await home.enter('/admin/people?state=active', { person })
  expect(page.status).toBe(200)
  expect(page.url).toBe(`${home.server.url}/admin/people?state=active`)
  expect(headingOf(page)).toBe('People')
  expect(page.text).toContain('owner@example.com')
})

test('whoever has no business here hears that, before they are asked for another factor; the refusal has a receipt', async () => {
  const person = new Person(home.server.url)
  let page = await person.open('/admin/people')
  page = await person.submit(page, { identifier: 'alice@example.com', password })
  expect(page.url).toBe(`${home.server.url}/admin/people`)
  expect(page.status).toBe(403)
  const id = page.headers.get('x-decision-id') ?? ''
  const receipt = await home.server.database.prisma.decisionReceipt.findUniqueOrThrow({ where: { id } })
  expect(receipt).toMatchObject({ allowed: false, gate: 'scope', subjectId: home.alice.id, method: 'session' })
  expect((await person.open('/admin')).status).toBe(403)
})

test('the menu has what somebody may see, a page they may not is a 403, and a form they may not send, too', async () => {
  const auditor = await home.appointWith('auditor@example.com', 'auditor', {
    permissions: ['users:read', 'audit:read'],
  })
  const { person, page } = await home.enter('/admin', { as: auditor })
  expect(page.status).toBe(200)
  expect(page.text).toContain('href="/admin/people"')
  expect(page.text).not.toContain('href="/admin/applications"')
  expect((await person.open('/admin/people')).status).toBe(200)
})

test('an administrator without a second factor sets one up on the way in', async () => {
  const { prisma } = home.server.database
  await createUser(
    prisma,
    {
      email: 'new@example.com',
      name: 'Nina New',
      emailVerified: true,
      passwordHash: await hashPassword(password),
      roles: ['owner'],
    },
    change(),
  )
  const person = new Person(home.server.url)
  const page = await person.submit(await person.open('/admin'), { identifier: 'new@example.com', password })
  expect(page.url).toMatch(/\/enrolment$/)
})

test('one whose role does not ask for a second factor is told to add one: a password alone must not add it on the way', async () => {
  const { prisma } = home.server.database
  await createRole(prisma, 'reader', { permissions: ['users:read'] }, change())
  const passwordHash = await hashPassword(password)
  await createUser(
    prisma,
    { email: 'reader@example.com', emailVerified: true, passwordHash, roles: ['reader'] },
    change(),
  )
  const person = new Person(home.server.url)
  const page = await person.submit(await person.open('/admin'), { identifier: 'reader@example.com', password })
  expect([page.url, page.status]).toEqual([`${home.server.url}/admin`, 403])
  expect(headingOf(page)).toBe('One more thing first')
  expect(page.text).toContain('href="/account/security"')
})

describe('limits of its own', () => {
  test('a sign-in of nine hours ago is too old, whatever the session allows', async () => {
    const { person } = await home.enter('/admin/people')
    await home.age(home.owner.id, 9 * 3600)
    const page = await person.open('/admin/people')
    expect(page.url).toContain('/login')
  })

  test('a console that lay unused asks again; one in use does not', async () => {
    const { person } = await home.enter('/admin/people')
    await home.age(home.owner.id, 3600) // signed in an hour ago, used now
    expect((await person.open('/admin/people')).status).toBe(200)
    const kept = person.cookies.get('sallyport_console')
    expect(kept).toBeDefined()
    person.cookies.delete('sallyport_console')
    expect((await person.open('/admin/people')).url).toContain('/login')
  })

  test('a cookie of another session, or one that was changed, counts for nothing', async () => {
    const { person: other } = await home.enter('/admin/people')
    const { person } = await home.enter('/admin/people')
    await home.age(home.owner.id, 3600)
    const own = person.cookies.get('sallyport_console') as { value: string; path: string }
    const [at = '', mac = ''] = own.value.split('.')
    for (const value of [
      other.cookies.get('sallyport_console')?.value ?? '',
      `${Number(at) + 1}.${mac}`,
      `${at}.`,
      at,
    ]) {
      person.cookies.set('sallyport_console', { ...own, value })
      expect((await person.open('/admin/people')).url, value).toContain('/login')
    }
    person.cookies.set('sallyport_console', own)
    expect((await person.open('/admin/people')).status).toBe(200)
  })
})

test('a browser that was asked to remember spares nobody the second factor here', async () => {
  const person = new Person(home.server.url)
  const page = await person.submit(await person.open('/account'), { identifier: home.owner.email, password })
  expect(page.url).toContain('/second-factor')
})

test('the csrf token of an account page is none here', async () => {
  const { person } = await home.enter('/admin')
  const account = await person.open('/account/profile')
  expect(tokenOf(account)).not.toBe('')
  expect(tokenOf(await person.open('/admin/people'))).not.toBe(tokenOf(account))
})
