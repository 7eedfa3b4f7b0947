// Passkeys against an authenticator that can lie (CVE-2026-8830, CVE-2025-12150: the server checks, whatever the browser did).
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type Ceremony,
  enrolPasskey,
  offerEnrolment,
  offerSignIn,
  relyingParty,
  verifyPasskey,
} from '#src/factors/passkey.ts'
import { createUser } from '#src/users/users.ts'
import { Authenticator, type Lies } from '#test/support/authenticator.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const { now } = change
const origin = 'https://id.example.com'
const rp = relyingParty(origin)
const signIn: Ceremony = { purpose: 'sign_in', flow: 'request one' }
const later = (seconds: number) => new Date(now.getTime() + seconds * 1000)
let created: TestDatabase
let db: TestDatabase['database']['prisma']
let userId: string
let key: Authenticator

beforeAll(async () => {
  created = await createTestDatabase()
  db = created.database.prisma
})
afterAll(() => created.drop())
beforeEach(async () => {
  await db.user.deleteMany()
  userId = (await createUser(db, { email: 'alice@example.com', name: 'Alice' }, change)).id
  key = new Authenticator(origin)
  expect(await enrol(key)).toMatchObject({ amr: ['pop', 'hwk', 'user', 'mfa'] })
})

async function enrol(authenticator: Authenticator, lies: Lies = {}, who = userId) {
  const ceremony = { purpose: 'enrolment', flow: 'enrolling', userId: who, generation: 0 } as const
  const options = await offerEnrolment(db, rp, ceremony, { email: 'alice@example.com', name: 'Alice' }, now)
  return enrolPasskey(db, rp, ceremony, { response: authenticator.create(options, lies), name: 'Key' }, change)
}
async function prove(lies: Lies = {}, ceremony = signIn, at = now) {
  const options = await offerSignIn(db, rp, ceremony, now)
  return verifyPasskey(db, rp, ceremony, key.get(options, lies), at)
}
const refused = (reason: string) => expect.objectContaining({ ok: false, reason })

test('options: discoverable, verified, three algorithms, the relying party of ISSUER_URL, known keys excluded', async () => {
  const ceremony = { purpose: 'enrolment', flow: 'f', userId, generation: 0 } as const
  const options = await offerEnrolment(db, rp, ceremony, { email: 'alice@example.com', name: null }, now)
  expect(options).toMatchObject({
    rp: { id: 'id.example.com' },
    attestation: 'none',
    authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    excludeCredentials: [{ id: key.id }],
  })
  expect(options.pubKeyCredParams.map(({ alg }) => alg)).toEqual([-7, -8, -257])
  expect(Buffer.from(options.user.id, 'base64url').toString('hex')).toBe(userId.replaceAll('-', ''))
  expect(Buffer.from(options.challenge, 'base64url')).toHaveLength(32)
  const anybody = await offerSignIn(db, rp, signIn, now)
  expect(anybody).toMatchObject({ rpId: 'id.example.com', userVerification: 'required' })
  expect(anybody.allowCredentials ?? []).toEqual([])
  const second = await offerSignIn(db, rp, { purpose: 'second_factor', flow: 'f', userId }, now)
  expect(second.allowCredentials?.map(({ id }) => id)).toEqual([key.id])
})

test('a key of a session that was ended meanwhile is not enrolled', async () => {
  await db.user.update({ where: { id: userId }, data: { generation: { increment: 1 } } })
  expect(await enrol(new Authenticator(origin))).toBeUndefined()
  expect(await db.credential.count({ where: { userId, kind: 'passkey' } })).toBe(1)
})

test('says who it was and what it proves: possession, presence, and two factors', async () => {
  expect(await prove()).toEqual({ ok: true, userId, amr: ['pop', 'hwk', 'user', 'mfa'] })
  // Backup eligible and backed up: it can leave the device, so it is not called hardware-secured.
  expect(await prove({ flags: 0x1d })).toMatchObject({ ok: true, amr: ['pop', 'swk', 'user', 'mfa'] })
})

