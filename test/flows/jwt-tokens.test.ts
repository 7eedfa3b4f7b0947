// JWT access tokens at introspection and revocation: what they say of themselves is what is answered, every way of ending them ends
// them, and nothing that merely looks like one is taken for one (RFC 7662, RFC 7009, RFC 9068, RFC 8725).
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import * as fc from 'fast-check'
import {
  type CryptoKey,
  calculateJwkThumbprint,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  type JWTPayload,
  SignJWT,
} from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { endApiTokens } from '#src/apis/apis.ts'
import { deleteClient, endClientTokens, setClientDisabled } from '#src/clients/clients.ts'
import { hashPassword } from '#src/factors/password.ts'
import { endUserTokens, setPassword, setUserDisabled } from '#src/users/users.ts'
import { change, orders, password } from '#test/support/installation.ts'
import { type Journey, postForm, startJourney } from '#test/support/journey.ts'
import type { Person } from '#test/support/person.ts'
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

const inactive = { active: false }
const forOrders = { scope: 'openid orders:read', resource: orders }
const personal = (parameters: Record<string, string> = {}, person?: Person) =>
  j.tokensFor({ ...forOrders, ...parameters }, person, { resource: orders })
const service = async (headers: Record<string, string> = {}) =>
  (await j.post('/oauth/token', { grant_type: 'client_credentials', scope: 'orders:read' }, { as: 'reports', headers }))
    .body.access_token
const jtiOf = (jwt: string) => String(decodeJwt(jwt).jti)
const rowIdOf = (jwt: string) => Buffer.from(jtiOf(jwt), 'base64url')
const sql = async (text: string, values: unknown[] = []) => (await server.database.pool.query(text, values)).rows
const isActive = async (jwt: string, as = 'shop-web') => (await j.introspect(jwt, as)).body.active

describe('introspection answers what the JWT says of itself (RFC 7662 2.2)', () => {
  test('of a person', async () => {
    const { access_token } = await personal()
    const claims = decodeJwt(access_token)
    expect((await j.introspect(access_token)).body).toEqual({
      active: true,
      token_type: 'Bearer',
      auth_method: 'oauth',
      ...claims,
    })
    expect(claims).toMatchObject({ sub: j.alice.id, aud: orders, client_id: 'shop-web', scope: 'orders:read' })
  })

  test('of a service', async () => {
    const jwt = await service()
    const claims = decodeJwt(jwt)
    expect((await j.introspect(jwt, 'reports')).body).toEqual({
      active: true,
      token_type: 'Bearer',
      auth_method: 'oauth',
      ...claims,
    })
    expect(claims).toMatchObject({ sub: 'reports', aud: orders })
    expect(claims).not.toHaveProperty('grant_id')
  })

  test('of one that is bound to a key, with the key (RFC 9449 6.2)', async () => {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
    const jwk = await exportJWK(publicKey)
    const proof = await new SignJWT({ htm: 'POST', htu: `${server.url}/oauth/token`, jti: randomUUID() })
      .setIssuedAt()
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
      .sign(privateKey)
    const jwt = await service({ DPoP: proof })
    const { body } = await j.introspect(jwt, 'reports')
    expect(body).toEqual({ active: true, token_type: 'DPoP', auth_method: 'oauth', ...decodeJwt(jwt) })
    expect(body.cnf).toEqual({ jkt: await calculateJwkThumbprint(jwk) })
  })

  test('to the client itself and to those whom its API names; to everybody else it is no token', async () => {
    const { access_token } = await personal()
    expect(await isActive(access_token, 'orders-api')).toBe(true)
    for (const stranger of ['stock-api', 'reports', 'shop-spa'])
      expect((await j.introspect(access_token, stranger)).body).toEqual(inactive)
  })

  test.each(['access_token', 'refresh_token', 'nonsense'])('with the hint %s', async (token_type_hint) => {
    expect((await j.introspect(await service(), 'reports', { token_type_hint })).body.active).toBe(true)
  })

  test('on every process, and also where the address is spelled as only the engine would take it', async () => {
    const jwt = await service()
    for (const [path, origin] of [
      ['/oauth/introspect', `http://localhost:${second.port}`],
      ['/OAuth/Introspect/', server.url],
    ] as const)
      expect((await j.post(path, { token: jwt }, { as: 'reports', origin })).body.active, path).toBe(true)
  })

  test('sent in pieces, without a length', async () => {
    const body = new URLSearchParams({ token: await service() }).toString()
    const pieces = new ReadableStream({
      async start(controller) {
        for (const piece of body.match(/.{1,100}/gs) ?? []) {
          controller.enqueue(new TextEncoder().encode(piece))
          await delay(1)
        }
        controller.close()
      },
    })
    const answer = await fetch(`${server.url}/oauth/introspect`, {
      method: 'POST',
      headers: {
        Authorization: j.basic('reports'),
        'Content-Type': 'application/x-www-form-urlencoded; charset=utf-8',
      },
      body: pieces,
      duplex: 'half',
    } as RequestInit)
    expect(await answer.json()).toMatchObject({ active: true, aud: orders })
  })

  test('an opaque token is answered as ever: it has no jti', async () => {
    const { access_token } = await j.tokensFor({ scope: 'openid' })
    const { body } = await j.introspect(access_token)
    expect(Object.keys(body).sort()).toEqual([
      'acr',
      'active',
      'auth_method',
      'auth_time',
      'client_id',
      'exp',
      'iat',
      'iss',
      'scope',
      'sub',
      'token_type',
    ])
  })
})

