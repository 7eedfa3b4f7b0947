// What was declared, so that it can be told later what is different (drift.ts). Written in the transaction that applies the file.
//
// Kept is what compare() needs and no more: no secret and no hash of one, policies with their text, pictures as their hashes. Of people only the id and
// what an operator decides about them (roles, disabled, verified): names, addresses and attributes are in their own row alone, and leave with it.
// A row for each file, by its name without the folder. A thing belongs to the file that declared it last: the others forget it
// (docs/decisions/053).
import { routeName } from '#src/apis/routes.ts'
import { isLogoHash, logoHash } from '#src/clients/logos.ts'
import { hasSecret } from '#src/clients/types.ts'
import type { Database, Db, Prisma } from '#src/db/database.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'
import { emailKey } from '#src/users/users.ts'
import { policyKey } from './check.ts'
import type { Logos } from './logos.ts'
import type { PolicyTexts } from './policy-texts.ts'
import type { Declaration, DeclaredClient, DeclaredPolicy, DeclaredRoute, DeclaredWebhook } from './schema.ts'
import { canonical, type PlannedChange } from './steps.ts'

export type KeptUser = { id: string; disabled?: boolean; emailVerified?: boolean; roles?: string[] }
export type KeptSetting = { key: string; value: string | number }
/** Sections that are not named here are not kept: whoever adds one decides whether it may be. */
export type KeptDeclaration = Pick<Declaration, Exclude<Section, 'users' | 'settings' | 'branding'>> & {
  users?: KeptUser[] | undefined
  settings?: KeptSetting[] | undefined
  branding?: KeptSetting[] | undefined
}
export type KeptKind = (typeof sections)[Section]['kind']

type Applied = {
  file: string
  declaration: Declaration
  logos?: Logos | undefined
  policyTexts?: PolicyTexts | undefined
}

/** In the transaction that made the changes, under its lock. @param changes which were made. */
export async function rememberDeclaration(
  tx: Prisma.TransactionClient,
  applied: Applied,
  changes: readonly PlannedChange[],
  now: Date,
): Promise<void> {
  const { file } = applied
  const kept = await keep(tx, applied)
  const mine = new Set([...namesIn(kept), ...changes.filter(({ action }) => action === 'delete').map(nameOf)])
  for (const other of await tx.appliedDeclaration.findMany({ where: { file: { not: file } } })) {
    const declared = other.declared as KeptDeclaration
    const rest = without(declared, mine)
    if (namesIn(rest).length === 0) await tx.appliedDeclaration.delete({ where: { file: other.file } })
    else if (canonical(rest) !== canonical(declared))
      await tx.appliedDeclaration.update({ where: { file: other.file }, data: { declared: json(rest) } })
  }
  const data = { declared: json(kept), appliedAt: now }
  await tx.appliedDeclaration.upsert({ where: { file }, create: { file, ...data }, update: data })
}

/** Nothing was to be changed: as at most starts, which take no lock. */
export async function rememberUnchanged(database: Database, applied: Applied, now: Date): Promise<void> {
  const { prisma } = database
  const found = await prisma.appliedDeclaration.findUnique({ where: { file: applied.file } })
  if (found && canonical(found.declared) === canonical(await keep(prisma, applied)))
    await prisma.appliedDeclaration.updateMany({ where: { file: applied.file }, data: { appliedAt: now } })
  else await withConfigurationLock(database, (tx) => rememberDeclaration(tx, applied, [], now))
}

