// The person: find, create, change, switch off, delete, and the roles they hold. How a person proves who they are is factors/;
// this room only keeps the stored proof of a password beside the person, because both change together.
import { randomUUID } from 'node:crypto'
import { ownersWhoCanSignIn, RoleNotFound, refuseToLoseLastOwner } from '#src/access/roles.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { AuditEventName } from '#src/audit/events.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { checkDistinct, checkText, type Flaw, quote, Refusal } from '#src/refusal.ts'

export type UserRecord = Prisma.UserGetPayload<{ include: { roles: true } }>

/** A field that is left out keeps its value (at creation: has none). Null removes it. */
export type UserInput = {
  emailVerified?: boolean | undefined
  name?: string | null | undefined
  givenName?: string | null | undefined
  familyName?: string | null | undefined
  picture?: string | null | undefined
  locale?: string | null | undefined
  zoneinfo?: string | null | undefined
  /** Any JSON object; claims and policies read it. */
  attributes?: Record<string, unknown> | undefined
  roles?: string[] | undefined
}

const textFields = ['name', 'givenName', 'familyName', 'picture', 'locale', 'zoneinfo'] as const

export class InvalidUser extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class UserNotFound extends Refusal {
  constructor(id: string) {
    super('missing', [
      { field: 'user', problem: `${quote(id)} is nobody here`, fix: 'Check it against the list of users.' },
    ])
  }
}

export class EmailTaken extends Refusal {
  constructor() {
    super('taken', [
      {
        field: 'email',
        problem: 'belongs to somebody already',
        fix: 'Use another address, or change the existing user.',
      },
    ])
  }
}

const include = { roles: { orderBy: { roleName: 'asc' } } } as const
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** What a `sub` must look like to be one of ours; anything else would only trouble the database. */
export function isUserId(sub: string): boolean {
  return uuid.test(sub)
}

/** @param id a UUID: the `sub` of tokens. @returns null for an unknown one. A disabled person is found: look at `disabledAt`. */
export async function findUser(db: Db, id: string): Promise<UserRecord | null> {
  return uuid.test(id) ? db.user.findUnique({ where: { id }, include }) : null
}

/** @returns null for an unknown address. */
export async function findUserByEmail(db: Db, email: string): Promise<UserRecord | null> {
  const key = emailKey(email)
  return key === undefined ? null : db.user.findUnique({ where: { emailKey: key }, include })
}

/** Of those among `ids` that are there. */
export async function emailsOf(db: Db, ids: readonly string[]): Promise<Map<string, string>> {
  const rows = await db.user.findMany({ where: { id: { in: [...ids] } }, select: { id: true, email: true } })
  return new Map(rows.map(({ id, email }) => [id, email]))
}

/** By id, ascending. @param page.after the last id of the page before. */
export function listUsers(db: Db, page: { after?: string | undefined; limit?: number } = {}): Promise<UserRecord[]> {
  return db.user.findMany({
    where: page.after === undefined ? {} : { id: { gt: page.after } },
    orderBy: { id: 'asc' },
    include,
    ...(page.limit === undefined ? {} : { take: page.limit }),
  })
}

/** What two spellings of one address have in common: NFC, lower case, no space around it.
 *  @returns undefined for text that no address can be (and that PostgreSQL would refuse to compare). */
export function emailKey(email: string): string | undefined {
  if (email.length > 320 || !email.isWellFormed() || /\p{Cc}/u.test(email.trim())) return undefined
  return email.trim().normalize('NFC').toLowerCase()
}

/** The id is random, not a time: it is the `sub` that every application sees, and when somebody joined is not their business.
 *  @param passwordHash of factors/password.ts, made before the transaction because it takes its time. None: no password yet.
 *  @throws InvalidUser, EmailTaken, RoleNotFound */
export function createUser(
  db: Db,
  input: UserInput & { email: string; passwordHash?: string | undefined },
  change: Change,
): Promise<UserRecord> {
  return atomically(db, async (tx) => {
    refuseFlaws([...checkEmail('email', input.email), ...checkUser(input)])
    const id = randomUUID()
    const { count } = await tx.user.createMany({
      data: [
        {
          id,
          email: input.email.trim().normalize('NFC'),
          emailKey: emailKey(input.email) ?? '',
          ...columns(input, change.now),
          createdAt: change.now,
          updatedAt: change.now,
        },
      ],
      skipDuplicates: true,
    })
    if (count === 0) throw new EmailTaken()
    if (input.passwordHash !== undefined)
      await tx.credential.create({
        data: { id: randomUUID(), userId: id, kind: 'password', secret: input.passwordHash, createdAt: change.now },
      })
    await writeRoles(tx, id, input.roles ?? [])
    await recordUser(tx, 'user.created', id, change, { roles: input.roles ?? [] })
    return tx.user.findUniqueOrThrow({ where: { id }, include })
  })
}

