// Nonces of the API for DPoP proofs (RFC 9449 9), in every adapter over real HTTP, and with a client that other people wrote.
import { createHash, randomUUID } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose'
import * as oauth from 'oauth4webapi'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { protect as protectFetch } from '#src/guard/fetch.ts'
import { createGuard, type Guard, type GuardOptions } from '#src/guard/guard.ts'
import { type Answer, type Api, ask, frameworks, startApi } from './apps.ts'
import { audience, epoch, outcome, requestWith, startIssuer } from './issuer.ts'

const issuer = await startIssuer()
afterAll(() => issuer.stop())
const publicUrl = 'https://api.example.com'
const secrets = ['the secret of every process of it']
/** Milliseconds by which the clocks of the guards are ahead of a whole minute. */
let ahead = 0
const minute = Math.ceil(Date.now() / 60_000) * 60_000
const now = () => minute + ahead
beforeEach(() => {
  ahead = 0
})
const guardWith = (options: Partial<GuardOptions> = {}) =>
  createGuard({ issuer: issuer.url, audience, publicUrl, dpopNonce: { secrets }, now, ...options })

const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
const jwk = await exportJWK(publicKey)
const lasting = { iat: epoch(), exp: epoch() + 3_600 }
const token = await issuer.sign({ ...lasting, cnf: { jkt: await calculateJwkThumbprint(jwk) } })

/** A good proof, but for the nonce, and what is changed. */
const proof = (nonce: unknown, claims: Record<string, unknown> = {}, path = '/read') =>
  new SignJWT({
    ...{ htm: 'GET', htu: publicUrl + path, iat: epoch(), jti: randomUUID(), nonce },
    ...{ ath: createHash('sha256').update(token).digest('base64url'), ...claims },
  })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
    .sign(privateKey)

const call = async (guard: Guard, nonce: unknown, claims?: Record<string, unknown>) => {
  const headers = { authorization: `DPoP ${token}`, dpop: await proof(nonce, claims) }
  return outcome(guard.authenticate(requestWith(headers, { target: '/read' })))
}
/** The nonce that is given out now. */
async function nonceOf(guard: Guard): Promise<string> {
  const { headers } = await refusalOf(guard)
  return headers['dpop-nonce'] ?? ''
}
async function refusalOf(guard: Guard): Promise<{ headers: Record<string, string> }> {
  const headers = { authorization: `DPoP ${token}`, dpop: await proof(undefined) }
  return guard.authenticate(requestWith(headers, { target: '/read' })).catch((error) => error)
}
const untaken = { status: 401, code: 'use_dpop_nonce' }

describe.each(Object.keys(frameworks))('%s', (name) => {
  const framework = frameworks[name] as NonNullable<(typeof frameworks)[string]>
  let api: Api
  beforeEach(async () => {
    api = await startApi(framework(guardWith()))
  })
  afterEach(() => api.stop())
  const send = async (nonce: unknown, path = '/read'): Promise<Answer> =>
    ask(api.url + path, {
      headers: [
        ['authorization', `DPoP ${token}`],
        ['dpop', await proof(nonce, {}, path)],
      ],
    })

  it('a proof without a nonce: 401 use_dpop_nonce with one, and with that one 200', async () => {
    const refused = await send(undefined)
    expect(refused).toMatchObject({
      status: 401,
      challenge: expect.stringMatching(/DPoP error="use_dpop_nonce", error_description="[^"]+", algs="/),
      body: { error: 'use_dpop_nonce' },
      headers: { 'dpop-nonce': expect.stringMatching(/^[\w-]{43}$/), 'cache-control': 'no-store' },
    })
    const answer = await send(refused.headers['dpop-nonce'])
    expect(answer).toMatchObject({ status: 200, body: { caller: 'alice' } })
    expect(answer.headers['dpop-nonce'], 'there is no newer one').toBeUndefined()
  })

  it('in the next minute it still counts, and the answer brings the next one (8.2); a minute later it does not', async () => {
    const first = (await send(undefined)).headers['dpop-nonce']
    ahead = 60_000
    const answer = await send(first)
    const second = answer.headers['dpop-nonce']
    expect(answer).toMatchObject({ status: 200, headers: { 'cache-control': 'no-store' } })
    expect(second).toMatch(/^[\w-]{43}$/)
    expect(second).not.toBe(first)
    expect((await send(second)).status).toBe(200)
    ahead = 120_000
    expect(await send(first)).toMatchObject({ status: 401, body: { error: 'use_dpop_nonce' } })
    expect((await send(second)).status).toBe(200)
  })

  it('a refusal at the second door brings it, too', async () => {
    const first = (await send(undefined)).headers['dpop-nonce']
    ahead = 60_000
    for (const [path, status] of [
      ['/delete', 403],
      ['/mine/bob', 403],
      ['/mine/nobody', 404],
    ] as const) {
      const answer = await send(first, path)
      expect([answer.status, answer.headers['dpop-nonce']], path).toEqual([
        status,
        expect.stringMatching(/^[\w-]{43}$/),
      ])
    }
  })

  it('whoever is not asked for a proof hears nothing of nonces', async () => {
    const bearer = await issuer.sign(lasting)
    const answers = [await ask(`${api.url}/read`), await ask(`${api.url}/read`, { headers: [['authorization', `Bearer ${bearer}`]] })] // biome-ignore format: one line
    expect(answers.map(({ status, headers }) => [status, headers['dpop-nonce']])).toEqual([
      [401, undefined],
      [200, undefined],
    ])
  })
})

