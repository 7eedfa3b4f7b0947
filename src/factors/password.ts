// Proof by password: argon2id, one amount of work for everybody. An unknown address, a disabled person and a wrong password
// take the same time and get the same answer (ASVS 6.3.8). Which passwords may be chosen is password-rules.ts; limits on
// guessing are the door's.
import { randomBytes } from 'node:crypto'
import type { Db } from '#src/db/database.ts'
import { emailKey } from '#src/users/users.ts'
import { createHashing, HashingBusy } from './hashing.ts'
import { passwordSettings } from './password-settings.ts'

const saltLength = 16

/** One for the whole process. Whoever starts the process says how many share the machine, and counts. */
export const passwordHashing = createHashing()

/** NIST SP 800-63B-4 asks for at least 64; ASVS 6.2.9. More is refused before any work is done on it. */
export const maxPasswordLength = 256

type PasswordVerdict = { ok: true; userId: string } | { ok: false; reason: 'wrong_credentials' | 'busy' | 'too_long' }

/** @param attempt.identifier an email address as typed.
 *  @returns busy when too many wait already: ask again later. */
export async function verifyPassword(
  db: Db,
  attempt: { identifier: string; password: string },
): Promise<PasswordVerdict> {
  const password = normalisePassword(attempt.password)
  if (password === undefined) return { ok: false, reason: 'too_long' }
  // One query for every identifier, also for one that no address can be: its key is then one that nobody has.
  const user = await db.user.findUnique({
    where: { emailKey: emailKey(attempt.identifier) ?? '' },
    select: {
      id: true,
      disabledAt: true,
      credentials: { where: { kind: 'password' }, select: { id: true, secret: true } },
    },
  })
  const credential = user?.credentials[0]
  try {
    const matches = await passwordHashing.verify(credential?.secret ?? nobodysHash(), password)
    if (!user || !credential || user.disabledAt || !matches) return { ok: false, reason: 'wrong_credentials' }
    if (needsRehash(credential.secret)) await rehash(db, credential, password)
    return { ok: true, userId: user.id }
  } catch (error) {
    if (error instanceof HashingBusy) return { ok: false, reason: 'busy' }
    throw error
  }
}

/** @returns an argon2id PHC string. Slow on purpose: call it outside transactions.
 *  @throws HashingBusy when too many wait already; RangeError above maxPasswordLength, which the door has refused before. */
export async function hashPassword(plain: string): Promise<string> {
  const password = normalisePassword(plain)
  if (password === undefined) throw new RangeError('password is too long')
  return passwordHashing.hash(password, passwordSettings().cost)
}

/** True for an argon2id PHC string whose cost this server would pay: what a declarative file may bring from elsewhere. */
export function isPasswordHash(text: string): boolean {
  const cost = costOf(text)
  if (!cost) return false
  const { memory, time, lanes } = cost
  return lanes >= 1 && lanes <= 8 && time >= 1 && time <= 16 && memory >= 8 * lanes && memory <= 262_144
}

function needsRehash(hash: string): boolean {
  const cost = costOf(hash)
  const { memoryCost, timeCost, parallelism } = passwordSettings().cost
  return cost?.memory !== memoryCost || cost.time !== timeCost || cost.lanes !== parallelism
}

/** What a PHC string says of its own cost. */
function costOf(text: string): Record<'memory' | 'time' | 'lanes', number> | undefined {
  const parts = /^\$argon2id\$v=19\$([a-z0-9=,]{11,24})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$/.exec(text)
  const cost = new Map(parts?.[1]?.split(',').map((part) => part.split('=') as [string, string]))
  if (cost.size !== 3) return undefined
  const number = (name: string) => (/^\d{1,7}$/.test(cost.get(name) ?? '') ? Number(cost.get(name)) : 0)
  return { memory: number('m'), time: number('t'), lanes: number('p') }
}

/** NIST SP 800-63B-4 3.1.1.2: Unicode is normalised once, and then never changed or cut.
 *  @returns undefined for more than maxPasswordLength characters. */
function normalisePassword(plain: string): string | undefined {
  if (plain.length > maxPasswordLength * 4) return undefined // keeps a megabyte out of the two lines below
  const password = plain.normalize('NFC')
  return [...password].length > maxPasswordLength ? undefined : password
}

/** What a door asks before anything else: text that no password can be is refused without any work (ASVS 6.2.9). */
export function fitsPassword(plain: string): boolean {
  return plain.isWellFormed() && !plain.includes('\0') && normalisePassword(plain) !== undefined
}

/** A hash that no password has, of the same parameters: verifying it costs what verifying a real one costs. */
function nobodysHash(): string {
  const base64 = (bytes: number) => randomBytes(bytes).toString('base64').replace(/=+$/, '')
  const { memoryCost, timeCost, parallelism, hashLength } = passwordSettings().cost
  return `$argon2id$v=19$m=${memoryCost},t=${timeCost},p=${parallelism}$${base64(saltLength)}$${base64(hashLength)}`
}

/** Conditional on the old hash: a password that was changed in between stays as it was changed. When the queue is full the
 *  next login does it. */
async function rehash(db: Db, credential: { id: string; secret: string }, password: string): Promise<void> {
  try {
    const secret = await hashPassword(password)
    await db.credential.updateMany({ where: { id: credential.id, secret: credential.secret }, data: { secret } })
  } catch (error) {
    if (!(error instanceof HashingBusy)) throw error
  }
}
