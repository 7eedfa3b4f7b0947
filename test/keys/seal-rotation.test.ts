// SECRET_KEY changes while values lie sealed in every place there is: all of them move to the newest key, none is lost on the way, and no start
// forgets a key too early.
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { once } from '#src/idempotency/once.ts'
import {
  countSealed,
  discardUnreadable,
  droppableFrom,
  isMoveDue,
  moveToNewestKey,
  noteSecretKeys,
  readSealing,
  SecretKeyStillNeeded,
  sealsNewest,
} from '#src/keys/seal-rotation.ts'
import { sealedPlaces } from '#src/keys/sealed-values.ts'
import { createSecretKeys, type SecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys, loadSigningKeys } from '#src/keys/signing-keys.ts'
import { createUser } from '#src/users/users.ts'
import { clearAudit } from '#test/support/audit.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const [a, b, c] = [randomBytes(32), randomBytes(32), randomBytes(32)]
const onlyOld = createSecretKeys([a])
const both = createSecretKeys([b, a])
const onlyNew = createSecretKeys([b])
const change = changeAt()
const later = (seconds: number) => new Date(change.now.getTime() + seconds * 1000)

let db: TestDatabase
let userId: string
beforeAll(async () => {
  db = await createTestDatabase()
  await ensureSigningKeys(db.database, onlyOld, change.now)
  userId = (await createUser(db.database.prisma, { email: 'a@example.com' }, change)).id
})
afterAll(() => db.drop())
beforeEach(async () => {
  await db.database.pool.query(
    'TRUNCATE secret_key, credential, mail, address_proof, session, interaction, idempotent_request, webhook_endpoint CASCADE',
  )
  await clearAudit(db.database)
  await sealSigningKeys(onlyOld)
})

/** Whatever they are under by now. */
async function sealSigningKeys(keys: SecretKeys): Promise<void> {
  const any = createSecretKeys([a, b, c])
  for (const { kid, privateJwk } of await db.database.prisma.signingKey.findMany()) {
    const plain = any.unseal('signing-key', kid, Buffer.from(privateJwk).toString('base64url'))
    const sealed = new Uint8Array(Buffer.from(keys.seal('signing-key', kid, plain), 'base64url'))
    await db.database.prisma.signingKey.update({ where: { kid }, data: { privateJwk: sealed } })
  }
}

async function credential(keys: SecretKeys, kind: string, plain: string): Promise<string> {
  const id = randomUUID()
  await db.database.prisma.credential.create({ data: { id, userId, kind, secret: keys.seal(kind, id, plain) } })
  return id
}

const expiresAt = later(86_400)
const asked = { by: 'a', key: 'idempotent', asked: {} }
/** One value in every place of the list, and rows of the same tables that hold none. */
async function fill(keys: SecretKeys): Promise<void> {
  const { prisma } = db.database
  for (const kind of ['totp', 'phone', 'push']) await credential(keys, kind, kind)
  await prisma.credential.create({ data: { id: randomUUID(), userId, kind: 'password', secret: '$argon2id$' } })
  const mail = randomUUID()
  const recipient = new Uint8Array(32)
  await prisma.mail.create({
    data: { id: mail, template: 'x', recipient, sealed: keys.seal('mail', mail, 'mail'), expiresAt },
  })
  await prisma.mail.create({ data: { id: randomUUID(), template: 'x', recipient, sealed: null, expiresAt } })
  const hook = randomUUID()
  const secret = keys.seal('webhook', hook, 'webhook')
  await prisma.webhookEndpoint.create({
    data: {
      ...{ id: hook, url: 'https://hooks.example/', secret, previousSecret: secret },
      types: ['*'],
      createdAt: change.now,
    },
  })
  const proof = createHash('sha256').update('proof').digest()
  await prisma.addressProof.create({
    data: {
      ...{ id: new Uint8Array(proof), purpose: 'sign_up', expiresAt },
      sealed: keys.seal('address-proof', proof.toString('hex'), 'address-proof'),
    },
  })
  const state = keys.seal('session-state', 'uid', 'session-state')
  const hash = (text: string) => new Uint8Array(createHash('sha256').update(text).digest())
  await prisma.session.create({ data: { uid: 'uid', cookieHash: hash('1'), payload: { z: 1, state, a: [2, '"'] } } })
  await prisma.session.create({ data: { uid: 'other', cookieHash: hash('2'), payload: {} } })
  const id = createHash('sha256').update('interaction').digest()
  const fields = ['returnTo', 'deviceCode', 'parJti'].map((field) => [
    field,
    keys.seal('interaction', `\\x${id.toString('hex')} ${field}`, 'interaction'),
  ])
  await prisma.interaction.create({ data: { id: new Uint8Array(id), payload: Object.fromEntries(fields) } })
  await once({ database: db.database, secretKeys: keys }, asked, change.now, async () => ({ secret: 'shown once' }))
}

