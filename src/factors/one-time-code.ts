// Codes that a person reads in one place and types in another: single use, ten minutes, five tries (ASVS 6.5.4, 6.5.5, 6.6.2). A
// code belongs to one purpose, one flow (where it was asked for) and one subject (whom it was sent to), and is refused anywhere
// else. Only an HMAC of all four is stored. How the code travels is mail/ or out-of-band.ts; how often somebody may guess over all codes is
// guessing.ts.
//
// Order of events: issueCode (voids the one before) -> the person types it -> redeemCode: one statement counts the try, compares
// and consumes.
import { createHash, randomInt } from 'node:crypto'
import type { Db } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'

export type CodePurpose =
  | 'sign_up'
  | 'recovery'
  | 'email_verification'
  | 'email_change'
  | 'email_code'
  | 'sms_code'
  | 'phone_enrolment'

/** Where the code was asked for, and the only place where it is taken. */
export type CodeFlow = { interaction: string } | { session: string } | { user: string }

/** What a code is good for. `subject`: an email key, a user id, a phone number or a phone's id. */
export type CodeBinding = { purpose: CodePurpose; flow: CodeFlow; subject: string }

export const codeLifetimeSeconds = 600
/** With eight digits, a guess of one code succeeds with five in a hundred million. */
const triesPerCode = 5
const digits = 8

/** In the caller's transaction, with the mail that carries it: one without the other helps nobody.
 *  @returns the code in clear, the only time it exists: eight digits. The code of the same purpose and flow before it is void. */
export async function issueCode(
  db: Db,
  binding: CodeBinding,
  { secretKeys, now }: { secretKeys: SecretKeys; now: Date },
): Promise<string> {
  const code = String(randomInt(10 ** digits)).padStart(digits, '0')
  const { purpose } = binding
  const flow = flowId(binding.flow)
  const fresh = {
    hash: new Uint8Array(secretKeys.mac(macPurpose, ...parts(binding, code))),
    tries: 0,
    createdAt: now,
    expiresAt: new Date(now.getTime() + codeLifetimeSeconds * 1000),
    consumedAt: null,
  }
  await db.oneTimeCode.upsert({
    where: { purpose_flow: { purpose, flow } },
    create: { purpose, flow, ...fresh },
    update: fresh,
  })
  return code
}

/** `over`: no code of this purpose waits in this flow any more (used, expired, guessed at too often, never asked for). */
export type CodeVerdict = 'right' | 'wrong' | 'over'

/** @param typed as a person types it: spaces and dashes do not matter. */
export async function redeemCode(
  db: Db,
  binding: CodeBinding,
  typed: string,
  { secretKeys, now }: { secretKeys: SecretKeys; now: Date },
): Promise<CodeVerdict> {
  const code = readCode(typed) ?? '' // what cannot be a code is a try like any other
  const hashes = secretKeys.macs(macPurpose, ...parts(binding, code)).map((hash) => hash.toString('hex'))
  // One statement: of several that try at once each is counted before it is judged, and one of them uses the code.
  const [row] = await db.$queryRaw<{ right: boolean }[]>`
    UPDATE one_time_code SET tries = tries + 1,
      consumed_at = CASE WHEN encode(hash, 'hex') = ANY (${hashes}) THEN ${now}::timestamptz END
    WHERE purpose = ${binding.purpose} AND flow = ${flowId(binding.flow)}
      AND consumed_at IS NULL AND expires_at > ${now}::timestamptz AND tries < ${triesPerCode}
    RETURNING consumed_at IS NOT NULL AS "right"`
  if (!row) return 'over'
  return row.right ? 'right' : 'wrong'
}

/** For a flow that ends another way: what was sent is of no use any more. */
export async function voidCode(db: Db, { purpose, flow }: Omit<CodeBinding, 'subject'>): Promise<void> {
  await db.oneTimeCode.deleteMany({ where: { purpose, flow: flowId(flow) } })
}

/** How a code is written for people: in two halves. */
export function spellCode(code: string): string {
  return `${code.slice(0, digits / 2)} ${code.slice(digits / 2)}`
}

/** @returns undefined for what is not a code, before anything is asked of the database. */
export function readCode(typed: string): string | undefined {
  if (typed.length > 64) return undefined
  const code = typed.normalize('NFKC').replace(/[\s\p{Pd}.]/gu, '') // full-width digits of some keyboards, dashes of some mails
  return code.length === digits && /^\d+$/.test(code) ? code : undefined
}

const macPurpose = 'one-time-code'

function parts(binding: CodeBinding, code: string): string[] {
  return [binding.purpose, flowId(binding.flow), binding.subject, code]
}

/** The uid of a pending request opens it, together with its cookie: it is not for a reader of the table. */
function flowId(flow: CodeFlow): string {
  const [kind, id] = Object.entries(flow)[0] as [string, string]
  return createHash('sha256').update(`${kind} ${id}`).digest('base64url')
}
