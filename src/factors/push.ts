// Approval on a phone, in an app of the operator's, as a second factor. The screen of the sign-in shows a number that is in no message; the
// person carries it over into the app, and the operator's backend hands the answer on. So whoever presses "approve" at a request that is
// not theirs has no number to give (NIST SP 800-63B-4 3.1.3.2, ASVS 6.6.4), and one wrong number refuses the request for good.
//
//   addPushDevice (by the backend) -> sendPush -> the person types the number in the app -> answerPush (by the backend) -> takePush
import { createHash, randomInt, randomUUID } from 'node:crypto'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { queueNotice } from '#src/mail/notices.ts'
import { checkText, type Flaw, Refusal } from '#src/refusal.ts'
import { findUser, UserNotFound } from '#src/users/users.ts'
import type { Locale } from '#src/words.ts'
import { lockCredentials, recordFactor } from './credentials.ts'
import { accountKey, reserveGuess } from './guessing.ts'
import { type OutOfBandDeps, type Sending, sendOutOfBand } from './out-of-band.ts'

export const pushLifetimeSeconds = 120
/** More than these are somebody filling the table. */
const mostPerPerson = 5
const longestReference = 512
const longestName = 64

export class InvalidPushDevice extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

/** Never sent, answered, taken, or over: which of them is not told. */
export class PushNotOpen extends Refusal {
  constructor() {
    super('missing', [{ field: 'id', problem: 'names no request that waits for an answer', fix: 'Send a new one.' }])
  }
}

/** @param input.reference how the operator's app knows the device; nothing here reads it. @returns the new factor's id.
 *  @throws UserNotFound, InvalidPushDevice */
export function addPushDevice(
  db: Db,
  secretKeys: SecretKeys,
  { userId, reference, name }: { userId: string; reference: string; name: string },
  change: Change,
): Promise<string> {
  const flaws = [...checkText('reference', reference, longestReference), ...checkText('name', name, longestName)]
  if (flaws.length > 0) throw new InvalidPushDevice(flaws)
  return atomically(db, async (tx) => {
    const user = await findUser(tx, userId)
    if (!user) throw new UserNotFound(userId)
    await lockCredentials(tx, userId)
    if ((await tx.credential.count({ where: { userId, kind: 'push' } })) >= mostPerPerson)
      throw new InvalidPushDevice([
        { field: 'reference', problem: 'is one device too many for this person', fix: 'Remove one of theirs first.' },
      ])
    const id = randomUUID()
    const secret = secretKeys.seal('push', id, reference)
    await tx.credential.create({ data: { id, userId, kind: 'push', name, secret, createdAt: change.now } })
    await recordFactor(tx, 'factor.added', userId, { factor: 'push', id }, change)
    await queueNotice(tx, 'factorAdded', user, change.origin ?? {}, { secretKeys, now: change.now }) // ASVS 6.3.7
    return id
  })
}

/** For choosing among them. Oldest first. */
export function listPushDevices(db: Db, userId: string): Promise<{ id: string; name: string | null }[]> {
  return db.credential.findMany({
    where: { userId, kind: 'push' },
    select: { id: true, name: true },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
  })
}

/** After the first factor. A request that was sent before in the same pending request is void.
 *  @returns undefined when the device is not theirs, or gone; with the number for the screen when it was sent. */
export async function sendPush(
  deps: OutOfBandDeps,
  ask: {
    userId: string
    deviceId: string
    uid: string
    locale: Locale
    /** Whom the sign-in is for, in the app's words to the person. */
    application: string
    askedFrom: string | undefined
    /** Of http/known-device.ts. */
    device: Buffer | undefined
  },
): Promise<(Sending & { number: number }) | undefined> {
  const { userId, deviceId, uid, locale, application, askedFrom, device } = ask
  const { secretKeys, now } = deps
  const devices = await deps.database.prisma.credential.findMany({ where: { userId, kind: 'push' } })
  const found = devices.find(({ id }) => id === deviceId)
  if (!found) return undefined
  const to = secretKeys.unseal('push', found.id, found.secret).toString()
  const number = randomInt(10, 100)
  const expiresAt = new Date(now.getTime() + pushLifetimeSeconds * 1000)
  const sending = await sendOutOfBand(deps, { userId, channel: 'push', to, askedFrom }, async (tx, id) => {
    const fresh = {
      id,
      credentialId: deviceId,
      numberHash: new Uint8Array(secretKeys.mac(macPurpose, id, String(number))),
      address: askedFrom ?? null,
      device: device ? new Uint8Array(device) : null,
      answeredAt: null,
      approved: false,
      createdAt: now,
      expiresAt,
    }
    const flow = flowOf(uid)
    await tx.pushApproval.upsert({ where: { flow }, create: { flow, ...fresh }, update: fresh })
    return { id, channel: 'push', to, application, askedFrom, locale, expiresAt, purpose: 'sign_in' }
  })
  return { ...sending, number }
}

