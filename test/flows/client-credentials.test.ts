// A service asks for a token, an API asks about it, the service gives it back; and what each of them is refused.
import { createLocalJWKSet, decodeJwt, type JSONWebKeySet, jwtVerify } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { updateApi } from '#src/apis/apis.ts'
import { setClientDisabled } from '#src/clients/clients.ts'
import { addClientSecret, newClientSecret } from '#src/clients/secrets.ts'
import { change, orders, stock } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
})
afterAll(() => server.stop())

const token = (fields: Record<string, string> = {}, options: Parameters<Journey['post']>[2] = { as: 'reports' }) =>
  j.post('/oauth/token', { grant_type: 'client_credentials', ...fields }, options)

describe('a service', () => {
  test('gets a JWT for an API that wants one (RFC 9068)', async () => {
    const { status, body } = await token({ scope: 'orders:read' })
    expect([status, body.token_type.toLowerCase(), body.expires_in, body.scope]).toEqual([
      200,
      'bearer',
      900,
      'orders:read',
    ])
    const jwks = (await (await fetch(`${server.url}/oauth/jwks`)).json()) as JSONWebKeySet
    const { payload, protectedHeader } = await jwtVerify(body.access_token, createLocalJWKSet(jwks), {
      issuer: server.url,
      audience: orders,
      typ: 'at+jwt',
      algorithms: ['ES256'],
    })
    expect(payload).toMatchObject({
      sub: 'reports',
      client_id: 'reports',
      scope: 'orders:read',
      jti: expect.any(String),
    })
    expect(jwks.keys.filter(({ kid }) => kid === protectedHeader.kid)).toHaveLength(1)
  })

  test('leaves a row for every JWT, which its jti does not open', async () => {
    const { body } = await token({ scope: 'orders:read' })
    const { jti } = decodeJwt(body.access_token)
    const { rows } = await server.database.pool.query(
      `SELECT client_id, resource, scope, round(extract(epoch FROM expires_at - date_trunc('second', issued_at))) AS seconds FROM token WHERE kind = 4 AND resource = $1 ORDER BY issued_at DESC LIMIT 1`,
      [orders],
    )
    expect(rows[0]).toEqual({ client_id: 'reports', resource: orders, scope: 'orders:read', seconds: '900' })
    expect((await j.introspect(String(jti), 'reports')).body).toEqual({ active: false })
  })

  test('gets an opaque token for an API that wants one', async () => {
    const { body } = await token({ scope: 'stock:read', resource: stock })
    expect(body.access_token).toMatch(/^sp_ct_[A-Za-z0-9_-]{43}$/)
    expect((await j.introspect(body.access_token, 'reports')).body).toMatchObject({
      active: true,
      client_id: 'reports',
      aud: stock,
      scope: 'stock:read',
      iss: server.url,
    })
  })

  test('loses what it may not have, and is told what is left', async () => {
    expect((await token({ scope: 'orders:read orders:write', resource: orders })).body.scope).toBe('orders:read')
  })

  test.each([
    ['nothing it may have', { scope: 'orders:write' }, 'invalid_scope'],
    ['an unknown scope', { scope: 'bogus' }, 'invalid_scope'],
    ['an OpenID scope', { scope: 'openid' }, 'invalid_scope'],
    ['a malformed scope', { scope: 'a"b' }, 'invalid_scope'],
    ['an unknown resource', { resource: 'https://unknown.example', scope: 'orders:read' }, 'invalid_target'],
    ['scopes of two APIs', { scope: 'orders:read stock:read' }, 'invalid_target'],
    ['an unknown grant', { grant_type: 'magic' }, 'unsupported_grant_type'],
    // The engine says invalid_request where RFC 6749 5.2 has unauthorized_client (docs/conformance.md).
    ['a grant that is not its own', { grant_type: 'refresh_token', refresh_token: 'x' }, 'invalid_request'],
  ])('is refused %s', async (_name, fields, error) => {
    const answer = await token(fields)
    expect([answer.status, answer.body.error]).toEqual([400, error])
    expect(answer.headers.get('cache-control')).toContain('no-store')
    expect(answer.headers.get('x-decision-id')).toBeTruthy()
  })

  test('may name two resources only one by one', async () => {
    const answer = await j.post(
      '/oauth/token',
      [
        ['grant_type', 'client_credentials'],
        ['scope', 'orders:read'],
        ['resource', orders],
        ['resource', stock],
      ],
      { as: 'reports' },
    )
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_target'])
  })

  test('is refused a repeated parameter', async () => {
    const answer = await j.post(
      '/oauth/token',
      [
        ['grant_type', 'client_credentials'],
        ['scope', 'orders:read'],
        ['scope', 'orders:read'],
      ],
      { as: 'reports' },
    )
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
  })

  test.each(['a\u0000b', 'a\nb', '\u001b[31m'])('is refused a control character: %j', async (scope) => {
    const answer = await token({ scope })
    expect([answer.status, answer.body.error]).toEqual([400, expect.stringMatching(/^invalid_(request|scope)$/)])
  })
})

