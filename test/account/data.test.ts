// What happened, what is held, and leaving.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { ownerRole } from '#src/access/roles.ts'
import { ensureOwnApi, ensureOwnerRole } from '#src/bootstrap/own-api.ts'
import { purgeDeleted } from '#src/users/deletion.ts'
import { setUserDisabled, updateUser } from '#src/users/users.ts'
import { type AccountHome, startAccount } from '#test/support/account.ts'
import { change, orders, password } from '#test/support/installation.ts'

let home: AccountHome
beforeAll(async () => {
  home = await startAccount()
})
afterAll(() => home.stop())

describe('activity', () => {
  test('is the person’s own, in words, newest first, with what others did marked as theirs', async () => {
    await home.enter('/account', { as: 'bob@example.com' })
    await updateUser(home.server.database.prisma, home.alice.id, { name: 'Alice' }, change())
    await home.tokensFor({ scope: 'openid profile', prompt: 'consent' })
    const { page } = await home.enter('/account/activity')
    const lines = [...page.text.matchAll(/<span class="name">([^<]*)/g)].map(([, words]) => words?.trim())
    expect(lines).toEqual([
      'Signed in',
      'Gave an application access',
      'Signed in',
      'Profile changed',
      'Account created',
    ])
    expect(page.text).toContain('by an administrator')
    expect(page.text).toContain('shop-web')
    expect(page.text).not.toMatch(/login\.succeeded|bob@example/)
  })

  test('in pages of twenty', async () => {
    await home.server.database.prisma.auditEvent.createMany({
      data: Array.from({ length: 45 }, () => ({
        event: 'login.succeeded',
        outcome: 'success',
        actorKind: 'user',
        actorId: home.bob.id,
      })),
    })
    const { person, page } = await home.enter('/account/activity', { as: 'bob@example.com' })
    const count = (text: string) => text.match(/class="row event"/g)?.length
    expect(count(page.text)).toBe(20)
    expect(page.text).toContain('href="/account/activity?page=2"')
    const last = await person.open('/account/activity?page=3')
    expect(count(last.text)).toBeLessThan(20)
    expect(last.text).not.toContain('page=4')
    for (const odd of ['0', '-1', '99', 'x', '1e9'])
      expect((await person.open(`/account/activity?page=${odd}`)).status).toBe(200)
  })
})

test('the download is everything held about the person, and no secret', async () => {
  const { prisma } = home.server.database
  await ensureOwnApi(home.server.database, `${home.server.url}/api`, change())
  await home.server.settle()
  const key = await createApiKey(
    prisma,
    { name: 'Laptop', apis: { [orders]: [] }, owner: { userId: home.alice.id } },
    change(),
  )
  const { person, refresh } = await home.tokensFor({ scope: 'openid profile offline_access', prompt: 'consent' })
  const page = await person.open('/account/data')
  const answer = await person.submit(page, { decision: 'download' })
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-type')).toMatch(/^application\/json/)
  expect(answer.headers.get('content-disposition')).toBe('attachment; filename="account-data.json"')
  expect(answer.headers.get('cache-control')).toBe('no-store')
  const data = JSON.parse(answer.text)
  expect(data).toMatchObject({
    profile: { id: home.alice.id, email: 'Alice@Example.com' },
    credentials: [{ kind: 'password' }],
    applications: [{ clientId: 'shop-web', scopes: expect.arrayContaining(['offline_access']) }],
    apiKeys: [{ name: 'Laptop' }],
  })
  expect(data.sessions.length).toBeGreaterThan(0)
  expect(data.activity.length).toBeGreaterThan(0)
  const credential = await prisma.credential.findFirstOrThrow({ where: { userId: home.alice.id } })
  const [session] = await home.sessionsOf(home.alice.id)
  for (const secret of [
    credential.secret,
    key.value,
    key.id,
    refresh,
    session?.uid ?? '',
    person.cookies.get('sallyport_session')?.value ?? '',
    'argon2',
  ])
    expect(answer.text).not.toContain(secret)
  expect(await prisma.auditEvent.count({ where: { event: 'user.data_exported', actorId: home.alice.id } })).toBe(1)
})

