// examples/ownership: two people with the same scope, one order. The naive route is shown to be broken, the others to hold.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hashPassword } from '#src/factors/password.ts'
import { createUser } from '#src/users/users.ts'
import { change, orders, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'
import { type Program, startProgram } from './program.ts'

let server: TestServer
let j: Journey
const tokens = { alice: '', bob: '' }
const apis: Record<'telling' | 'hiding', Program | undefined> = { telling: undefined, hiding: undefined }

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  const passwordHash = await hashPassword(password)
  await createUser(server.database.prisma, { email: 'bob@example.com', emailVerified: true, name: 'Bob', passwordHash }, change()) // biome-ignore format: one line
  const asked = { scope: 'orders:read orders:write', resource: orders }
  tokens.alice = (await j.tokensFor(asked, undefined, { resource: orders })).access_token
  const bob = new Person(server.url)
  const page = await bob.open((await j.begin()).address)
  await bob.submit(page, { identifier: 'bob@example.com', password })
  tokens.bob = (await j.tokensFor(asked, bob, { resource: orders })).access_token
  const env = { ISSUER_URL: server.url, API_IDENTIFIER: orders, PORT: '0' }
  const start = (more: Record<string, string> = {}) => startProgram('examples/ownership/orders.ts', { ...env, ...more })
  ;[apis.telling, apis.hiding] = await Promise.all([start(), start({ HIDE_EXISTENCE: '1' })])
}, 90_000)
afterAll(async () => {
  await Promise.all([apis.telling?.stop(), apis.hiding?.stop()])
  await server?.stop()
})

async function ask(who: 'alice' | 'bob' | undefined, method: string, path: string, api = apis.telling) {
  const headers: Record<string, string> = who ? { authorization: `Bearer ${tokens[who]}` } : {}
  const response = await fetch(`${api?.url}${path}`, { method, headers })
  const text = await response.text()
  return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : text }
}

const orderOf = async (who: 'alice' | 'bob', api = apis.telling) =>
  (await ask(who, 'POST', '/orders', api)).body.id as number

it('broken: SELECT … WHERE id = ? gives Bob the order of Alice, although both doors were passed', async () => {
  const id = await orderOf('alice')
  expect(await ask('bob', 'GET', `/broken/orders/${id}`)).toMatchObject({ status: 200, body: { id } })
})

describe('fixed', () => {
  it('200 for the owner, 403 for the other, 404 for what is not there, 401 for nobody', async () => {
    const id = await orderOf('alice')
    expect(await ask('alice', 'GET', `/orders/${id}`)).toMatchObject({ status: 200, body: { id } })
    expect(await ask('bob', 'GET', `/orders/${id}`)).toMatchObject({ status: 403, body: { error: 'access_denied' } })
    expect((await ask('bob', 'GET', '/orders/999')).status).toBe(404)
    for (const path of [`/orders/${id}`, '/orders/999', '/nowhere'])
      expect((await ask(undefined, 'GET', path)).status).toBe(401)
  })

  it('a list has one’s own and nothing else', async () => {
    const [hers, his] = [await orderOf('alice'), await orderOf('bob')]
    const ids = (await ask('bob', 'GET', '/orders')).body.orders.map((order: { id: number }) => order.id)
    expect(ids).toContain(his)
    expect(ids).not.toContain(hers)
  })

  it('nobody deletes what is not theirs', async () => {
    const id = await orderOf('alice')
    expect((await ask('bob', 'DELETE', `/orders/${id}`)).status).toBe(403)
    expect((await ask('alice', 'GET', `/orders/${id}`)).status).toBe(200)
    expect((await ask('alice', 'DELETE', `/orders/${id}`)).status).toBe(204)
    expect((await ask('alice', 'DELETE', `/orders/${id}`)).status).toBe(404)
  })

  it('with HIDE_EXISTENCE a foreign order and a missing one are told apart by nobody', async () => {
    const id = await orderOf('alice', apis.hiding)
    const answers = await Promise.all(
      ['GET', 'DELETE'].flatMap((method) =>
        [`/orders/${id}`, '/orders/999'].map((path) => ask('bob', method, path, apis.hiding)),
      ),
    )
    expect(answers[0]?.status).toBe(404)
    for (const answer of answers) expect(answer).toEqual(answers[0])
  })
})