test.each(['refresh_token', 'code', 'code_verifier', 'redirect_uri', 'client_secret'])(
  'a control character in a form is refused by name: %s',
  async (name) => {
    const fields = { grant_type: 'refresh_token', refresh_token: 'x', [name]: 'a\u0000b' }
    const answer = await j.post('/oauth/token', fields, name === 'client_secret' ? { as: null } : { as: 'shop-web' })
    if (name === 'client_secret') expect(answer.status).toBe(400)
    else expect([answer.status, answer.body.error_description]).toEqual([400, `${name} contains a control character`])
  },
)

describe('client authentication', () => {
  test.each([
    [
      'a wrong secret',
      { headers: { Authorization: `Basic ${Buffer.from('reports:wrong').toString('base64')}` }, as: null },
    ],
    [
      'an unknown client',
      { headers: { Authorization: `Basic ${Buffer.from('nobody:wrong').toString('base64')}` }, as: null },
    ],
    [
      'the stored placeholder',
      {
        headers: { Authorization: `Basic ${Buffer.from('reports:kept as SHA-256 only').toString('base64')}` },
        as: null,
      },
    ],
  ])('fails with 401 invalid_client: %s', async (_name, options) => {
    const answer = await token({ scope: 'orders:read' }, options)
    expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client'])
    expect(answer.headers.get('www-authenticate')).toMatch(/^Basic /)
  })

  test('fails alike for an unknown client and a wrong secret', async () => {
    const bodies = await Promise.all(
      ['reports', 'nobody'].map(
        async (id) => (await token({}, { as: null, headers: { Authorization: j.basic(id, 'wrong') } })).body,
      ),
    )
    expect(bodies[0]).toEqual(bodies[1])
  })

  test('fails with 400 for two credentials at once', async () => {
    const answer = await token({ client_id: 'reports', client_secret: j.secret })
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
  })

  test('takes the secret in the body too', async () => {
    expect(
      (await token({ client_id: 'reports', client_secret: j.secret, scope: 'orders:read' }, { as: null })).status,
    ).toBe(200)
  })

  test('takes two secrets during a rotation, and an expired one no more', async () => {
    const { prisma } = server.database
    const next = newClientSecret()
    await addClientSecret(prisma, 'reports', { value: next }, change())
    const old = newClientSecret()
    await addClientSecret(prisma, 'reports', { value: old, expiresAt: new Date(Date.now() - 1000) }, change())
    await server.app.providers.refresh()
    expect(
      (await token({ scope: 'orders:read' }, { as: null, headers: { Authorization: j.basic('reports', next) } }))
        .status,
    ).toBe(200)
    expect((await token({ scope: 'orders:read' })).status).toBe(200)
    expect(
      (await token({ scope: 'orders:read' }, { as: null, headers: { Authorization: j.basic('reports', old) } })).status,
    ).toBe(401)
  })

  test('fails for a disabled client within a second, and so do its tokens', async () => {
    const { body } = await token({ scope: 'stock:read' })
    const { prisma } = server.database
    await setClientDisabled(prisma, 'reports', true, change())
    try {
      await expect.poll(async () => (await token({ scope: 'orders:read' })).status).toBe(401)
      expect((await j.introspect(body.access_token, 'stock-api')).body).toEqual({ active: false })
    } finally {
      await setClientDisabled(prisma, 'reports', false, change())
      await server.app.providers.refresh()
    }
  })
})