/** Lists of a declaration: what each entry is, and its name. */
const sections = {
  apis: { kind: 'api', nameOf: ({ identifier }: { identifier: string }) => identifier },
  roles: { kind: 'role', nameOf: ({ name }: { name: string }) => name },
  clients: { kind: 'client', nameOf: ({ clientId }: DeclaredClient) => clientId },
  users: { kind: 'user', nameOf: ({ id }: KeptUser) => id },
  routes: { kind: 'route', nameOf: (route: DeclaredRoute) => routeName(route) },
  policies: { kind: 'policy', nameOf: (policy: DeclaredPolicy) => policyKey(policy) },
  webhooks: { kind: 'webhook', nameOf: ({ name }: DeclaredWebhook) => name },
  settings: { kind: 'setting', nameOf: ({ key }: KeptSetting) => key },
  branding: { kind: 'branding', nameOf: ({ key }: KeptSetting) => key },
} as const satisfies Record<string, { kind: PlannedChange['kind']; nameOf(entry: never): string }>

type Section = keyof typeof sections

const nameOf = ({ kind, id }: Pick<PlannedChange, 'kind' | 'id'>): string => `${kind} ${id}`

/** What a list of it names, one for each entry. */
function namesOf(declared: KeptDeclaration, section: Section): string[] {
  const { kind, nameOf: idOf } = sections[section]
  return (declared[section] ?? []).map((entry) => nameOf({ kind, id: idOf(entry as never) }))
}

/** @returns such as `client shop-web`. */
export function namesIn(declared: KeptDeclaration): string[] {
  return (Object.keys(sections) as Section[]).flatMap((section) => namesOf(declared, section))
}

function without(declared: KeptDeclaration, names: ReadonlySet<string>): KeptDeclaration {
  const rest = { ...declared } as Record<string, unknown>
  for (const section of Object.keys(sections) as Section[]) {
    const [entries, own] = [declared[section], namesOf(declared, section)]
    if (entries) rest[section] = entries.filter((_, index) => !names.has(own[index] ?? ''))
  }
  return rest as KeptDeclaration
}

async function keep(db: Db, { declaration, logos, policyTexts }: Applied): Promise<KeptDeclaration> {
  const { apis, roles, users, clients, routes, policies, webhooks, settings, branding } = declaration
  const all: KeptDeclaration = {
    apis,
    roles,
    clients: clients?.map(({ clientSecret: _, clientSecretFile: __, clientSecretHash: ___, logo, ...client }) => ({
      ...client,
      // None is asked for again where the client is gone.
      ...(hasSecret(client.type as Parameters<typeof hasSecret>[0]) ? { clientSecretHash: [] } : {}),
      ...(logo === undefined ? {} : { logo: isLogoHash(logo) ? logo : logoHash(logos?.get(logo)?.name ?? '') }),
    })),
    routes: routes?.map(({ from: _, ...route }) => route),
    policies: policies?.map(({ file, text, ...policy }) => ({
      ...policy,
      text: text ?? policyTexts?.get(file ?? '') ?? '',
    })),
    webhooks: webhooks?.map(({ secret: _, secretFile: __, ...webhook }) => webhook),
    users: users && (await keepUsers(db, users)),
    settings: keepSettings(settings),
    branding: keepSettings(branding),
  }
  return JSON.parse(JSON.stringify(all)) as KeptDeclaration
}

async function keepUsers(db: Db, users: NonNullable<Declaration['users']>): Promise<KeptUser[]> {
  const keys = users.map(({ email }) => emailKey(email) ?? '')
  const records = await db.user.findMany({ where: { emailKey: { in: keys } }, select: { id: true, emailKey: true } })
  const ids = new Map(records.map((record) => [record.emailKey, record.id]))
  return users.flatMap(({ email, disabled, emailVerified, roles }) => {
    const id = ids.get(emailKey(email) ?? '')
    return id === undefined ? [] : [{ id, disabled, emailVerified, roles } as KeptUser]
  })
}

function keepSettings(section: Readonly<Record<string, string | number | undefined>> | undefined) {
  return (
    section &&
    Object.entries(section).flatMap(([key, value]): KeptSetting[] => (value === undefined ? [] : [{ key, value }]))
  )
}

const json = (declared: KeptDeclaration) => declared as Prisma.InputJsonObject
