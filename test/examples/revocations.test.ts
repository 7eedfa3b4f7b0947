// A verifier that follows the feed, as docs/revocation.md tells it to.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { endApiTokens } from '#src/apis/apis.ts'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { createClient, endClientTokens } from '#src/clients/clients.ts'
import { followRevocations } from '#src/guard/revocations.ts'
import { revoke } from '#src/tokens/revoke.ts'
import { rowIdOfValue } from '#src/tokens/row-ids.ts'
import { change } from '#test/support/installation.ts'
import { startServer, type TestServer } from '#test/support/server.ts'
import { createOrdersApi, ordersApi, reports, requestToken } from './orders.ts'
import { type Program, startProgram } from './program.ts'

let server: TestServer
let api: Program
let key: string
beforeAll(async () => {
  server = await startServer()
  await ensureOwnApi(server.database, `${server.url}/api`, change())
  await server.settle()
  await createOrdersApi(server)
  const { prisma } = server.database
  const apis = { [`${server.url}/api`]: ['revocations:read'] }
  // The API's own: with everything of the client that calls it, that client's keys end, too.
  await createClient(prisma, { id: 'orders-api', type: 'service', apis }, [], change())
  key = (await createApiKey(prisma, { name: 'verifier', apis, owner: { clientId: 'orders-api' } }, change())).value
  api = await startProgram('examples/resource-server/server.ts', {
    ISSUER_URL: server.url,
    API_IDENTIFIER: ordersApi,
    PORT: '0',
    REVOCATIONS_KEY: key,
  })
})
afterAll(async () => {
  await api?.stop()
  await server?.stop()
})

const statusWith = async (token: string) =>
  (await fetch(`${api.url}/orders`, { headers: { authorization: `Bearer ${token}` } })).status
const nextSecond = () => new Promise((resolve) => setTimeout(resolve, 1_001 - (Date.now() % 1_000)))

describe('a JWT that is revoked is refused within seconds, and a new one is taken', () => {
  it.each<[string, (token: string) => Promise<void>]>([
    ['by its jti', (token) => revoke(server.database.prisma, { kind: 'token', id: rowIdOfValue(token) }, change())],
    ['by its client', () => endClientTokens(server.database.prisma, reports.id, change())],
    ['by its API', () => endApiTokens(server.database.prisma, ordersApi, change())],
    ['with everything before now', () => revoke(server.database.prisma, { kind: 'before', moment: 'now' }, change())],
  ])('%s', async (_way, end) => {
    await nextSecond()
    const token = await requestToken(server.url)
    expect(await statusWith(token)).toBe(200)
    await nextSecond()
    await end(token)
    await expect.poll(() => statusWith(token), { timeout: 10_000 }).toBe(401)
    await nextSecond()
    expect(await statusWith(await requestToken(server.url))).toBe(200)
  })
})

it('knows the kinds by the claim that each names, and nothing else', async () => {
  const { pool } = server.database
  const entries = ['token j', 'grant g', 'user u', 'client c', 'api a']
  for (const entry of entries)
    await pool.query(
      `INSERT INTO revocation (kind, target, known_at) VALUES (split_part($1, ' ', 1), split_part($1, ' ', 2), to_timestamp(2000000000.5))`,
      [entry],
    )
  const { isRevoked, isBlind, stop } = await followRevocations(server.url, key)
  const good = { jti: '1', grant_id: '2', sub: '3', client_id: '4', aud: '5', iat: 2_000_000_001 }
  expect(isBlind()).toBe(false)
  expect(isRevoked(good)).toBe(false)
  for (const named of [{ jti: 'j' }, { grant_id: 'g' }]) expect(isRevoked({ ...good, ...named })).toBe(true)
  for (const named of [{ sub: 'u' }, { client_id: 'c' }, { aud: 'a' }, { aud: ['x', 'a'] }]) {
    expect(isRevoked({ ...good, ...named, iat: 2_000_000_000 })).toBe(true)
    expect(isRevoked({ ...good, ...named })).toBe(false)
  }
  expect(isRevoked({ ...good, sub: 'g', jti: 'u' })).toBe(false)
  stop()
})

it('does not start without the whole feed', async () => {
  await expect(followRevocations(server.url, 'not-a-key')).rejects.toThrow('401')
})
