// Never a 403 for somebody who is not identified, whatever is sent and whatever is asked (docs/decisions/034).
import * as fc from 'fast-check'
import { generateKeyPair } from 'jose'
import { afterAll, expect, it } from 'vitest'
import { createGuard, type GuardRequest, Refused, type Requirements } from '#src/guard/guard.ts'
import { audience, epoch, startIssuer } from './issuer.ts'

const issuer = await startIssuer()
afterAll(() => issuer.stop())
issuer.answers.set('/oauth/introspect', ({ body }) => ({
  body:
    new URLSearchParams(body).get('token') === 'good-opaque'
      ? {
          active: true,
          sub: 'alice',
          client_id: 'shop',
          scope: 'orders:read',
          aud: audience,
          exp: epoch() + 600,
          auth_method: 'oauth',
        }
      : { active: false },
}))
issuer.answers.set('/access/v1/evaluation', () => ({ body: { decision: false } }))

const good = await issuer.sign({ exp: epoch() + 600 })
const stranger = await generateKeyPair('ES256', { extractable: true })
const bad = await Promise.all([
  issuer.sign({ exp: 1 }),
  issuer.sign({ aud: 'https://other.example' }),
  issuer.sign({ iss: 'https://other.example' }),
  issuer.sign({ cnf: { jkt: 'x' } }),
  issuer.sign({}, { typ: 'JWT' }),
  issuer.sign({}, {}, stranger.privateKey),
])

type Line = readonly [string, string]
const token = fc.oneof(fc.constantFrom(good, 'good-opaque', ...bad), fc.string(), fc.base64String())
const scheme = fc.constantFrom('Bearer', 'bearer', 'DPoP', 'Basic', 'Negotiate', '')
const authorization = fc.tuple(scheme, token).map(([name, value]) => `${name} ${value}`)
const line: fc.Arbitrary<Line> = fc.oneof(
  authorization.map((value) => ['authorization', value] as const),
  token.map((value) => ['x-api-key', value] as const),
  token.map((value) => ['dpop', value] as const),
)
const soundly = fc.constantFrom(good, 'good-opaque').map((value): Line[] => [['authorization', `Bearer ${value}`]])
const lines = fc.oneof({ weight: 3, arbitrary: fc.array(line, { maxLength: 3 }) }, { weight: 1, arbitrary: soundly })
const target = fc.oneof(
  fc.constantFrom('/', '/orders/89'),
  fc.constant(`/?access_token=${good}`),
  fc.webQueryParameters().map((query) => `/orders?${query}`),
)
const requests: fc.Arbitrary<{ request: GuardRequest; lines: Line[] }> = fc
  .record({ lines, target, method: fc.constantFrom('GET', 'DELETE') })
  .map(({ lines, ...request }) => ({
    lines,
    request: { ...request, header: (name) => lines.flatMap(([known, value]) => (known === name ? [value] : [])) },
  }))
const requirements: fc.Arbitrary<Requirements> = fc.record(
  {
    scopes: fc.subarray(['orders:read', 'orders:write']),
    acr: fc.constantFrom('phr', 'urn:sallyport:acr:1fa'),
    maxAge: fc.nat({ max: 1_000 }),
  },
  { requiredKeys: [] },
)

/** What was sent, judged by the letter of the contract and not by the guard: exactly one good credential. */
function isIdentified(lines: readonly Line[], { target }: GuardRequest): boolean {
  const credentials = lines.filter(([name]) => name !== 'dpop').map(([, value]) => value.trim())
  const [only = '', ...more] = credentials
  return (
    more.length === 0 &&
    /^bearer +/i.test(only) &&
    [good, 'good-opaque'].includes(only.replace(/^bearer +/i, '')) &&
    !/[?&](?:access_token|api_?key|x-api-key|token|authorization)(?:[=&]|$)/i.test(target)
  )
}

it('a property: 403 and 404 are for callers who are known', async () => {
  const seen = new Set<string>()
  for (const hideExistence of [false, true]) {
    const guard = createGuard({
      issuer: issuer.url,
      audience,
      publicUrl: 'https://api.example.com',
      introspection: { clientId: 'orders-api', clientSecret: 'secret' },
      hideExistence,
    })
    await fc.assert(
      fc.asyncProperty(requests, requirements, fc.nat({ max: 4 }), async ({ lines, request }, needs, way) => {
        const identified = isIdentified(lines, request)
        // A handler may forget to stop at the first door; the second must not mistake nobody for somebody.
        const caller = await guard.authenticate(request).catch((error: unknown) => {
          if (!(error instanceof Refused)) throw error
          expect(error.status).toBeOneOf([400, 401])
          expect(error.headers['www-authenticate']).toMatch(/^(?:Bearer|DPoP)/)
          return undefined
        })
        expect(caller !== undefined).toBe(identified)
        try {
          if (way === 0) guard.authorize(caller, needs)
          if (way === 1) await guard.requireCan(caller, 'orders:read', { type: 'order', id: '89' })
          if (way === 2) guard.requireOwner(caller, { owner: 'bob' }, (row) => row.owner)
          if (way === 3) guard.requireOwner(caller, undefined, () => 'bob')
          if (way === 4) guard.requireOwner(caller, { owner: 'alice' }, (row) => row.owner)
          seen.add(`${identified} 200`)
        } catch (error) {
          if (!(error instanceof Refused)) throw error
          if (!identified) expect(error.status).toBe(401)
          seen.add(`${identified} ${error.status}`)
        }
      }),
      { numRuns: 500 },
    )
  }
  // A check that met nobody, or only one kind of caller, is no check.
  expect([...seen].sort()).toEqual(['false 401', 'true 200', 'true 401', 'true 403', 'true 404'])
})
