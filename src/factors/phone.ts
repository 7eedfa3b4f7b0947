// Codes in text messages, as a second factor. NIST SP 800-63B-4 3.1.3.3 calls it restricted: a number can be taken over and a message read
// on its way, so it is added by its owner beside other ways, and never what policy has somebody set up (docs/decisions/029). The number is
// sealed at rest, and its last two digits are all that is ever shown.
//
//   sendEnrolmentCode -> the code shows that the number is theirs -> confirmPhone; at a sign-in: sendSignInCode -> takeSmsCode
import { randomUUID } from 'node:crypto'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { Locale } from '#src/words.ts'
import { type LetIn, lockCredentialsOf, recordFactor } from './credentials.ts'
import { type CodeBinding, type CodeVerdict, codeLifetimeSeconds, issueCode, redeemCode } from './one-time-code.ts'
import { type OutOfBandDeps, type Sending, sendOutOfBand } from './out-of-band.ts'

/** More than these are somebody filling the table. */
const mostPerPerson = 3

/** @param typed with or without spaces, dashes, dots, brackets; from abroad, as it has to work from anywhere.
 *  @returns E.164, or undefined for what is no complete number. */
export function readPhoneNumber(typed: string): string | undefined {
  if (typed.length > 64) return undefined
  const number = typed
    .normalize('NFKC')
    .replace(/[\s\p{Pd}\p{Cf}()./]/gu, '')
    .replace(/^00/, '+')
  return /^\+[1-9]\d{6,14}$/.test(number) ? number : undefined
}

export const endingOf = (number: string): string => number.slice(-2)

/** For choosing among them. Oldest first. */
export async function listPhones(db: Db, userId: string): Promise<{ id: string; ending: string }[]> {
  const rows = await db.credential.findMany({
    where: { userId, kind: 'phone' },
    select: { id: true, details: true },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
  })
  return rows.map(({ id, details }) => ({ id, ending: readEnding(details) }))
}

/** @param details of a credential. @returns '' where there is no number. */
export function readEnding(details: unknown): string {
  const { ending } = (details ?? {}) as { ending?: unknown }
  return typeof ending === 'string' ? ending : ''
}

/** Whole: for sending, and for the person's own copy of what is held about them. */
export async function readPhones(
  db: Db,
  secretKeys: Pick<SecretKeys, 'unseal'>,
  userId: string,
): Promise<{ id: string; number: string }[]> {
  const rows = await db.credential.findMany({
    where: { userId, kind: 'phone' },
    select: { id: true, secret: true },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
  })
  return rows.map(({ id, secret }) => ({ id, number: secretKeys.unseal('phone', id, secret).toString() }))
}

/** Before a number is kept. @param ask.session the only one in which the code is taken.
 *  @returns `taken`: it is there already. `full`: there are enough. */
export async function sendEnrolmentCode(
  deps: OutOfBandDeps,
  ask: { userId: string; session: string; number: string; locale: Locale; askedFrom: string | undefined },
): Promise<Sending | { outcome: 'taken' | 'full' }> {
  const { userId, session, number, locale, askedFrom } = ask
  const has = await readPhones(deps.database.prisma, deps.secretKeys, userId)
  if (has.some((phone) => phone.number === number)) return { outcome: 'taken' }
  if (has.length >= mostPerPerson) return { outcome: 'full' }
  return sendCode(deps, enrolmentOf({ session, number }), {
    userId,
    to: number,
    locale,
    askedFrom,
    purpose: 'enrolment',
  })
}

/** With the code that went to the number. @returns the new factor's id. */
export async function confirmPhone(
  db: Db,
  input: LetIn & { session: string; number: string; code: string; name: string },
  secretKeys: SecretKeys,
  change: Change,
): Promise<{ id: string } | 'wrong' | 'over'> {
  const { userId, session, number, code, name } = input
  return atomically(db, async (tx) => {
    const verdict = await redeemCode(tx, enrolmentOf({ session, number }), code, { secretKeys, now: change.now })
    if (verdict !== 'right') return verdict
    if (!(await lockCredentialsOf(tx, input))) return 'over'
    const has = await readPhones(tx, secretKeys, userId)
    if (has.length >= mostPerPerson || has.some((phone) => phone.number === number)) return 'over'
    const id = randomUUID()
    await tx.credential.create({
      data: {
        id,
        userId,
        kind: 'phone',
        name,
        secret: secretKeys.seal('phone', id, number),
        details: { ending: endingOf(number) },
        createdAt: change.now,
        lastUsedAt: change.now,
      },
    })
    await recordFactor(tx, 'factor.added', userId, { factor: 'phone', id }, change)
    return { id }
  })
}

/** After the first factor. @param ask.uid of the pending request, the only one in which the code is taken.
 *  @returns undefined when the phone is not theirs, or gone. */
export async function sendSignInCode(
  deps: OutOfBandDeps,
  ask: { userId: string; phoneId: string; uid: string; locale: Locale; askedFrom: string | undefined },
): Promise<Sending | undefined> {
  const { userId, phoneId, uid, locale, askedFrom } = ask
  const phones = await readPhones(deps.database.prisma, deps.secretKeys, userId)
  const phone = phones.find(({ id }) => id === phoneId)
  if (!phone) return undefined
  return sendCode(deps, signInOf({ uid, phoneId }), { userId, to: phone.number, locale, askedFrom, purpose: 'sign_in' })
}

/** Takes the code, whatever becomes of the request. */
export function takeSmsCode(
  db: Db,
  secretKeys: SecretKeys,
  attempt: { userId: string; phoneId: string; uid: string; code: string; now: Date },
): Promise<CodeVerdict> {
  const { userId, phoneId, uid, code, now } = attempt
  return atomically(db, async (tx) => {
    const verdict = await redeemCode(tx, signInOf({ uid, phoneId }), code, { secretKeys, now })
    if (verdict !== 'right') return verdict
    // Taken away since the code was sent: it proves nothing any more.
    const { count } = await tx.credential.updateMany({
      where: { id: phoneId, userId, kind: 'phone' },
      data: { lastUsedAt: now },
    })
    return count > 0 ? 'right' : 'over'
  })
}

function sendCode(
  deps: OutOfBandDeps,
  binding: CodeBinding,
  message: {
    userId: string
    to: string
    locale: Locale
    askedFrom: string | undefined
    purpose: 'sign_in' | 'enrolment'
  },
): Promise<Sending> {
  const { userId, to, locale, askedFrom, purpose } = message
  const { now } = deps
  return sendOutOfBand(deps, { userId, channel: 'sms', to, askedFrom }, async (tx, id) => {
    const code = await issueCode(tx, binding, deps)
    const expiresAt = new Date(now.getTime() + codeLifetimeSeconds * 1000)
    return { id, channel: 'sms', to, code, locale, expiresAt, purpose }
  })
}

const enrolmentOf = ({ session, number }: { session: string; number: string }): CodeBinding => ({
  purpose: 'phone_enrolment',
  flow: { session },
  subject: number,
})

const signInOf = ({ uid, phoneId }: { uid: string; phoneId: string }): CodeBinding => ({
  purpose: 'sms_code',
  flow: { interaction: uid },
  subject: phoneId,
})