test('a JWT names its grant, and its row is the 16 bytes of its jti', async () => {
  const { access_token } = await personal()
  const [row] = await sql(`SELECT grant_id, kind, payload::text FROM token WHERE id = $1`, [rowIdOf(access_token)])
  const { grant_id, acr, auth_time } = decodeJwt(access_token)
  const payload = JSON.stringify({ expiresWithSession: true, extra: { acr, auth_time } })
  expect(row).toEqual({ grant_id, kind: 1, payload })
})

describe('it ends when', () => {
  let access_token: string
  let refresh: string
  let person: Person
  let grantId: string
  const at = change

  beforeEach(async () => {
    ;({ access_token, refresh, person } = await personal())
    grantId = String(decodeJwt(access_token).grant_id)
    expect(await isActive(access_token)).toBe(true)
  })

  test.each<[string, () => Promise<unknown>, (() => Promise<unknown>)?]>([
    ['it is revoked', () => j.revoke(access_token)],
    ['its refresh token is revoked', () => j.revoke(refresh)],
    ['its refresh token is reused', reuse],
    ['its grant is revoked', () => sql(`UPDATE oauth_grant SET revoked_at = now() WHERE id = $1`, [grantId])],
    ['its grant is gone', () => sql(`DELETE FROM oauth_grant WHERE id = $1`, [grantId])],
    ['the person logs out', logout],
    ['its session ends', () => sql(`UPDATE session SET ended_at = now() WHERE uid IN ${sessionOfGrant}`, [grantId])],
    [
      'its session is revoked',
      () => sql(`UPDATE session SET generation = generation + 1 WHERE uid IN ${sessionOfGrant}`, [grantId]),
    ],
    [
      'the person is disabled',
      () => setUserDisabled(server.database.prisma, j.alice.id, true, at()),
      () => setUserDisabled(server.database.prisma, j.alice.id, false, at()),
    ],
    [
      'the password changes',
      async () => setPassword(server.database.prisma, j.alice.id, await hashPassword(password), at()),
    ],
    ['the tokens of the person are ended', () => endUserTokens(server.database.prisma, j.alice.id, at())],
    [
      'the client is disabled',
      () => setClientDisabled(server.database.prisma, 'shop-web', true, at()),
      () => setClientDisabled(server.database.prisma, 'shop-web', false, at()),
    ],
    ['the tokens of the client are ended', () => endClientTokens(server.database.prisma, 'shop-web', at())],
    ['the tokens of the API are ended', () => endApiTokens(server.database.prisma, orders, at())],
    ['its row is gone', () => sql(`DELETE FROM token WHERE id = $1`, [rowIdOf(access_token)])],
    ['its row has expired', () => sql(`UPDATE token SET expires_at = now() WHERE id = $1`, [rowIdOf(access_token)])],
  ])('%s: {"active":false} for everybody', async (_, end, undo) => {
    await end()
    try {
      // Asked by the API, which is nobody's token holder: a disabled client could not ask.
      expect((await j.introspect(access_token, 'orders-api')).body).toEqual(inactive)
      const elsewhere = { as: 'orders-api', origin: `http://localhost:${second.port}` }
      expect((await j.post('/oauth/introspect', { token: access_token }, elsewhere)).body).toEqual(inactive)
    } finally {
      await undo?.()
      await server.settle()
    }
  })

  const sessionOfGrant = '(SELECT session_uid FROM oauth_grant WHERE id = $1)'
  async function reuse() {
    const { body } = await j.refresh(refresh)
    await j.refresh(body.refresh_token ?? '')
    expect((await j.refresh(refresh)).body.error).toBe('invalid_grant')
  }
  async function logout() {
    await person.submit(await person.open('/oauth/logout'), { decision: 'logout' })
  }

  test('its client is deleted', async () => {
    const jwt = await service()
    await j.post('/oauth/introspect', { token: jwt }, { as: 'orders-api' })
    const [before] = await sql(`SELECT * FROM client WHERE id = 'reports'`)
    const restore = await server.database.prisma.client.findUniqueOrThrow({
      where: { id: 'reports' },
      include: { secrets: true, apiScopes: true },
    })
    await deleteClient(server.database.prisma, 'reports', at())
    expect((await j.introspect(jwt, 'orders-api')).body).toEqual(inactive)
    const { secrets, apiScopes, jwks: _, ...columns } = restore
    await server.database.prisma.client.create({ data: { ...columns, generation: before.generation + 1 } })
    await server.database.prisma.clientSecret.createMany({ data: secrets })
    await server.database.prisma.clientScope.createMany({ data: apiScopes })
    await server.settle()
    expect((await j.introspect(jwt, 'orders-api')).body).toEqual(inactive)
    expect(await isActive(await service(), 'reports')).toBe(true)
  })

  test('but not when a person logs out who gave offline access', async () => {
    const offline = await personal({ scope: 'openid offline_access orders:read', prompt: 'consent' })
    await offline.person.submit(await offline.person.open('/oauth/logout'), { decision: 'logout' })
    expect(await isActive(offline.access_token)).toBe(true)
  })

  test('by its own claim, whatever its row says', async () => {
    const { exp: _, ...claims } = decodeJwt(access_token)
    const now = Math.floor(Date.now() / 1000)
    const brief = await signed({ ...claims, exp: now + 3 })
    for (let n = 0; n < 2; n++) expect(await isActive(brief)).toBe(true)
    expect((await j.introspect(await signed({ ...claims, exp: now - 1 }))).body).toEqual(inactive)
    expect((await j.introspect(await signed(claims))).body).toEqual(inactive)
    await delay((now + 3) * 1000 - Date.now() + 50)
    expect((await j.introspect(brief)).body).toEqual(inactive)
  })
})

