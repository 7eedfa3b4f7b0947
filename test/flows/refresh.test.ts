// Rotation that is safe to retry and fatal to a thief (RFC 9700 4.14.2).
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let second: TestServer
let j: Journey
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  second = await startServer({ share: server }) // another process of the same installation, as far as storage can tell
})
afterAll(async () => {
  await second.stop()
  await server.stop()
})

const leeway = (seconds: number) =>
  server.database.prisma.client.update({ where: { id: 'shop-web' }, data: { refreshLeewaySeconds: seconds } })
const events = (event: string) => server.database.prisma.auditEvent.count({ where: { event } })
/** As if the rotation had happened that long ago. */
const age = (seconds: number) =>
  server.database.pool.query(
    `UPDATE token SET consumed_at = consumed_at - make_interval(secs => $1) WHERE kind = 2 AND consumed_at IS NOT NULL`,
    [seconds],
  )

const at = (n: number) => (n % 2 === 0 ? server.url : `http://localhost:${second.port}`)

test('each use answers a new token, and the old one’s lifetime is not prolonged', async () => {
  const { refresh } = await j.tokensFor()
  const row = async () =>
    (
      await server.database.pool.query(
        `SELECT expires_at FROM token WHERE kind = 2 ORDER BY issued_at DESC, (predecessor_id IS NULL) LIMIT 1`,
      )
    ).rows[0].expires_at.getTime()
  const before = await row()
  let token = refresh
  for (let n = 0; n < 3; n++) {
    const { status, body } = await j.refresh(token)
    expect(status).toBe(200)
    expect(body.refresh_token).not.toBe(token)
    token = body.refresh_token ?? ''
  }
  expect(Math.abs((await row()) - before)).toBeLessThanOrEqual(1000)
})

describe('a repeat inside the leeway', () => {
  test('gets the same successor, at most ten times, each recorded', async () => {
    const { refresh } = await j.tokensFor()
    const first = await j.refresh(refresh)
    const before = await events('refresh.repeated')
    for (let n = 0; n < 10; n++) {
      const again = await j.refresh(refresh)
      expect(again.body.refresh_token).toBe(first.body.refresh_token)
      expect(again.body.access_token).not.toBe(first.body.access_token)
      expect((await j.userinfo(again.body.access_token)).status).toBe(200)
    }
    expect(await events('refresh.repeated')).toBe(before + 10)
    expect((await j.refresh(refresh)).body.error).toBe('invalid_grant')
  })

  test('leaves the row of the successor as it is, its expiry above all', async () => {
    const { refresh } = await j.tokensFor()
    await j.refresh(refresh)
    const versions = async () =>
      (
        await server.database.pool.query(
          `SELECT id, xmin::text FROM token WHERE kind = 2 AND predecessor_id IS NOT NULL ORDER BY id`,
        )
      ).rows
    const before = await versions()
    expect((await j.refresh(refresh)).status).toBe(200)
    expect(await versions()).toEqual(before)
  })

  test('after the successor was used is reuse: the family dies', async () => {
    const { refresh, access_token } = await j.tokensFor()
    const first = await j.refresh(refresh)
    const next = await j.refresh(first.body.refresh_token ?? '')
    expect(next.status).toBe(200)
    expect((await j.refresh(refresh)).body.error).toBe('invalid_grant')
    expect((await j.refresh(next.body.refresh_token ?? '')).body.error).toBe('invalid_grant')
    for (const token of [access_token, first.body.access_token, next.body.access_token])
      expect((await j.userinfo(token)).status).toBe(401)
  })

  test('of another client changes nothing', async () => {
    const { refresh } = await j.tokensFor()
    const first = await j.refresh(refresh)
    expect((await j.refresh(refresh, {}, { as: 'shop-spa' })).body.error).toBe('invalid_grant')
    expect((await j.refresh(first.body.refresh_token ?? '')).status).toBe(200)
  })
})

test('after the leeway a repeat is reuse: the family dies and the record says why', async () => {
  const { refresh } = await j.tokensFor()
  const first = await j.refresh(refresh)
  await age(31)
  expect((await j.refresh(refresh)).body.error).toBe('invalid_grant')
  expect((await j.refresh(first.body.refresh_token ?? '')).body.error).toBe('invalid_grant')
  expect((await j.userinfo(first.body.access_token)).status).toBe(401)
})

test('a second use of a code or a refresh token is on record, with the grant that died (ASVS 16.3.3)', async () => {
  const { code, verifier } = await j.codeFor()
  await j.redeem(code, verifier)
  const before = await Promise.all(['code.reuse_detected', 'refresh.reuse_detected', 'grant.revoked'].map(events))
  await j.redeem(code, verifier)
  const { refresh } = await j.tokensFor()
  const first = await j.refresh(refresh)
  await j.refresh(first.body.refresh_token ?? '')
  await j.refresh(refresh)
  const after = await Promise.all(['code.reuse_detected', 'refresh.reuse_detected', 'grant.revoked'].map(events))
  expect(after.map((count, index) => count - (before[index] ?? 0))).toEqual([1, 1, 2])
})

