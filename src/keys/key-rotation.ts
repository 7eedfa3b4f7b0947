// The life of a signing key: announced (`next`), signing (`current`), `retired`, gone. It is published from the first moment to the last,
// so whoever reads the keys as often as we ask them to knows each one before its first signature and until its last has expired.
//
// Order of events for each algorithm, in one transaction: the current key retires, the announced one signs, another is announced. Later:
// a retired key that nothing valid names any more is removed with its private half.
import type { AuditEntry } from '#src/audit/audit.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database, Db, Prisma } from '#src/db/database.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'
import { quote, Refusal } from '#src/refusal.ts'
import type { SecretKeys } from './secret-key.ts'
import { type SigningAlgorithm, signingAlgorithms } from './signer.ts'
import {
  listSigningKeys,
  loadSigningKeys,
  makeSigningKey,
  type SigningKeyRow,
  storeSigningKey,
} from './signing-keys.ts'

/** For how long a reader may keep the published keys (`Cache-Control`). */
export const keysMaxAgeSeconds = 300

/** A key is published for at least so long before it signs: readers that keep the keys for longer than they were told, and caches in
 *  between, have read them again. */
export const announcedSeconds = 12 * keysMaxAgeSeconds

/** What is done again and again (src/main.ts). @param options.rotationDays 0: nothing rotates by itself. */
export async function careForSigningKeys(
  database: Database,
  secretKeys: SecretKeys,
  options: { rotationDays: number; keptSeconds: number; change: Change },
): Promise<{ rotated: Rotation[]; removed: string[] }> {
  const { rotationDays, keptSeconds, change } = options
  const { rotated } =
    rotationDays === 0
      ? { rotated: [] }
      : await rotateSigningKeys(database, secretKeys, { afterSeconds: rotationDays * 86_400, change })
  return { rotated, removed: await removeRetiredKeys(database, { keptSeconds, change }) }
}

type Rotation = { alg: SigningAlgorithm; retired: string; current: string; next: string }
export type RotationResult = {
  rotated: Rotation[]
  /** Due, but the next key was announced a moment ago; it will sign from then on, when it is asked for again. */
  early: { alg: SigningAlgorithm; kid: string; from: Date }[]
}

/** @throws SigningKeysUnreadable
 *  @param options.afterSeconds a current key that signed for so long is due.
 *  @param options.unannounced also to a key that was announced a moment ago: verifiers that hold the keys refuse what it signs until they
 *  read them again.
 *  Any number of processes may call it at once: what is due is decided under the lock that every change of the configuration takes. */
export async function rotateSigningKeys(
  database: Database,
  secretKeys: SecretKeys,
  options: { afterSeconds: number; unannounced?: boolean; algorithms?: readonly SigningAlgorithm[]; change: Change },
): Promise<RotationResult> {
  const { afterSeconds, unannounced = false, algorithms = signingAlgorithms, change } = options
  const before = standing(await listSigningKeys(database))
  if (before.due.length === 0) return { rotated: [], early: before.early }
  // Under another SECRET_KEY than the servers' they could not read what is stored here: whoever opens the present keys has theirs.
  await loadSigningKeys(database, secretKeys)
  // Made before the lock is asked for, as in signing-keys.ts.
  const made = new Map(await Promise.all(before.due.map(async ({ alg }) => [alg, await makeSigningKey(alg)] as const)))
  return withConfigurationLock(database, async (tx) => {
    const { due, early } = standing(await tx.signingKey.findMany({ orderBy: { createdAt: 'desc' } }))
    const rotated: Rotation[] = []
    for (const { alg, current, next } of due) {
      const key = made.get(alg)
      if (!key) continue // became due meanwhile: the next call has it
      if (rotated.length === 0) await raiseConfigurationVersion(tx, change.now)
      await tx.signingKey.update({ where: { kid: current }, data: { state: 'retired', retiredAt: change.now } })
      await tx.signingKey.update({ where: { kid: next }, data: { state: 'current', activatedAt: change.now } })
      await record(tx, change, { event: 'key.retired', target: { kind: 'key', id: current }, detail: { alg } })
      await record(tx, change, { event: 'key.activated', target: { kind: 'key', id: next }, detail: { alg } })
      await storeSigningKey(tx, secretKeys, key, { alg, state: 'next', now: change.now })
      rotated.push({ alg, retired: current, current: next, next: key.kid })
    }
    return { rotated, early }
  })

  /** @param keys the newest first. */
  function standing(keys: readonly SigningKeyRow[]) {
    const due: { alg: SigningAlgorithm; current: string; next: string }[] = []
    const early: RotationResult['early'] = []
    for (const alg of algorithms) {
      const of = (state: string) => keys.findLast((key) => key.alg === alg && key.state === state)
      const [current, next] = [of('current'), of('next')]
      if (!current || !next) continue // a start makes what is missing
      if (current.activatedAt && later(current.activatedAt, afterSeconds) > change.now) continue
      const from = later(next.createdAt, announcedSeconds)
      if (from > change.now && !unannounced) early.push({ alg, kid: next.kid, from })
      else due.push({ alg, current: current.kid, next: next.kid })
    }
    return { due, early }
  }
}

