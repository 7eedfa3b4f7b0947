// Revoking, by every target there is, on the whole server: what was counted before is dead afterwards everywhere, the count is then
// zero, and the neighbours live on. Also what revokes by the way: passwords, disabled people, deleted clients.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ApiKeyOwner, createApiKey, revokeApiKey, rotateApiKey } from '#src/access/api-keys/api-keys.ts'
import { findApiKey } from '#src/access/api-keys/reads.ts'
import { apiDependents } from '#src/apis/editing.ts'
import { createClient, deleteClient, setClientDisabled } from '#src/clients/clients.ts'
import { clientDependents } from '#src/clients/editing.ts'
import { hashPassword } from '#src/factors/password.ts'
import { type Counts, countRevocation, mostLookedAt } from '#src/tokens/dry-run.ts'
import { tokenKinds } from '#src/tokens/kinds.ts'
import { type RevocationTarget, revoke } from '#src/tokens/revoke.ts'
import { rowIdOfValue } from '#src/tokens/row-ids.ts'
import { createUser, deleteUser, setPassword, setUserDisabled } from '#src/users/users.ts'
import { change, orders, password, stock } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let prisma: TestServer['database']['prisma']
let j: Journey
beforeAll(async () => {
  server = await startServer()
  prisma = server.database.prisma
  j = await startJourney(server)
})
afterAll(() => server.stop())

type Held = { person: Person; userinfo: string; jwt: string; opaque: string; refresh: string; clientId: string }

/** Every kind of token, of one grant in one browser session. */
async function everything(clientId = 'shop-web', person = new Person(server.url)): Promise<Held> {
  const query = { client_id: clientId, scope: 'openid offline_access orders:read stock:read', prompt: 'consent' }
  const first = await j.tokensFor({ ...query, resource: orders }, person, { resource: orders })
  const jwt = first.access_token
  const second = await j.tokensFor({ ...query, resource: stock }, person, { resource: stock })
  const opaque = second.access_token
  const third = await j.tokensFor({ ...query, scope: 'openid offline_access' }, person)
  return { person, userinfo: third.access_token, jwt, opaque, refresh: third.refresh, clientId }
}

const id = (value: string) => rowIdOfValue(value)
const row = (value: string) => prisma.token.findUniqueOrThrow({ where: { id: new Uint8Array(id(value)) } })
const grantOf = async (value: string) => (await row(value)).grantId ?? ''
const sessionOf = async (value: string) =>
  (await prisma.grant.findUniqueOrThrow({ where: { id: await grantOf(value) } })).sessionUid ?? ''

/** Which doors still take them. A refresh is asked last: it changes the token. */
async function doors(held: Held): Promise<Record<string, boolean | string>> {
  return {
    jwt: (await j.introspect(held.jwt, 'orders-api')).body.active ?? 'no answer',
    opaque: (await j.introspect(held.opaque, 'stock-api')).body.active ?? 'no answer',
    userinfo: (await j.userinfo(held.userinfo)).status === 200,
    refresh: (await j.refresh(held.refresh, {}, { as: held.clientId })).body.error ?? true,
  }
}
const open = { jwt: true, opaque: true, userinfo: true, refresh: true }
const closed = { jwt: false, opaque: false, userinfo: false, refresh: 'invalid_grant' }
const none: Counts = {
  accessTokens: 0,
  refreshTokens: 0,
  codes: 0,
  grants: 0,
  sessions: 0,
  apiKeys: 0,
  more: false,
}

/** Dry run, the same again because it changed nothing, revoke, count to zero. */
async function dryRunThenRevoke(target: RevocationTarget): Promise<Counts> {
  const counts = await countRevocation(prisma, target)
  expect(await countRevocation(prisma, target)).toEqual(counts)
  await revoke(prisma, target, change())
  expect(await countRevocation(prisma, target)).toEqual(none)
  return counts
}
const events = (event: string, targetId: string) => prisma.auditEvent.count({ where: { event, targetId } })

