// The applications a person let in: what each may do, since when, and taking it back.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type AccountHome, startAccount, tokenOf } from '#test/support/account.ts'
import { orders } from '#test/support/installation.ts'

let home: AccountHome
beforeAll(async () => {
  home = await startAccount()
})
afterAll(() => home.stop())

test('nobody let in yet says so; our own pages are no application', async () => {
  const { page } = await home.enter('/account/applications', { as: 'bob@example.com' })
  expect(page.text).toContain('No application has access to your account.')
})

test('each says in words what it may do, since when and when it was last used', async () => {
  const { person } = await home.tokensFor(
    { scope: 'openid email orders:read offline_access', resource: orders, prompt: 'consent' },
    undefined,
    { resource: orders },
  )
  const list = await person.open('/account/applications')
  expect(list.text).toContain('href="/account/applications/shop-web"')
  expect(list.text).toContain('Last used just now')
  const page = await person.open('/account/applications/shop-web')
  for (const words of [
    'See your email address',
    'Keep this access while you are away',
    'Orders',
    'See orders',
    'Has access since',
  ])
    expect(page.text).toContain(words)
  expect(page.text).not.toContain('Create and change orders')
})

test('removing access: the refresh token dies, the access token too, and the person is asked again', async () => {
  const { person, refresh, access_token } = await home.tokensFor(
    { scope: 'openid orders:read offline_access', resource: orders, prompt: 'consent' },
    undefined,
    { resource: orders },
  )
  const elsewhere = await home.tokensFor({ scope: 'openid profile' })
  const other = await home.tokensFor({ client_id: 'shop-spa', scope: 'openid profile' })
  const page = await person.open('/account/applications/shop-web')
  const done = await person.submit(page, { decision: 'remove' })
  expect(done.text).toContain('The application has no access any more.')
  expect(done.text).not.toContain('href="/account/applications/shop-web"')
  for (const token of [refresh, elsewhere.refresh]) expect((await home.refresh(token)).body.error).toBe('invalid_grant')
  expect((await home.introspect(access_token, 'orders-api')).body).toEqual({ active: false })
  expect((await home.refresh(other.refresh, {}, { as: 'shop-spa' })).status).toBe(200)
  const asked = await person.open((await home.begin({ scope: 'openid' })).address)
  expect(asked.url).toContain('/consent')
  expect((await person.submit(page, { decision: 'remove' })).status).toBe(404)
  const events = await home.server.database.prisma.auditEvent.findMany({ where: { event: 'consent.withdrawn' } })
  expect(events).toMatchObject([
    { actorKind: 'user', actorId: home.alice.id, clientId: 'shop-web', targetId: home.alice.id },
  ])
})

test('what somebody else let in is not there, and cannot be taken from them', async () => {
  const { refresh } = await home.tokensFor({ client_id: 'shop-spa', scope: 'openid profile', prompt: 'consent' })
  const { person } = await home.enter('/account/applications', { as: 'bob@example.com' })
  expect((await person.open('/account/applications/shop-spa')).status).toBe(404)
  const csrf = tokenOf(await person.open('/account/profile'))
  const posted = await person.open('/account/applications/shop-spa', {
    method: 'POST',
    body: new URLSearchParams({ csrf, decision: 'remove' }),
    headers: { Origin: home.server.url },
  })
  expect(posted.status).toBe(404)
  expect((await home.refresh(refresh, {}, { as: 'shop-spa' })).status).toBe(200)
  for (const id of ['sallyport', 'nobody', '%00', encodeURIComponent('a b')])
    expect([400, 404]).toContain((await person.open(`/account/applications/${id}`)).status)
})