/** @param options.keptSeconds for how long what a key has signed is valid, or of use as a hint (OIDC RP-Initiated Logout 1.0 2).
 *  @returns the kids of those that left. */
export async function removeRetiredKeys(
  database: Database,
  options: { keptSeconds: number; change: Change },
): Promise<string[]> {
  const { keptSeconds, change } = options
  const until = later(change.now, -keptSeconds)
  const over = { state: 'retired', retiredAt: { lte: until } }
  const known = await listSigningKeys(database)
  if (!known.some(({ state, retiredAt }) => state === 'retired' && retiredAt && retiredAt <= until)) return []
  return withConfigurationLock(database, async (tx) => {
    const keys = await tx.signingKey.findMany({ where: over, select: { kid: true, alg: true } })
    if (keys.length === 0) return []
    await raiseConfigurationVersion(tx, change.now)
    await tx.signingKey.deleteMany({ where: { kid: { in: keys.map(({ kid }) => kid) } } })
    for (const { kid, alg } of keys)
      await record(tx, change, { event: 'key.removed', target: { kind: 'key', id: kid }, detail: { alg } })
    return keys.map(({ kid }) => kid)
  })
}

export class SigningKeyNotFound extends Refusal {
  constructor(kid: string) {
    super('missing', [
      {
        field: 'kid',
        problem: `is ${quote(kid)}, which is no signing key here`,
        fix: 'Check it against the list of keys.',
      },
    ])
  }
}

/** It is not, or not any more, what the caller took it for. */
export class SigningKeyNotRetirable extends Refusal {
  constructor(problem: string, fix: string) {
    super('changed', [{ field: 'kid', problem, fix }])
  }
}

export type Retirement = {
  alg: SigningAlgorithm
  retired: string
  /** It was announced and never signed; it is gone, since nothing names it. */
  withdrawn: boolean
  current: string
  /** Announced by this. */
  next: string
}

/** One key by hand. The one that signs retires as by a rotation: what it signed stays good (for one that leaked, revoke what it signed:
 *  `sallyport tokens revoke --before now`). One that is announced is withdrawn, and another announced. Of two callers one does it.
 *  @param options.unannounced as for rotateSigningKeys.
 *  @throws SigningKeyNotFound, SigningKeyNotRetirable, SigningKeysUnreadable */
export async function retireSigningKey(
  database: Database,
  secretKeys: SecretKeys,
  { kid, unannounced = false, change }: { kid: string; unannounced?: boolean; change: Change },
): Promise<Retirement> {
  const found = await findKey(database.prisma, kid)
  const alg = found.alg as SigningAlgorithm
  await loadSigningKeys(database, secretKeys) // as for a rotation
  const made = await makeSigningKey(alg)
  return withConfigurationLock(database, async (tx) => {
    const key = await findKey(tx, kid)
    if (key.state === 'retired') throw retiredAlready()
    const other = await tx.signingKey.findFirst({ where: { alg, state: key.state === 'current' ? 'next' : 'current' } })
    if (!other)
      throw new SigningKeyNotRetirable(
        'has no neighbour to take its place',
        'Start the server: it makes what is missing.',
      )
    const retired = { event: 'key.retired', target: { kind: 'key', id: kid }, detail: { alg } } as const
    await raiseConfigurationVersion(tx, change.now)
    if (key.state === 'next') {
      await tx.signingKey.delete({ where: { kid } })
      await record(tx, change, { ...retired, detail: { alg, withdrawn: true } })
    } else {
      const from = later(other.createdAt, announcedSeconds)
      if (from > change.now && !unannounced) throw announcedTooLate(from)
      await tx.signingKey.update({ where: { kid }, data: { state: 'retired', retiredAt: change.now } })
      await tx.signingKey.update({ where: { kid: other.kid }, data: { state: 'current', activatedAt: change.now } })
      await record(tx, change, retired)
      await record(tx, change, { event: 'key.activated', target: { kind: 'key', id: other.kid }, detail: { alg } })
    }
    await storeSigningKey(tx, secretKeys, made, { alg, state: 'next', now: change.now })
    return { alg, retired: kid, withdrawn: key.state === 'next', current: other.kid, next: made.kid }
  })
}

async function findKey(db: Db, kid: string) {
  const isStorable = kid.isWellFormed() && !kid.includes('\0')
  const key = isStorable ? await db.signingKey.findUnique({ where: { kid } }) : null
  if (!key) throw new SigningKeyNotFound(kid)
  return key
}

const retiredAlready = () =>
  new SigningKeyNotRetirable('is retired already', 'Leave it: it is removed when nothing valid names it.')

const announcedTooLate = (from: Date) =>
  new SigningKeyNotRetirable(
    `cannot retire before ${from.toISOString()}: the one that follows it was announced a moment ago`,
    'Wait until then, or send unannounced: verifiers that hold the keys refuse what the new one signs until they read them again.',
  )

const later = (time: Date, seconds: number): Date => new Date(time.getTime() + seconds * 1000)

function record(
  tx: Prisma.TransactionClient,
  change: Change,
  entry: Pick<AuditEntry, 'event' | 'target' | 'detail'>,
): Promise<void> {
  return recordAudit(tx, { ...entry, outcome: 'success', actor: change.actor }, change.origin)
}
