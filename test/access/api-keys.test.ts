import { createHash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import type pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ApiKeyNotFound,
  type ApiKeyOwner,
  ApiKeyRotated,
  createApiKey,
  reportApiKey,
  revokeApiKey,
  rotateApiKey,
} from '#src/access/api-keys/api-keys.ts'
import { explainApiKey, findApiKey, listApiKeys, readApiKey } from '#src/access/api-keys/reads.ts'
import { formatApiKey, isApiKey } from '#src/access/api-keys/values.ts'
import { createRole, updateRole } from '#src/access/roles.ts'
import { createApi, updateApi } from '#src/apis/apis.ts'
import type { Change } from '#src/audit/change.ts'
import { createClient, setClientDisabled, updateClient } from '#src/clients/clients.ts'
import type { Database } from '#src/db/database.ts'
import { resetFactors } from '#src/factors/second-factors.ts'
import { type RevocationTarget, revoke } from '#src/tokens/revoke.ts'
import { requestDeletion } from '#src/users/deletion.ts'
import { createUser, deleteUser, setPassword, setUserDisabled, updateUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const { now } = change
const api = 'https://api.example.com'
const other = 'https://other.example.com'
const hour = 3_600_000
const day = 24 * hour
const later = (ms: number) => new Date(now.getTime() + ms)
const at = (ms: number): Change => ({ ...change, now: later(ms) })
let created: TestDatabase
let database: Database
let db: Database['prisma']
let people = 0

beforeAll(async () => {
  created = await createTestDatabase()
  database = created.database
  db = database.prisma
  await createApi(
    db,
    {
      identifier: api,
      name: 'Api',
      scopes: { 'a:read': { description: 'x', byRole: true }, 'a:write': { description: 'y', byRole: true } },
    },
    change,
  )
  await createApi(
    db,
    { identifier: other, name: 'Other', scopes: { 'o:read': { description: 'x', byRole: true } } },
    change,
  )
  await createRole(db, 'reader', { permissions: ['a:read'] }, change)
  await createRole(db, 'writer', { permissions: ['a:read', 'a:write', 'o:read'] }, change)
  await service('owner')
})
afterAll(() => created.drop())

const service = (id: string, scopes = ['a:read', 'a:write']) =>
  createClient(db, { id, type: 'service', apis: { [api]: scopes, [other]: ['o:read'] } }, [], change)
const person = async (roles = ['writer']) =>
  (await createUser(db, { email: `p${++people}@example.com`, roles }, change)).id
const make = (owner: ApiKeyOwner, more: Partial<Parameters<typeof createApiKey>[1]> = {}, by: Change = change) =>
  createApiKey(db, { name: 'k', apis: { [api]: ['a:read'] }, owner, ...more }, by)
const find = (value: string, when = now) => findApiKey(database, value, when)

test('a key has a recognisable shape and a checksum; one wrong character is garbage', () => {
  const value = formatApiKey(randomBytes(32))
  expect(value).toMatch(/^sp_key_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/)
  expect(isApiKey(value)).toBe(true)
  for (let at = 0; at < value.length; at++) {
    const other = value[at] === 'x' ? 'y' : 'x'
    expect(isApiKey(value.slice(0, at) + other + value.slice(at + 1)), `character ${at}`).toBe(false)
  }
  for (const garbage of ['', 'sp_key_', value.slice(0, -1), `${value}x`, `${value}\n`, ` ${value}`])
    expect(isApiKey(garbage)).toBe(false)
  expect(formatApiKey(new Uint8Array(32))).toMatch(/^sp_key_0{43}_/)
  expect(isApiKey(formatApiKey(new Uint8Array(32).fill(255)))).toBe(true)
})

describe('finding', () => {
  test('garbage costs no database work; a hundred keys at once cost a few statements, not a hundred', async () => {
    const asked: unknown[] = []
    const query = async (statement: unknown) => {
      asked.push(statement)
      return { rows: [] }
    }
    const pool = { query } as unknown as pg.Pool
    expect(await findApiKey({ pool }, 'sp_key_garbage', now)).toBeUndefined()
    expect(asked).toHaveLength(0)
    await Promise.all(Array.from({ length: 100 }, () => findApiKey({ pool }, formatApiKey(randomBytes(32)), now)))
    expect(asked.length).toBeGreaterThan(0)
    expect(asked.length).toBeLessThan(5)
  })

  test('only the SHA-256 is stored; the value is found again, unknown ones are not', async () => {
    const { value, id } = await make({ clientId: 'owner' })
    const rows = await database.pool.query(
      'SELECT row_to_json(k)::text || row_to_json(v)::text AS text FROM api_key k JOIN api_key_value v ON v.key_id = k.id WHERE k.id = $1',
      [id],
    )
    expect(rows.rows[0].text).toContain(createHash('sha256').update(value).digest('hex'))
    expect(rows.rows[0].text).not.toContain(value.slice(12, 50))
    expect(await find(value)).toEqual({
      id,
      name: 'k',
      version: 1,
      clientId: 'owner',
      userId: null,
      apis: { [api]: ['a:read'] },
      requestsPerMinute: null,
      expiresAt: later(90 * day),
    })
    expect(await find(formatApiKey(randomBytes(32)))).toBeUndefined()
  })

  test('an expired and a revoked one are refused, at once', async () => {
    const { value, id } = await make({ clientId: 'owner' }, { expiresAt: later(1000) })
    expect(await find(value)).toBeDefined()
    expect(await find(value, later(1000))).toBeUndefined()
    await revokeApiKey(db, id, change)
    expect(await find(value)).toBeUndefined()
    await expect(revokeApiKey(db, id, change)).rejects.toBeInstanceOf(ApiKeyNotFound)
    await expect(revokeApiKey(db, 'x', change)).rejects.toBeInstanceOf(ApiKeyNotFound)
  })

  test('its use is noted, once a minute at most, beside the request', async () => {
    const [{ value, id }, neighbour] = [await make({ clientId: 'owner' }), await make({ clientId: 'owner' })]
    const used = async (key = id) => (await readApiKey(db, key, now))?.lastUsedAt
    await find(value)
    await expect.poll(() => used()).toEqual(now)
    await find(value, later(59_999))
    await find(neighbour.value) // written after whatever was noted before
    await expect.poll(() => used(neighbour.id)).toEqual(now)
    expect(await used()).toEqual(now)
    await find(value, later(60_000))
    await expect.poll(() => used()).toEqual(later(60_000))
  })

  test('an operator is told why a value is not good', async () => {
    const flawOf = async (value: string, when = now) => (await explainApiKey(database, value, when)).flaw
    const good = await make({ clientId: 'owner' })
    expect(await explainApiKey(database, good.value, now)).toEqual({
      flaw: undefined,
      key: { id: good.id, name: 'k', version: 1, userId: null, clientId: 'owner' },
    })
    expect(await flawOf('garbage')).toBe('form')
    expect(await flawOf(formatApiKey(randomBytes(32)))).toBe('unknown')
    expect(await flawOf(good.value, later(90 * day))).toBe('expired')
    await revokeApiKey(db, good.id, change)
    expect(await flawOf(good.value)).toBe('revoked')
    const userId = await person()
    const theirs = await make({ userId })
    await setUserDisabled(db, userId, true, change)
    expect(await flawOf(theirs.value)).toBe('ended')
  })
})

describe('what it may do', () => {
  test('is what its owner may do now, and no more', async () => {
    await service('shrinking')
    const apis = { [api]: ['a:read', 'a:write'], [other]: ['o:read'] }
    const ofClient = await make({ clientId: 'shrinking' }, { apis })
    expect((await find(ofClient.value))?.apis).toEqual(apis)
    await updateClient(db, 'shrinking', { type: 'service', apis: { [api]: ['a:read'] } }, change)
    expect((await find(ofClient.value))?.apis).toEqual({ [api]: ['a:read'], [other]: [] })

    await createRole(db, 'keys', { permissions: ['a:read', 'a:write'] }, change)
    const ofPerson = await make({ userId: await person(['keys']) }, { apis: { [api]: ['a:read', 'a:write'] } })
    await updateRole(db, 'keys', { permissions: ['a:write'] }, change)
    expect((await find(ofPerson.value))?.apis).toEqual({ [api]: ['a:write'] })
  })

  test('shrinks with the API, and does not outlive it under its identifier', async () => {
    const moving = 'https://moving.example.com'
    const about = {
      identifier: moving,
      name: 'M',
      scopes: { 'm:read': { description: 'x', byRole: true }, 'm:write': { description: 'x', byRole: true } },
    }
    await createApi(db, about, change)
    await createRole(db, 'mover', { permissions: ['m:read', 'm:write'] }, change)
    const { value } = await make(
      { userId: await person(['mover', 'writer']) },
      { apis: { [moving]: ['m:read', 'm:write'], [api]: ['a:read'] } },
    )
    await updateApi(db, moving, { name: 'M', scopes: { 'm:read': { description: 'x', byRole: true } } }, change)
    expect((await find(value))?.apis).toEqual({ [moving]: ['m:read'], [api]: ['a:read'] })
    await db.api.delete({ where: { identifier: moving } })
    await createApi(db, about, change)
    expect((await find(value))?.apis).toEqual({ [api]: ['a:read'] })
  })

  test.each([
    ['a scope that the API lacks', { apis: { [api]: ['a:read', 'b'] } }, `apis["${api}"][1]`],
    ['a scope that the owner may not use', { apis: { [api]: ['a:write'] } }, `apis["${api}"][0]`],
    ['an unknown API', { apis: { 'https://nobody.example': [] } }, 'apis["https://nobody.example"]'],
    ['an API that cannot be', { apis: { 'a\0b': [] } }, 'apis["a\\u0000b"]'],
    ['no API', { apis: {} }, 'apis'],
    ['no name', { name: ' ' }, 'name'],
    ['a limit of nothing', { requestsPerMinute: 0 }, 'requestsPerMinute'],
    ['an end in the past', { expiresAt: now }, 'expiresAt'],
    ['an end that is no date', { expiresAt: new Date(Number.NaN) }, 'expiresAt'],
    ['a person’s key for ever', { expiresAt: null }, 'expiresAt'],
    ['a person’s key for more than a year', { expiresAt: later(365 * day + 1) }, 'expiresAt'],
  ])('is refused at creation: %s', async (_, more, field) => {
    const userId = await person(['reader'])
    await expect(make({ userId }, more)).rejects.toMatchObject({ kind: 'invalid', field })
    expect(await listApiKeys(db, { owner: { userId } }, now)).toEqual([])
  })

  test.each<[string, ApiKeyOwner]>([
    ['nobody', { userId: '00000000-0000-4000-8000-000000000000' }],
    ['no id', { userId: "x' OR true" }],
    ['no client', { clientId: 'nobody' }],
    ['no client id', { clientId: '\0' }],
  ])('an owner must be there: %s', async (_, owner) => {
    await expect(make(owner)).rejects.toMatchObject({ kind: 'invalid' })
  })

  test('a client’s key may live for ever, if somebody says so; a person has a hundred keys at most', async () => {
    const { value } = await make({ clientId: 'owner' }, { expiresAt: null })
    expect(await find(value, later(10_000 * day))).toMatchObject({ expiresAt: null })
    const userId = await person()
    await db.apiKey.createMany({
      data: Array.from({ length: 100 }, () => ({ id: crypto.randomUUID(), name: 'k', userId, ownerGeneration: 0 })),
    })
    await expect(make({ userId })).rejects.toMatchObject({ field: 'owner' })
  })
})

describe('it ends with whatever ends the tokens of its owner', () => {
  const everything = (target: RevocationTarget) => () => revoke(db, target, change)
  test.each<[string, (userId: string) => Promise<unknown>]>([
    ['an administrator revokes everything of theirs', (id) => everything({ kind: 'user', id })()],
    ['a new password', (id) => setPassword(db, id, 'x', change)],
    ['their factors are reset', (id) => resetFactors(db, id, change)],
    ['they are switched off', (id) => setUserDisabled(db, id, true, change)],
    ['they leave', (userId) => requestDeletion(db, { userId, graceDays: 3 }, change)],
    ['they are removed', (id) => deleteUser(db, id, change)],
  ])('a person’s: %s', async (_, endIt) => {
    const [userId, neighbour] = [await person(), await person()]
    const [theirs, neighbours] = [await make({ userId }), await make({ userId: neighbour })]
    await endIt(userId)
    expect(await find(theirs.value)).toBeUndefined()
    expect(await find(neighbours.value)).toBeDefined()
    await expect(rotateApiKey(db, theirs.id, {}, change)).rejects.toBeInstanceOf(ApiKeyNotFound)
    if ((await db.user.count({ where: { id: userId } })) === 0) return
    await setUserDisabled(db, userId, false, change)
    expect(await find(theirs.value)).toBeUndefined() // and stays over when they come back
    expect(await readApiKey(db, theirs.id, now)).toMatchObject({ state: 'ended' })
    expect(await find((await make({ userId })).value)).toBeDefined()
  })

  test('a client’s: everything of it is revoked, it is switched off', async () => {
    for (const endIt of [
      everything({ kind: 'client', id: 'ending' }),
      () => setClientDisabled(db, 'ending', true, change),
    ]) {
      await db.client.deleteMany({ where: { id: 'ending' } })
      await service('ending')
      const { value } = await make({ clientId: 'ending' })
      await endIt()
      expect(await find(value)).toBeUndefined()
    }
  })

  test('everything for one API is revoked: the key loses that API and keeps the others', async () => {
    const passing = 'https://passing.example.com'
    await createApi(
      db,
      { identifier: passing, name: 'P', scopes: { 'p:read': { description: 'x', byRole: true } } },
      change,
    )
    const { value } = await make({ userId: await person() }, { apis: { [passing]: [], [api]: ['a:read'] } })
    await revoke(db, { kind: 'api', identifier: passing }, change)
    expect((await find(value))?.apis).toEqual({ [api]: ['a:read'] })
  })

  test('a person whose session ended while the form was on its way gets a key that is over', async () => {
    const userId = await person()
    await setPassword(db, userId, 'x', change)
    const { value } = await make({ userId, generation: 0 })
    expect(await find(value)).toBeUndefined()
  })
})

describe('rotation', () => {
  test('gives a new value at once and leaves the one before for a day; id, APIs and owner stay', async () => {
    const first = await make({ clientId: 'owner' }, { expiresAt: later(30 * day), requestsPerMinute: 7 })
    const second = await rotateApiKey(db, first.id, {}, at(day))
    expect(second).toMatchObject({ version: 2, expiresAt: later(31 * day) })
    expect(await find(second.value, later(day))).toMatchObject({ id: first.id, version: 2, requestsPerMinute: 7 })
    expect(await find(first.value, later(2 * day - 1))).toMatchObject({ id: first.id, version: 1 })
    expect(await find(first.value, later(2 * day))).toBeUndefined()
    expect((await readApiKey(db, first.id, later(day)))?.values).toMatchObject([
      { version: 2, expiresAt: later(31 * day) },
      { version: 1, expiresAt: later(2 * day) },
    ])
  })

  test('never prolongs the value before, and ends at once those before that', async () => {
    const first = await make({ clientId: 'owner' }, { expiresAt: later(hour) })
    const second = await rotateApiKey(db, first.id, { expiresAt: later(90 * day) }, change)
    expect(await find(first.value, later(hour))).toBeUndefined()
    const third = await rotateApiKey(db, first.id, { overlapHours: 168 }, change)
    expect(await find(first.value)).toBeUndefined()
    expect(await find(second.value)).toBeDefined()
    await rotateApiKey(db, first.id, { overlapHours: 0 }, change)
    for (const { value } of [first, second, third]) expect(await find(value)).toBeUndefined()
  })

  test.each([
    ['longer than seven days', { overlapHours: 169 }],
    ['of less than nothing', { overlapHours: -1 }],
    ['of half an hour', { overlapHours: 0.5 }],
    ['to a key that ended in the past', { expiresAt: now }],
  ])('is refused with an overlap or an end %s', async (_, options) => {
    const { id } = await make({ clientId: 'owner' })
    await expect(rotateApiKey(db, id, options, change)).rejects.toMatchObject({ kind: 'invalid' })
  })

  test('a person’s key cannot be rotated into one that lives longer than a year', async () => {
    const { id } = await make({ userId: await person() }, { expiresAt: later(365 * day) })
    await expect(rotateApiKey(db, id, { expiresAt: null }, change)).rejects.toMatchObject({ field: 'expiresAt' })
    const rules = { usualDays: 30, mostDays: 30, overlapHours: 24 }
    expect(await rotateApiKey(db, id, {}, change, rules)).toMatchObject({ expiresAt: later(30 * day) })
  })

  test('of twenty at once that saw the same value one counts', async () => {
    const { id, value } = await make({ clientId: 'owner' })
    const answers = await Promise.allSettled(
      Array.from({ length: 20 }, () => rotateApiKey(db, id, { follows: 1 }, change)),
    )
    const made = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
    expect(made).toMatchObject([{ version: 2 }])
    for (const answer of answers) if (answer.status === 'rejected') expect(answer.reason).toBeInstanceOf(ApiKeyRotated)
    for (const each of [value, made[0]?.value ?? '']) expect(await find(each)).toBeDefined()
    expect(await db.auditEvent.count({ where: { event: 'api_key.rotated', targetId: id } })).toBe(1)
  })

  test('that meets a revocation leaves nothing that is good', async () => {
    for (let round = 0; round < 10; round++) {
      const { id, value } = await make({ clientId: 'owner' })
      const [rotated] = await Promise.allSettled([rotateApiKey(db, id, {}, change), revokeApiKey(db, id, change)])
      const values = [value, ...(rotated.status === 'fulfilled' ? [rotated.value.value] : [])]
      for (const each of values) expect(await find(each)).toBeUndefined()
    }
  })
})

describe('lists', () => {
  test('name keys that nobody uses, and those that were never rotated', async () => {
    await service('reported')
    const owner = { clientId: 'reported' }
    const [idle, busy, rotated, revoked] = [await make(owner), await make(owner), await make(owner), await make(owner)]
    const when = later(40 * day)
    await find(busy.value, later(35 * day))
    await rotateApiKey(db, rotated.id, {}, at(hour))
    await revokeApiKey(db, revoked.id, change)
    await expect.poll(async () => (await readApiKey(db, busy.id, when))?.lastUsedAt).toBeTruthy()
    const ids = async (filter: Parameters<typeof listApiKeys>[1]) =>
      (await listApiKeys(db, { owner, ...filter }, when)).map(({ id }) => id).sort()
    expect(await ids({})).toEqual([idle.id, busy.id, rotated.id, revoked.id].sort())
    expect(await ids({ idleSince: later(10 * day) })).toEqual([idle.id, rotated.id].sort())
    expect(await ids({ idleSince: later(-1) })).toEqual([]) // none is older than that
    expect(await ids({ neverRotated: true })).toEqual([idle.id, busy.id].sort())
    expect(await ids({ neverRotated: true, idleSince: later(10 * day) })).toEqual([idle.id])
    const states = new Map((await listApiKeys(db, { owner }, later(91 * day))).map(({ id, state }) => [id, state]))
    expect(states.get(idle.id)).toBe('expired')
    expect(states.get(revoked.id)).toBe('revoked')
    expect(JSON.stringify(await listApiKeys(db, { owner }, when))).not.toContain(busy.value.slice(12, 40))
  })

  test('come in pages that miss and repeat none', async () => {
    const owner = { userId: await person() }
    for (let n = 0; n < 5; n++) await make(owner)
    const seen: string[] = []
    for (let after: string | undefined; ; ) {
      const page = await listApiKeys(db, { owner }, now, { after, limit: 2 })
      seen.push(...page.map(({ id }) => id))
      if (page.length < 2) break
      after = page.at(-1)?.id
    }
    expect(new Set(seen).size).toBe(5)
    expect(seen).toHaveLength(5)
  })
})

describe('a report of a leaked value', () => {
  test('ends the key, and says whose it is', async () => {
    const userId = await person()
    const { value, id } = await make({ userId }, { name: 'laptop' })
    expect(await reportApiKey(db, value, change)).toEqual({ id, name: 'laptop', userId })
    expect(await find(value)).toBeUndefined()
    expect(await reportApiKey(db, value, change)).toBeUndefined()
    expect(await db.auditEvent.count({ where: { event: 'api_key.reported', targetId: id } })).toBe(1)
    for (const none of ['garbage', formatApiKey(randomBytes(32))])
      expect(await reportApiKey(db, none, change)).toBeUndefined()
  })

  test('of a value that was replaced ends that value alone: who was rotated out cannot end what came after', async () => {
    const { value, id } = await make({ clientId: 'owner' })
    const second = await rotateApiKey(db, id, {}, change)
    expect(await reportApiKey(db, value, change)).toMatchObject({ id })
    expect(await find(value)).toBeUndefined()
    expect(await find(second.value)).toBeDefined()
    expect(await reportApiKey(db, value, change)).toBeUndefined()
  })
})

test('everything before a moment ends tokens, not keys: with one of them verifiers hear of it', async () => {
  const { value } = await make({ clientId: 'owner' })
  await revoke(db, { kind: 'before', moment: 'now' }, change)
  expect(await find(value)).toBeDefined()
})

test('property: whatever is granted, changed, rotated and revoked, a key has no scope that its owner lacks', async () => {
  const scopes = ['a:read', 'a:write']
  await createRole(db, 'changing', { permissions: scopes }, change)
  const some = fc.subarray(scopes)
  const step = fc.oneof(
    fc.record({ kind: fc.constant('role' as const), permissions: some }),
    fc.record({ kind: fc.constant('hold' as const), roles: fc.subarray(['changing', 'reader']) }),
    fc.record({ kind: fc.constant('create' as const), scopes: some }),
    fc.record({ kind: fc.constant('rotate' as const), which: fc.nat(5), overlapHours: fc.constantFrom(0, 24) }),
    fc.record({ kind: fc.constant('revoke' as const), which: fc.nat(5) }),
    fc.record({ kind: fc.constant('password' as const) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 10 }), async (steps) => {
      const userId = await person(['changing'])
      let [permissions, roles]: [string[], string[]] = [scopes, ['changing']]
      await updateRole(db, 'changing', { permissions }, change)
      const keys: { id: string; scopes: string[]; values: string[]; over: boolean }[] = []
      for (const each of steps) {
        if (each.kind === 'role') permissions = each.permissions
        if (each.kind === 'hold') roles = each.roles
        const key = 'which' in each ? keys[each.which] : undefined
        if (each.kind === 'role') await updateRole(db, 'changing', { permissions: each.permissions }, change)
        if (each.kind === 'hold') await updateUser(db, userId, { roles: each.roles }, change)
        if (each.kind === 'create') {
          const made = await make({ userId }, { apis: { [api]: each.scopes } }).catch(() => undefined)
          if (made) keys.push({ id: made.id, scopes: each.scopes, values: [made.value], over: false })
        }
        if (each.kind === 'rotate' && key) {
          const made = await rotateApiKey(db, key.id, { overlapHours: each.overlapHours }, change).catch(
            () => undefined,
          )
          expect(made === undefined).toBe(key.over)
          if (made) key.values.push(made.value)
        }
        if (each.kind === 'revoke' && key) {
          await revokeApiKey(db, key.id, change).catch(() => undefined)
          key.over = true
        }
        if (each.kind === 'password') {
          await setPassword(db, userId, 'x', change)
          for (const mine of keys) mine.over = true
        }
        const held = new Set([
          ...(roles.includes('changing') ? permissions : []),
          ...(roles.includes('reader') ? ['a:read'] : []),
        ])
        for (const { values, scopes: most, over } of keys) {
          const found = await Promise.all(values.map((value) => find(value)))
          expect(found.at(-1) === undefined).toBe(over)
          for (const one of found) if (one) expect(one.apis[api]).toEqual(most.filter((scope) => held.has(scope)))
        }
      }
    }),
    { numRuns: 25 },
  )
}, 60_000)