export type PushAnswer = { approved: true; number: number } | { approved: false; number?: number | undefined }

/** What the person did in the app, once. A wrong number and a refusal count as a guess of the browser that asked.
 *  @throws PushNotOpen */
export async function answerPush(
  database: Database,
  secretKeys: SecretKeys,
  { id, answer }: { id: string; answer: PushAnswer },
  change: Change,
): Promise<'approved' | 'refused'> {
  const { prisma } = database
  const { now } = change
  const open = await findOpen(prisma, id, now)
  if (!open) throw new PushNotOpen()
  const { user } = open.credential
  const reservation = await reserveGuess(database, {
    factor: 'push',
    account: accountKey(secretKeys, user.emailKey),
    address: open.address ?? undefined,
    device: open.device ? Buffer.from(open.device) : undefined,
    now,
  })
  const right = reservation.allowed && answer.approved
  const hashes = right ? secretKeys.macs(macPurpose, id, String(answer.number)).map((hash) => hash.toString('hex')) : []
  const expiresAt = new Date(now.getTime() + pushLifetimeSeconds * 1000)
  // One statement: of two answers at once one counts.
  const [row] = await prisma.$queryRaw<{ approved: boolean }[]>`
    UPDATE push_approval SET answered_at = ${now}::timestamptz, expires_at = ${expiresAt}::timestamptz,
      approved = encode(number_hash, 'hex') = ANY (${hashes})
    WHERE id = ${id}::uuid AND answered_at IS NULL AND expires_at > ${now}::timestamptz
    RETURNING approved`
  if (!row) {
    if (reservation.allowed) await reservation.release()
    throw new PushNotOpen()
  }
  if (row.approved && reservation.allowed) await reservation.succeed()
  const reason = !reservation.allowed ? 'limited' : answer.approved ? 'wrong_number' : 'refused'
  await recordAudit(
    prisma,
    {
      event: 'factor.push_answered',
      outcome: row.approved ? 'success' : 'failure',
      actor: change.actor,
      target: { kind: 'user', id: user.id },
      detail: { message: id, ...(row.approved ? {} : { reason }) },
    },
    change.origin,
  )
  return row.approved ? 'approved' : 'refused'
}

export type PushState = 'waiting' | 'approved' | 'refused' | 'over'

/** How it stands, for the screen that shows the number. */
export async function findPush(db: Db, { uid, id }: { uid: string; id: string }, now: Date): Promise<PushState> {
  const row = await db.pushApproval.findFirst({ where: { id, flow: flowOf(uid), expiresAt: { gt: now } } })
  if (!row) return 'over'
  if (row.answeredAt === null) return 'waiting'
  return row.approved ? 'approved' : 'refused'
}

/** Takes the approval, whatever becomes of the request. */
export function takePush(
  db: Db,
  { userId, uid, id, now }: { userId: string; uid: string; id: string; now: Date },
): Promise<boolean> {
  const flow = flowOf(uid)
  return atomically(db, async (tx) => {
    const [taken] = await tx.$queryRaw<{ credentialId: string }[]>`
      DELETE FROM push_approval p USING credential c
      WHERE p.id = ${id}::uuid AND p.flow = ${flow} AND p.approved AND p.expires_at > ${now}::timestamptz
        AND c.id = p.credential_id AND c.user_id = ${userId}::uuid AND c.kind = 'push'
      RETURNING p.credential_id AS "credentialId"`
    if (!taken) return false
    await tx.credential.updateMany({ where: { id: taken.credentialId }, data: { lastUsedAt: now } })
    return true
  })
}

const macPurpose = 'push-number'
const idPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

function findOpen(db: Db, id: string, now: Date) {
  if (!idPattern.test(id)) return undefined
  return db.pushApproval.findFirst({
    where: { id, answeredAt: null, expiresAt: { gt: now } },
    include: { credential: { select: { user: { select: { id: true, emailKey: true } } } } },
  })
}

const flowOf = (uid: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(createHash('sha256').update(`push ${uid}`).digest())