describe('revocation (RFC 7009)', () => {
  test('ends that token and no other; who follows the feed reads its jti', async () => {
    const tokens = await personal()
    const other = await j.refresh(tokens.refresh, { resource: orders })
    expect((await j.revoke(tokens.access_token)).status).toBe(200)
    expect((await j.introspect(tokens.access_token)).body).toEqual(inactive)
    expect(await isActive(other.body.access_token)).toBe(true)
    expect((await j.refresh(other.body.refresh_token ?? '')).status).toBe(200)
    expect(await sql(`SELECT kind, target FROM revocation ORDER BY id DESC LIMIT 1`)).toEqual([
      { kind: 'token', target: jtiOf(tokens.access_token) },
    ])
    const [event] = await sql(
      `SELECT client_id, target_id FROM audit_event WHERE event = 'token.revoked' ORDER BY id DESC`,
    )
    expect(event).toEqual({ client_id: 'shop-web', target_id: decodeJwt(tokens.access_token).grant_id })
  })

  test('of a service’s token, too', async () => {
    const [one, other] = [await service(), await service()]
    expect((await j.revoke(one, 'reports')).status).toBe(200)
    expect((await j.introspect(one, 'reports')).body).toEqual(inactive)
    expect(await isActive(other, 'reports')).toBe(true)
  })

  test('twice is as good as once, and what has expired needs none: 200', async () => {
    const jwt = await service()
    for (let n = 0; n < 2; n++) expect((await j.revoke(jwt, 'reports')).status).toBe(200)
    const expired = await signed({ ...decodeJwt(await service()), exp: 1_700_000_000 })
    expect((await j.revoke(expired, 'reports')).status).toBe(200)
  })

  test('2.1 of another client’s token is refused and changes nothing', async () => {
    const [mine, theirs] = [(await personal()).access_token, await service()]
    for (const [token, as, owner] of [
      [mine, 'reports', 'shop-web'],
      [mine, 'orders-api', 'shop-web'],
      [theirs, 'shop-web', 'reports'],
      [theirs, 'shop-spa', 'reports'],
    ] as const) {
      const { status, body } = await j.revoke(token, as)
      expect([status, body.error]).toEqual([400, 'invalid_request'])
      expect(await isActive(token, owner)).toBe(true)
    }
  })
})

