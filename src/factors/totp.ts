// Codes of an authenticator app (RFC 6238): 160 bits of seed, six digits, 30 seconds, one step to either side and no more. The seed is
// sealed at rest. A code is good once: the step of the last one is kept, and only a later step is taken after it.
//
//   beginTotp -> the person scans -> confirmTotp with a first code -> verifyTotp at every sign-in
import { randomUUID } from 'node:crypto'
import { Secret, TOTP } from 'otpauth'
import { encode } from 'uqr'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { holdsSecondFactor, type LetIn, lockCredentialsOf, recordFactor } from './credentials.ts'

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
 *  scratched or folded, so the least correction will do. One stroke for each run of dark squares: a quarter of the bytes of one
 *  rectangle for each square. */
export function qrCode(text: string): string {
  const { size, data } = encode(text, { border: 4, ecc: 'L' })
  const strokes = data.flatMap((row, y) =>
    [...row.map(Number).join('').matchAll(/1+/g)].map(({ 0: run, index }) => `M${index} ${y}.5h${run.length}`),
  )
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><rect fill="white" width="${size}" height="${size}"/><path stroke="black" d="${strokes.join('')}"/></svg>`
}

/** A first code shows that the app has the seed and that its clock is right. A seed is one app, however often its form is sent: were it
 *  two, each would take the same code once.
 *  @param input.first the person must have no second factor yet.
 *  @returns the factor, `added` by this call or by an earlier one; undefined for a wrong code, a factor too many, one that is not the
 *  first, or a person whose sessions were ended meanwhile. */
export function confirmTotp(
  db: Db,
  secretKeys: SecretKeys,
  input: LetIn & { seed: string; code: string; name: string; first?: boolean },
  change: Change,
): Promise<{ id: string; added: boolean } | undefined> {
  const { userId, seed, code, name, first = false } = input
  const step = stepOfCode(seed, code, change.now)
  if (step === undefined) return Promise.resolve(undefined)
  return atomically(db, async (tx) => {
    if (!(await lockCredentialsOf(tx, input))) return undefined
    if (first && (await holdsSecondFactor(tx, userId))) return undefined
    const keyId = `totp:${secretKeys.mac('totp-seed', userId, seed).toString('base64url')}`
    const known = await tx.credential.findFirst({ where: { userId, kind: 'totp', keyId }, select: { id: true } })
    if (known) return { id: known.id, added: false }
    if ((await tx.credential.count({ where: { userId, kind: 'totp' } })) >= mostPerPerson) return undefined
    const id = randomUUID()
    await tx.credential.create({
      data: {
        id,
        userId,
        kind: 'totp',
        name,
        secret: secretKeys.seal('totp', id, seed),
        keyId,
        counter: step,
        createdAt: change.now,
        lastUsedAt: change.now,
      },
    })
    await recordFactor(tx, 'factor.added', userId, { factor: 'totp', id }, change)
    return { id, added: true }
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
