// What the console asks a recent sign-in for, the admin API asks one for as well, of people (RFC 9470).
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { createClient } from '#src/clients/clients.ts'
import { permitTokens, tokenOf } from '#test/support/admin-token.ts'
import { type ConsoleHome, startConsole } from '#test/support/console.ts'
import { change } from '#test/support/installation.ts'
import { Person } from '#test/support/person.ts'

const scopes = ['roles:read', 'roles:write', 'audit:read', 'policies:read']

let home: ConsoleHome
let ownApi: string
let named = 0

beforeAll(async () => {
  home = await startConsole()
  ownApi = `${home.server.url}/api`
  await permitTokens(home)
})
afterAll(() => home.stop())

async function call(headers: Record<string, string>, method = 'POST', path = '/roles', body?: unknown) {
  const response = await fetch(`${ownApi}/v1${path}`, {
    method,
    headers: { ...headers, ...(method === 'GET' ? {} : { 'Content-Type': 'application/json' }) },
    ...(method === 'GET' ? {} : { body: JSON.stringify(body ?? { name: `role-${named++}` }) }),
  })
  const text = await response.text()
  return { status: response.status, challenge: response.headers.get('www-authenticate'), text }
}

/** As if every token had been issued after a sign-in that is five minutes old by now. */
const ageTokens = () =>
  home.server.database.pool.query(
    `UPDATE token SET payload = jsonb_set(payload::jsonb, '{extra,auth_time}', to_jsonb((payload #>> '{extra,auth_time}')::int - 301))::json
    WHERE payload #>> '{extra,auth_time}' IS NOT NULL`,
  )

const challenge = () =>
  `Bearer realm="${ownApi}", error="insufficient_user_authentication", acr_values="urn:sallyport:acr:2fa", max_age=300`

test('a recent sign-in with two factors changes something; five minutes later it reads, and is sent to sign in again', async () => {
  const person = new Person(home.server.url)
  const token = await tokenOf(home, home.owner, scopes, { person })
  expect((await call(token)).status).toBe(201)
  await home.age(home.owner.id, 301)
  await ageTokens()
  const roles = await home.server.database.prisma.role.count()
  const refused = await call(token)
  expect([refused.status, refused.challenge]).toEqual([401, challenge()])
  expect(JSON.parse(refused.text).error).toBe('insufficient_user_authentication')
  expect(await home.server.database.prisma.role.count()).toBe(roles)
  expect((await call(token, 'GET')).status).toBe(200)
  // As the challenge says: the same browser, asked for a recent sign-in.
  const again = await tokenOf(home, home.owner, scopes, { person, max_age: '300', acr_values: 'urn:sallyport:acr:2fa' })
  expect((await call(again)).status).toBe(201)
  // It is the token that counts, not what became of its session since.
  const late = await call(token)
  expect([late.status, late.challenge]).toEqual([401, challenge()])
})

test('one factor is not enough, however recent', async () => {
  const { prisma } = home.server.database
  await prisma.role.create({ data: { name: 'clerk', permissions: { create: [{ permission: 'roles:write' }] } } })
  const clerk = await home.appoint('clerk@example.com', 'Clerk', ['clerk'])
  await prisma.credential.deleteMany({ where: { userId: clerk.id, kind: 'totp' } })
  const refused = await call(await tokenOf(home, clerk, ['roles:write']))
  expect([refused.status, refused.challenge]).toEqual([401, challenge()])
})

test('an API key of a person reads and changes nothing; one of a client does both', async () => {
  const { prisma } = home.server.database
  await createClient(prisma, { id: 'robot', type: 'service', apis: { [ownApi]: Object.keys(ownScopes) } }, [], change())
  await home.server.settle()
  const keyOf = async (owner: { userId: string } | { clientId: string }) => {
    const { value } = await createApiKey(prisma, { name: 'k', apis: { [ownApi]: scopes }, owner }, change())
    return { 'X-API-Key': value }
  }
  const theirs = await keyOf({ userId: home.owner.id })
  expect((await call(theirs, 'GET')).status).toBe(200)
  const refused = await call(theirs)
  expect([refused.status, refused.challenge]).toEqual([401, challenge()])
  expect((await call(await keyOf({ clientId: 'robot' }))).status).toBe(201)
})

test('what is read with a POST asks nothing of the sign-in, and an export of the record does although it is a GET', async () => {
  const token = await tokenOf(home, home.owner, scopes)
  expect((await call(token, 'GET', '/audit/export')).status).toBe(200)
  await home.age(home.owner.id, 301)
  expect((await call(token, 'GET', '/audit/export')).status).toBe(401)
  expect((await call(token, 'GET', '/audit')).status).toBe(200)
  expect((await call(token, 'POST', '/policies/try', {})).status).toBe(400)
})

test('who lacks the scope hears that, whatever their sign-in', async () => {
  const token = await tokenOf(home, home.owner, ['roles:read'])
  await home.age(home.owner.id, 301)
  expect(await call(token)).toMatchObject({ status: 403, challenge: expect.stringContaining('insufficient_scope') })
})

test('the description says which operations ask', async () => {
  const { paths } = (await (await fetch(`${home.server.url}/api/openapi.json`)).json()) as {
    paths: Record<string, Record<string, { description?: string }>>
  }
  const asks = (path: string, method: string) => paths[path]?.[method]?.description?.includes('RFC 9470') ?? false
  expect([asks('/roles', 'post'), asks('/users/{id}', 'delete'), asks('/audit/export', 'get')]).toEqual([
    true,
    true,
    true,
  ])
  expect([asks('/roles', 'get'), asks('/policies/try', 'post')]).toEqual([false, false])
})
