// Registered applications: find, list, create, change, switch off, delete. Their secrets are in secrets.ts, the rules for
// addresses in redirect-uris.ts, what can be said and its defaults in settings.ts, what follows from a type in types.ts. How a client authenticates at the token endpoint is
// the engine's; nothing here knows of requests.
import { randomInt } from 'node:crypto'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { AuditEventName } from '#src/audit/events.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { type Flaw, quote } from '#src/refusal.ts'
import { demoServiceId, demoWebId } from './demo-clients.ts'
import { ClientExists, ClientNotFound, InvalidClient } from './errors.ts'
import { checkNotOwnClient } from './own-client.ts'
import { replaceScopes, scopeColumns, scopeRows } from './scope-choices.ts'
import { addClientSecret } from './secrets.ts'
import {
  type ClientInput,
  type ClientRecord,
  type ClientSettings,
  checkClient,
  checkClientId,
  clientIdPattern,
  settleClient,
} from './settings.ts'
import { typeRules } from './types.ts'

/** @returns null for an unknown id. A disabled client is found: look at `disabledAt`. */
export async function findClient(db: Db, id: string): Promise<ClientRecord | null> {
  if (!clientIdPattern.test(id)) return null // also keeps NUL, which PostgreSQL refuses, out of the query
  return db.client.findUnique({ where: { id }, include: { secrets: true, apiScopes: true } })
}

/** By id, ascending. @param page.after the last id of the page before. */
export function listClients(
  db: Db,
  page: { after?: string | undefined; limit?: number } = {},
): Promise<ClientRecord[]> {
  return db.client.findMany({
    where: page.after === undefined ? {} : { id: { gt: page.after } },
    orderBy: { id: 'asc' },
    include: { secrets: true, apiScopes: true },
    ...(page.limit === undefined ? {} : { take: page.limit }),
  })
}

/** @param secret the first secret: its text (stored as SHA-256 only) or its hash. None for public clients.
 *  @throws InvalidClient, ClientExists */
export function createClient(
  db: Db,
  input: ClientInput & { id: string },
  secrets: readonly Parameters<typeof addClientSecret>[2][],
  change: Change,
): Promise<ClientRecord> {
  return atomically(db, async (tx) => {
    const { id } = input
    await refuseFlaws(
      tx,
      [...checkClientId('clientId', id), ...checkNotOwnClient('clientId', id), ...checkClient(input)],
      input,
    )
    await raiseConfigurationVersion(tx, change.now)
    const settings = settleClient(id, input)
    // One statement decides between two creators: the loser inserts nothing.
    const { count } = await tx.client.createMany({
      data: [
        {
          id,
          ...columns(settings),
          // Random, not 0: a client made again under an old id must not bring the old one's tokens back to life.
          generation: randomInt(1, 2 ** 30),
          createdAt: change.now,
          updatedAt: change.now,
        },
      ],
      skipDuplicates: true,
    })
    if (count === 0) throw new ClientExists(id)
    await tx.clientScope.createMany({ data: scopeRows(id, settings) })
    await recordClient(tx, 'client.created', id, change)
    for (const secret of secrets) await addClientSecret(tx, id, secret, change)
    return existing(tx, id)
  })
}

/** Replaces everything said about the client; its secrets stay, unless its new type cannot keep one.
 *  @throws ClientNotFound, InvalidClient */
export function updateClient(db: Db, id: string, input: ClientInput, change: Change): Promise<ClientRecord> {
  return atomically(db, async (tx) => {
    await refuseFlaws(tx, checkClient(input), input)
    await raiseConfigurationVersion(tx, change.now)
    const settings = settleClient(id, input)
    const { count } = await tx.client.updateMany({
      where: { id },
      data: { ...columns(settings), updatedAt: change.now },
    })
    if (count === 0) throw new ClientNotFound(id)
    await replaceScopes(tx, id, scopeRows(id, settings))
    if (typeRules[settings.type].tokenEndpointAuthMethod === 'none')
      await tx.clientSecret.deleteMany({ where: { clientId: id } })
    await recordClient(tx, 'client.updated', id, change)
    return existing(tx, id)
  })
}

/** Switching off ends every token of the client: the generation they were issued under is no longer current.
 *  Doing it twice changes nothing. @throws ClientNotFound */
export function setClientDisabled(db: Db, id: string, disabled: boolean, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const { count } = await tx.client.updateMany({
      where: { id, disabledAt: disabled ? null : { not: null } },
      data: disabled ? { disabledAt: change.now, generation: { increment: 1 } } : { disabledAt: null },
    })
    if (count > 0) return recordClient(tx, 'client.updated', id, change, { disabled })
    if ((await tx.client.count({ where: { id } })) === 0) throw new ClientNotFound(id)
  })
}