/** Signs as we do, but for what is changed. */
async function signed(
  claims: JWTPayload,
  header: Record<string, unknown> = {},
  by: { key?: CryptoKey | Uint8Array; state?: string; alg?: string } = {},
): Promise<string> {
  const { keys } = server.app.providers.current().snapshot
  const own = keys.find(({ alg, state }) => alg === (by.alg ?? 'ES256') && state === (by.state ?? 'current'))
  if (!own) throw new Error('no such key')
  const all = { alg: own.alg, typ: 'at+jwt', kid: own.kid, ...header }
  if (by.key) return new SignJWT(claims).setProtectedHeader(all).sign(by.key, { crit: { new: false } })
  const text = `${part(all)}.${part(claims)}`
  return `${text}.${Buffer.from(await own.signer.sign(Buffer.from(text))).toString('base64url')}`
}
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const publicJwk = () => {
  const key = server.app.providers.current().snapshot.keys.find(({ alg }) => alg === 'ES256')
  if (!key) throw new Error('no such key')
  return key.signer.publicKey
}

describe('what only looks like one of ours is unknown: {"active":false}, and 200 at revocation', () => {
  let real: string
  let claims: JWTPayload
  beforeAll(async () => {
    real = await service()
    claims = decodeJwt(real)
  })

  test('nobody who cannot say who he is makes us verify a signature', async () => {
    const own = decodeJwt(await service())
    const verify = vi.spyOn(crypto.subtle, 'verify')
    try {
      const ask = async (path: string, fields: Record<string, string>, headers: Record<string, string> = {}) => {
        const before = verify.mock.calls.length
        // Another one each time: those found good are remembered.
        const token = await signed({ ...own, unique: randomUUID() })
        const { status } = await j.post(path, { token, ...fields }, { as: null, headers })
        return { status, verified: verify.mock.calls.length - before }
      }
      for (const path of ['/oauth/introspect', '/oauth/revoke']) {
        for (const [fields, headers] of [
          [{}, {}],
          [{ client_id: 'nobody' }, {}],
          [{ client_id: 'reports' }, {}],
          [{ client_id: 'reports', client_secret: 'wrong' }, {}],
          [{}, { Authorization: j.basic('reports', 'wrong') }],
        ] as [Record<string, string>, Record<string, string>][])
          expect(await ask(path, fields, headers), JSON.stringify(fields)).toEqual({ status: 401, verified: 0 })
        // Asked for by three models at once, and found out once.
        expect(await ask(path, {}, { Authorization: j.basic('reports') })).toEqual({ status: 200, verified: 1 })
      }
    } finally {
      verify.mockRestore()
    }
  })

  test('the forgeries below are told from the real one by their flaw alone', async () => {
    expect(await isActive(await signed(claims), 'reports')).toBe(true)
  })

  const strangerKey = async () => (await generateKeyPair('ES256', { extractable: true })).privateKey
  test.each<[string, () => string | Promise<string>]>([
    ['no signature at all (alg none)', () => `${part({ alg: 'none', typ: 'at+jwt' })}.${part(claims)}.`],
    [
      'alg none with our kid and the old signature',
      () => `${part({ ...decodeProtectedHeader(real), alg: 'none' })}.${part(claims)}.${real.split('.')[2]}`,
    ],
    [
      'HS256 under our public key (PEM)',
      () =>
        signed(
          claims,
          { alg: 'HS256' },
          { key: Buffer.from(publicJwk().export({ type: 'spki', format: 'pem' }) as string) },
        ),
    ],
    [
      'HS256 under our public key (JWK)',
      () =>
        signed(claims, { alg: 'HS256' }, { key: Buffer.from(JSON.stringify(publicJwk().export({ format: 'jwk' }))) }),
    ],
    ['a key that we never had, under our kid', async () => signed(claims, {}, { key: await strangerKey() })],
    [
      'a key that we never had, under its own kid',
      async () => signed(claims, { kid: 'x' }, { key: await strangerKey() }),
    ],
    ['a key that comes along in the header', embedded],
    ['our key without kid', () => signed(claims, { kid: undefined })],
    ['our key under the kid of another of our keys', () => signed(claims, { kid: kidOf('EdDSA') })],
    ['our key with another algorithm in the header', swapped],
    ['the type of an ID token', () => signed(claims, { typ: 'JWT' })],
    ['no type', () => signed(claims, { typ: undefined })],
    ['another issuer', () => signed({ ...claims, iss: 'https://evil.example' })],
    ['no issuer', () => signed({ ...claims, iss: undefined })],
    ['no jti', () => signed({ ...claims, jti: undefined })],
    ['a jti that is a number', () => signed({ ...claims, jti: 7 as unknown as string })],
    ['the jti in another spelling', () => signed({ ...claims, jti: `${claims.jti}=` })],
    ['a jti that nobody was given', () => signed({ ...claims, jti: randomBytes(16).toString('base64url') })],
    ['the row id of an opaque token as jti', ofOpaque],
    ['not yet valid', () => signed({ ...claims, nbf: Math.floor(Date.now() / 1000) + 3600 })],
    ['an extension nobody knows (RFC 7515 4.1.11)', () => signed(claims, { crit: ['new'], new: 1 })],
    [
      'another payload under the old signature',
      () => real.replace(/\.[^.]+\./, `.${part({ ...claims, scope: 'x' })}.`),
    ],
    ['its signature cut', () => real.slice(0, -4)],
    ['its signature gone', () => real.slice(0, real.lastIndexOf('.') + 1)],
    ['its signature alone', () => `..${real.split('.')[2]}`],
    ['a part too many', () => `${real}.x`],
    ['five parts (a JWE)', () => `${part({ alg: 'dir', enc: 'A256GCM' })}..x.y.z`],
    ['dots', () => '...'],
    ['one dot', () => '.'],
    ['JSON that is no object', () => `${part(1)}.${part([])}.x`],
    ['its jti alone', () => String(claims.jti)],
    ['its row id in hexadecimal', () => rowIdOf(real).toString('hex')],
    ['the SHA-256 of itself', () => createHash('sha256').update(real).digest('base64url')],
    ['spaces around it', () => ` ${real} `],
  ])('%s', async (_, forge) => {
    const forged = await forge()
    const answer = await j.introspect(forged, 'reports')
    expect([answer.status, answer.body]).toEqual([200, inactive])
    expect((await j.revoke(forged, 'reports')).status).toBe(200)
    expect(await isActive(real, 'reports')).toBe(true)
  })

  const kidOf = (alg: string) => server.app.providers.current().snapshot.keys.find((key) => key.alg === alg)?.kid ?? ''
  async function embedded() {
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
    return signed(claims, { kid: undefined, jwk: await exportJWK(publicKey) }, { key: privateKey })
  }
  async function swapped() {
    const [, payload, signature] = real.split('.')
    return `${part({ ...decodeProtectedHeader(real), alg: 'ES384' })}.${payload}.${signature}`
  }
  async function ofOpaque() {
    const { access_token } = await j.tokensFor({ scope: 'openid' })
    const jti = createHash('sha256').update(access_token).digest('base64url')
    return signed({ ...claims, client_id: 'shop-web', jti })
  }

  test('ID tokens, our own and in every algorithm', async () => {
    const { id_token = '' } = await personal()
    const { kid: _, ...header } = decodeProtectedHeader(id_token)
    expect(header.typ).not.toBe('at+jwt')
    for (const token of [id_token, await signed({ ...claims }, { typ: 'JWT' }, { alg: 'RS256' })]) {
      const answer = await j.introspect(token)
      expect([answer.status, answer.body]).toEqual([200, inactive])
      expect((await j.revoke(token)).status).toBe(200)
    }
  })

  test('whatever characters and dots there are: never 5xx, never active', async () => {
    const segment = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 20 }),
      fc.base64String({ maxLength: 40 }),
      fc.json({ maxDepth: 2 }).map((text) => Buffer.from(text).toString('base64url')),
      fc.constantFrom(...real.split('.')),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(segment, { minLength: 2, maxLength: 6 }), async (parts) => {
        const token = parts.join('.')
        fc.pre(token !== real)
        const { status, body } = await j.introspect(token, 'reports')
        // A control character is refused by name, as in any other parameter.
        if (status === 400) expect(body.error).toBe('invalid_request')
        else expect([status, body]).toEqual([200, inactive])
      }),
      { numRuns: 300 },
    )
  })
})