describe('revoked is refused at introspection, userinfo and refresh, and nothing beside it:', () => {
  test('one access token, opaque or JWT', async () => {
    const held = await everything()
    for (const value of [held.jwt, held.opaque]) {
      expect(await dryRunThenRevoke({ kind: 'token', id: id(value) })).toEqual({ ...none, accessTokens: 1, grants: 1 })
      expect(await events('token.revoked', id(value).toString('base64url'))).toBe(1)
      await revoke(prisma, { kind: 'token', id: id(value) }, change())
      expect(await events('token.revoked', id(value).toString('base64url'))).toBe(1)
    }
    expect(await doors(held)).toEqual({ ...open, jwt: false, opaque: false })
  })

  test('a refresh token takes its grant along, as at the revocation endpoint (RFC 7009 2.1)', async () => {
    const held = await everything()
    const grant = await grantOf(held.refresh)
    const counts = await dryRunThenRevoke({ kind: 'token', id: id(held.refresh) })
    expect(counts).toMatchObject({ accessTokens: 3, refreshTokens: 3, grants: 1, sessions: 0 })
    expect(await events('grant.revoked', grant)).toBe(1)
    expect(await doors(held)).toEqual(closed)
  })

  test('a code that nobody redeemed', async () => {
    const { code, verifier } = await j.codeFor()
    expect(await dryRunThenRevoke({ kind: 'token', id: id(code) })).toEqual({ ...none, codes: 1, grants: 1 })
    expect((await j.redeem(code, verifier)).body.error).toBe('invalid_grant')
  })

  test('a grant, and not the same person’s grant for another client', async () => {
    const person = new Person(server.url)
    const [held, other] = [await everything('shop-web', person), await j.tokensFor({ client_id: 'shop-spa' }, person)]
    const grant = await grantOf(held.jwt)
    expect(await dryRunThenRevoke({ kind: 'grant', id: grant })).toMatchObject({
      accessTokens: 3,
      grants: 1,
      sessions: 0,
    })
    expect(await doors(held)).toEqual(closed)
    expect((await j.userinfo(other.access_token)).status).toBe(200)
    await expect(revoke(prisma, { kind: 'grant', id: grant }, change())).rejects.toThrow('not a grant that is in force')
  })

  test('a session: its grants for every client, and the browser has to sign in again', async () => {
    const person = new Person(server.url)
    const [held, spa] = [await everything('shop-web', person), await j.tokensFor({ client_id: 'shop-spa' }, person)]
    const elsewhere = await everything()
    const uid = await sessionOf(held.jwt)
    const counts = await dryRunThenRevoke({ kind: 'session', uid })
    expect(counts).toMatchObject({ accessTokens: 4, grants: 2, sessions: 1 })
    expect(await events('session.ended', uid)).toBe(1)
    expect(await doors(held)).toEqual(closed)
    expect((await j.userinfo(spa.access_token)).status).toBe(401)
    expect((await person.open((await j.begin()).address)).url).toContain('/login')
    expect(await doors(elsewhere)).toEqual(open)
  })

  test('a session, also for a grant that a request under way adds to it meanwhile', async () => {
    const held = await everything()
    const uid = await sessionOf(held.jwt)
    await revoke(prisma, { kind: 'session', uid }, change())
    await prisma.grant.updateMany({ where: { sessionUid: uid }, data: { revokedAt: null, generation: 0 } }) // as that one would be
    expect(await doors(held)).toEqual(closed)
  })

  test('a session that was signed out of: what outlives a logout ends too', async () => {
    const held = await everything()
    const uid = await sessionOf(held.jwt)
    await held.person.submit(await held.person.open('/oauth/logout'), { decision: 'logout' })
    expect(await doors({ ...held })).toMatchObject({ userinfo: true })
    expect(await dryRunThenRevoke({ kind: 'session', uid })).toMatchObject({ grants: 1, sessions: 0 })
    expect((await j.userinfo(held.userinfo)).status).toBe(401)
  })

  test('an agreement: every session’s grant for that client ends, and the person is asked again', async () => {
    const [one, two] = [await everything(), await everything()]
    const spa = await j.tokensFor({ client_id: 'shop-spa' })
    const consent = { kind: 'consent', userId: j.alice.id, clientId: 'shop-web' } as const
    expect((await dryRunThenRevoke(consent)).grants).toBeGreaterThanOrEqual(2)
    expect(await doors(one)).toEqual(closed)
    expect(await doors(two)).toEqual(closed)
    expect((await j.userinfo(spa.access_token)).status).toBe(200)
    expect((await one.person.open((await j.begin()).address)).url).toContain('/consent')
    await expect(revoke(prisma, consent, change())).rejects.toThrow('is not known')
    await expect(countRevocation(prisma, { ...consent, clientId: 'reports' })).rejects.toThrow('is not known')
  })

  test('a person, and nobody else; services keep theirs', async () => {
    const held = await everything()
    const service = await j.post(
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'stock:read' },
      { as: 'reports' },
    )
    const counts = await dryRunThenRevoke({ kind: 'user', id: j.alice.id })
    expect(counts.sessions).toBeGreaterThanOrEqual(1)
    expect(counts.accessTokens).toBeGreaterThanOrEqual(3)
    expect(await doors(held)).toEqual(closed)
    expect((await held.person.open((await j.begin()).address)).url).toContain('/login')
    expect((await j.introspect(service.body.access_token, 'stock-api')).body.active).toBe(true)
  })

  test('a client: also the tokens it has for itself', async () => {
    const spa = await j.tokensFor({ client_id: 'shop-spa' })
    const mine = await j.post(
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'stock:read' },
      { as: 'reports' },
    )
    const jwt = await j.post(
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'orders:read' },
      { as: 'reports' },
    )
    const counts = await dryRunThenRevoke({ kind: 'client', id: 'reports' })
    expect(counts).toMatchObject({ refreshTokens: 0, grants: 0, sessions: 0, more: false })
    expect(counts.accessTokens).toBeGreaterThanOrEqual(2)
    expect((await j.introspect(mine.body.access_token, 'stock-api')).body.active).toBe(false)
    expect((await j.introspect(jwt.body.access_token, 'orders-api')).body.active).toBe(false)
    expect((await j.userinfo(spa.access_token)).status).toBe(200)
    expect(await dryRunThenRevoke({ kind: 'client', id: 'shop-spa' })).toMatchObject({ sessions: 0 })
    expect((await j.userinfo(spa.access_token)).status).toBe(401)
  })

  test('an API, and not the other API', async () => {
    const held = await everything()
    expect((await dryRunThenRevoke({ kind: 'api', identifier: stock })).accessTokens).toBeGreaterThanOrEqual(1)
    expect(await doors(held)).toEqual({ ...open, opaque: false })
  })

  test('everything before a moment, sessions too; what comes after it is not touched', async () => {
    const held = await everything()
    const service = await j.post(
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'stock:read' },
      { as: 'reports' },
    )
    await untilNextSecond()
    const counts = await dryRunThenRevoke({ kind: 'before', moment: 'now' })
    expect(counts.sessions).toBeGreaterThanOrEqual(1)
    expect(await doors(held)).toEqual(closed)
    expect((await j.introspect(service.body.access_token, 'stock-api')).body.active).toBe(false)
    expect((await held.person.open((await j.begin()).address)).url).toContain('/login')
    await untilNextSecond()
    expect(await doors(await everything())).toEqual(open)
  })
})