/** @throws InvalidUser, UserNotFound, RoleNotFound, LastOwner */
export function updateUser(db: Db, id: string, input: UserInput, change: Change): Promise<UserRecord> {
  return atomically(db, async (tx) => {
    refuseFlaws(checkUser(input))
    const owners = input.roles ? await ownersWhoCanSignIn(tx) : 0
    const current = await findUser(tx, id)
    if (!current) throw new UserNotFound(id)
    await tx.user.update({ where: { id }, data: { ...columns(input, change.now, current), updatedAt: change.now } })
    if (input.roles) {
      await tx.userRole.deleteMany({ where: { userId: id } })
      await writeRoles(tx, id, input.roles)
      await refuseToLoseLastOwner(tx, owners)
    }
    const fields = Object.keys(input).filter((field) => input[field as keyof UserInput] !== undefined)
    await recordUser(tx, 'user.updated', id, change, { fields })
    return tx.user.findUniqueOrThrow({ where: { id }, include })
  })
}

/** Switching off ends every session and token of the person: the generation they were issued under is no longer current.
 *  Doing it twice changes nothing. @throws UserNotFound, LastOwner */
export function setUserDisabled(db: Db, id: string, disabled: boolean, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    if (!uuid.test(id)) throw new UserNotFound(id)
    const owners = disabled ? await ownersWhoCanSignIn(tx) : 0
    const { count } = await tx.user.updateMany({
      where: { id, disabledAt: disabled ? null : { not: null } },
      data: disabled
        ? { disabledAt: change.now, generation: { increment: 1 } }
        : { disabledAt: null, deleteAfter: null }, // whoever asked to be deleted is taken back
    })
    if (count === 0) {
      if ((await tx.user.count({ where: { id } })) === 0) throw new UserNotFound(id)
      return
    }
    await refuseToLoseLastOwner(tx, owners)
    await recordUser(tx, disabled ? 'user.disabled' : 'user.enabled', id, change)
  })
}

/** Ends every session and token of the person at once; the person stays. @throws UserNotFound */
export function endUserTokens(db: Db, id: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    if (!uuid.test(id)) throw new UserNotFound(id)
    const { count } = await tx.user.updateMany({ where: { id }, data: { generation: { increment: 1 } } })
    if (count === 0) throw new UserNotFound(id)
    await recordUser(tx, 'token.revoked', id, change, { every: true })
  })
}

/** Sets or replaces the password and ends every session and token that came before it.
 *  @param passwordHash of factors/password.ts. @throws UserNotFound */
export function setPassword(db: Db, id: string, passwordHash: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    if (!uuid.test(id)) throw new UserNotFound(id)
    const { count } = await tx.user.updateMany({
      where: { id },
      data: { generation: { increment: 1 }, updatedAt: change.now },
    })
    if (count === 0) throw new UserNotFound(id)
    await tx.credential.deleteMany({ where: { userId: id, kind: 'password' } })
    await tx.credential.create({
      data: { id: randomUUID(), userId: id, kind: 'password', secret: passwordHash, createdAt: change.now },
    })
    await recordUser(tx, 'user.password_changed', id, change)
  })
}

/** The new address is known to be theirs: a code that was sent to it came back. Signing in needs it from now on.
 *  @throws InvalidUser, UserNotFound, EmailTaken */
export function changeEmail(db: Db, id: string, email: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    refuseFlaws(checkEmail('email', email))
    if (!uuid.test(id)) throw new UserNotFound(id)
    const key = emailKey(email) ?? ''
    // One statement decides: whoever has the address at that moment keeps it.
    const count = await tx.$executeRaw`
      UPDATE users SET email = ${email.trim().normalize('NFC')}, email_key = ${key}, email_verified_at = ${change.now}, updated_at = ${change.now}
      WHERE id = ${id}::uuid AND NOT EXISTS (SELECT FROM users other WHERE other.email_key = ${key} AND other.id <> ${id}::uuid)`
    if (count === 0) {
      if ((await tx.user.count({ where: { id } })) === 0) throw new UserNotFound(id)
      throw new EmailTaken()
    }
    await recordUser(tx, 'user.email_changed', id, change)
  })
}

/** Their credentials, roles, consents and API keys go with them. @throws UserNotFound, LastOwner */
export function deleteUser(db: Db, id: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    if (!uuid.test(id)) throw new UserNotFound(id)
    const owners = await ownersWhoCanSignIn(tx)
    const { count } = await tx.user.deleteMany({ where: { id } })
    if (count === 0) throw new UserNotFound(id)
    await refuseToLoseLastOwner(tx, owners)
    await recordUser(tx, 'user.deleted', id, change)
  })
}