describe('leaving', () => {
  const leave = async () => {
    const { person, page } = await home.enter('/account/data/deletion', { as: 'bob@example.com' })
    expect(page.text).toContain('bob@example.com')
    return { person, page }
  }
  const bob = () => home.server.database.prisma.user.findUnique({ where: { id: home.bob.id } })
  const purge = (days: number) =>
    purgeDeleted(home.server.database, {
      now: new Date(Date.now() + days * 86_400_000),
      actor: { kind: 'system' },
    })

  test('without the tick nothing happens', async () => {
    const { person, page } = await leave()
    const refused = await person.submit(page, {})
    expect(refused.status).toBe(422)
    expect(refused.text).toContain('aria-describedby="confirm-error"')
    expect((await bob())?.disabledAt).toBeNull()
  })

  test('off at once; an administrator can bring the person back; then they are not removed', async () => {
    const { person, page } = await leave()
    const done = await person.submit(page, { confirm: 'yes' })
    expect(done.url).toBe(`${home.server.url}/account/deleted`)
    expect(done.text).toContain('It will be removed in 30 days.')
    expect((await person.fetch('/account')).status).toBe(303)
    const login = await person.open('/account')
    expect((await person.submit(login, { identifier: 'bob@example.com', password })).status).toBe(401)
    expect(await purge(29)).toBe(0)
    await setUserDisabled(home.server.database.prisma, home.bob.id, false, change())
    expect(await purge(31)).toBe(0)
    expect((await home.enter('/account', { as: 'bob@example.com' })).page.status).toBe(200)
  })

  test('taken back at the very moment of the removal: they stay', async () => {
    const { person, page } = await leave()
    await person.submit(page, { confirm: 'yes' })
    const { prisma, pool } = home.server.database
    const removed = await prisma.$transaction(async (tx) => {
      await tx.user.update({ where: { id: home.bob.id }, data: { disabledAt: null, deleteAfter: null } })
      const purging = purge(31)
      // It found Bob due, and waits for this transaction.
      await expect
        .poll(async () => (await pool.query('SELECT count(*)::int AS n FROM pg_locks WHERE NOT granted')).rows[0].n)
        .toBeGreaterThan(0)
      return { purging }
    })
    expect(await removed.purging).toBe(0)
    expect(await bob()).not.toBeNull()
  })

  test('gone when the days of grace are over, for good', async () => {
    const { person, page } = await leave()
    await person.submit(page, { confirm: 'yes' })
    expect(await purge(31)).toBe(1)
    expect(await purge(31)).toBe(0)
    expect(await bob()).toBeNull()
    expect(await home.server.database.prisma.credential.count({ where: { userId: home.bob.id } })).toBe(0)
    const events = await home.server.database.prisma.auditEvent.findMany({
      where: { targetId: home.bob.id, event: { in: ['user.deletion_requested', 'user.deleted'] } },
      orderBy: { id: 'asc' },
    })
    expect(events.map(({ event, actorKind }) => [event, actorKind])).toContainEqual(['user.deleted', 'system'])
  })

  test('the only administrator cannot', async () => {
    // Signed in before: the role asks for a second factor at the next sign-in.
    const { person, page } = await home.enter('/account/data/deletion')
    await ensureOwnerRole(home.server.database, change())
    await updateUser(home.server.database.prisma, home.alice.id, { roles: [ownerRole] }, change())
    const refused = await person.submit(page, { confirm: 'yes' })
    expect([refused.status, refused.text.includes('You are the only administrator')]).toEqual([409, true])
    expect(
      (await home.server.database.prisma.user.findUniqueOrThrow({ where: { id: home.alice.id } })).disabledAt,
    ).toBeNull()
  })
})
