// Codes of an authenticator app (RFC 6238): 160 bits of seed, six digits, 30 seconds, one step to either side and no more. The seed is
// sealed at rest. A code is good once: the step of the last one is kept, and only a later step is taken after it.
//
//   beginTotp -> the person scans -> confirmTotp with a first code -> verifyTotp at every sign-in
import { randomUUID } from 'node:crypto'
import { Secret, TOTP } from 'otpauth'
import { renderSVG } from 'uqr'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'

const seedBytes = 20 // RFC 4226 4 R6, ASVS 6.5.3: at least 160 bits
const periodSeconds = 30
const digits = 6
/** Steps before and after the current one (RFC 6238 5.2): a minute and a half in all. */
const window = 1
/** Apps on several devices; more than this is somebody filling the table. */
const mostPerPerson = 10

/** @returns a new seed, base32: the only time anybody but its owner's app sees it. */
export function createSeed(): string {
  return new Secret({ size: seedBytes }).base32
}

/** What a QR code carries (the key URI that authenticator apps agreed on). @param issuer the host people know. */
export function totpUri(seed: string, about: { issuer: string; account: string }): string {
  return generator(seed, { issuer: about.issuer, label: about.account }).toString()
}

/** @returns an SVG document, dark on light whatever the page's colours, with the quiet zone that cameras need. On a screen nothing is
 *  scratched or folded, so the least correction will do, and the picture is a quarter smaller. */
export function qrCode(text: string): string {
  return renderSVG(text, { border: 4, ecc: 'L' })
}

/** A first code shows that the app has the seed and that its clock is right. @returns the new factor's id, or undefined for a wrong code. */
export function confirmTotp(
  db: Db,
  secretKeys: SecretKeys,
  input: { userId: string; seed: string; code: string; name: string },
  change: Change,
): Promise<string | undefined> {
  const step = stepOfCode(input.seed, input.code, change.now)
  if (step === undefined) return Promise.resolve(undefined)
  return atomically(db, async (tx) => {
    if ((await tx.credential.count({ where: { userId: input.userId, kind: 'totp' } })) >= mostPerPerson)
      return undefined
    const id = randomUUID()
    await tx.credential.create({
      data: {
        id,
        userId: input.userId,
        kind: 'totp',
        name: input.name,
        secret: secretKeys.seal('totp', id, input.seed),
        counter: step,
        createdAt: change.now,
        lastUsedAt: change.now,
      },
    })
    await recordAudit(
      tx,
      {
        event: 'factor.added',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'user', id: input.userId },
        detail: { factor: 'totp', id },
      },
      change.origin,
    )
    return id
  })
}

/** Takes the code: whatever becomes of the request, it is used up. Of the same code at two processes at once one wins.
 *  @param attempt.code as typed; spaces in it do not count. */
export async function verifyTotp(
  db: Db,
  secretKeys: SecretKeys,
  attempt: { userId: string; code: string; now: Date },
): Promise<boolean> {
  const credentials = await db.credential.findMany({
    where: { userId: attempt.userId, kind: 'totp' },
    select: { id: true, secret: true },
  })
  for (const { id, secret } of credentials) {
    const step = stepOfCode(secretKeys.unseal('totp', id, secret).toString(), attempt.code, attempt.now)
    if (step === undefined) continue
    // ASVS 6.5.1: once. The step is compared and raised in one statement.
    const { count } = await db.credential.updateMany({
      where: { id, counter: { lt: step } },
      data: { counter: step, lastUsedAt: attempt.now },
    })
    if (count > 0) return true
  }
  return false
}

/** @returns the step that the code belongs to, of those in the window. */
function stepOfCode(seed: string, code: string, now: Date): number | undefined {
  const token = code.replace(/\s/g, '')
  if (!/^\d{6}$/.test(token)) return undefined
  const delta = generator(seed).validate({ token, window, timestamp: now.getTime() })
  return delta === null ? undefined : Math.floor(now.getTime() / 1000 / periodSeconds) + delta
}

function generator(seed: string, names: { issuer?: string; label?: string } = {}): TOTP {
  // SHA-1 because apps ignore anything else; HMAC-SHA-1 is not weakened by collisions (RFC 6238 B.2 of RFC 4226).
  return new TOTP({ ...names, secret: Secret.fromBase32(seed), algorithm: 'SHA1', digits, period: periodSeconds })
}