describe('a nonce', () => {
  const guard = guardWith()

  it.each<[string, unknown]>([
    ['that is missing', undefined],
    ['that was made up', 'A'.repeat(43)],
    ['that is empty', ''],
    ['that is no text', 7],
    ['that is a list', [[]]],
    ['that is null', null],
  ])('%s: 401', async (_what, nonce) => {
    expect(await call(guard, nonce)).toMatchObject(untaken)
  })

  it('of another API, another secret, another length of time is none', async () => {
    const others = [
      guardWith({ audience: 'https://api.example.com/stock' }),
      guardWith({ dpopNonce: { secrets: ['another secret, as long as needed'] } }),
      guardWith({ dpopNonce: { secrets, seconds: 30 } }),
    ]
    const cnf = { jkt: await calculateJwkThumbprint(jwk) }
    const stock = await issuer.sign({ ...lasting, cnf, aud: 'https://api.example.com/stock' })
    const ath = createHash('sha256').update(stock).digest('base64url')
    const dpop = await proof(undefined, { ath })
    const elsewhere = await (others[0] as Guard)
      .authenticate(requestWith({ authorization: `DPoP ${stock}`, dpop }, { target: '/read' }))
      .catch((error) => error.headers['dpop-nonce'])
    const nonces = [elsewhere, await nonceOf(others[1] as Guard), await nonceOf(others[2] as Guard)]
    for (const nonce of nonces) {
      expect(nonce).toMatch(/^[\w-]{43}$/)
      expect(await call(guard, nonce)).toMatchObject(untaken)
    }
  })

  it('is known to every process that has the secret, and by default to one', async () => {
    expect(await call(guardWith(), await nonceOf(guard))).toMatchObject({ status: 200 })
    const alone = guardWith({ dpopNonce: {} })
    expect(await call(alone, await nonceOf(alone))).toMatchObject({ status: 200 })
    expect(await call(guardWith({ dpopNonce: {} }), await nonceOf(alone))).toMatchObject(untaken)
  })

  it('of a secret that is being replaced is taken; new ones are made with the first', async () => {
    const next = guardWith({ dpopNonce: { secrets: ['the next secret of every process', ...secrets] } })
    const old = await nonceOf(guard)
    expect(await call(next, old)).toMatchObject({ status: 200 })
    expect(await nonceOf(next)).not.toBe(old)
  })

  it('of a process whose clock is a little ahead is taken, of one that is far ahead it is not', async () => {
    ahead = 60_000
    const next = await nonceOf(guard)
    ahead = 56_000
    expect(await call(guard, next)).toMatchObject({ status: 200 })
    ahead = 54_000
    expect(await call(guard, next)).toMatchObject(untaken)
  })

  it('stands for the time of the proof: the clock of the caller does not matter (4.3)', async () => {
    const nonce = await nonceOf(guard)
    for (const iat of [epoch() - 86_400, epoch() + 86_400])
      expect(await call(guard, nonce, { iat })).toMatchObject({ status: 200 })
    expect(await call(guard, nonce, { iat: undefined })).toMatchObject({ status: 401, code: 'invalid_dpop_proof' })
  })

  it('may be used for many proofs, and none of these twice as long as it counts', async () => {
    const nonce = await nonceOf(guard)
    const jti = randomUUID()
    expect(await call(guard, nonce, { jti })).toMatchObject({ status: 200 })
    for (ahead of [0, 60_000, 119_000])
      expect(await call(guard, nonce, { jti })).toMatchObject({ status: 401, code: 'invalid_dpop_proof' })
    expect(await call(guard, nonce)).toMatchObject({ status: 200 })
    ahead = 120_000
    expect(await call(guard, nonce, { jti })).toMatchObject(untaken)
  })

  it('that is good helps no proof that is not', async () => {
    const nonce = await nonceOf(guard)
    for (const claims of [{ htm: 'POST' }, { htu: `${publicUrl}/other` }, { ath: 'another' }, { jti: undefined }])
      expect(await call(guard, nonce, claims)).toMatchObject({ status: 401, code: 'invalid_dpop_proof' })
  })

  it.each<[string, Partial<GuardOptions>]>([
    ['without DPoP', { dpop: 'never' }],
    ['with a secret that could be guessed', { dpopNonce: { secrets: ['short'] } }],
    ['with one such secret among others', { dpopNonce: { secrets: [...secrets, 'short'] } }],
    ['without any secret', { dpopNonce: { secrets: [] } }],
    ['with no time', { dpopNonce: { secrets, seconds: 0 } }],
    ['with half a second', { dpopNonce: { secrets, seconds: 0.5 } }],
  ])('no guard is made %s', (_what, options) => {
    expect(() => guardWith(options)).toThrow(TypeError)
  })
})