describe('API keys end with the tokens of their owner (decision 037), and are counted with them:', () => {
  const day = 86_400_000
  const make = (owner: ApiKeyOwner, apis: Record<string, string[]> = { [orders]: ['orders:read'] }) =>
    createApiKey(prisma, { name: 'k', owner, apis }, change())
  const isGood = async ({ value }: { value: string }) =>
    (await findApiKey(server.database, value, new Date())) !== undefined
  const someone = async (email: string) => (await createUser(prisma, { email }, change())).id

  test('a person’s, those that are good: not the revoked, the expired, and somebody else’s', async () => {
    const [mine, theirs] = [await someone('mine@example.com'), await someone('theirs@example.com')]
    const [one, rotated, revoked, expired, other] = [
      await make({ userId: mine }),
      await make({ userId: mine }),
      await make({ userId: mine }),
      await make({ userId: mine }),
      await make({ userId: theirs }),
    ]
    await rotateApiKey(prisma, rotated.id, {}, change())
    await revokeApiKey(prisma, revoked.id, change())
    await prisma.apiKeyValue.updateMany({ where: { keyId: expired.id }, data: { expiresAt: new Date() } })
    expect(await dryRunThenRevoke({ kind: 'user', id: mine })).toEqual({ ...none, apiKeys: 2 })
    expect([await isGood(one), await isGood(rotated), await isGood(other)]).toEqual([false, false, true])
  })

  test('of somebody who was switched off there is none left to count', async () => {
    const id = await someone('off@example.com')
    await make({ userId: id })
    await setUserDisabled(prisma, id, true, change())
    expect(await countRevocation(prisma, { kind: 'user', id })).toEqual(none)
  })

  test('a client’s, also one that lives for ever', async () => {
    const clientId = 'keyed'
    await createClient(prisma, { id: clientId, type: 'service', apis: { [orders]: ['orders:read'] } }, [], change())
    const input = { name: 'k', owner: { clientId }, apis: { [orders]: ['orders:read'] } }
    const [one, other] = [
      await createApiKey(prisma, { ...input, expiresAt: null }, change()),
      await createApiKey(prisma, { ...input, expiresAt: new Date(Date.now() + day) }, change()),
    ]
    expect(await clientDependents(prisma, clientId)).toMatchObject({ apiKeys: 2 })
    expect(await dryRunThenRevoke({ kind: 'client', id: clientId })).toEqual({ ...none, apiKeys: 2 })
    expect([await isGood(one), await isGood(other)]).toEqual([false, false])
    expect(await clientDependents(prisma, clientId)).toMatchObject({ apiKeys: 0 })
  })

  test('an API’s: the keys that lose it, whoever has them; they keep their other APIs', async () => {
    const both = await make({ userId: await someone('both@example.com') }, { [orders]: [], [stock]: [] })
    await make({ userId: await someone('stock@example.com') }, { [stock]: [] })
    const { apiKeys = 0 } = await apiDependents(prisma, stock)
    expect(apiKeys).toBeGreaterThanOrEqual(2)
    expect(await dryRunThenRevoke({ kind: 'api', identifier: stock })).toMatchObject({ apiKeys })
    expect(await apiDependents(prisma, stock)).toMatchObject({ apiKeys: 0 })
    expect(Object.keys((await findApiKey(server.database, both.value, new Date()))?.apis ?? {})).toEqual([orders])
  })

  test('what ends tokens alone ends and counts no key: a moment, a session', async () => {
    const key = await make({ userId: await someone('stays@example.com') })
    await untilNextSecond()
    expect(await dryRunThenRevoke({ kind: 'before', moment: 'now' })).toMatchObject({ apiKeys: 0 })
    expect(await isGood(key)).toBe(true)
    await untilNextSecond() // the next test signs in
  })
})

