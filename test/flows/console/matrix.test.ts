// Every route of the admin API and every page of the console against everybody who might knock, made from the two tables: what is added is
// asked too. Whoever is not identified never sees a 403; whoever lacks the scope sees nothing else; whoever has it is not sent away.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { createRole } from '#src/access/roles.ts'
import { isSensitive } from '#src/admin/api/route.ts'
import { adminRoutes } from '#src/admin/api/router.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { createClient } from '#src/clients/clients.ts'
import { permitTokens, tokenOf } from '#test/support/admin-token.ts'
import { type Administrator, type ConsoleHome, consoleTable, startConsole } from '#test/support/console.ts'
import { change, password } from '#test/support/installation.ts'
import { Person } from '#test/support/person.ts'

const all = Object.keys(ownScopes)
const auditorMay = all.filter((scope) => scope.endsWith(':read'))
const supportMay = ['users:read', 'users:write', 'tokens:read', 'tokens:write']

let home: ConsoleHome
let ownApi: string
/** What each caller shows, and what they may. `signedIn`: a person by what no recent sign-in with two factors stands behind, or one by what it does. */
let callers: Record<
  string,
  { headers: Record<string, string>; may: readonly string[]; identified: boolean; signedIn?: 'recently' | 'not' }
>
let people: Record<string, { person: Person; as: Administrator; may: readonly string[] }>

beforeAll(async () => {
  home = await startConsole()
  const { database, url } = home.server
  const { prisma } = database
  ownApi = `${url}/api`
  const auditor = await home.appointWith('auditor@example.com', 'auditor', { permissions: auditorMay })
  const support = await home.appointWith('support@example.com', 'support', { permissions: supportMay })
  await createClient(prisma, { id: 'robot', type: 'service', apis: { [ownApi]: all } }, [], change())
  const keyOf = async (owner: { userId: string } | { clientId: string }, scopes: readonly string[]) => {
    const { value } = await createApiKey(prisma, { name: 'matrix', apis: { [ownApi]: [...scopes] }, owner }, change())
    return { 'X-API-Key': value }
  }
  const identified = true
  await prisma.userRole.create({ data: { userId: home.alice.id, roleName: 'owner' } })
  const lost = await keyOf({ userId: home.alice.id }, all)
  await prisma.userRole.deleteMany({ where: { userId: home.alice.id } })
  await permitTokens(home)
  const old = await tokenOf(home, support, supportMay)
  await home.age(support.id, 301)
  const basic = (id: string, secret: string) => ({ Authorization: `Basic ${btoa(`${id}:${secret}`)}` })
  callers = {
    anonymous: { headers: {}, may: [], identified: false },
    'a token that is none': {
      headers: { Authorization: `Bearer ${randomBytes(32).toString('base64url')}` },
      may: [],
      identified: false,
    },
    'a person who lost their role': { headers: lost, may: [], identified },
    'a person without a role': { headers: await keyOf({ userId: home.alice.id }, []), may: [], identified },
    'an auditor': {
      headers: await keyOf({ userId: auditor.id }, auditorMay),
      ...{ may: auditorMay, identified, signedIn: 'not' },
    },
    'support, by a key': {
      headers: await keyOf({ userId: support.id }, supportMay),
      ...{ may: supportMay, identified, signedIn: 'not' },
    },
    'support, signed in long ago': { headers: old, may: supportMay, identified, signedIn: 'not' },
    'support, signed in a moment ago': {
      headers: await tokenOf(home, support, supportMay),
      ...{ may: supportMay, identified, signedIn: 'recently' },
    },
    'another client': { headers: basic('reports', home.secret), may: [], identified },
    'a key without a scope': { headers: await keyOf({ clientId: 'robot' }, []), may: [], identified },
    'a key with every scope': { headers: await keyOf({ clientId: 'robot' }, all), may: all, identified },
  }
  await home.server.settle()
  people = {}
  for (const [name, as, may] of [
    ['an auditor', auditor, auditorMay],
    ['support', support, supportMay],
    ['the owner', home.owner, all],
  ] as const)
    people[name] = { person: (await home.enter('/admin', { as })).person, as, may }
})
afterAll(() => home.stop())