describe('introspection (RFC 7662)', () => {
  test.each([
    ['the client it was issued to', 'reports', true],
    ['the resource server named by its API', 'stock-api', true],
    ['the resource server of another API', 'orders-api', false],
    ['another client', 'shop-web', false],
  ])('asked by %s', async (_who, as, active) => {
    const { body } = await token({ scope: 'stock:read' })
    const answer = await j.introspect(body.access_token, as)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toContain('no-store')
    if (active) expect(answer.body.active).toBe(true)
    else expect(answer.body).toEqual({ active: false })
  })

  test.each(['garbage', 'sp_ct_unknown', 'sp_at_x', '', ' ', 'ü'])('of %j', async (value) => {
    const answer = await j.introspect(value, 'reports')
    if (value === '') expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
    else expect(answer.body).toEqual({ active: false })
  })

  test('ignores a wrong hint', async () => {
    const { body } = await token({ scope: 'stock:read' })
    expect((await j.introspect(body.access_token, 'reports', { token_type_hint: 'refresh_token' })).body.active).toBe(
      true,
    )
    expect((await j.introspect(body.access_token, 'reports', { token_type_hint: 'nonsense' })).body.active).toBe(true)
  })

  test('without a caller is 401, and by a public client tells nothing of others', async () => {
    const { body } = await token({ scope: 'stock:read' })
    expect((await j.post('/oauth/introspect', { token: body.access_token }, { as: null })).status).toBe(401)
    expect(
      (
        await j.post(
          '/oauth/introspect',
          { token: body.access_token },
          { as: null, headers: { Authorization: j.basic('reports', 'wrong') } },
        )
      ).status,
    ).toBe(401)
    expect((await j.introspect(body.access_token, 'shop-spa')).body).toEqual({ active: false })
  })

  test('of a refresh token is for its client only', async () => {
    const { refresh } = await j.tokensFor({ scope: 'openid orders:read', resource: orders }, undefined, {
      resource: orders,
    })
    expect((await j.introspect(refresh, 'shop-web')).body.active).toBe(true)
    expect((await j.introspect(refresh, 'orders-api')).body).toEqual({ active: false })
  })

  test('of a rotated refresh token is inactive, also within the leeway', async () => {
    const { refresh } = await j.tokensFor()
    await j.refresh(refresh)
    expect((await j.introspect(refresh, 'shop-web')).body).toEqual({ active: false })
  })
})

describe('revocation (RFC 7009)', () => {
  test('of an access token ends that token only', async () => {
    const tokens = await j.tokensFor()
    expect((await j.revoke(tokens.access_token)).status).toBe(200)
    expect((await j.userinfo(tokens.access_token)).status).toBe(401)
    expect((await j.refresh(tokens.refresh)).status).toBe(200)
  })

  test('of a refresh token ends its grant', async () => {
    const tokens = await j.tokensFor()
    expect((await j.revoke(tokens.refresh)).status).toBe(200)
    expect((await j.userinfo(tokens.access_token)).status).toBe(401)
    expect((await j.refresh(tokens.refresh)).body.error).toBe('invalid_grant')
    expect(await server.database.prisma.auditEvent.count({ where: { event: 'grant.revoked' } })).toBeGreaterThan(0)
  })

  test('of an unknown token is 200, of another client’s 400, and changes nothing', async () => {
    const tokens = await j.tokensFor()
    expect((await j.revoke('sp_at_unknown')).status).toBe(200)
    const answer = await j.revoke(tokens.refresh, 'reports')
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
    expect((await j.refresh(tokens.refresh)).status).toBe(200)
  })
})

describe('every token of an API dies with the API’s generation', () => {
  test('and a changed scope list is known within a second', async () => {
    const { body } = await token({ scope: 'stock:read' })
    const { prisma } = server.database
    await prisma.api.update({ where: { identifier: stock }, data: { generation: { increment: 1 } } })
    expect((await j.introspect(body.access_token, 'reports')).body).toEqual({ active: false })
    await updateApi(
      prisma,
      orders,
      {
        name: 'Orders',
        scopes: { 'orders:read': 'See orders', 'orders:write': 'Change orders', 'orders:audit': 'Audit' },
      },
      change(),
    )
    await expect
      .poll(() =>
        server.app.providers
          .current()
          .snapshot.apis.get(orders)
          ?.scopes.map(({ name }) => name),
      )
      .toContain('orders:audit')
  })
})
