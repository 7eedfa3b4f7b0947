// Passkeys (WebAuthn 3): discoverable, with user verification, so that one counts as two factors and needs no user name. Relying party
// and origin come from ISSUER_URL, never from a request. A challenge is answered once: it is taken in one statement before anything
// about the answer is judged, and only for the flow, purpose and person that it was made for.
//
//   offerEnrolment -> navigator.credentials.create -> enrolPasskey
//   offerSignIn    -> navigator.credentials.get    -> verifyPasskey
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import type { AuthenticationResponseJSON, RegistrationResponseJSON } from '@simplewebauthn/server'
import { z } from 'zod'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { holdsSecondFactor, type LetIn, lockCredentialsOf, recordFactor } from './credentials.ts'

/** Where passkeys of this installation are valid. */
export type RelyingParty = Readonly<{ id: string; origin: string; name: string }>

/** What a challenge is for. `flow` is the uid of a pending request or of a session. */
export type Ceremony = Readonly<{
  purpose: 'sign_in' | 'second_factor' | 'enrolment'
  flow: string
  /** Undefined before anybody said who they are. */
  userId?: string | undefined
}>

/** Three hundred modules, for certificates of devices most of them: loaded with the first page that offers a passkey. */
const webAuthn = () => import('@simplewebauthn/server')

/** ES256, EdDSA, RS256 (Windows Hello makes nothing else), in the words of COSE. */
const algorithms = [-7, -8, -257]
const challengeSeconds = 1800 // a pending request lives as long, and the offer to autofill waits with the page
const timeoutMs = 300_000
const mostPerPerson = 20

export function relyingParty(issuerUrl: string): RelyingParty {
  const { hostname, origin } = new URL(issuerUrl)
  return Object.freeze({ id: hostname, origin, name: hostname })
}

/** @returns options for `navigator.credentials.create`. */
export async function offerEnrolment(
  db: Db,
  rp: RelyingParty,
  ceremony: Ceremony & { userId: string },
  person: { email: string; name: string | null },
  now: Date,
) {
  const known = await keysOf(db, ceremony.userId)
  const { generateRegistrationOptions } = await webAuthn()
  return generateRegistrationOptions({
    rpName: rp.name,
    rpID: rp.id,
    userName: person.email,
    userDisplayName: person.name ?? person.email,
    userID: userHandle(ceremony.userId),
    challenge: await createChallenge(db, ceremony, now),
    timeout: timeoutMs,
    attestationType: 'none', // nothing here depends on the make of a device
    excludeCredentials: known,
    authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
    supportedAlgorithmIDs: algorithms,
  })
}

/** @returns options for `navigator.credentials.get`; with a person only their keys, else any that the device can find. */
export async function offerSignIn(db: Db, rp: RelyingParty, ceremony: Ceremony, now: Date) {
  const { generateAuthenticationOptions } = await webAuthn()
  return generateAuthenticationOptions({
    rpID: rp.id,
    challenge: await createChallenge(db, ceremony, now),
    timeout: timeoutMs,
    userVerification: 'required',
    ...(ceremony.userId === undefined ? {} : { allowCredentials: await keysOf(db, ceremony.userId) }),
  })
}

/** @param input.response what the browser sent, whatever it is.
 *  @param input.first the person must have no second factor yet.
 *  @returns the new factor, or undefined when anything is not as it must be. */