/** For people and programs; never a credential. */
export function describeUser(record: UserRecord) {
  const { id, email, name, givenName, familyName, picture, locale, zoneinfo, attributes } = record
  return {
    id,
    email,
    emailVerified: record.emailVerifiedAt !== null,
    ...{ name, givenName, familyName, picture, locale, zoneinfo, attributes },
    roles: record.roles.map((role) => role.roleName),
    disabled: record.disabledAt !== null,
    ...(record.deleteAfter && { deleteAfter: record.deleteAfter }),
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  }
}

export function checkEmail(field: string, email: string): Flaw[] {
  // RFC 5321 4.5.3.1; whether mail arrives there is for a mail to find out.
  const key = emailKey(email)
  if (
    key === undefined ||
    key.length > 254 ||
    /\p{Cf}/u.test(key) || // what nobody sees makes one address look like another's
    !/^[^\s@<>()[\],;:\\"]{1,64}@[^\s@<>()[\],;:\\"/]+\.[^\s@<>()[\],;:\\"/.]+$/u.test(key)
  )
    return [
      {
        field,
        problem: 'is not an email address',
        fix: 'Write it in full, such as alice@example.com, without a name around it.',
      },
    ]
  return []
}

/** Everything that can be said without the database. */
export function checkUser(input: UserInput): Flaw[] {
  const flaws: Flaw[] = []
  for (const field of textFields) {
    const value = input[field]
    if (value !== undefined && value !== null) flaws.push(...checkText(field, value, field === 'picture' ? 2000 : 128))
  }
  if (input.picture && URL.parse(input.picture)?.protocol !== 'https:')
    flaws.push({
      field: 'picture',
      problem: 'is not an https address',
      fix: 'Write it in full, beginning with https://.',
    })
  if (input.attributes !== undefined) flaws.push(...checkAttributes('attributes', input.attributes, 0))
  flaws.push(...checkDistinct('roles', input.roles ?? []))
  return flaws
}

/** Attributes end up in jsonb, in policies and perhaps in claims: bounded, and free of what those cannot hold. */
function checkAttributes(field: string, value: unknown, depth: number): Flaw[] {
  if (depth > 8) return [{ field, problem: 'is nested more than 8 deep', fix: 'Flatten it.' }]
  if (typeof value === 'string')
    return value.isWellFormed() && !value.includes('\0') && value.length <= 4096
      ? []
      : [{ field, problem: 'cannot be stored', fix: 'Use at most 4096 characters of valid Unicode without NUL.' }]
  if (typeof value === 'number')
    return Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value))
      ? []
      : [{ field, problem: 'is not a number that JSON keeps exactly', fix: 'Write it as text.' }]
  if (value === null || typeof value === 'boolean') return []
  if (Array.isArray(value))
    return value.flatMap((item, index) => checkAttributes(`${field}[${index}]`, item, depth + 1))
  if (typeof value === 'object')
    return Object.entries(value).flatMap(([key, item]) =>
      /^[A-Za-z][A-Za-z0-9_.:-]{0,63}$/.test(key)
        ? checkAttributes(`${field}.${key}`, item, depth + 1)
        : [
            {
              field: `${field}[${quote(key)}]`,
              problem: 'cannot be the name of an attribute',
              fix: 'Use 1 to 64 letters, digits and _ . : - beginning with a letter.',
            },
          ],
    )
  return [{ field, problem: 'is not JSON', fix: 'Use text, numbers, true, false, null, lists and objects.' }]
}

function columns(input: UserInput, now: Date, current?: UserRecord) {
  const text = Object.fromEntries(textFields.map((field) => [field, input[field]])) // undefined: Prisma leaves it
  return {
    ...text,
    ...(input.attributes === undefined ? {} : { attributes: input.attributes as Prisma.InputJsonObject }),
    ...(input.emailVerified === undefined
      ? {}
      : { emailVerifiedAt: input.emailVerified ? (current?.emailVerifiedAt ?? now) : null }),
  }
}

async function writeRoles(tx: Prisma.TransactionClient, userId: string, roles: readonly string[]): Promise<void> {
  if (roles.length === 0) return
  const storable = roles.filter((name) => name.isWellFormed() && !name.includes('\0'))
  const known = new Set(
    (await tx.role.findMany({ where: { name: { in: storable } }, select: { name: true } })).map((role) => role.name),
  )
  for (const [index, name] of roles.entries()) if (!known.has(name)) throw new RoleNotFound(name, `roles[${index}]`)
  await tx.userRole.createMany({ data: roles.map((roleName) => ({ userId, roleName })) })
}

function refuseFlaws(flaws: Flaw[]): void {
  if (flaws.length > 0) throw new InvalidUser(flaws)
}

function recordUser(
  tx: Prisma.TransactionClient,
  event: AuditEventName,
  id: string,
  change: Change,
  detail: Record<string, string[] | boolean> = {},
): Promise<void> {
  return recordAudit(
    tx,
    { event, outcome: 'success', actor: change.actor, target: { kind: 'user', id }, detail },
    change.origin,
  )
}