/** Ends every token of the client at once; the client stays. @throws ClientNotFound */
export function endClientTokens(db: Db, id: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const { count } = await tx.client.updateMany({ where: { id }, data: { generation: { increment: 1 } } })
    if (count === 0) throw new ClientNotFound(id)
    await recordClient(tx, 'token.revoked', id, change, { every: true })
  })
}

/** Its secrets, scopes, consents and API keys go with it. @throws ClientNotFound */
export function deleteClient(db: Db, id: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const { count } = await tx.client.deleteMany({ where: { id } })
    if (count === 0) throw new ClientNotFound(id)
    await recordClient(tx, 'client.deleted', id, change)
  })
}

/** Every API and scope that a client names must exist. */
async function checkClientApis(db: Db, apis: Readonly<Record<string, readonly string[]>>): Promise<Flaw[]> {
  const identifiers = Object.keys(apis)
  if (identifiers.length === 0) return []
  const storable = identifiers.filter((identifier) => identifier.isWellFormed() && !identifier.includes('\0'))
  const known = await db.api.findMany({
    where: { identifier: { in: storable } },
    select: { identifier: true, scopes: { select: { name: true } } },
  })
  return unknownScopes(apis, new Map(known.map((api) => [api.identifier, api.scopes.map((scope) => scope.name)])))
}

/** Every role that a client holds must exist. */
async function checkClientRoles(db: Db, roles: readonly string[]): Promise<Flaw[]> {
  if (roles.length === 0) return []
  const storable = roles.filter((name) => name.isWellFormed() && !name.includes('\0'))
  const known = await db.role.findMany({ where: { name: { in: storable } }, select: { name: true } })
  return unknownRoles(roles, new Set(known.map(({ name }) => name)))
}

function unknownRoles(roles: readonly string[], known: ReadonlySet<string>): Flaw[] {
  return roles.flatMap((name, index) =>
    known.has(name)
      ? []
      : [
          {
            field: `roles[${index}]`,
            problem: `is ${quote(name)}, which is not a role here`,
            fix: 'Create the role first, or correct its name.',
          },
        ],
  )
}

/** @param known scope names by API identifier */
export function unknownScopes(
  apis: Readonly<Record<string, readonly string[]>>,
  known: ReadonlyMap<string, readonly string[]>,
): Flaw[] {
  return Object.entries(apis).flatMap(([identifier, names]) => {
    const field = `apis[${JSON.stringify(identifier)}]`
    const scopes = known.get(identifier)
    if (!scopes)
      return [{ field, problem: 'is not an API here', fix: 'Create the API first, or correct its identifier.' }]
    return names.flatMap((name, index) =>
      scopes.includes(name)
        ? []
        : [
            {
              field: `${field}[${index}]`,
              problem: `is ${quote(name)}, which is not a scope of that API`,
              fix:
                scopes.length > 0
                  ? `Write one of: ${[...scopes].sort().join(', ')}.`
                  : 'Add the scope to the API first.',
            },
          ],
    )
  })
}

async function refuseFlaws(tx: Prisma.TransactionClient, found: Flaw[], input: ClientInput): Promise<void> {
  const flaws = [
    ...found,
    ...(await checkClientApis(tx, input.apis ?? {})),
    ...(await checkClientRoles(tx, input.roles ?? [])),
  ]
  if (flaws.length > 0) throw new InvalidClient(flaws)
}

function columns(settings: ClientSettings) {
  const { apis: _, defaultApiScopes: __, optionalScopes: ___, optionalApiScopes: ____, ...others } = settings
  const { tokenEndpointAuthMethod } = typeRules[settings.type]
  return { ...others, ...scopeColumns(settings), tokenEndpointAuthMethod }
}

function existing(tx: Prisma.TransactionClient, id: string): Promise<ClientRecord> {
  return tx.client.findUniqueOrThrow({ where: { id }, include: { secrets: true, apiScopes: true } })
}

function recordClient(
  tx: Prisma.TransactionClient,
  event: AuditEventName,
  id: string,
  change: Change,
  detail: Record<string, boolean> = {},
): Promise<void> {
  return recordAudit(
    tx,
    { event, outcome: 'success', actor: change.actor, target: { kind: 'client', id }, clientId: id, detail },
    change.origin,
  )
}

/** Whether there is one that somebody made, and not a development server for itself. */
export async function hasClients(db: Db): Promise<boolean> {
  const found = await db.client.findFirst({
    where: { id: { notIn: [demoServiceId, demoWebId] } },
    select: { id: true },
  })
  return found !== null
}
