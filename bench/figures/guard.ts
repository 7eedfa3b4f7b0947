// What `sallyport/guard` adds to a request of an API, in this process: no HTTP, no network, the keys at hand.
//   seen before   authenticate and authorize for a JWT that came before
//   new           the same for a JWT that never came, beside jose's jwtVerify alone: what is left is the guard's own
//   bound         a JWT that came before, with a DPoP proof, beside the verification of one signature
// All take turns, forwards and backwards, so that whatever else the machine does meets them alike.
import { hash, randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, jwtVerify, SignJWT } from 'jose'
import { createGuard } from '#src/guard/guard.ts'
import { fromNode } from '#src/guard/node.ts'
import { median } from '../load.ts'
import type { Figure, FigureSource } from './figure.ts'

const audience = 'https://api.example.com/orders'
/** As many as an API meets between two sign-ins of its callers. */
const callers = 500
const rounds = 15

export const guard: FigureSource = { name: 'guard', measure: measureGuard }

/** Microseconds, medians over rounds. */
export async function measureGuard(): Promise<Figure[]> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k1', use: 'sig', alg: 'ES256' }
  const server = createServer((request, response) => {
    const document = request.url === '/jwks' ? { keys: [jwk] } : { issuer, jwks_uri: `${issuer}/jwks` }
    response.end(JSON.stringify(document))
  })
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  const issuer = `http://localhost:${(server.address() as AddressInfo).port}`
  const doors = createGuard({ issuer, audience, publicUrl: 'https://api.example.com' })
  const verificationKey = await importJWK(jwk, 'ES256')

  const dpop = await generateKeyPair('ES256', { extractable: true })
  const dpopJwk = await exportJWK(dpop.publicKey)
  const jkt = await calculateJwkThumbprint(dpopJwk)
  let serial = 0
  const sign = (more: object = {}) =>
    new SignJWT({
      scope: 'openid profile orders:read orders:write',
      client_id: 'shop-web',
      grant_id: randomUUID(),
      acr: 'urn:sallyport:acr:2fa',
      auth_time: 1_700_000_000,
      ...more,
    })
      .setProtectedHeader({ alg: 'ES256', kid: 'k1', typ: 'at+jwt' })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(randomUUID())
      .setJti(`${serial++}`)
      .setIssuedAt()
      .setExpirationTime('15m')
      .sign(privateKey)
  const many = <T>(make: (n: number) => Promise<T>) => Promise.all(Array.from({ length: callers }, (_, n) => make(n)))

  const enter = async (scheme: 'Bearer' | 'DPoP', token: string, proof?: string) => {
    const lines = ['Host', 'api.example.com', 'User-Agent', 'bench', 'Accept', '*/*', 'Accept-Encoding', 'gzip']
    const rawHeaders = [...lines, 'Authorization', `${scheme} ${token}`, ...(proof ? ['DPoP', proof] : [])]
    const request = { method: 'GET', url: '/orders?page=2', rawHeaders, headers: {} } as unknown
    const caller = await doors.authenticate(fromNode(request as Parameters<typeof fromNode>[0]))
    doors.authorize(caller, { scopes: ['orders:read'], acr: 'urn:sallyport:acr:1fa' })
  }
  const verifyAlone = (token: string) =>
    jwtVerify(token, verificationKey, { issuer, audience, typ: 'at+jwt', algorithms: ['ES256'] })

  try {
    const known = await many(() => sign())
    const times = { seen: [] as number[], fresh: [] as number[], alone: [] as number[], bound: [] as number[] }
    for (const token of known) await enter('Bearer', token)
    const withKey = await sign({ cnf: { jkt } })
    for (let round = 0; round < rounds; round++) {
      const [fresh, others, proofs] = await Promise.all([
        many(() => sign()),
        many(() => sign()),
        many(() => proofFor(withKey)),
      ])
      const turns = [
        async () => times.seen.push(await each(known, (token) => enter('Bearer', token))),
        async () => times.alone.push(await each(others, verifyAlone)),
        async () => times.fresh.push(await each(fresh, (token) => enter('Bearer', token))),
        async () => times.bound.push(await each(proofs, (proof) => enter('DPoP', withKey, proof))),
      ]
      for (const turn of round % 2 === 0 ? turns : turns.reverse()) await turn()
    }
    const [seen, alone, bound] = [times.seen, times.alone, times.bound].map(median)
    const figure = (name: string, title: string, value = Number.NaN): Figure => ({ name, title, value, unit: 'us' })
    return [
      { ...figure('guard.seen', 'guard: a JWT that came before, added to a request', seen), goal: { atMost: 60 } },
      {
        ...figure(
          'guard.new',
          'guard: a new JWT, beyond verifying it',
          median(times.fresh.map((value, round) => value - (times.alone[round] ?? 0))),
        ),
        note: `verifying alone ${alone?.toFixed(0)} us`,
      },
      figure('guard.bound', 'guard: a JWT that came before, with a new DPoP proof', bound),
    ]
  } finally {
    doors.close()
    server.close()
  }

  function proofFor(token: string): Promise<string> {
    return new SignJWT({
      htm: 'GET',
      htu: 'https://api.example.com/orders',
      jti: randomUUID(),
      ath: hash('sha256', token, 'base64url'),
    })
      .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk: dpopJwk })
      .setIssuedAt()
      .sign(dpop.privateKey)
  }
}

/** @returns microseconds for one. */
async function each<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<number> {
  const begin = performance.now()
  for (const item of items) await work(item)
  return ((performance.now() - begin) * 1000) / items.length
}
