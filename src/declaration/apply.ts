// Applies a declaration: everything or nothing, one at a time over all processes, nothing twice.
//   look whether anything differs -> hash what will need hashing -> take the lock -> compare -> make the changes -> record -> commit
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'
import { hashPassword } from '#src/factors/password.ts'
import { compare } from './compare.ts'
import type { Logos } from './logos.ts'
import type { PolicyTexts } from './policy-texts.ts'
import type { DeclaredUser, WrittenDeclaration } from './schema.ts'
import type { PlannedChange, Step } from './steps.ts'

type Named = { logos?: Logos; policyTexts?: PolicyTexts }
type ApplyOptions = Change & Named & { prune: boolean; dryRun: boolean }

/** What applying would change, from a plain look: nothing is locked or tried.
 *  @param options.logos of readLogos, where the file names pictures. @param options.policyTexts of readPolicyTexts, where it names policies.
 *  @throws InvalidDeclaration, StillInUse */
export async function planDeclaration(
  db: Db,
  declaration: WrittenDeclaration,
  options: Named & { prune: boolean },
): Promise<PlannedChange[]> {
  return (await compare(db, declaration, options)).map(describe)
}

/** A dry run does all of it and takes it back, so it finds whatever the real run would find.
 *  @param options.logos of readLogos, where the file names pictures. @param options.policyTexts of readPolicyTexts, where it names policies.
 *  @returns what was changed; empty when everything was as declared.
 *  @throws InvalidDeclaration, StillInUse, LastOwner, LockTimeout, HashingBusy; nothing was changed then. */
export async function applyDeclaration(
  database: Database,
  declaration: WrittenDeclaration,
  options: ApplyOptions,
): Promise<PlannedChange[]> {
  const { prune, dryRun, logos, policyTexts, ...change } = options
  const look = {
    prune,
    ...(logos ? { logos } : {}),
    ...(policyTexts ? { policyTexts } : {}),
    checked: new Set<string>(),
  }
  const planned = await compare(database.prisma, declaration, look)
  if (planned.length === 0) return [] // as at most starts: nobody waits for a lock to change nothing
  const secrets = await preparePasswords(planned, declaration, options)
  const dryRunDone = new Error('dry run')
  let changes: PlannedChange[] = []
  try {
    await withConfigurationLock(database, async (tx) => {
      const steps = await compare(tx, declaration, look)
      changes = steps.map(describe)
      for (const step of steps) await step.run(tx, change, secrets)
      for (const step of steps) await step.finish?.(tx)
      if (steps.length > 0) await recordApplied(tx, steps, change)
      if (dryRun) throw dryRunDone
    })
  } catch (error) {
    if (error !== dryRunDone) throw error
  }
  return changes
}

/** Hashing takes its time, and a transaction should not: passwords of people who are to be created are hashed before it. */
async function preparePasswords(planned: readonly Step[], declaration: WrittenDeclaration, options: ApplyOptions) {
  const hashes = new Map<string, string>()
  const hashOf = async (user: DeclaredUser) => {
    if (user.password === undefined || options.dryRun) return user.passwordHash
    const hash = hashes.get(user.email) ?? (await hashPassword(user.password))
    hashes.set(user.email, hash)
    return hash
  }
  const created = new Set(
    planned.filter((step) => step.action === 'create' && step.kind === 'user').map((step) => step.id),
  )
  for (const user of declaration.users ?? []) if (created.has(user.email)) await hashOf(user)
  return { passwordHash: hashOf }
}

function recordApplied(tx: Db, steps: readonly Step[], change: Change): Promise<void> {
  const count = (action: Step['action']) => steps.filter((step) => step.action === action).length
  const detail = { created: count('create'), updated: count('update'), deleted: count('delete') }
  return recordAudit(
    tx,
    { event: 'configuration.applied', outcome: 'success', actor: change.actor, detail },
    change.origin,
  )
}

function describe({ action, kind, id, fields }: Step): PlannedChange {
  return fields ? { action, kind, id, fields } : { action, kind, id }
}
