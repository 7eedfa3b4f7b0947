// Policies as rows: one Cedar statement each, of one API, by a name that answers and receipts use. What is saved has been checked against
// the schema of its API; each change leaves behind what was said before, and by whom. Evaluating them is cedar.ts; how the serving process
// reads them is reads.ts.
//   every change: raise the configuration version (a lock: changes of one installation follow one another) -> check -> one conditional update
//   -> a version -> an audit row
import { randomUUID } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { ApiNotFound, type ApiRecord, checkApiIdentifier, findApi } from '#src/apis/apis.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { AuditEventName } from '#src/audit/events.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { checkOneOf, checkText, type Flaw, quote, Refusal } from '#src/refusal.ts'
import { checkPolicy, recheckPolicies } from './cedar.ts'
import { compilePolicySchema, type PolicyGround, type PolicySchema, type PolicySchemaInput } from './schema.ts'
import { checkPolicyName } from './text.ts'

export type PolicyRecord = Prisma.PolicyGetPayload<object>
type PolicyVersionRecord = Prisma.PolicyVersionGetPayload<object>

export const policyStates = ['draft', 'enforced'] as const

type PolicyInput = {
  apiIdentifier: string
  name: string
  text: string
  description?: string | undefined
  /** draft (the default) | enforced */
  state?: string | undefined
}

/** What is left out stays as it is. */
type PolicyChange = {
  name?: string | undefined
  text?: string | undefined
  description?: string | undefined
  state?: string | undefined
}

/** Beyond this an API should ask for properties in place of names in policies. */
const mostPolicies = 10_000

export class InvalidPolicy extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class PolicyNotFound extends Refusal {
  constructor(id: string, field = 'id') {
    super('missing', [
      { field, problem: `${quote(id)} is not a policy here`, fix: 'Check it against the list of policies.' },
    ])
  }
}

class PolicyExists extends Refusal {
  constructor(name: string) {
    super('taken', [
      {
        field: 'name',
        problem: `${quote(name)} is taken in this API`,
        fix: 'Choose another, or change the existing policy.',
      },
    ])
  }
}

/** Somebody else was faster. */
export class PolicyChanged extends Refusal {
  constructor(expected: number, found: number) {
    super('changed', [
      {
        field: 'version',
        problem: `is ${expected}, and the version now is ${found}`,
        fix: 'Read it again, and decide what to do with what changed in between.',
      },
    ])
  }
}

/** By API and name. @param page.after the `id` of the last policy of the page before. */
export async function listPolicies(
  db: Db,
  page: { apiIdentifier?: string | undefined; after?: string | undefined; limit?: number } = {},
): Promise<PolicyRecord[]> {
  if (page.apiIdentifier !== undefined && checkApiIdentifier('api', page.apiIdentifier).length > 0) return []
  const after = page.after === undefined ? null : await findPolicy(db, page.after)
  if (page.after !== undefined && !after) return []
  return db.policy.findMany({
    where: {
      ...(page.apiIdentifier === undefined ? {} : { apiIdentifier: page.apiIdentifier }),
      ...(after && {
        OR: [
          { apiIdentifier: { gt: after.apiIdentifier } },
          { apiIdentifier: after.apiIdentifier, name: { gt: after.name } },
        ],
      }),
    },
    orderBy: [{ apiIdentifier: 'asc' }, { name: 'asc' }],
    ...(page.limit === undefined ? {} : { take: page.limit }),
  })
}

/** @returns null for an unknown id. */
export async function findPolicy(db: Db, id: string): Promise<PolicyRecord | null> {
  return isPolicyId(id) ? db.policy.findUnique({ where: { id } }) : null
}

/** @returns null for an unknown name. */
export async function findPolicyByName(db: Db, apiIdentifier: string, name: string): Promise<PolicyRecord | null> {
  if (checkPolicyName('name', name).length > 0) return null
  return db.policy.findUnique({ where: { apiIdentifier_name: { apiIdentifier, name } } })
}

/** Newest first. Also of a policy that was deleted: receipts may name it. */
export async function listPolicyVersions(db: Db, id: string): Promise<PolicyVersionRecord[]> {
  return isPolicyId(id) ? db.policyVersion.findMany({ where: { policyId: id }, orderBy: { version: 'desc' } }) : []
}