test('a refused request burns nothing: the token still works after a wrong resource or scope', async () => {
  await leeway(0) // otherwise a retry would hide that it was consumed
  const { refresh } = await j.tokensFor({ scope: 'openid orders:read', resource: orders }, undefined, {
    resource: orders,
  })
  expect((await j.refresh(refresh, { resource: 'https://unknown.example' })).body.error).toBe('invalid_target')
  expect((await j.refresh(refresh, { scope: 'orders:write' })).body.error).toBe('invalid_scope')
  const answer = await j.refresh(refresh, { resource: orders })
  expect(answer.status).toBe(200)
  expect(answer.body.scope).toBe('orders:read')
  await leeway(30)
})

test('a client narrows but never widens (CVE-2026-67332)', async () => {
  const { refresh } = await j.tokensFor({ scope: 'openid profile email' })
  const narrowed = await j.refresh(refresh, { scope: 'openid' })
  expect(narrowed.body.scope).toBe('openid')
  expect((await j.refresh(narrowed.body.refresh_token ?? '', { scope: 'openid orders:read' })).body.error).toBe(
    'invalid_scope',
  )
})

describe.each([2, 10, 50])('%i uses at once over two processes', (n) => {
  const parallel = (token: string) =>
    Promise.all(Array.from({ length: n }, (_, index) => j.refresh(token, {}, { origin: at(index) })))

  test('answer one distinct successor, and it works', async () => {
    await leeway(30)
    const { refresh } = await j.tokensFor()
    const answers = await parallel(refresh)
    const good = answers.filter(({ status }) => status === 200)
    expect(good.length).toBeGreaterThanOrEqual(1)
    expect(good.length).toBeLessThanOrEqual(11)
    for (const { status, body } of answers)
      if (status !== 200) expect([status, body.error]).toEqual([400, 'invalid_grant'])
    const successors = new Set(good.map(({ body }) => body.refresh_token))
    expect(successors.size).toBe(1)
    expect((await j.refresh([...successors][0] ?? '')).status).toBe(200)
  })

  test('with leeway 0 answer one success, and the family is dead', async () => {
    await leeway(0)
    await Promise.all([server, second].map(({ app }) => app.providers.refresh()))
    const { refresh } = await j.tokensFor()
    const answers = await parallel(refresh)
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    for (const { status, body } of answers)
      if (status !== 200) expect([status, body.error]).toEqual([400, 'invalid_grant'])
    const winner = answers.find(({ status }) => status === 200)
    expect((await j.refresh(winner?.body.refresh_token ?? '')).body.error).toBe('invalid_grant')
    expect((await j.userinfo(winner?.body.access_token ?? '')).status).toBe(401)
    await leeway(30)
  })

  test('of one code answer one success', async () => {
    const { code, verifier } = await j.codeFor()
    const answers = await Promise.all(
      Array.from({ length: n }, (_, index) => j.redeem(code, verifier, {}, { origin: at(index) })),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    for (const { status, body } of answers)
      if (status !== 200) expect([status, body.error]).toEqual([400, 'invalid_grant'])
  })
})

describe('logout', () => {
  test('ends what is bound to the session, and leaves offline access', async () => {
    const bound = await j.tokensFor()
    const person = bound.person
    const offline = await j.tokensFor({ client_id: 'shop-web', scope: 'openid offline_access', prompt: 'consent' })
    for (const [browser] of [[person], [offline.person]] as const) {
      const page = await browser.open('/oauth/logout')
      expect(page.status).toBe(200)
      const left = await browser.submit(page, { decision: 'logout' })
      expect(left.status).toBe(200)
    }
    expect((await j.refresh(bound.refresh)).body.error).toBe('invalid_grant')
    expect((await j.userinfo(bound.access_token)).status).toBe(401)
    expect((await j.refresh(offline.refresh)).status).toBe(200)
    expect((await person.open((await j.begin()).address)).url).toContain('/login')
  })

  test('"stay" changes nothing, and GET alone never logs out (ASVS 10.6.2)', async () => {
    const { person, refresh } = await j.tokensFor()
    const page = await person.open('/oauth/logout')
    const stayed = await person.submit(page, { decision: 'stay' })
    expect(stayed.status).toBe(200)
    expect((await j.refresh(refresh)).status).toBe(200)
    expect((await person.open((await j.begin({ prompt: 'none' })).address)).url).toContain('code=')
  })

  test('without its token, or without a decision, is refused', async () => {
    const { person, refresh } = await j.tokensFor()
    const page = await person.open('/oauth/logout')
    expect((await person.submit(page, { decision: 'logout' }, { csrf: null })).status).toBe(400)
    expect((await person.submit(page, { decision: 'logout' }, { csrf: 'wrong' })).status).toBe(400)
    expect((await person.submit(page, {})).status).toBe(400)
    expect((await j.refresh(refresh)).status).toBe(200)
  })

  test('goes only to a registered address (CVE-2021-29456)', async () => {
    const { person, id_token = '' } = await j.tokensFor()
    const query = (uri: string) =>
      `/oauth/logout?${new URLSearchParams({ id_token_hint: id_token, post_logout_redirect_uri: uri, state: 'x' })}`
    expect((await person.open(query('https://shop.example.evil.com/bye'))).status).toBe(400)
    const left = await person.submit(await person.open(query('https://shop.example/bye')), { decision: 'logout' })
    expect(left.url).toBe('https://shop.example/bye?state=x')
  })
})