const move = (keys: SecretKeys = both, onBatch?: (pending: number) => void | Promise<void>) =>
  moveToNewestKey(db.database, keys, { change, ...(onBatch && { onBatch }) })
const total = (counts: Awaited<ReturnType<typeof countSealed>>, by: number) =>
  counts.reduce((sum, { underKey }) => sum + (underKey[by] ?? 0), 0)

test('what is sealed in every place moves to the newest key; afterwards the old one opens nothing that is needed', async () => {
  await fill(onlyOld)
  const before = await countSealed(db.database, both)
  expect(before.map(({ what }) => what)).toEqual(sealedPlaces.map(({ what }) => what))
  for (const { what, underKey, unreadable } of before)
    expect([what, underKey, unreadable]).toEqual([what, [0, what === 'signing keys' ? 6 : 1], 0])
  const pending: number[] = []
  expect(await move(both, (left) => void pending.push(left))).toEqual({ moved: 18, pending: 0, unreadable: 0 })
  expect(pending).toEqual(pending.toSorted((x, y) => y - x))
  expect(pending.at(-1)).toBe(0)

  const after = await countSealed(db.database, onlyNew)
  expect([total(after, 0), after.filter(({ unreadable }) => unreadable > 0)]).toEqual([18, []])
  expect(await loadSigningKeys(db.database, onlyNew)).toHaveLength(6)
  const { rows } = await db.database.pool.query(`SELECT payload::text AS text FROM session WHERE uid = 'uid'`)
  const state = JSON.parse(rows[0].text).state
  expect(rows[0].text).toBe(JSON.stringify({ z: 1, state, a: [2, '"'] })) // the rest to the byte
  const again = await once({ database: db.database, secretKeys: onlyNew }, asked, change.now, async () => ({}))
  expect(again).toEqual({ answer: { secret: 'shown once' }, repeated: true })
  expect(onlyNew.unseal('session-state', 'uid', state).toString()).toBe('session-state')
  expect(await db.database.prisma.auditEvent.findMany({ where: { event: 'secret_key.rows_moved' } })).toMatchObject([
    { detail: { moved: 18, pending: 0 } },
  ])
  expect(await move()).toEqual({ moved: 0, pending: 0, unreadable: 0 })
})

test('several hundred rows, two processes and one that is stopped half-way: each row is moved once and none is broken', async () => {
  const ids = await Promise.all(Array.from({ length: 450 }, (_, n) => credential(onlyOld, 'totp', `seed ${n}`)))
  const stop = new AbortController()
  const onBatch = (left: number) => {
    if (left < 400) stop.abort()
  }
  const stopped = await moveToNewestKey(db.database, both, { change, signal: stop.signal, onBatch })
  expect(stopped.moved).toBeGreaterThan(0)
  expect(stopped.moved).toBeLessThan(456)
  const done = await Promise.all([move(), move()])
  expect(stopped.moved + done.reduce((sum, { moved }) => sum + moved, 0)).toBe(456)
  for (const [n, id] of ids.entries()) {
    const row = await db.database.prisma.credential.findUniqueOrThrow({ where: { id } })
    expect(onlyNew.unseal('totp', id, row.secret).toString()).toBe(`seed ${n}`)
  }
})

test('a change that comes between reading and writing wins', async () => {
  const ids = await Promise.all(Array.from({ length: 150 }, () => credential(onlyOld, 'phone', 'before')))
  const last = ids.toSorted().at(-1) ?? '' // of the second batch, which is read with the first
  const secret = both.seal('phone', last, 'after')
  const change = () => db.database.pool.query('UPDATE credential SET secret = $2 WHERE id = $1', [last, secret])
  await move(both, async (pending) => void (pending === 50 && (await change())))
  const row = await db.database.prisma.credential.findUniqueOrThrow({ where: { id: last } })
  expect(row.secret).toBe(secret)
  expect(await move()).toMatchObject({ moved: 0, pending: 0 })
})

test('a row that somebody holds does not hold up the others', async () => {
  const ids = await Promise.all(['one', 'two', 'three'].map((plain) => credential(onlyOld, 'phone', plain)))
  const client = await db.database.pool.connect()
  try {
    await client.query('BEGIN')
    await client.query('SELECT FROM credential WHERE id = $1 FOR UPDATE', [ids[1]])
    expect(await move()).toMatchObject({ moved: 8, pending: 1 })
    await client.query('COMMIT')
  } finally {
    client.release()
  }
  expect(await move()).toMatchObject({ moved: 1, pending: 0 })
})

