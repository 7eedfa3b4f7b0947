// Applies a declaration: everything or nothing, one at a time over all processes, nothing twice.
//   look whether anything differs -> hash what will need hashing -> take the lock -> compare -> make the changes -> record, remember -> commit
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'
import { hashPassword } from '#src/factors/password.ts'
import type { EndpointDeps } from '#src/webhooks/endpoints.ts'
import { rememberDeclaration, rememberUnchanged } from './applied.ts'
import { compare } from './compare.ts'
import type { Logos } from './logos.ts'
import type { PolicyTexts } from './policy-texts.ts'
import { requireExpanded } from './routes.ts'
import type { DeclaredUser, WrittenDeclaration } from './schema.ts'
import type { PlannedChange, Step } from './steps.ts'

type Named = { logos?: Logos; policyTexts?: PolicyTexts; webhookDeps?: EndpointDeps }
type ApplyOptions = Change &
  Named & {
    prune: boolean
    dryRun: boolean
    /** Its name without the folder: what it says is remembered, and what differs from it later is told. */
    file?: string
    /** Told of each password that was hashed and each change that was made. */
    progress?: (done: number, of: number) => void
  }

/** What applying would change, from a plain look: nothing is locked or tried.
 *  @param options.logos of readLogos, where the file names pictures. @param options.policyTexts of readPolicyTexts, where it names policies.
 *  @param options.webhookDeps where it declares webhooks.
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
 *  @param options.webhookDeps where it declares webhooks.
 *  @returns what was changed; empty when everything was as declared.
 *  @throws InvalidDeclaration, StillInUse, LastOwner, LockTimeout, HashingBusy; nothing was changed then. */
export async function applyDeclaration(
  database: Database,
  declaration: WrittenDeclaration,
  options: ApplyOptions,
): Promise<PlannedChange[]> {
  const { prune, dryRun, logos, policyTexts, webhookDeps, file, progress, ...change } = options
  const look = {
    prune,
    ...(logos ? { logos } : {}),
    ...(policyTexts ? { policyTexts } : {}),
    ...(webhookDeps ? { webhookDeps } : {}),
    checked: new Set<string>(),
  }
  const planned = await compare(database.prisma, declaration, look)
  const applied =
    file === undefined ? undefined : { file, declaration: requireExpanded(declaration), logos, policyTexts }
  // As at most starts: nobody waits for a lock to change nothing.
  if (planned.length === 0) {
    if (applied && !dryRun) await rememberUnchanged(database, applied, change.now)
    return []
  }
  const chosen = dryRun ? [] : passwordsToHash(planned, declaration)
  const of = planned.length + chosen.length
  let done = 0
  const count = () => progress?.(++done, of)
  const secrets = await preparePasswords(chosen, { dryRun, count })
  const dryRunDone = new Error('dry run')
  let changes: PlannedChange[] = []
  try {
    await withConfigurationLock(database, async (tx) => {
      const steps = await compare(tx, declaration, look)
      changes = steps.map(describe)
      for (const step of steps) {
        await step.run(tx, change, secrets)
        count()
      }
      for (const step of steps) await step.finish?.(tx)
      if (steps.length > 0) await recordApplied(tx, steps, change)
      if (applied) await rememberDeclaration(tx, applied, changes, change.now)
      if (dryRun) throw dryRunDone
    })
  } catch (error) {
    if (error !== dryRunDone) throw error
  }
  return changes
}

function passwordsToHash(planned: readonly Step[], { users = [] }: WrittenDeclaration): DeclaredUser[] {
  const created = new Set(
    planned.filter((step) => step.action === 'create' && step.kind === 'user').map((step) => step.id),
  )
  return users.filter(({ email, password }) => password !== undefined && created.has(email))
}

/** Hashing takes its time, and a transaction should not: passwords of people who are to be created are hashed before it. None are for a dry run. */
async function preparePasswords(
  chosen: readonly DeclaredUser[],
  { dryRun, count }: { dryRun: boolean; count(): void },
) {
  const hashes = new Map<string, string>()
  for (const { email, password = '' } of chosen) {
    hashes.set(email, await hashPassword(password))
    count()
  }
  return {
    async passwordHash({ email, password, passwordHash }: DeclaredUser) {
      if (password === undefined || dryRun) return passwordHash
      return hashes.get(email) ?? hashPassword(password)
    },
  }
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
