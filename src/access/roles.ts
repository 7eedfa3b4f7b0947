// Roles: names for sets of permissions, held by people. A permission is the name of a scope; what a person may do through a
// client is what the token says and their roles permit at that moment, both.
import { checkScopeName, isScopeToken, ownScopes } from '#src/apis/scope-names.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { AuditEventName } from '#src/audit/events.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { checkDistinct, checkOneOf, checkText, type Flaw, quote, Refusal } from '#src/refusal.ts'

export type RoleRecord = Prisma.RoleGetPayload<{ include: { permissions: true } }>

export type RoleInput = {
  description?: string | undefined
  permissions?: string[] | undefined
  /** optional | required: who holds the role must prove a second factor at every sign-in. */
  secondFactor?: string | undefined
  /** Its permissions count for this API alone. */
  api?: string | undefined
}
type RoleSettings = { description: string; permissions: string[]; secondFactor: string; api: string | null }

const secondFactorPolicies = ['optional', 'required'] as const

/** The role of the first administrator: every scope of Sallyport's own API. Made and kept up to date by bootstrap. */
export const ownerRole = 'owner'
export const ownerPermissions: readonly string[] = Object.keys(ownScopes).sort()

export class InvalidRole extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class RoleNotFound extends Refusal {
  constructor(name: string, field = 'name') {
    super('missing', [
      {
        field,
        problem: `is ${quote(name)}, which is not a role here`,
        fix: 'Create the role first, or correct its name.',
      },
    ])
  }
}

class RoleExists extends Refusal {
  constructor(name: string) {
    super('taken', [
      { field: 'name', problem: `${quote(name)} is taken`, fix: 'Choose another, or change the existing role.' },
    ])
  }
}

export class LastOwner extends Refusal {
  constructor() {
    super('in_use', [
      {
        field: 'roles',
        problem: `would leave nobody with the role ${ownerRole} who can sign in`,
        fix: `Give the role to another person first: without one, nobody can administer this server.`,
      },
    ])
  }
}

/** By name, ascending. @param page.after the last name of the page before. */
export function listRoles(db: Db, page: { after?: string | undefined; limit?: number } = {}): Promise<RoleRecord[]> {
  return db.role.findMany({
    where: page.after === undefined ? {} : { name: { gt: page.after } },
    orderBy: { name: 'asc' },
    include: { permissions: true },
    ...(page.limit === undefined ? {} : { take: page.limit }),
  })
}

export async function listRoleNames(db: Db): Promise<string[]> {
  return (await db.role.findMany({ orderBy: { name: 'asc' }, select: { name: true } })).map(({ name }) => name)
}

/** @returns null for an unknown name. */
export async function findRole(db: Db, name: string): Promise<RoleRecord | null> {
  return isRoleName(name) ? db.role.findUnique({ where: { name }, include: { permissions: true } }) : null
}

/** The permissions that a person's roles carry now, for one API. A disabled or unknown person has none. */
export async function permissionsOf(db: Db, userId: string, api: string): Promise<ReadonlySet<string>> {
  const rows = await db.rolePermission.findMany({
    where: {
      role: {
        users: { some: { userId, user: { disabledAt: null } } },
        OR: [{ apiIdentifier: null }, { apiIdentifier: api }],
      },
    },
    select: { permission: true },
  })
  return new Set(rows.map((row) => row.permission))
}

/** @throws InvalidRole, RoleExists */
export function createRole(db: Db, name: string, input: RoleInput, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await refuseFlaws(tx, [...checkRoleName('name', name), ...checkRole(input)], input)
    await insertRole(tx, name, input, change)
  })
}

/** The part of createRole that bootstrap shares. @throws RoleExists */
export async function insertRole(tx: Prisma.TransactionClient, name: string, input: RoleInput, change: Change) {
  const { description, permissions, secondFactor, api } = settleRole(input)
  await raiseConfigurationVersion(tx, change.now)
  const { count } = await tx.role.createMany({
    data: [{ name, description, secondFactor, apiIdentifier: api, createdAt: change.now }],
    skipDuplicates: true,
  })
  if (count === 0) throw new RoleExists(name)
  await tx.rolePermission.createMany({ data: permissions.map((permission) => ({ roleName: name, permission })) })
  await recordRole(tx, 'role.created', name, change)
}

/** Replaces its permissions; they hold from the next request on. @throws InvalidRole, RoleNotFound */
export function updateRole(db: Db, name: string, input: RoleInput, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await refuseFlaws(tx, [...checkRoleName('name', name), ...checkRole(input)], input)
    const { description, permissions, secondFactor, api } = settleRole(input)
    await raiseConfigurationVersion(tx, change.now)
    const { count } = await tx.role.updateMany({
      where: { name },
      data: { description, secondFactor, apiIdentifier: api },
    })
    if (count === 0) throw new RoleNotFound(name)
    await tx.rolePermission.deleteMany({ where: { roleName: name } })
    await tx.rolePermission.createMany({ data: permissions.map((permission) => ({ roleName: name, permission })) })
    await recordRole(tx, 'role.updated', name, change)
  })
}

