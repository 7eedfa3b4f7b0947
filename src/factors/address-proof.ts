// Showing that one reads the mails of an address, as a step of a pending request: sign-up, recovery, verification, sign-in. How far somebody
// came is a row here and nowhere in the browser, so a step that was skipped, repeated, forged or made up finds nothing to go on with
// (CVE-2026-18963, CVE-2026-49448). The uid of the request comes with its cookie: another browser has another row.
//
//   beginProof -> a code is on its way -> answerProof -> proven -> takeProof: once, and the row is gone
import { createHash, randomUUID } from 'node:crypto'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { emailKey } from '#src/users/users.ts'
import {
  type CodeBinding,
  type CodeVerdict,
  codeLifetimeSeconds,
  issueCode,
  redeemCode,
  voidCode,
} from './one-time-code.ts'

export type ProofPurpose = 'sign_up' | 'recovery' | 'email_verification' | 'email_code'
/** Which row: one for a purpose in a pending request. */
export type ProofKey = { purpose: ProofPurpose; uid: string }
export type ProofDeps = { secretKeys: SecretKeys; now: Date }

/** `data`: what waits for the address to be proven. */
export type AddressProof = { email: string; userId: string | undefined; data: Record<string, string>; proven: boolean }

type Sealed = { email: string; data: Record<string, string>; subject: string }

/** Begins, or begins anew: what was proven before in this request for this purpose is forgotten, and its code is void.
 *  @param what.isNobody the same work and the same row, and no code will ever be right.
 *  @returns the code, to be mailed in the same transaction. */
export async function beginProof(
  db: Db,
  key: ProofKey,
  what: { email: string; userId?: string | undefined; data?: Record<string, string>; isNobody?: boolean },
  { secretKeys, now }: ProofDeps,
): Promise<string> {
  const { email, userId, data = {}, isNobody = false } = what
  const subject = `${emailKey(email)} ${userId ?? ''}`
  // Code first, row second, everywhere: two requests that begin and answer at once do so one after the other.
  const code = await issueCode(db, bindingOf(key, isNobody ? randomUUID() : subject), { secretKeys, now })
  const id = idOf(key)
  const fresh = {
    userId: userId ?? null,
    sealed: secretKeys.seal(sealPurpose, id.toString('hex'), JSON.stringify({ email, data, subject } satisfies Sealed)),
    createdAt: now,
    provenAt: null,
    expiresAt: later(now),
  }
  await db.addressProof.upsert({
    where: { id },
    create: { id, purpose: key.purpose, ...fresh },
    update: fresh,
  })
  return code
}

/** @returns undefined when nothing waits: never begun, expired, used. */
export async function findProof(db: Db, key: ProofKey, deps: ProofDeps): Promise<AddressProof | undefined> {
  return (await read(db, key, deps))?.proof
}

/** One try at the code. In a transaction, so that a right one is not used up when what follows from it fails. */
export function answerProof(db: Db, key: ProofKey, typed: string, deps: ProofDeps): Promise<CodeVerdict> {
  return atomically(db, async (tx) => {
    const found = await read(tx, key, deps)
    if (!found || found.proof.proven) return 'over'
    const verdict = await redeemCode(tx, bindingOf(key, found.subject), typed, deps)
    if (verdict === 'right')
      await tx.addressProof.updateMany({
        where: { id: idOf(key), provenAt: null },
        data: { provenAt: deps.now, expiresAt: later(deps.now) },
      })
    return verdict
  })
}

/** What was proven, once: of several that ask at the same moment one gets it. @returns undefined for everybody else. */
export async function takeProof(tx: Db, key: ProofKey, deps: ProofDeps): Promise<AddressProof | undefined> {
  const found = await read(tx, key, deps)
  if (!found?.proof.proven) return undefined
  const { count } = await tx.addressProof.deleteMany({
    where: { id: idOf(key), provenAt: { not: null }, expiresAt: { gt: deps.now }, sealed: found.sealed },
  })
  return count === 1 ? found.proof : undefined
}

export async function dropProof(db: Db, key: ProofKey): Promise<void> {
  await voidCode(db, { purpose: key.purpose, flow: { interaction: key.uid } })
  await db.addressProof.deleteMany({ where: { id: idOf(key) } })
}

async function read(db: Db, key: ProofKey, { secretKeys, now }: ProofDeps) {
  const id = idOf(key)
  const row = await db.addressProof.findUnique({ where: { id } })
  if (!row || row.purpose !== key.purpose || row.expiresAt <= now) return undefined
  const { email, data, subject }: Sealed = JSON.parse(
    secretKeys.unseal(sealPurpose, id.toString('hex'), row.sealed).toString(),
  )
  const proof: AddressProof = { email, data, userId: row.userId ?? undefined, proven: row.provenAt !== null }
  return { proof, subject, sealed: row.sealed }
}

const sealPurpose = 'address-proof'

function bindingOf({ purpose, uid }: ProofKey, subject: string): CodeBinding {
  return { purpose, flow: { interaction: uid }, subject }
}

function idOf({ purpose, uid }: ProofKey): Buffer<ArrayBuffer> {
  return createHash('sha256').update(`${purpose} ${uid}`).digest() as Buffer<ArrayBuffer>
}

const later = (now: Date): Date => new Date(now.getTime() + codeLifetimeSeconds * 1000)
