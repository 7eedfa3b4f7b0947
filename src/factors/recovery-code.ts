// Codes for the day the device is gone: ten, shown once, each good once. 120 bits each, so a plain digest keeps them as well as a slow
// hash would (ASVS 6.5.2 draws the line at 112).
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { lockCredentials } from './credentials.ts'

const howMany = 10
const characters = 24
/** Crockford's base32: nothing in it looks like something else, and it says no words. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz'

/** Makes ten and voids all that were there. @returns them in clear, the only time they exist. */
export function replaceRecoveryCodes(db: Db, userId: string, change: Change): Promise<string[]> {
  const codes = Array.from({ length: howMany }, createCode)
  return atomically(db, async (tx) => {
    await lockCredentials(tx, userId)
    await tx.credential.deleteMany({ where: { userId, kind: 'recovery_code' } })
    await tx.credential.createMany({
      data: codes.map((code) => ({
        id: randomUUID(),
        userId,
        kind: 'recovery_code',
        secret: digestOf(code),
        createdAt: change.now,
      })),
    })
    await recordAudit(
      tx,
      {
        event: 'recovery_codes.created',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'user', id: userId },
        detail: { codes: howMany },
      },
      change.origin,
    )
    return codes
  })
}

/** Takes the code, whatever becomes of the request. @param attempt.code as typed: case, spaces and hyphens do not count. */
export async function useRecoveryCode(
  db: Db,
  attempt: { userId: string; code: string; now: Date },
): Promise<{ ok: true; left: number } | { ok: false }> {
  const code = normalise(attempt.code)
  if (code === undefined) return { ok: false }
  const unused = { userId: attempt.userId, kind: 'recovery_code', lastUsedAt: null }
  const { count } = await db.credential.updateMany({
    where: { ...unused, secret: digestOf(code) },
    data: { lastUsedAt: attempt.now },
  })
  return count > 0 ? { ok: true, left: await db.credential.count({ where: unused }) } : { ok: false }
}

/** Something that was meant as a recovery code, not as six digits from an app. */
export function looksLikeRecoveryCode(text: string): boolean {
  return text.replace(/[\s-]/g, '').length > 12
}

function createCode(): string {
  const code = [...randomBytes(characters)].map((byte) => alphabet[byte % alphabet.length]).join('') // 256 = 8 x 32: no bias
  return code.replace(/.{4}(?=.)/g, '$&-')
}

/** What people write for what they read: O for 0, I and L for 1 (Crockford). */
function normalise(text: string): string | undefined {
  if (text.length > 200) return undefined
  const code = text
    .toLowerCase()
    .replace(/[\s\p{Pd}]/gu, '')
    .replace(/o/g, '0')
    .replace(/[il]/g, '1')
  return code.length === characters && [...code].every((character) => alphabet.includes(character)) ? code : undefined
}

function digestOf(code: string): string {
  return createHash('sha256')
    .update(`recovery code ${normalise(code)}`)
    .digest('base64url')
}