/** @throws InvalidPolicy, PolicyExists, ApiNotFound */
export function createPolicy(db: Db, input: PolicyInput, change: Change): Promise<PolicyRecord> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const { apiIdentifier, name, text, description = '', state = 'draft' } = input
    const schema = await readSchema(tx, apiIdentifier)
    const checked = check({ name, text, description, state }, schema)
    if ((await tx.policy.count({ where: { apiIdentifier } })) >= mostPolicies)
      throw new InvalidPolicy([
        {
          field: 'api',
          problem: `has ${mostPolicies} policies`,
          fix: 'Name people and objects by roles, groups and relations in place of policies for each.',
        },
      ])
    const row = { apiIdentifier, name, text, description, state, ...checked, version: 1 }
    const { count } = await tx.policy.createMany({
      data: [{ id: randomUUID(), ...row, createdAt: change.now, updatedAt: change.now }],
      skipDuplicates: true,
    })
    if (count === 0) throw new PolicyExists(name)
    const record = await tx.policy.findUniqueOrThrow({ where: { apiIdentifier_name: { apiIdentifier, name } } })
    await keepVersion(tx, record, record.state, 'policy.created', change)
    return record
  })
}

/** @param expected the version that the author saw. @throws InvalidPolicy, PolicyNotFound, PolicyExists, PolicyChanged */
export function updatePolicy(
  db: Db,
  id: string,
  expected: number,
  input: PolicyChange,
  change: Change,
): Promise<PolicyRecord> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const before = await findPolicy(tx, id)
    if (!before) throw new PolicyNotFound(id)
    const { name = before.name, text = before.text, description = before.description, state = before.state } = input
    // Checked as a whole: to enforce a draft is the moment when it must hold up.
    const checked = check({ name, text, description, state }, await readSchema(tx, before.apiIdentifier))
    if (name !== before.name && (await findPolicyByName(tx, before.apiIdentifier, name))) throw new PolicyExists(name)
    const { count } = await tx.policy.updateMany({
      where: { id, version: expected },
      data: { name, text, description, state, ...checked, version: { increment: 1 }, updatedAt: change.now },
    })
    if (count === 0) throw new PolicyChanged(expected, before.version)
    const record = await tx.policy.findUniqueOrThrow({ where: { id } })
    await keepVersion(tx, record, record.state, 'policy.updated', change)
    return record
  })
}

/** @param expected the version that the author saw. Its versions stay. @throws PolicyNotFound, PolicyChanged */
export function deletePolicy(db: Db, id: string, expected: number, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const before = await findPolicy(tx, id)
    if (!before) throw new PolicyNotFound(id)
    const { count } = await tx.policy.deleteMany({ where: { id, version: expected } })
    if (count === 0) throw new PolicyChanged(expected, before.version)
    await keepVersion(tx, { ...before, version: before.version + 1 }, 'deleted', 'policy.deleted', change)
  })
}

/** @returns version 0 where nobody declared anything yet. @throws ApiNotFound, also for Sallyport's own API: its doors are not for policies. */
export async function findPolicySchema(
  db: Db,
  apiIdentifier: string,
): Promise<{ declared: PolicySchemaInput; version: number; ground: PolicyGround }> {
  const api = await findApi(db, apiIdentifier)
  if (!api || api.builtIn) throw new ApiNotFound(apiIdentifier)
  const row = await db.policySchema.findUnique({ where: { apiIdentifier } })
  const declared = (row?.declared ?? {}) as PolicySchemaInput
  return { declared, version: row?.version ?? 0, ground: groundOf(api, declared) }
}

/** Replaces what is declared. Policies that would no longer hold up, drafts among them, stand in its way.
 *  @param expected the version that the author saw, 0 for the first. @throws InvalidPolicy, PolicyChanged, ApiNotFound */
export async function putPolicySchema(
  db: Db,
  apiIdentifier: string,
  expected: number,
  input: PolicySchemaInput,
  change: Change,
): Promise<{ declared: PolicySchemaInput; version: number }> {
  const declared = settlePolicySchema(input)
  const { ground: first } = await findPolicySchema(db, apiIdentifier)
  const seen = new Set<string>()
  await refuseToBreak(db, apiIdentifier, compiled({ ...first, declared }), seen)
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const { version: found, ground } = await findPolicySchema(tx, apiIdentifier)
    if (found !== expected) throw new PolicyChanged(expected, found)
    await refuseToBreak(tx, apiIdentifier, compiled({ ...ground, declared }), seen)
    return { declared, version: await writePolicySchema(tx, apiIdentifier, declared, change) }
  })
}

/** The part of putPolicySchema that a declarative file does by itself, because its policies change along with what they may speak of: whether
 *  they fit together was looked at before (declaration/kinds/policies.ts). @returns the version. */
export async function writePolicySchema(
  tx: Prisma.TransactionClient,
  apiIdentifier: string,
  declared: PolicySchemaInput,
  change: Change,
): Promise<number> {
  await raiseConfigurationVersion(tx, change.now)
  const before = await tx.policySchema.findUnique({ where: { apiIdentifier } })
  const version = (before?.version ?? 0) + 1
  const columns = { declared: declared as Prisma.InputJsonObject, version, updatedAt: change.now }
  await tx.policySchema.upsert({ where: { apiIdentifier }, create: { apiIdentifier, ...columns }, update: columns })
  await recordAudit(
    tx,
    {
      event: 'policy_schema.updated',
      outcome: 'success',
      actor: change.actor,
      target: { kind: 'api', id: apiIdentifier },
      detail: { version },
    },
    change.origin,
  )
  return version
}