describe('a start', () => {
  const note = (keys: SecretKeys, seconds = 0) => noteSecretKeys(db.database, keys, later(seconds))

  test('without a key that something is sealed under is refused, with the list; with it again it goes on', async () => {
    await fill(onlyOld)
    await note(onlyOld)
    await note(both, 1)
    const refused = note(onlyNew, 2)
    await expect(refused).rejects.toBeInstanceOf(SecretKeyStillNeeded)
    await expect(refused).rejects.toThrow(/6 signing keys, 1 seeds of authenticator apps, 1 phone numbers, .*1 mails/)
    await note(both, 3)
    await move()
    await note(onlyNew, 4)
    expect(
      (await db.database.prisma.secretKey.findUnique({ where: { fingerprint: onlyOld.fingerprints[0] ?? '' } }))
        ?.goneAt,
    ).toEqual(later(4))
  })

  test('of an installation that noted no keys yet looks once, and finds a wrong SECRET_KEY', async () => {
    await expect(note(onlyNew)).rejects.toThrow(/6 signing keys/)
    await note(onlyOld)
  })

  test('looks at no row while no key is missing', async () => {
    await note(onlyOld)
    const client = await db.database.pool.connect()
    try {
      await client.query('BEGIN; LOCK TABLE credential, signing_key, mail IN ACCESS EXCLUSIVE MODE')
      await note(onlyOld, 1)
      await note(both, 2)
      await client.query('COMMIT')
    } finally {
      client.release()
    }
  })

  test('a key that comes back is asked for again when it leaves', async () => {
    await note(onlyOld)
    await note(both, 1)
    await move()
    await note(onlyNew, 2)
    await note(both, 3)
    await credential(onlyOld, 'totp', 'by a process of before')
    await expect(note(onlyNew, 4)).rejects.toThrow(/1 seeds/)
  })
})

describe('who moves rows, and when', () => {
  const due = (keys: SecretKeys, seconds: number) => isMoveDue(db.database, keys, later(seconds))

  test('with one key nobody; with two the process that has the newest in front, once and then hourly', async () => {
    await noteSecretKeys(db.database, onlyOld, later(0))
    expect(await due(onlyOld, 1)).toBe(false)
    await noteSecretKeys(db.database, both, later(10))
    expect(await due(both, 10)).toBe(true)
    expect(await due(createSecretKeys([a, b]), 10)).toBe(false) // it would move them back
    expect(await sealsNewest(db.database, createSecretKeys([a, b])), 'nor when somebody asks').toBe(false)
    expect(await sealsNewest(db.database, both)).toBe(true)
    await moveToNewestKey(db.database, both, { change: { ...change, now: later(20) } })
    expect(await due(both, 21)).toBe(false)
    expect(await due(both, 20 + 3_600)).toBe(true)
  })

  test('the old key may go when nothing needs it and what is not in rows is over, not before', async () => {
    await noteSecretKeys(db.database, onlyOld, later(0))
    await noteSecretKeys(db.database, both, later(10))
    const from = async () => droppableFrom(await readSealing(db.database), both, 86_400)
    expect(await from()).toBeUndefined()
    await move()
    expect(await from()).toEqual(later(10 + 86_400))
    expect((await readSealing(db.database)).pending).toMatchObject({ totp: 0, 'signing-key': 0 })
  })
})

test('of a key that is lost for good what it sealed can be thrown away, and nothing else', async () => {
  await fill(onlyOld)
  const stays = await credential(both, 'totp', 'new')
  const lost = await discardUnreadable(db.database, onlyNew, change)
  expect(lost.map(({ what, unreadable }) => [what, unreadable])).toContainEqual(['signing keys', 6])
  expect((await countSealed(db.database, onlyNew)).every(({ unreadable }) => unreadable === 0)).toBe(true)
  expect(
    (await db.database.prisma.credential.findMany({ where: { kind: { not: 'password' } } })).map(({ id }) => id),
  ).toEqual([stays])
  expect(await db.database.prisma.credential.count({ where: { kind: 'password' } })).toBe(1)
  expect(await db.database.prisma.auditEvent.count({ where: { event: 'secret_key.rows_discarded' } })).toBe(1)
  expect(await discardUnreadable(db.database, onlyNew, change)).toEqual([])
  await ensureSigningKeys(db.database, onlyOld, change.now) // for the tests after this one
})
