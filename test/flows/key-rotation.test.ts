// Keys change while clients and APIs go on: what a retired key signed is good until it expires, on every process.
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { removeRetiredKeys, rotateSigningKeys } from '#src/keys/key-rotation.ts'
import { change } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let second: TestServer
let j: Journey
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  second = await startServer({ share: server })
})
afterAll(async () => {
  await second.stop()
  await server.stop()
})

const in2Days = () => ({ ...change(), now: new Date(Date.now() + 2 * 86_400_000) })
const settled = () => Promise.all([server.settle(), second.settle()])
const origins = () => [server.url, `http://localhost:${second.port}`]
const service = async (origin = server.url) =>
  (await j.post('/oauth/token', { grant_type: 'client_credentials', scope: 'orders:read' }, { as: 'reports', origin }))
    .body.access_token
const kid = (jwt: string) => decodeProtectedHeader(jwt).kid ?? ''
const jwks = async () => (await (await fetch(`${server.url}/oauth/jwks`)).json()) as JSONWebKeySet
const introspected = async (jwt: string) =>
  Promise.all(
    origins().map(
      async (origin) => (await j.post('/oauth/introspect', { token: jwt }, { as: 'reports', origin })).body.active,
    ),
  )

test('a JWT of a retired key is verified by who knows the published keys, and introspected everywhere, until the key is removed', async () => {
  const before = await jwks()
  const old = await service()
  const { id_token, person } = await j.tokensFor()
  await rotateSigningKeys(server.database, server.secretKeys, { afterSeconds: 0, change: in2Days() })
  await settled()

  const fresh = await Promise.all(origins().map(service))
  for (const jwt of fresh) {
    expect(kid(jwt)).not.toBe(kid(old))
    await jwtVerify(jwt, createLocalJWKSet(before)) // whoever read the keys before the rotation knew this one
    expect(await introspected(jwt)).toEqual([true, true])
  }
  await jwtVerify(old, createLocalJWKSet(await jwks()))
  expect(await introspected(old)).toEqual([true, true])
  const page = await person.open(`/oauth/logout?${new URLSearchParams({ id_token_hint: id_token ?? '' })}`)
  expect(page.status).toBe(200)

  expect(await removeRetiredKeys(server.database, { keptSeconds: 0, change: in2Days() })).toContain(kid(old))
  await settled()
  expect((await jwks()).keys.map((key) => key.kid)).not.toContain(kid(old))
  expect(await introspected(old)).toEqual([false, false])
  expect(await introspected(fresh[0] ?? '')).toEqual([true, true])
})