describe('is refused with', () => {
  test.each<[string, Lies, string]>([
    ['another origin', { origin: 'https://id.example.com.evil.example' }, 'not_verified'],
    ['plain http', { origin: 'http://id.example.com' }, 'not_verified'],
    ['another relying party', { rpId: 'example.com' }, 'not_verified'],
    ['no user verification', { flags: 0x01 }, 'not_verified'],
    ['no user presence', { flags: 0x04 }, 'not_verified'],
    ['the type of an enrolment', { type: 'webauthn.create' }, 'not_verified'],
    ['a signature of nothing', { signature: Buffer.alloc(70, 1) }, 'not_verified'],
    ['a challenge of its own', { challenge: Buffer.alloc(32, 9).toString('base64url') }, 'challenge'],
    ['a frame of another site', { crossOrigin: true }, 'challenge'],
    ['no user handle', { userHandle: undefined }, 'unknown_key'],
    ['the user handle of somebody else', { userHandle: Buffer.alloc(16, 1).toString('base64url') }, 'unknown_key'],
  ])('%s', async (_what, lies, reason) => {
    expect(await prove(lies)).toEqual(refused(reason))
    expect(await prove()).toMatchObject({ ok: true })
  })

  test('a challenge that was answered before, rightly or not', async () => {
    const options = await offerSignIn(db, rp, signIn, now)
    expect(await verifyPasskey(db, rp, signIn, key.get(options), now)).toMatchObject({ ok: true })
    expect(await verifyPasskey(db, rp, signIn, key.get(options), now)).toEqual(refused('challenge'))
    const spoilt = await offerSignIn(db, rp, signIn, now)
    expect(await verifyPasskey(db, rp, signIn, key.get(spoilt, { flags: 1 }), now)).toEqual(refused('not_verified'))
    expect(await verifyPasskey(db, rp, signIn, key.get(spoilt), now)).toEqual(refused('challenge'))
  })

  test('a challenge at twenty places at once: one is taken', async () => {
    const response = key.get(await offerSignIn(db, rp, signIn, now))
    const answers = await Promise.all(Array.from({ length: 20 }, () => verifyPasskey(db, rp, signIn, response, now)))
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1)
  })

  test.each<[string, Partial<Ceremony>]>([
    ['another pending request', { flow: 'request two' }],
    ['another purpose', { purpose: 'second_factor' }],
    ['a person', { userId: '00000000-0000-4000-8000-000000000000' }],
  ])('a challenge that was made for %s', async (_what, other) => {
    const options = await offerSignIn(db, rp, { ...signIn, ...other }, now)
    expect(await verifyPasskey(db, rp, signIn, key.get(options), now)).toEqual(refused('challenge'))
  })

  test('a challenge that is too old', async () => {
    expect(await prove({}, signIn, later(1800))).toEqual(refused('challenge'))
    expect(await prove({}, signIn, later(1799))).toMatchObject({ ok: true })
  })

  test('a key that nobody enrolled, or that is somebody else’s as a second factor', async () => {
    const stranger = new Authenticator(origin)
    stranger.userHandle = key.userHandle
    const options = await offerSignIn(db, rp, signIn, now)
    expect(await verifyPasskey(db, rp, signIn, stranger.get(options), now)).toEqual(refused('unknown_key'))
    const bob = await createUser(db, { email: 'bob@example.com' }, change)
    expect(await prove({}, { purpose: 'second_factor', flow: 'f', userId: bob.id })).toEqual(refused('unknown_key'))
    expect(await prove({ userHandle: undefined }, { purpose: 'second_factor', flow: 'f', userId })).toMatchObject({
      ok: true,
    })
  })

  test('a counter that does not move on (WebAuthn 3, 7.2 step 22); keys that never count are free of it', async () => {
    expect(await prove({ counter: 0 })).toMatchObject({ ok: true })
    expect(await prove({ counter: 7 })).toMatchObject({ ok: true })
    for (const counter of [7, 6, 0]) expect(await prove({ counter })).toEqual(refused('counter'))
    expect(await prove({ counter: 8 })).toMatchObject({ ok: true })
  })

  test.each([
    [null],
    ['text'],
    [{}],
    [{ id: 'a', rawId: 'a', type: 'public-key', clientExtensionResults: {}, response: {} }],
    [{ id: '\0', rawId: '\0', type: 'public-key', clientExtensionResults: {}, response: { clientDataJSON: 'e30' } }],
  ])('nonsense: %j', async (response) => {
    expect(await verifyPasskey(db, rp, signIn, response, now)).toEqual(refused('not_verified'))
    const ceremony = { purpose: 'enrolment', flow: 'f', userId, generation: 0 } as const
    expect(await enrolPasskey(db, rp, ceremony, { response, name: 'x' }, change)).toBeUndefined()
  })

  test('client data that is not JSON, or holds no challenge', async () => {
    const good = key.get(await offerSignIn(db, rp, signIn, now))
    for (const clientDataJSON of ['bm90IGpzb24', 'e30', 'bnVsbA', 'W10'])
      expect(
        await verifyPasskey(db, rp, signIn, { ...good, response: { ...good.response, clientDataJSON } }, now),
      ).toEqual(refused('challenge'))
  })
})

describe('enrolment is refused with', () => {
  test.each<[string, Lies]>([
    ['another origin', { origin: 'https://evil.example' }],
    ['another relying party', { rpId: 'evil.example' }],
    ['no user verification', { flags: 0x01 }],
    ['an algorithm that is not on the list', { algorithm: -35 }],
    ['the type of a sign-in', { type: 'webauthn.get' }],
  ])('%s', async (_what, lies) => {
    expect(await enrol(new Authenticator(origin), lies)).toBeUndefined()
    expect(await db.credential.count({ where: { kind: 'passkey' } })).toBe(1)
  })

  test('a key that is enrolled already, by anybody', async () => {
    expect(await enrol(key)).toBeUndefined()
    const bob = await createUser(db, { email: 'bob@example.com' }, change)
    expect(await enrol(key, {}, bob.id)).toBeUndefined()
    // What the authenticator holds now says bob; what is stored says alice.
    expect(await prove()).toEqual(refused('unknown_key'))
  })
})

test('several keys of one person are kept apart, each with its name', async () => {
  expect(await enrol(new Authenticator(origin))).toBeDefined()
  const keys = await db.credential.findMany({ where: { userId, kind: 'passkey' } })
  expect(keys).toHaveLength(2)
  for (const { name, details } of keys) {
    expect(name).toBe('Key')
    expect(details).toMatchObject({ transports: ['internal'], deviceBound: true, backedUp: false })
  }
})

test('an unanswered challenge leaves no trace of what it was: rows hold digests', async () => {
  const { challenge } = await offerSignIn(db, rp, signIn, now)
  const rows = await db.passkeyChallenge.findMany()
  const all = rows.map(({ id, flow }) => [Buffer.from(id).toString('base64url'), Buffer.from(flow).toString()])
  expect(all.flat()).not.toContain(challenge)
  expect(all.flat()).not.toContain('request one')
})