/** Sessions begin in whole seconds: of the second of a revocation, every session counts as before it. */
const untilNextSecond = () => new Promise((resolve) => setTimeout(resolve, 1_001 - (Date.now() % 1_000)))

describe('within one second', () => {
  const service = async (scope: string) =>
    (await j.post('/oauth/token', { grant_type: 'client_credentials', scope }, { as: 'reports' })).body.access_token
  const isActive = async (token: string) => (await j.introspect(token, 'reports')).body.active
  const issued = async () => [await service('stock:read'), await service('orders:read')] as const

  test('a token issued before now is over and one issued after it is good, opaque or JWT: rows know the millisecond', async () => {
    // A few milliseconds for all of it; a machine that was busy elsewhere tries again.
    for (let tries = 0; tries < 20; tries++) {
      await untilNextSecond()
      const second = Math.floor(Date.now() / 1000)
      const before = await issued()
      await revoke(prisma, { kind: 'before', moment: 'now' }, change())
      const after = await issued()
      if (Math.floor(Date.now() / 1000) !== second) continue
      for (const token of before) expect(await isActive(token)).toBe(false)
      for (const token of after) expect(await isActive(token)).toBe(true)
      return untilNextSecond() // the next test signs in
    }
    throw new Error('no second was long enough')
  })

  test('the row keeps the second that the token names, whatever the clock of the database says', async () => {
    const [opaque, jwt] = await issued()
    for (const token of [opaque, jwt]) {
      const { iat } = (await j.introspect(token, 'reports')).body
      const { issuedAt } = await row(token)
      expect(Math.floor(issuedAt.getTime() / 1000)).toBe(iat)
    }
  })
})

describe('a moment', () => {
  const epoch = async () => (await prisma.tokenEpoch.findUnique({ where: { id: 1 } }))?.notBefore
  test('never moves back, and an earlier one leaves no record', async () => {
    const before = await epoch()
    const records = await prisma.auditEvent.count({ where: { targetKind: 'epoch' } })
    await revoke(prisma, { kind: 'before', moment: new Date('2020-01-01T00:00:00Z') }, change())
    expect(await epoch()).toEqual(before)
    expect(await prisma.auditEvent.count({ where: { targetKind: 'epoch' } })).toBe(records)
  })

  test('in the future is refused, by the clock of the database', async () => {
    const before = await epoch()
    const target = { kind: 'before', moment: new Date(Date.now() + 60_000) } as const
    await expect(revoke(prisma, target, change())).rejects.toThrow('is in the future')
    await expect(countRevocation(prisma, target)).rejects.toThrow('is in the future')
    expect(await epoch()).toEqual(before)
  })
})