/** People who hold it lose it. @throws InvalidRole, RoleNotFound */
export function deleteRole(db: Db, name: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await refuseFlaws(tx, checkRoleName('name', name))
    await raiseConfigurationVersion(tx, change.now)
    const { count } = await tx.role.deleteMany({ where: { name } })
    if (count === 0) throw new RoleNotFound(name)
    await tx.$executeRaw`UPDATE client SET roles = array_remove(roles, ${name}) WHERE ${name} = ANY (roles)`
    await recordRole(tx, 'role.deleted', name, change)
  })
}

/** Somebody must always be able to administer the server. Call it after the change, in the same transaction.
 *  @param before ownersWhoCanSignIn before the change. @throws LastOwner */
export async function refuseToLoseLastOwner(tx: Prisma.TransactionClient, before: number): Promise<void> {
  if (before > 0 && (await ownersWhoCanSignIn(tx)) === 0) throw new LastOwner()
}

/** Takes a lock on the role first: of two changes that would each leave one owner, the second sees what the first did. */
export async function ownersWhoCanSignIn(tx: Prisma.TransactionClient): Promise<number> {
  await lockOwners(tx)
  return countOwners(tx)
}

/** Before any lock on a person: whoever takes the person first would meet one who goes the other way. */
export async function lockOwners(tx: Prisma.TransactionClient): Promise<void> {
  await tx.$queryRaw`SELECT name FROM role WHERE name = ${ownerRole} FOR UPDATE`
}

/** Those that are not switched off. */
export const countOwners = (db: Db): Promise<number> =>
  db.userRole.count({ where: { roleName: ownerRole, user: { disabledAt: null } } })

/** True once anybody, disabled or not, is an owner: from then on no set-up code may be given out. */
export async function hasOwner(db: Db): Promise<boolean> {
  return (await db.userRole.count({ where: { roleName: ownerRole } })) > 0
}

export function checkRoleName(field: string, name: string): Flaw[] {
  if (!isRoleName(name))
    return [
      {
        field,
        problem: `(${quote(name)}) cannot be the name of a role`,
        fix: 'Use 1 to 64 lower-case letters, digits, dots, underscores and hyphens, beginning with a letter or digit.',
      },
    ]
  if (name === ownerRole)
    return [
      {
        field,
        problem: `is ${ownerRole}, Sallyport's own role`,
        fix: 'Choose another name; people may be given the role, its permissions are fixed.',
      },
    ]
  return []
}

const isRoleName = (name: string): boolean => /^[a-z0-9][a-z0-9._-]{0,63}$/.test(name)

export function checkRole({ description, permissions = [], secondFactor = 'optional' }: RoleInput): Flaw[] {
  const flaws = description ? checkText('description', description, 256) : []
  flaws.push(...checkOneOf('secondFactor', secondFactor, secondFactorPolicies))
  for (const [index, permission] of permissions.entries())
    if (!isScopeToken(permission)) flaws.push(...checkScopeName(`permissions[${index}]`, permission))
  flaws.push(...checkDistinct('permissions', permissions))
  return flaws
}

/** @returns the input with defaults, the permissions sorted. */
export function settleRole(input: RoleInput): RoleSettings {
  return {
    description: input.description ?? '',
    permissions: [...(input.permissions ?? [])].sort(),
    secondFactor: input.secondFactor ?? 'optional',
    api: input.api ?? null,
  }
}

/** What is stored, in the shape of settleRole. */
export function roleSettings(record: RoleRecord): RoleSettings {
  const { description, secondFactor, apiIdentifier } = record
  const permissions = record.permissions.map((row) => row.permission)
  return settleRole({ description, permissions, secondFactor, api: apiIdentifier ?? undefined })
}

/** For people and programs, in the words of the declarative file. */
export function describeRole(record: RoleRecord) {
  return { name: record.name, ...roleSettings(record), builtIn: record.name === ownerRole, createdAt: record.createdAt }
}

async function refuseFlaws(tx: Prisma.TransactionClient, flaws: Flaw[], { api }: RoleInput = {}): Promise<void> {
  const known = api === undefined || (isStorable(api) && (await tx.api.count({ where: { identifier: api } })) > 0)
  const unknownApi = {
    field: 'api',
    problem: `is ${quote(api ?? '')}, which is not an API here`,
    fix: 'Create the API first.',
  }
  const all = known ? flaws : [...flaws, unknownApi]
  if (all.length > 0) throw new InvalidRole(all)
}

const isStorable = (text: string): boolean => text.isWellFormed() && !text.includes('\0')

function recordRole(tx: Prisma.TransactionClient, event: AuditEventName, name: string, change: Change) {
  return recordAudit(
    tx,
    { event, outcome: 'success', actor: change.actor, target: { kind: 'role', id: name } },
    change.origin,
  )
}