it('fetch: the answer of a handler that cannot be changed keeps its status, cookies and body', async () => {
  const guard = guardWith()
  const nonce = await nonceOf(guard)
  ahead = 60_000
  const asked = async (answer: Response) => {
    const headers = { authorization: `DPoP ${token}`, dpop: await proof(nonce) }
    return protectFetch(guard, () => answer)(new Request(`${publicUrl}/read`, { headers }))
  }
  const redirect = await asked(Response.redirect('https://elsewhere.example/', 303))
  expect([redirect.status, redirect.headers.get('location'), redirect.headers.get('dpop-nonce')]).toEqual([
    303,
    'https://elsewhere.example/',
    await nonceOf(guard),
  ])
  const cookies: [string, string][] = [
    ['set-cookie', 'a=1'],
    ['set-cookie', 'b=2'],
    ['cache-control', 'private'],
  ]
  const kept = await asked(new Response('body', { status: 201, headers: cookies }))
  expect([kept.status, kept.headers.getSetCookie(), await kept.text()]).toEqual([201, ['a=1', 'b=2'], 'body'])
  expect(kept.headers.get('cache-control'), 'what the handler says stands').toBe('private')
})

it('oauth4webapi: hears of it once, and goes on through minutes without hearing of it again', async () => {
  const api = await startApi((frameworks.Koa as NonNullable<(typeof frameworks)[string]>)(guardWith()))
  try {
    const client: oauth.Client = { client_id: 'shop' }
    const DPoP = oauth.DPoP(client, { privateKey, publicKey })
    const statuses: number[] = []
    /** What callers address leads here. */
    const leading = async (url: string, { method, headers }: { method: string; headers: Record<string, string> }) => {
      const answer = await fetch(url.replace(publicUrl, api.url), { method, headers })
      statuses.push(answer.status)
      return answer
    }
    const get = () =>
      oauth.protectedResourceRequest(token, 'GET', new URL(`${publicUrl}/read`), undefined, undefined, {
        DPoP,
        [oauth.customFetch]: leading as never,
      })
    const refused = await get().catch((error: unknown) => error)
    expect(oauth.isDPoPNonceError(refused)).toBe(true)
    for (ahead of [0, 60_000, 120_000, 180_000]) expect((await get()).status).toBe(200)
    expect(statuses).toEqual([401, 200, 200, 200, 200])
  } finally {
    await api.stop()
  }
})