const routes = adminRoutes({ database: {}, doors: {}, config: {}, secretKeys: {} } as never)
const addressOf = (path: string) => path.replace(/:\w+/g, 'nothing')

describe('the admin API', () => {
  test.each(routes.map((route) => [`${route.method} ${route.path}`, route] as const))('%s', async (_name, route) => {
    for (const [who, { headers, may, identified, signedIn }] of Object.entries(callers)) {
      const response = await fetch(`${ownApi}/v1${addressOf(route.path)}`, {
        method: route.method.toUpperCase(),
        headers: { ...headers, 'If-Match': '*', ...(route.body ? { 'Content-Type': 'application/json' } : {}) },
        // Nobody ends everything here: the body says nothing that a route would do.
        ...(route.body ? { body: '{"nothing":true}' } : {}),
      })
      const { status } = response
      await response.arrayBuffer()
      if (!identified) expect([400, 401], `${who}: ${status}`).toContain(status)
      else if (!may.includes(route.scope)) expect(status, who).toBe(403)
      else if (signedIn === 'not' && isSensitive(route))
        expect([status, response.headers.get('www-authenticate')], who).toEqual([
          401,
          expect.stringContaining('error="insufficient_user_authentication"'),
        ])
      else expect([401, 403, 500], `${who}: ${status}`).not.toContain(status)
    }
  })

  test('there was something to ask, and somebody got in', () => {
    expect(routes.length).toBeGreaterThan(70)
    expect(new Set(routes.map(({ scope }) => scope)).size).toBeGreaterThan(15)
  })
})

describe('the console', () => {
  const mayHold = (may: readonly string[], scope: string) => scope === 'any' || may.includes(scope)
  const csrfOf = async (userId: string) => {
    const sessions = await home.server.database.prisma.session.findMany({ where: { userId, endedAt: null } })
    return sessions.map(({ uid }) => home.server.secretKeys.mac('csrf-bound', `console ${uid}`).toString('base64url'))
  }

  test.each(consoleTable.map((page) => [page.path, page] as const))('%s', async (_path, page) => {
    const { path, scope, writes = scope, show, submit } = page
    const address = addressOf(path)
    const stranger = await fetch(home.server.url + address, { redirect: 'manual', headers: { Accept: 'text/html' } })
    if (show)
      expect([stranger.status, stranger.headers.get('location')]).toEqual([
        303,
        expect.stringContaining('/oauth/authorize'),
      ])
    for (const [who, { person, as, may }] of Object.entries(people)) {
      if (show) {
        const { status } = await person.open(address)
        if (mayHold(may, scope)) expect([200, 303, 400, 404], `${who} looks: ${status}`).toContain(status)
        else expect(status, `${who} looks`).toBe(403)
      }
      if (!submit || (mayHold(may, scope) && mayHold(may, writes))) continue
      for (const csrf of await csrfOf(as.id)) {
        const body = new URLSearchParams({ csrf, decision: 'confirm' })
        const answer = await person.fetch(address, { method: 'POST', body, headers: { Origin: home.server.url } })
        expect(answer.status, `${who} sends`).toBe(403)
      }
    }
  })

  test('a person without a role sees no page', async () => {
    const person = new Person(home.server.url)
    await person.submit(await person.open('/account'), { identifier: 'alice@example.com', password })
    for (const { path, show } of consoleTable)
      if (show) expect((await person.open(addressOf(path))).status, path).toBe(403)
  })

  test('the owner may look everywhere', () => {
    expect(all.filter((scope) => !Object.hasOwn(ownScopes, scope))).toEqual([])
    for (const { scope, writes } of consoleTable)
      for (const one of [scope, writes ?? scope]) if (one !== 'any') expect(all).toContain(one)
  })
})

test('a role that permits nothing here opens nothing', async () => {
  await createRole(home.server.database.prisma, 'buyer', { permissions: ['orders:read'] }, change())
  await home.server.database.prisma.userRole.create({ data: { userId: home.alice.id, roleName: 'buyer' } })
  const person = new Person(home.server.url)
  const page = await person.submit(await person.open('/admin'), { identifier: 'alice@example.com', password })
  expect(page.status).toBe(403)
})