test('its jti opens nothing, wherever it is presented', async () => {
  const { access_token } = await personal()
  const jti = jtiOf(access_token)
  const bearer = { headers: { Authorization: `Bearer ${jti}` } }
  expect((await fetch(`${server.url}/oauth/userinfo`, bearer)).status).toBe(401)
  expect((await fetch(`${server.url}/api/v1/clients`, bearer)).status).toBe(401)
  expect((await j.refresh(jti)).body.error).toBe('invalid_grant')
  expect((await j.redeem(jti, 'x'.repeat(43))).body.error).toBe('invalid_grant')
  expect((await j.introspect(jti)).body).toEqual(inactive)
  expect((await j.revoke(jti)).status).toBe(200)
  expect(await isActive(access_token)).toBe(true)
})

test('userinfo and the admin API refuse a JWT that is meant for another API', async () => {
  const { access_token } = await personal()
  const bearer = { headers: { Authorization: `Bearer ${access_token}` } }
  for (const path of ['/oauth/userinfo', '/api/v1/clients']) {
    const answer = await fetch(server.url + path, bearer)
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([
      401,
      expect.stringContaining('error="invalid_token"'),
    ])
  }
})

describe('when keys rotate', () => {
  const turn = async (kid: string, state: string) => {
    await sql(`UPDATE signing_key SET state = $2 WHERE kid = $1`, [kid, state])
    await sql(`UPDATE configuration_version SET version = version + 1`)
    await server.settle()
  }

  test('what the retired key signed is good until it expires; what a removed one signed is not', async () => {
    const old = await service()
    const { kid = '' } = decodeProtectedHeader(old)
    const next = server.app.providers.current().snapshot.keys.find((key) => key.alg === 'ES256' && key.state === 'next')
    await turn(kid, 'retired')
    await turn(next?.kid ?? '', 'current')
    const fresh = await service()
    expect(decodeProtectedHeader(fresh).kid).toBe(next?.kid)
    for (const jwt of [old, fresh]) expect(await isActive(jwt, 'reports')).toBe(true)
    expect((await j.revoke(old, 'reports')).status).toBe(200)
    expect((await j.introspect(old, 'reports')).body).toEqual(inactive)

    const older = await signed(decodeJwt(fresh), {}, { state: 'retired' })
    expect(await isActive(older, 'reports')).toBe(true)
    await sql(`DELETE FROM signing_key WHERE kid = $1`, [kid])
    await turn(next?.kid ?? '', 'current')
    expect((await j.introspect(older, 'reports')).body).toEqual(inactive)
    expect(await isActive(fresh, 'reports')).toBe(true)
  })

  test('a process that has not begun to sign with the next key accepts what another signed with it', async () => {
    const { keys } = server.app.providers.current().snapshot
    const state = keys.some((key) => key.alg === 'ES256' && key.state === 'next') ? 'next' : 'current'
    expect(await isActive(await signed(decodeJwt(await service()), {}, { state }), 'reports')).toBe(true)
  })
})

