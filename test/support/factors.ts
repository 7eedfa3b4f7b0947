// What a person holds in their hands: an app that shows codes, and recovery codes on paper.
import { randomUUID } from 'node:crypto'
import { Secret, TOTP } from 'otpauth'
import type { Database } from '#src/db/database.ts'
import { addPushDevice } from '#src/factors/push.ts'
import { replaceRecoveryCodes } from '#src/factors/recovery-code.ts'
import { confirmTotp, createSeed } from '#src/factors/totp.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { change } from './installation.ts'

const period = 30_000

/** @param steps before (negative) or after now. */
export function codeAt(seed: string, now: Date, steps = 0): string {
  return new TOTP({ secret: Secret.fromBase32(seed) }).generate({ timestamp: now.getTime() + steps * period })
}

/** Sets up an app some time ago, so that every code of now is unused. */
export async function giveTotp(
  server: { database: Database; secretKeys: SecretKeys },
  userId: string,
  now = new Date(),
): Promise<string> {
  const seed = createSeed()
  const then = new Date(now.getTime() - 10 * period)
  const { generation } = await server.database.prisma.user.findUniqueOrThrow({ where: { id: userId } })
  const factor = await confirmTotp(
    server.database.prisma,
    server.secretKeys,
    { userId, generation, seed, code: codeAt(seed, then), name: 'App' },
    { ...change(), now: then },
  )
  if (!factor) throw new Error('the app was not set up')
  return seed
}

export const giveRecoveryCodes = (server: { database: Database }, userId: string) =>
  replaceRecoveryCodes(server.database.prisma, userId, change())

/** A phone number that was added before. @returns the factor's id. */
export async function givePhone(
  { database: { prisma }, secretKeys }: { database: Database; secretKeys: SecretKeys },
  userId: string,
  number = '+447700900112',
): Promise<string> {
  const id = randomUUID()
  const secret = secretKeys.seal('phone', id, number)
  const details = { ending: number.slice(-2) }
  await prisma.credential.create({ data: { id, userId, kind: 'phone', name: 'My phone', secret, details } })
  return id
}

/** A device that the operator's app registered. @returns the factor's id. */
export function givePushDevice(
  { database: { prisma }, secretKeys }: { database: Database; secretKeys: SecretKeys },
  userId: string,
  reference = `device-${randomUUID()}`,
): Promise<string> {
  return addPushDevice(prisma, secretKeys, { userId, reference, name: 'Pixel' }, change())
}