/** Ten thousand policies take seconds of Cedar: before the transaction and in portions, so that others are served in between; inside it, what
 *  was changed since. @param seen versions that were checked; grows. */
async function refuseToBreak(db: Db, apiIdentifier: string, schema: PolicySchema, seen: Set<string>): Promise<void> {
  const rows = await db.policy.findMany({
    where: { apiIdentifier },
    select: { id: true, name: true, text: true, version: true },
  })
  const policies = rows.filter(({ id, version }) => !seen.has(`${id} ${version}`))
  for (let from = 0; from < policies.length; from += 100) {
    const portion = policies.slice(from, from + 100)
    const { flaws } = recheckPolicies(portion, schema)
    if (flaws.length > 0) throw new InvalidPolicy(flaws.slice(0, 20))
    for (const { id, version } of portion) seen.add(`${id} ${version}`)
    await setImmediate()
  }
}

/** What policies may speak of, from the records of the API. Its `objects` are read as they are: type -> relation -> actions. */
export function groundOf(
  api: Readonly<{ scopes: ApiRecord['scopes'] }> & Readonly<Record<string, unknown>>,
  declared: PolicySchemaInput,
): PolicyGround {
  return groundFrom(
    api.scopes.map(({ name }) => name),
    api.objects,
    declared,
  )
}

export function groundFrom(scopes: readonly string[], stored: unknown, declared: PolicySchemaInput): PolicyGround {
  const objects = (stored ?? {}) as PolicyGround['objects']
  const named = Object.values(objects).flatMap((relations) => Object.values(relations).flat())
  return { actions: [...new Set([...scopes, ...named])].sort(), objects, declared }
}

/** For people and programs. */
export function describePolicy(record: PolicyRecord) {
  const { id, apiIdentifier, name, description, text, effect, state, version, createdAt, updatedAt } = record
  return { id, api: apiIdentifier, name, description, text, effect, state, version, createdAt, updatedAt }
}

export function describePolicyVersion(record: PolicyVersionRecord) {
  const { version, name, description, text, state, changedAt, actorKind, actorId } = record
  return { version, name, description, text, state, changedAt, changedBy: { kind: actorKind, id: actorId } }
}

export const isPolicyId = (id: string): boolean =>
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(id)

/** Everything that can be said about a policy without its text. */
export function checkPolicySettings({
  name,
  description = '',
  state,
}: Omit<PolicyChange, 'text'> & { name: string }): Flaw[] {
  return [
    ...checkPolicyName('name', name),
    ...(description === '' ? [] : checkText('description', description, 256)),
    ...(state === undefined ? [] : checkOneOf('state', state, policyStates)),
  ]
}

function check(
  { text, ...settings }: { name: string; text: string; description: string; state: string },
  schema: PolicySchema,
) {
  const checked = checkPolicy(text, schema)
  const flaws = [...checkPolicySettings(settings), ...('flaws' in checked ? checked.flaws : [])]
  if (flaws.length > 0 || 'flaws' in checked) throw new InvalidPolicy(flaws)
  return { effect: checked.effect, scope: checked.scope }
}

async function readSchema(tx: Prisma.TransactionClient, apiIdentifier: string): Promise<PolicySchema> {
  return compiled((await findPolicySchema(tx, apiIdentifier)).ground)
}

function compiled(ground: PolicyGround): PolicySchema {
  const result = compilePolicySchema(ground)
  if ('flaws' in result) throw new InvalidPolicy(result.flaws)
  return result.schema
}

/** Without what is left out, so that two declarations of the same are equal. */
export function settlePolicySchema({
  attributes,
  context,
  subject,
  action,
  objects,
}: PolicySchemaInput): PolicySchemaInput {
  return {
    ...(attributes === undefined ? {} : { attributes }),
    ...(context === undefined ? {} : { context }),
    ...(subject === undefined ? {} : { subject }),
    ...(action === undefined ? {} : { action }),
    ...(objects === undefined ? {} : { objects }),
  }
}

async function keepVersion(
  tx: Prisma.TransactionClient,
  record: PolicyRecord,
  state: string,
  event: AuditEventName,
  change: Change,
): Promise<void> {
  const { id, version, apiIdentifier, name, description, text } = record
  await tx.policyVersion.create({
    data: {
      policyId: id,
      version,
      apiIdentifier,
      name,
      description,
      text,
      state,
      changedAt: change.now,
      actorKind: change.actor.kind,
      actorId: change.actor.id ?? null,
    },
  })
  await recordAudit(
    tx,
    {
      event,
      outcome: 'success',
      actor: change.actor,
      target: { kind: 'policy', id },
      detail: { api: apiIdentifier, name, version, state },
    },
    change.origin,
  )
}
