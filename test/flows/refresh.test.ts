// Rotation that is safe to retry and fatal to a thief (RFC 9700 4.14.2).
import { createHash, randomUUID } from 'node:crypto'
import { decodeJwt, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { judgeToken } from '#src/tokens/find.ts'
import { orders, stock } from '#test/support/installation.ts'
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

const hash = (value = '') => createHash('sha256').update(value).digest()

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

describe('an idle lifetime', () => {
  const idle = async (seconds: number | null, absolute = 1_209_600) => {
    const data = { refreshTokenIdleTtlSeconds: seconds, refreshTokenTtlSeconds: absolute }
    await server.database.prisma.client.update({ where: { id: 'shop-web' }, data })
    await server.database.pool.query('UPDATE configuration_version SET version = version + 1')
    await server.settle()
  }
  afterAll(() => idle(null))
  /** Seconds until the refresh token is over, by its row. */
  const rest = async (token = '') => {
    const { rows } = await server.database.pool.query(
      `SELECT extract(epoch FROM expires_at)::float8 AS at FROM token WHERE id = sha256(convert_to($1, 'UTF8'))`,
      [token],
    )
    return rows[0].at - Date.now() / 1000
  }
  /** As if everything about the token had happened that much earlier. */
  const earlier = (token: string, seconds: number) =>
    server.database.pool.query(
      `UPDATE token SET issued_at = issued_at - make_interval(secs => $2), expires_at = expires_at - make_interval(secs => $2),
        payload = jsonb_set(payload::jsonb, '{iiat}', to_jsonb((payload->>'iiat')::int - $2::int))::json
       WHERE id = sha256(convert_to($1, 'UTF8'))`,
      [token, seconds],
    )

  test('begins anew with each use, and never reaches beyond the absolute one', async () => {
    await idle(600, 1500)
    const { refresh } = await j.tokensFor()
    expect(await rest(refresh)).toBeCloseTo(600, -1)
    await earlier(refresh, 500)
    const first = (await j.refresh(refresh)).body.refresh_token ?? ''
    expect(await rest(first)).toBeCloseTo(600, -1)
    await earlier(first, 500)
    const last = (await j.refresh(first)).body.refresh_token ?? ''
    expect(await rest(last)).toBeCloseTo(500, -1)
  })

  test('ends the family that nobody used', async () => {
    await idle(600)
    const { refresh } = await j.tokensFor()
    await earlier(refresh, 601)
    expect((await j.refresh(refresh)).body.error).toBe('invalid_grant')
  })

  test('is not prolonged by a repeat', async () => {
    await idle(600)
    const { refresh } = await j.tokensFor()
    const { body } = await j.refresh(refresh)
    const successor = body.refresh_token ?? ''
    await earlier(successor, 300)
    expect((await j.refresh(refresh)).body.refresh_token).toBe(successor)
    expect(await rest(successor)).toBeCloseTo(300, -1)
  })

  test('none: only the absolute one counts', async () => {
    await idle(null, 1500)
    expect(await rest((await j.tokensFor()).refresh)).toBeCloseTo(1500, -1)
  })
})

describe('every token names what it was issued for', () => {
  const jwtId = (jwt: string) => Buffer.from(String(decodeJwt(jwt).jti), 'base64url')
  const predecessorOf = async (id: Buffer) => {
    const { rows } = await server.database.pool.query('SELECT predecessor_id FROM token WHERE id = $1', [id])
    return rows[0].predecessor_id as Buffer | null
  }

  test.each([
    ['opaque', {}, hash],
    ['JWT', { resource: orders }, jwtId],
  ] as const)('code -> first tokens -> successors, access tokens %s', async (_, fields, idOf) => {
    const { code, verifier } = await j.codeFor({ scope: 'openid orders:read', ...fields })
    const first = (await j.redeem(code, verifier, fields)).body
    const next = (await j.refresh(first.refresh_token ?? '', fields)).body
    const again = (await j.refresh(first.refresh_token ?? '', fields)).body
    const last = (await j.refresh(next.refresh_token ?? '', fields)).body
    expect(await predecessorOf(hash(code))).toBeNull()
    for (const id of [idOf(first.access_token), hash(first.refresh_token)])
      expect(await predecessorOf(id)).toEqual(hash(code))
    for (const id of [idOf(next.access_token), idOf(again.access_token), hash(next.refresh_token)])
      expect(await predecessorOf(id)).toEqual(hash(first.refresh_token))
    for (const id of [idOf(last.access_token), hash(last.refresh_token)])
      expect(await predecessorOf(id)).toEqual(hash(next.refresh_token))
  })

  test('where refresh tokens do not rotate (profile fapi2), the one that was presented', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
    const jwk = await exportJWK(publicKey)
    const DPoP = () =>
      new SignJWT({ htm: 'POST', htu: `${server.url}/oauth/token`, jti: randomUUID() })
        .setIssuedAt()
        .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
        .sign(privateKey)
    const profile = async (name: string) => {
      await server.database.prisma.client.update({ where: { id: 'shop-web' }, data: { profile: name } })
      await server.database.pool.query('UPDATE configuration_version SET version = version + 1')
      await server.settle()
    }
    const { code, verifier } = await j.codeFor()
    const first = (await j.redeem(code, verifier, {}, { headers: { DPoP: await DPoP() } })).body
    await profile('fapi2')
    for (let n = 0; n < 2; n++) {
      const { body } = await j.refresh(first.refresh_token ?? '', {}, { headers: { DPoP: await DPoP() } })
      expect(body.refresh_token).toBe(first.refresh_token)
      expect(await predecessorOf(hash(body.access_token))).toEqual(hash(first.refresh_token))
    }
    await profile('default')
  })

  test('a service’s token was issued for nothing before it', async () => {
    for (const [scope, idOf] of [
      ['orders:read', jwtId],
      ['stock:read', hash],
    ] as const) {
      const { body } = await j.post('/oauth/token', { grant_type: 'client_credentials', scope }, { as: 'reports' })
      expect(await predecessorOf(idOf(body.access_token))).toBeNull()
    }
  })

  test('a salt is wiped once the successor was used, and not a use earlier', async () => {
    const salts = async (...values: (string | undefined)[]) => {
      const { rows } = await server.database.pool.query('SELECT id, salt FROM token WHERE id = ANY($1)', [
        values.map(hash),
      ])
      return values.map((value) => rows.find(({ id }) => hash(value).equals(id))?.salt !== null)
    }
    const { refresh } = await j.tokensFor()
    const next = (await j.refresh(refresh)).body.refresh_token
    expect(await salts(refresh, next)).toEqual([true, true])
    const last = (await j.refresh(next ?? '')).body.refresh_token
    expect(await salts(refresh, next, last)).toEqual([false, true, true])
  })
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
          `SELECT id, xmin::text FROM token WHERE id IN (SELECT successor_id FROM token) ORDER BY id`,
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

  test.each(['openid', 'openid profile email'])(
    'the same with a narrower scope (%s), which its row has given up: another refusal would spare the family',
    async (scope) => {
      const { refresh } = await j.tokensFor()
      const first = await j.refresh(refresh)
      const next = await j.refresh(first.body.refresh_token ?? '')
      expect((await j.refresh(refresh, { scope })).body.error).toBe('invalid_grant')
      expect((await j.refresh(next.body.refresh_token ?? '')).body.error).toBe('invalid_grant')
    },
  )

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

  test('and whatever else ends a session ends what is bound to it, also where the engine is not asked', async () => {
    const sql = (text: string, uid: string | Buffer) => server.database.pool.query(text, [uid])
    const bound = async (parameters: Record<string, string> = {}) => {
      const asked = { scope: 'openid stock:read', resource: stock, ...parameters }
      const { access_token } = await j.tokensFor(asked, undefined, { resource: stock })
      const { rows } = await sql('SELECT session_uid FROM token WHERE id = $1', hash(access_token))
      return {
        find: () => judgeToken(server.database, hash(access_token), new Date()),
        uid: rows[0].session_uid as string,
      }
    }
    const ends = [
      'UPDATE session SET ended_at = now() WHERE uid = $1',
      "UPDATE session SET expires_at = now() - interval '1 second' WHERE uid = $1",
      'UPDATE session SET generation = generation + 1 WHERE uid = $1',
      `UPDATE session SET clients = '{"shop-web":{"grantId":"another"}}' WHERE uid = $1`,
      'DELETE FROM session WHERE uid = $1',
    ]
    for (const end of ends) {
      const token = await bound()
      expect(await token.find()).toMatchObject({ over: undefined, clientId: 'shop-web', audience: stock })
      await sql(end, token.uid)
      expect(await token.find(), end).toMatchObject({ over: 'revoked' })
    }
    const offline = await bound({ scope: 'openid offline_access stock:read', prompt: 'consent' })
    await sql(ends[0] ?? '', offline.uid)
    expect(await offline.find()).toMatchObject({ clientId: 'shop-web' })
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