test('a count ends at a bound and says so: it is not worth more of the database’s time', async () => {
  await server.database.pool.query(
    `INSERT INTO token (id, kind, client_id, expires_at, payload)
     SELECT sha256(('many' || n)::bytea), ${tokenKinds.ClientCredentials}, 'orders-api', now() + interval '1 hour', '{}' FROM generate_series(1, $1::int) n`,
    [mostLookedAt + 1],
  )
  const counts = await countRevocation(prisma, { kind: 'before', moment: 'now' })
  expect(counts.more).toBe(true)
  expect(counts.accessTokens + counts.refreshTokens + counts.codes).toBeLessThanOrEqual(mostLookedAt)
  await server.database.pool.query(`DELETE FROM token WHERE client_id = 'orders-api'`)
})

describe('nothing is ended, and the field is named, for', () => {
  test.each<[RevocationTarget, string]>([
    [{ kind: 'token', id: Buffer.alloc(32) }, 'token'],
    [{ kind: 'grant', id: 'nobody' }, 'grant'],
    [{ kind: 'grant', id: 'a\0b' }, 'grant'],
    [{ kind: 'session', uid: 'nobody' }, 'session'],
    [{ kind: 'session', uid: '\ud800' }, 'session'],
    [{ kind: 'consent', userId: 'x', clientId: 'shop-web' }, 'consent'],
    [{ kind: 'user', id: 'nobody' }, 'user'],
    [{ kind: 'user', id: '00000000-0000-4000-8000-000000000000' }, 'user'],
    [{ kind: 'client', id: 'no\0body' }, 'clientId'],
    [{ kind: 'client', id: 'nobody' }, 'clientId'],
    [{ kind: 'api', identifier: 'https://nowhere.example' }, 'identifier'],
    [{ kind: 'api', identifier: 'no\0where' }, 'identifier'],
  ])('%j', async (target, field) => {
    for (const attempt of [() => revoke(prisma, target, change()), () => countRevocation(prisma, target)])
      await expect(attempt()).rejects.toMatchObject({ kind: 'missing', field })
  })
})

describe('what ends tokens by the way:', () => {
  test('a changed password', async () => {
    const held = await everything()
    await setPassword(prisma, j.alice.id, await hashPassword(password), change())
    expect(await doors(held)).toEqual(closed)
    expect((await held.person.open((await j.begin()).address)).url).toContain('/login')
  })

  test('a disabled person; switching them on again brings nothing back', async () => {
    const held = await everything()
    await setUserDisabled(prisma, j.alice.id, true, change())
    expect(await doors(held)).toEqual(closed)
    await setUserDisabled(prisma, j.alice.id, false, change())
    expect(await doors(held)).toEqual(closed)
  })

  test('a disabled client; switching it on again brings nothing back', async () => {
    const held = await everything()
    await setClientDisabled(prisma, 'shop-web', true, change())
    await server.settle()
    expect(await doors(held)).toEqual({ ...closed, refresh: 'invalid_client' })
    await setClientDisabled(prisma, 'shop-web', false, change())
    await server.settle()
    expect(await doors(held)).toEqual(closed)
  })

  test('a deleted client, also one that is made again under its id', async () => {
    const make = () =>
      createClient(
        prisma,
        {
          id: 'brief',
          type: 'web',
          redirectUris: [j.callback],
          scopes: ['openid', 'offline_access'],
          apis: { [orders]: ['orders:read'], [stock]: ['stock:read'] },
        },
        [{ value: j.secret }],
        change(),
      )
    await make()
    await server.settle()
    const held = await everything('brief')
    expect(await doors(held)).toEqual(open)
    await deleteClient(prisma, 'brief', change())
    await server.settle()
    expect(await doors(held)).toEqual({ ...closed, refresh: 'invalid_client' })
    await make()
    await server.settle()
    expect(await doors(held)).toEqual(closed)
  })

  test('a deleted person', async () => {
    const held = await everything()
    await deleteUser(prisma, j.alice.id, change())
    expect(await doors(held)).toEqual(closed)
  })
})
