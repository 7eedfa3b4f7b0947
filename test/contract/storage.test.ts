// What the engine relies on, line by line, on the oldest and on the newest PostgreSQL. Each step runs in its own unit of work, as
// each request does.
import { randomBytes, randomUUID } from 'node:crypto'
import type { Adapter } from 'oidc-provider'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createAdapter } from '#src/oauth/adapter/adapter.ts'
import { tokenKinds } from '#src/tokens/kinds.ts'
import { createUnit, currentUnit, runUnit, type Unit } from '#src/tokens/unit-of-work.ts'
import { createTestDatabase, hasPostgres15, type TestDatabase } from '#test/support/database.ts'

const servers = hasPostgres15() ? (['embedded', 15] as const) : (['embedded'] as const)
const tokenModels = Object.keys(tokenKinds)
const id = () => randomBytes(24).toString('base64url')
const epoch = () => Math.floor(Date.now() / 1000)

test('runs on PostgreSQL 15 where CI runs', () => {
  if (process.env.CI) expect(hasPostgres15()).toBe(true)
})

describe.each(servers)('storage contract on PostgreSQL %s', (server) => {
  let db: TestDatabase
  let one = false
  let source: string | undefined
  let store: (model: string) => Adapter
  const userId = randomUUID()

  beforeAll(async () => {
    db = await createTestDatabase({ server, poolSize: 20 })
    const secretKeys = createSecretKeys([randomBytes(32)])
    store = createAdapter({
      secretKeys,
      now: () => new Date(),
      findClientMetadata: async () => undefined,
      isRefreshing: () => true,
      schemeAtUserinfo: () => undefined,
      endsOneAccessToken: () => one,
      issuedFor: () => source,
      findImpersonation: async () => undefined,
      sessionIdleSeconds: 3600,
      sessionUsed: () => undefined,
    })
    await db.database.prisma.user.create({ data: { id: userId, email: 'a@example.com', emailKey: 'a@example.com' } })
    await db.database.prisma.client.create({
      data: {
        id: 'app',
        name: 'App',
        type: 'web',
        grantTypes: [],
        redirectUris: [],
        postLogoutRedirectUris: [],
        scopes: [],
        tokenEndpointAuthMethod: 'none',
      },
    })
  })
  afterAll(() => db.drop())

  /** One request: what it did is committed; the verdict says whether it was. */
  async function request<T>(run: (unit: Unit) => Promise<T>): Promise<{ result: T; verdict: string | undefined }> {
    const unit = createUnit(db.database, {})
    return runUnit(unit, async () => {
      const result = await run(currentUnit())
      return { result, verdict: await unit.commit('all') }
    })
  }
  const does = async <T>(run: (unit: Unit) => Promise<T>): Promise<T> => (await request(run)).result
  const find = (model: string, value: string) => does(() => store(model).find(value))
  async function makeGrant(sessionUid?: string): Promise<string> {
    const grantId = id()
    await does(async (unit) => {
      if (sessionUid) unit.grantSessions.set(grantId, sessionUid)
      await store('Grant').upsert(
        grantId,
        {
          accountId: userId,
          clientId: 'app',
          openid: { scope: 'openid' },
          exp: epoch() + 600,
          kind: 'Grant',
          jti: grantId,
        },
        600,
      )
    })
    return grantId
  }

  describe.each(tokenModels)('%s', (model) => {
    test('1: an upsert replaces, and keys it does not know survive byte for byte', async () => {
      const value = id()
      const strange = JSON.parse(
        '{"__proto__":{"polluted":true},"empty":"","":"no name","null":null,"nested":{"a":[1,"ü\\u0000\\ud800"]}}',
      )
      const long = 'ä'.repeat(32 * 1024)
      const payload = {
        ...strange,
        unicode: 'Zoë 日本 \u{1f511} \u202e',
        long,
        iat: epoch(),
        exp: epoch() + 60,
        kind: model,
        jti: value,
      }
      Object.defineProperty(payload, '__proto__', { value: { polluted: true }, enumerable: true })
      await does(() =>
        store(model).upsert(value, { iat: epoch(), exp: epoch() + 60, first: true, kind: model, jti: value }, 60),
      )
      await does(() => store(model).upsert(value, payload, 60))
      const found = await find(model, value)
      expect(JSON.stringify(found, Object.keys(found ?? {}).sort())).toBe(
        JSON.stringify(payload, Object.keys(payload).sort()),
      )
      expect(found).not.toHaveProperty('first')
      expect(JSON.stringify(Object.getOwnPropertyDescriptor(found, '__proto__')?.value)).toBe('{"polluted":true}')
      expect(found?.nested).toEqual({ a: [1, 'ü\u0000\ud800'] })
    })

    test('1: NUL and lone surrogates in known fields survive too', async () => {
      const value = id()
      const payload = {
        clientId: 'a\u0000b',
        scope: '\ud800',
        nonce: '\u0000',
        accountId: 'not a uuid',
        iat: epoch(),
        exp: epoch() + 60,
        kind: model,
        jti: value,
      }
      await does(() => store(model).upsert(value, payload, 60))
      expect(await find(model, value)).toEqual(payload)
    })

    test('2: an unknown id is undefined', async () => {
      expect(await find(model, id())).toBeUndefined()
      expect(await find(model, '')).toBeUndefined()
      expect(await find(model, 'x'.repeat(100_000))).toBeUndefined()
    })

    test('3: an expired row is still returned, so that "expired" differs from "unknown"', async () => {
      const value = id()
      const payload = { iat: epoch() - 120, exp: epoch() - 60, kind: model, jti: value }
      await does(() => store(model).upsert(value, payload, -60))
      expect(await find(model, value)).toEqual(payload)
    })

    test('4: consumption is seen by the next request; a second one never succeeds; a missing id does not crash', async () => {
      const value = id()
      await does(() => store(model).upsert(value, { iat: epoch(), exp: epoch() + 60, kind: model, jti: value }, 60))
      expect((await request(() => consumeFound(model, value))).verdict).toBeUndefined()
      expect((await find(model, value))?.consumed).toBeGreaterThanOrEqual(epoch() - 5)
      expect((await request(() => consumeFound(model, value))).verdict).toBe('reused')
      expect((await request(() => store(model).consume(id()))).verdict).toBe('gone')
    })

    test('4: a late write of the whole payload does not revive what was consumed or revoked', async () => {
      const [consumed, revoked] = [id(), id()]
      for (const value of [consumed, revoked])
        await does(() => store(model).upsert(value, { iat: epoch(), exp: epoch() + 60, kind: model, jti: value }, 60))
      await does(() => consumeFound(model, consumed))
      await does(() => store(model).destroy(revoked))
      for (const value of [consumed, revoked])
        await does(() => store(model).upsert(value, { iat: epoch(), exp: epoch() + 600, kind: model, jti: value }, 600))
      expect((await find(model, consumed))?.consumed).toBeTypeOf('number')
      expect(await find(model, revoked)).toBeUndefined()
    })

    test('7: without expiresIn there is no expiry; destroy is idempotent', async () => {
      const value = id()
      await does(() =>
        store(model).upsert(value, { iat: epoch(), kind: model, jti: value }, undefined as unknown as number),
      )
      expect(await find(model, value)).toEqual({ iat: expect.any(Number), kind: model, jti: value })
      for (let n = 0; n < 2; n++) await does(() => store(model).destroy(value))
      expect(await find(model, value)).toBeUndefined()
    })

    test('a stored hash or a handle presented from outside is an unknown value', async () => {
      const value = id()
      await does(() =>
        store(model).upsert(
          value,
          { iat: epoch(), exp: epoch() + 60, userCode: `code-${value}`, kind: model, jti: value },
          60,
        ),
      )
      const { rows } = await db.database.pool.query('SELECT id FROM token ORDER BY issued_at DESC')
      for (const row of rows.slice(0, 20))
        for (const encoding of ['hex', 'base64url', 'base64'] as const)
          expect(await find(model, row.id.toString(encoding))).toBeUndefined()
      const byCode = await does(() => store(model).findByUserCode(`code-${value}`))
      expect(byCode?.userCode).toBe(`code-${value}`)
      expect(byCode?.jti).not.toBe(value)
      expect(await find(model, String(byCode?.jti))).toBeUndefined()
    })

    test.each([2, 10, 50])('8: of %i parallel uses exactly one wins', async (n) => {
      const value = id()
      await does(() => store(model).upsert(value, { iat: epoch(), exp: epoch() + 60, kind: model, jti: value }, 60))
      const verdicts = await Promise.all(
        Array.from({ length: n }, async () => (await request(() => consumeFound(model, value))).verdict),
      )
      expect(verdicts.filter((verdict) => verdict === undefined)).toHaveLength(1)
      expect(new Set(verdicts)).toEqual(new Set([undefined, 'reused']))
    })
  })

  async function consumeFound(model: string, value: string): Promise<void> {
    await store(model).find(value)
    await store(model).consume(value)
  }

  test('1: what is issued for a code names it, and is written once: no late write prolongs it', async () => {
    const code = id()
    await does(() =>
      store('AuthorizationCode').upsert(
        code,
        { iat: epoch(), exp: epoch() + 60, kind: 'AuthorizationCode', jti: code },
        60,
      ),
    )
    source = code
    try {
      for (const model of tokenModels) {
        const value = id()
        for (const ttl of [60, 600])
          await does(() =>
            store(model).upsert(value, { iat: epoch(), exp: epoch() + ttl, kind: model, jti: value }, ttl),
          )
        const { rows } = await db.database.pool.query(
          `SELECT predecessor_id = sha256(convert_to($2, 'UTF8')) AS named, extract(epoch FROM expires_at)::int - $3 > 300 AS prolonged
           FROM token WHERE id = sha256(convert_to($1, 'UTF8'))`,
          [value, code, epoch()],
        )
        const issued = ['AccessToken', 'RefreshToken', 'ClientCredentials'].includes(model)
        expect(rows, model).toEqual([{ named: issued ? true : null, prolonged: !issued }])
      }
    } finally {
      source = undefined
    }
  })

  test('5: ending a grant’s tokens takes access, refresh, code, device and backchannel artifacts, not the session or the grant', async () => {
    const models = [
      'AccessToken',
      'RefreshToken',
      'AuthorizationCode',
      'DeviceCode',
      'BackchannelAuthenticationRequest',
    ]
    const uid = id()
    const cookie = id()
    await does(() =>
      store('Session').upsert(
        cookie,
        { uid, accountId: userId, loginTs: epoch(), exp: epoch() + 60, kind: 'Session', jti: cookie } as never,
        60,
      ),
    )
    const grantId = await makeGrant(uid)
    const other = await makeGrant()
    const issue = async (model: string, grant: string) => {
      const value = id()
      await does(async () => {
        await store('Grant').find(grant)
        await store(model).upsert(
          value,
          {
            grantId: grant,
            clientId: 'app',
            accountId: userId,
            iat: epoch(),
            exp: epoch() + 60,
            kind: model,
            jti: value,
          },
          60,
        )
      })
      return [model, value] as const
    }
    const mine = await Promise.all(models.map((model) => issue(model, grantId)))
    const theirs = await Promise.all(models.map((model) => issue(model, other)))
    await does(() => store('AccessToken').revokeByGrantId(grantId))
    for (const [model, value] of mine) expect(await find(model, value), model).toBeUndefined()
    for (const [model, value] of theirs) expect(await find(model, value), model).toBeDefined()
    expect(await find('Grant', grantId)).toBeDefined()
    expect(await find('Session', cookie)).toBeDefined()
    const [, later] = await issue('AccessToken', grantId)
    expect(await find('AccessToken', later)).toBeDefined()
  })

  test('5: a token issued by a request that began before the revocation is born dead', async () => {
    const grantId = await makeGrant()
    const value = id()
    const slow = createUnit(db.database, {})
    await runUnit(slow, async () => {
      await store('Grant').find(grantId)
      await does(() => store('AccessToken').revokeByGrantId(grantId))
      await store('AccessToken').upsert(
        value,
        { grantId, clientId: 'app', iat: epoch(), exp: epoch() + 60, kind: 'AccessToken', jti: value },
        60,
      )
      await slow.commit('all')
    })
    expect(await find('AccessToken', value)).toBeUndefined()
  })

  test('5: while one access token is being revoked the grant lives on (RFC 7009 2.1)', async () => {
    const grantId = await makeGrant()
    const value = id()
    await does(() =>
      store('RefreshToken').upsert(
        value,
        { grantId, clientId: 'app', iat: epoch(), exp: epoch() + 60, kind: 'RefreshToken', jti: value },
        60,
      ),
    )
    one = true
    await does(() => store('AccessToken').revokeByGrantId(grantId)).finally(() => {
      one = false
    })
    expect(await find('RefreshToken', value)).toBeDefined()
  })

  test.each([
    [
      'the person',
      () => db.database.prisma.user.update({ where: { id: userId }, data: { generation: { increment: 1 } } }),
    ],
    [
      'the client',
      () => db.database.prisma.client.update({ where: { id: 'app' }, data: { generation: { increment: 1 } } }),
    ],
    [
      'the person, disabled',
      () => db.database.prisma.user.update({ where: { id: userId }, data: { disabledAt: new Date() } }),
      () => db.database.prisma.user.update({ where: { id: userId }, data: { disabledAt: null } }),
    ],
    [
      'the client, disabled',
      () => db.database.prisma.client.update({ where: { id: 'app' }, data: { disabledAt: new Date() } }),
      () => db.database.prisma.client.update({ where: { id: 'app' }, data: { disabledAt: null } }),
    ],
  ] as [string, () => Promise<unknown>, (() => Promise<unknown>)?][])(
    'a generation of %s ends what was issued under it',
    async (_who, end, undo) => {
      const value = id()
      await does(() =>
        store('AccessToken').upsert(
          value,
          { clientId: 'app', accountId: userId, iat: epoch(), exp: epoch() + 60, kind: 'AccessToken', jti: value },
          60,
        ),
      )
      expect(await find('AccessToken', value)).toBeDefined()
      await end()
      expect(await find('AccessToken', value)).toBeUndefined()
      await undo?.()
    },
  )

  describe('sessions', () => {
    const session = (uid: string, cookie: string, more: object = {}) =>
      ({
        uid,
        accountId: userId,
        loginTs: epoch(),
        exp: epoch() + 60,
        iat: epoch(),
        kind: 'Session',
        jti: cookie,
        ...more,
      }) as never

    test('6: the uid finds a session whose id rotated; the old id is gone', async () => {
      const [uid, first, second] = [id(), id(), id()]
      await does(() => store('Session').upsert(first, session(uid, first), 60))
      await does(async () => {
        await store('Session').find(first)
        await store('Session').destroy(first)
        await store('Session').upsert(second, session(uid, second), 60)
      })
      expect(await find('Session', first)).toBeUndefined()
      expect((await find('Session', second))?.uid).toBe(uid)
      const byUid = await does(() => store('Session').findByUid(uid))
      expect(byUid?.accountId).toBe(userId)
      expect([first, second]).not.toContain(byUid?.jti)
      expect(await find('Session', String(byUid?.jti))).toBeUndefined()
      expect(await find('Session', uid)).toBeUndefined()
    })

    test('two tabs that write at once keep each other’s clients', async () => {
      const [uid, cookie] = [id(), id()]
      await does(() =>
        store('Session').upsert(cookie, session(uid, cookie, { authorizations: { old: { sid: '0' } } }), 60),
      )
      const tabs = ['one', 'two'].map(async (name) => {
        const unit = createUnit(db.database, {})
        await runUnit(unit, async () => {
          const found = await store('Session').find(cookie)
          await new Promise((resolve) => setTimeout(resolve, 50))
          await store('Session').upsert(
            cookie,
            session(uid, cookie, {
              authorizations: { ...(found?.authorizations as object), [name]: { sid: name, grantId: name } },
            }),
            60,
          )
          await unit.commit('all')
        })
      })
      await Promise.all(tabs)
      expect((await find('Session', cookie))?.authorizations).toEqual({
        old: { sid: '0' },
        one: { sid: 'one', grantId: 'one' },
        two: { sid: 'two', grantId: 'two' },
      })
      await does(async () => {
        const found = (await store('Session').find(cookie)) as { authorizations: Record<string, object> }
        const { one: _one, ...left } = found.authorizations
        await store('Session').upsert(cookie, session(uid, cookie, { authorizations: left }), 60)
      })
      expect(Object.keys((await find('Session', cookie))?.authorizations as object)).toEqual(['old', 'two'])
    })

    test('a late write does not revive a session that was logged out', async () => {
      const [uid, cookie] = [id(), id()]
      await does(() => store('Session').upsert(cookie, session(uid, cookie), 60))
      await does(() => store('Session').destroy(cookie))
      await does(() => store('Session').upsert(cookie, session(uid, cookie, { exp: epoch() + 600 }), 600))
      const { rows } = await db.database.pool.query('SELECT expires_at, ended_at FROM session WHERE uid = $1', [uid])
      expect(rows).toHaveLength(1)
      expect(rows[0].ended_at).not.toBeNull()
      expect(rows[0].expires_at.getTime()).toBeLessThan(Date.now() + 300_000) // nor prolong it
      expect(await find('Session', cookie)).toBeUndefined()
      expect(await does(() => store('Session').findByUid(uid))).toBeUndefined()
    })

    test('keys it does not know, and the logout token, survive; the token is not readable in the row', async () => {
      const [uid, cookie, secret] = [id(), id(), id()]
      const payload = session(uid, cookie, {
        amr: ['pwd'],
        acr: 'x',
        state: { secret },
        strange: '\u0000\ud800',
        transient: true,
      })
      await does(() => store('Session').upsert(cookie, payload, 60))
      expect(await find('Session', cookie)).toEqual(payload)
      const { rows } = await db.database.pool.query('SELECT session::text AS text FROM session WHERE uid = $1', [uid])
      expect(rows[0].text).not.toContain(secret)
      expect(rows[0].text).not.toContain(cookie)
    })
  })

  test('interactions: what would work for a reader is sealed or dropped, what the engine needs comes back', async () => {
    const uid = id()
    const payload = {
      returnTo: `https://id.example/oauth/authorize/${uid}`,
      deviceCode: id(),
      parJti: id(),
      params: { client_id: 'app', nonce: '\u0000' },
      prompt: { name: 'login', reasons: [], details: {} },
      session: { uid: id(), cookie: id(), accountId: userId },
      exp: epoch() + 60,
      iat: epoch(),
      kind: 'Interaction',
      jti: uid,
    }
    await does(() => store('Interaction').upsert(uid, payload as never, 60))
    const { cookie, ...session } = payload.session
    expect(await find('Interaction', uid)).toEqual({ ...payload, session })
    const { rows } = await db.database.pool.query('SELECT string_agg(interaction::text, $1) AS text FROM interaction', [
      '\n',
    ])
    for (const secret of [uid, cookie, payload.deviceCode, payload.parJti]) expect(rows[0].text).not.toContain(secret)
    await does(() => store('Interaction').destroy(uid))
    await does(() => store('Interaction').upsert(uid, payload as never, 60))
    expect(await find('Interaction', uid)).toBeUndefined()
  })

  test.each([2, 10, 50])('8: of %i requests that show the same proof identifier exactly one passes', async (n) => {
    const value = id()
    const verdicts = await Promise.all(
      Array.from(
        { length: n },
        async () =>
          (
            await request(() =>
              store('ReplayDetection').upsert(
                value,
                { iss: 'app', exp: epoch() + 60, kind: 'ReplayDetection', jti: value } as never,
                60,
              ),
            )
          ).verdict,
      ),
    )
    expect(verdicts.filter((verdict) => verdict === undefined)).toHaveLength(1)
    expect(await find('ReplayDetection', value)).toMatchObject({ iss: 'app' })
  })

  test('a request that loses one condition loses all its writes, its neighbours none', async () => {
    const [code, token, proof] = [id(), id(), id()]
    await does(() =>
      store('AuthorizationCode').upsert(
        code,
        { iat: epoch(), exp: epoch() + 60, kind: 'AuthorizationCode', jti: code },
        60,
      ),
    )
    await does(() => store('ReplayDetection').upsert(proof, { exp: epoch() + 60 } as never, 60))
    const { verdict } = await request(async () => {
      await consumeFound('AuthorizationCode', code)
      await store('ReplayDetection').upsert(proof, { exp: epoch() + 60 } as never, 60)
      await store('AccessToken').upsert(token, { iat: epoch(), exp: epoch() + 60, kind: 'AccessToken', jti: token }, 60)
    })
    expect(verdict).toBe('replayed')
    expect(await find('AccessToken', token)).toBeUndefined()
    expect((await find('AuthorizationCode', code))?.consumed).toBeUndefined()
  })
})