describe('the rest of the request is the engine’s business, as with an opaque token', () => {
  let jwt: string
  let opaque: string
  beforeAll(async () => {
    jwt = await service()
    opaque = (await j.tokensFor({ scope: 'openid' })).access_token
  })

  /** @returns status, body and challenge, with what is drawn anew each time left out. */
  async function answerTo(path: string, headers: Record<string, string>, body: string) {
    const answer = await postForm(new URL(path, server.url), new URL(server.url).host, headers, body)
    const { request_id: _, ...rest } = answer.text.startsWith('{') ? JSON.parse(answer.text) : { text: answer.text }
    return { status: answer.status, body: rest, challenge: answer.headers.get('www-authenticate') }
  }
  const basic = () => ({ Authorization: j.basic('shop-web') })

  test.each<[string, (token: string) => [Record<string, string>, string], number]>([
    ['without client authentication', (token) => [{}, `token=${token}`], 401],
    ['with a wrong secret', (token) => [{ Authorization: j.basic('shop-web', 'wrong') }, `token=${token}`], 401],
    ['as an unknown client', (token) => [{}, `token=${token}&client_id=nobody`], 401],
    ['with a Bearer credential', (token) => [{ Authorization: `Bearer ${token}` }, `token=${token}`], 400],
    ['with the token twice', (token) => [basic(), `token=${token}&token=${token}`], 400],
    ['with the token twice, nobody asking', (token) => [{}, `token=${token}&token=${token}`], 401],
    ['with the hint twice', (token) => [basic(), `token=${token}&token_type_hint=a&token_type_hint=b`], 400],
    ['with a control character', (token) => [basic(), `token=${token}&token_type_hint=%00`], 400],
    ['as JSON', (token) => [{ ...basic(), 'Content-Type': 'application/json' }, JSON.stringify({ token })], 400],
    ['as text', (token) => [{ ...basic(), 'Content-Type': 'text/plain' }, `token=${token}`], 400],
    ['of more than the engine reads', (token) => [basic(), `token=${token}&x=${'x'.repeat(60_000)}`], 400],
    [
      'of more than the engine reads, in pieces',
      (token) => [{ ...basic(), 'Transfer-Encoding': 'chunked' }, `token=${token}&x=${'x'.repeat(70_000)}`],
      400,
    ],
    ['with an empty token', () => [basic(), 'token='], 400],
    ['with no token', () => [basic(), 'token_type_hint=access_token'], 400],
    ['with an empty body', () => [basic(), ''], 400],
    ['with broken escapes', (token) => [basic(), `x=%zz&token=${token}%`], 200],
  ])('%s', async (_, request, status) => {
    for (const path of ['/oauth/introspect', '/oauth/revoke']) {
      const [ofJwt, ofOpaque] = [await answerTo(path, ...request(jwt)), await answerTo(path, ...request(opaque))]
      expect(ofJwt).toEqual(ofOpaque)
      expect(ofJwt.status).toBe(status)
    }
    expect(await isActive(jwt, 'reports')).toBe(true)
  })

  test('a token in the query is not looked at (RFC 7662 2.1: parameters are in the body)', async () => {
    const answer = await answerTo(`/oauth/introspect?token=${jwt}`, basic(), 'token_type_hint=access_token')
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
    expect((await answerTo(`/oauth/revoke?token=${jwt}`, { Authorization: j.basic('reports') }, 'x=y')).status).toBe(
      400,
    )
    expect((await fetch(`${server.url}/oauth/introspect?token=${jwt}`, { headers: basic() })).status).toBe(404)
    expect(await isActive(jwt, 'reports')).toBe(true)
  })

  test('the client may say who it is in the body', async () => {
    const fields = { token: (await personal({ client_id: 'shop-spa' })).access_token, client_id: 'shop-spa' }
    expect((await j.post('/oauth/introspect', fields, { as: null })).body).toMatchObject({ client_id: 'shop-spa' })
  })

  test('a caller that hangs up half-way is no fault of ours', async () => {
    const before = server.logged.length
    const socket = connect(server.port, 'localhost')
    socket.on('error', () => undefined)
    const head = `POST /oauth/introspect HTTP/1.1\r\nHost: ${new URL(server.url).host}\r\nAuthorization: ${j.basic('reports')}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 5000\r\n\r\ntoken=${jwt}`
    await new Promise((resolve) => socket.write(head, resolve))
    await delay(100)
    socket.destroy()
    await delay(200)
    const lines = server.logged.slice(before).map((line) => JSON.parse(line) as { level: number | string })
    expect(lines.filter(({ level }) => level === 50 || level === 'error')).toEqual([])
    expect(await isActive(jwt, 'reports')).toBe(true)
  })
})
