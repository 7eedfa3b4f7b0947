// The first administrator: ADMIN_EMAIL and ADMIN_PASSWORD, or a one-time set-up code (ASVS 6.3.2: no default account). Once
// anybody holds the role owner this file does nothing but void what is left of a code.
import { createHash, randomBytes } from 'node:crypto'
import { hasOwner, ownerRole } from '#src/access/roles.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Config } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'
import { hashPassword } from '#src/factors/password.ts'
import { checkPassword } from '#src/factors/password-rules.ts'
import { Refusal, sentence } from '#src/refusal.ts'
import { createUser, findUserByEmail, updateUser } from '#src/users/users.ts'

/** A bad ADMIN_EMAIL or ADMIN_PASSWORD. */
class AdministratorRefused extends Error {
  override name = 'AdministratorRefused'
}

export type SetupLink = { code: string; expiresAt: Date }

/** Development: a day, for whoever comes back to the terminal. Production: an hour, because start-up output is often collected. */
const codeLifetime = { development: 24 * 3600_000, production: 3600_000 }

/** @returns the code that lets the first administrator in; undefined when there is one. */
export async function ensureFirstAdministrator(
  database: Database,
  config: Pick<Config, 'adminEmail' | 'adminPassword' | 'production'>,
  change: Change,
): Promise<SetupLink | undefined> {
  const { adminEmail: email, adminPassword: password } = config
  if (email && password && !(await hasOwner(database.prisma))) await createFirst(database, { email, password }, change)
  return withConfigurationLock(database, async (tx) => {
    // Codes of other starts stay good: two replicas that start together each print one.
    const owned = await hasOwner(tx)
    await tx.setupCode.deleteMany({ where: { consumedAt: null, ...(owned ? {} : { expiresAt: { lte: change.now } }) } })
    if (owned) return undefined
    const code = randomBytes(32).toString('base64url')
    const lifetime = config.production ? codeLifetime.production : codeLifetime.development
    const expiresAt = new Date(change.now.getTime() + lifetime)
    await tx.setupCode.create({ data: { id: hashSetupCode(code), createdAt: change.now, expiresAt } })
    await recordAudit(tx, { event: 'setup.code_issued', outcome: 'success', actor: change.actor })
    return { code, expiresAt }
  })
}

export const hashSetupCode = (code: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(createHash('sha256').update(code, 'utf8').digest())

async function createFirst(
  database: Database,
  { email, password }: { email: string; password: string },
  change: Change,
): Promise<void> {
  const flaws = checkPassword(password, [email])
  if (flaws.length > 0)
    throw new AdministratorRefused(flaws.map((flaw) => sentence({ ...flaw, field: 'ADMIN_PASSWORD' })).join('\n'))
  const passwordHash = await hashPassword(password)
  await withConfigurationLock(database, async (tx) => {
    if (await hasOwner(tx)) return
    const existing = await findUserByEmail(tx, email)
    // Somebody the operator names may be here already, with a password of their own: that one stays.
    if (existing) {
      const roles = existing.roles.map((role) => role.roleName)
      await updateUser(tx, existing.id, { roles: [...roles, ownerRole] }, change)
    } else await createUser(tx, { email, emailVerified: true, roles: [ownerRole], passwordHash }, change)
  }).catch((error: unknown) => {
    throw error instanceof Refusal ? new AdministratorRefused(`ADMIN_EMAIL: ${error.message}`, { cause: error }) : error
  })
}