export async function enrolPasskey(
  db: Db,
  rp: RelyingParty,
  ceremony: Ceremony & LetIn,
  input: { response: unknown; name: string; first?: boolean },
  change: Change,
): Promise<{ id: string; amr: readonly string[] } | undefined> {
  const response = registration.safeParse(input.response)
  if (!response.success) return undefined
  const challenge = await takeChallenge(db, ceremony, response.data.response.clientDataJSON, change.now)
  if (challenge === undefined) return undefined
  const { verifyRegistrationResponse } = await webAuthn()
  const verified = await verifyRegistrationResponse({
    response: response.data as RegistrationResponseJSON,
    expectedChallenge: challenge,
    expectedOrigin: rp.origin,
    expectedRPID: rp.id,
    requireUserVerification: true,
    supportedAlgorithmIDs: algorithms,
  }).catch(refused)
  if (!verified?.verified) return undefined
  const { credential, credentialDeviceType, credentialBackedUp, aaguid } = verified.registrationInfo
  const { userId } = ceremony
  const deviceBound = credentialDeviceType === 'singleDevice'
  return atomically(db, async (tx) => {
    if (!(await lockCredentialsOf(tx, ceremony))) return undefined
    if (input.first && (await holdsSecondFactor(tx, userId))) return undefined
    if ((await tx.credential.count({ where: { userId, kind: 'passkey' } })) >= mostPerPerson) return undefined
    const id = randomUUID()
    // An id that somebody has already (WebAuthn 3, 7.1 step 26) stays theirs.
    const { count } = await tx.credential.createMany({
      data: [
        {
          id,
          userId,
          kind: 'passkey',
          name: input.name,
          secret: Buffer.from(credential.publicKey).toString('base64url'),
          keyId: credential.id,
          counter: credential.counter,
          details: {
            transports: (credential.transports ?? []).slice(0, 8),
            deviceBound,
            backedUp: credentialBackedUp,
            aaguid,
          },
          createdAt: change.now,
          lastUsedAt: change.now,
        },
      ],
      skipDuplicates: true,
    })
    if (count === 0) return undefined
    await recordFactor(tx, 'factor.added', userId, { factor: 'passkey', id }, change)
    return { id, amr: methodsOf(deviceBound) }
  })
}

export type PasskeyVerdict =
  | { ok: true; userId: string; amr: readonly string[] }
  | { ok: false; reason: 'challenge' | 'unknown_key' | 'not_verified' | 'counter'; userId?: string }

/** @param response what the browser sent, whatever it is. The reasons of a refusal are for the record: people hear one answer. */
export async function verifyPasskey(
  db: Db,
  rp: RelyingParty,
  ceremony: Ceremony,
  response: unknown,
  now: Date,
): Promise<PasskeyVerdict> {
  const parsed = authentication.safeParse(response)
  if (!parsed.success) return { ok: false, reason: 'not_verified' }
  const { data } = parsed
  const challenge = await takeChallenge(db, ceremony, data.response.clientDataJSON, now)
  if (challenge === undefined) return { ok: false, reason: 'challenge' }
  const key = await db.credential.findUnique({
    where: { keyId: data.id },
    select: { id: true, userId: true, kind: true, secret: true, counter: true, details: true },
  })
  if (key?.kind !== 'passkey' || !belongsTo(key.userId, ceremony, data.response.userHandle))
    return { ok: false, reason: 'unknown_key' }
  const refusal = { ok: false, userId: key.userId } as const
  const { verifyAuthenticationResponse } = await webAuthn()
  const verified = await verifyAuthenticationResponse({
    response: data as AuthenticationResponseJSON,
    expectedChallenge: challenge,
    expectedOrigin: rp.origin,
    expectedRPID: rp.id,
    requireUserVerification: true,
    credential: {
      id: data.id,
      publicKey: new Uint8Array(Buffer.from(key.secret, 'base64url')),
      counter: 0, // judged below, in the statement that raises it
    },
  }).catch(refused)
  if (!verified?.verified) return { ...refusal, reason: 'not_verified' }
  const { newCounter, credentialBackedUp, credentialDeviceType } = verified.authenticationInfo
  const deviceBound = credentialDeviceType === 'singleDevice'
  // WebAuthn 3, 7.2 step 22: a counter that does not move was copied. Keys that travel between devices do not count and say 0.
  const { count } = await db.credential.updateMany({
    where: { id: key.id, ...(newCounter === 0 ? { counter: 0 } : { counter: { lt: newCounter } }) },
    data: {
      counter: newCounter,
      lastUsedAt: now,
      details: { ...(key.details as object), deviceBound, backedUp: credentialBackedUp },
    },
  })
  if (count === 0) return { ...refusal, reason: 'counter' }
  return { ok: true, userId: key.userId, amr: methodsOf(deviceBound) }
}

/** RFC 8176. A key that can be copied to other devices is not called hardware-secured, wherever it is kept. */
function methodsOf(deviceBound: boolean): readonly string[] {
  return ['pop', deviceBound ? 'hwk' : 'swk', 'user', 'mfa']
}

/** @returns the challenge, base64url: known to the browser that asked and to nobody else. */
async function createChallenge(
  db: Db,
  { purpose, flow, userId }: Ceremony,
  now: Date,
): Promise<Uint8Array<ArrayBuffer>> {
  const challenge = new Uint8Array(randomBytes(32))
  await db.passkeyChallenge.create({
    data: {
      id: digest(challenge),
      purpose,
      flow: digest(flow),
      userId: userId ?? null,
      expiresAt: new Date(now.getTime() + challengeSeconds * 1000),
    },
  })
  return challenge
}

/** @returns the challenge that the answer names, if it was made for this and nobody has used it. */
async function takeChallenge(
  db: Db,
  { purpose, flow, userId }: Ceremony,
  clientDataJson: string,
  now: Date,
): Promise<string | undefined> {
  const clientData = clientDataOf(clientDataJson)
  // A page of ours is never inside another's frame.
  if (!clientData || clientData.crossOrigin === true) return undefined
  const { count } = await db.passkeyChallenge.deleteMany({
    where: {
      id: digest(Buffer.from(clientData.challenge, 'base64url')),
      purpose,
      flow: digest(flow),
      userId: userId ?? null,
      expiresAt: { gt: now },
    },
  })
  return count > 0 ? clientData.challenge : undefined
}

function clientDataOf(encoded: string): z.infer<typeof clientDataShape> | undefined {
  try {
    return clientDataShape.safeParse(JSON.parse(Buffer.from(encoded, 'base64url').toString('utf8'))).data
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Usernameless, the handle is what says whose key it is (WebAuthn 3, 7.2 step 6). */
function belongsTo(owner: string, { userId }: Ceremony, handle: string | undefined): boolean {
  if (userId !== undefined && owner !== userId) return false
  if (handle === undefined) return userId !== undefined
  return Buffer.from(handle, 'base64url').equals(userHandle(owner))
}

/** The 16 bytes of the id: random, and nothing that a person would mind an authenticator to show. */
function userHandle(userId: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(userId.replaceAll('-', ''), 'hex'))
}

async function keysOf(db: Db, userId: string): Promise<{ id: string; transports: string[] }[]> {
  const keys = await db.credential.findMany({
    where: { userId, kind: 'passkey' },
    select: { keyId: true, details: true },
  })
  return keys.map(({ keyId, details }) => ({
    id: keyId ?? '',
    transports: (details as { transports?: string[] }).transports ?? [],
  }))
}

/** The library throws for everything that does not fit, with words about what; all of it is one refusal here. */
function refused(error: unknown): undefined {
  if (!(error instanceof Error)) throw error
  return undefined
}

function digest(value: string | Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(createHash('sha256').update(value).digest())
}

const base64url = (longest: number) =>
  z
    .string()
    .max(longest)
    .regex(/^[A-Za-z0-9_-]+$/)
const clientDataShape = z.looseObject({ challenge: base64url(64), crossOrigin: z.boolean().optional() })
const key = { id: base64url(1400), rawId: base64url(1400), type: z.literal('public-key') }
const extensions = { clientExtensionResults: z.looseObject({}), authenticatorAttachment: z.string().optional() }
const registration = z.object({
  ...key,
  ...extensions,
  response: z.object({
    clientDataJSON: base64url(4096),
    attestationObject: base64url(32_768),
    transports: z.array(z.string().max(32)).max(16).optional(),
  }),
})
const authentication = z.object({
  ...key,
  ...extensions,
  response: z.object({
    clientDataJSON: base64url(4096),
    authenticatorData: base64url(4096),
    signature: base64url(4096),
    userHandle: base64url(128).optional(),
  }),
})
