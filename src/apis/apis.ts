// Protected APIs: the `resource` of RFC 8707, the `aud` of access tokens, with their scopes, token format and lifetime.
// Which scopes a request gets is oauth/resources.ts; what a role permits is access/roles.ts.
import { randomInt } from 'node:crypto'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { AuditEventName } from '#src/audit/events.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { checkDistinct, checkOneOf, checkText, checkWhole, type Flaw, quote, Refusal } from '#src/refusal.ts'
import { checkScopeName } from './scope-names.ts'

export type ApiRecord = Prisma.ApiGetPayload<{ include: { scopes: true; introspectionClients: true } }>

const accessTokenFormats = ['jwt', 'opaque'] as const
/** No API may set more, so no access token outlives it, whatever its API's setting was or becomes. */
export const longestAccessTokenTtlSeconds = 86_400
const acceptedCredentials = ['oauth', 'api_key', 'basic', 'session'] as const

/** RFC 9068 2.2.3.1 for `roles`. */
const tokenClaims = ['roles', 'permissions'] as const

/** What a person may say about an API. Whatever is left out takes its default. */
export type ApiInput = {
  name: string
  accessTokenFormat?: string | undefined
  accessTokenTtlSeconds?: number | undefined
  accept?: string[] | undefined
  introspectionClients?: string[] | undefined
  hideExistence?: boolean | undefined
  /** What access tokens of people say of their holder, as it was when they were issued. */
  tokenClaims?: string[] | undefined
  /** {"<scope>": "what it lets one do"} */
  scopes?: Record<string, ScopeInput> | undefined
  objects?: ApiObjects | undefined
}

/** @param byRole a person has it only while a role of theirs carries it. */
export type ScopeInput = string | { description: string; byRole?: boolean | undefined }

/** {"<type>": {"<relation>": ["<action>"]}}: whoever has the relation to an object of the type may do the action to it. */
export type ApiObjects = Record<string, Record<string, string[]>>

/** The same with defaults; sets are sorted, so that two descriptions of one API are equal. */
type ApiSettings = { [K in keyof ApiInput]-?: NonNullable<ApiInput[K]> }

export class InvalidApi extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class ApiNotFound extends Refusal {
  constructor(identifier: string) {
    super('missing', [
      {
        field: 'identifier',
        problem: `${quote(identifier)} is not an API here`,
        fix: 'Check it against the list of APIs.',
      },
    ])
  }
}

export class ApiExists extends Refusal {
  constructor(identifier: string) {
    super('taken', [
      {
        field: 'identifier',
        problem: `${quote(identifier)} is taken`,
        fix: 'Choose another, or change the existing API.',
      },
    ])
  }
}

const include = { scopes: { orderBy: { name: 'asc' } }, introspectionClients: true } as const

/** @returns null for an unknown identifier. */
export async function findApi(db: Db, identifier: string): Promise<ApiRecord | null> {
  if (checkApiIdentifier('identifier', identifier).length > 0) return null
  return db.api.findUnique({ where: { identifier }, include })
}

/** By identifier, ascending. @param page.after the last identifier of the page before. */
export function listApis(db: Db, page: { after?: string | undefined; limit?: number } = {}): Promise<ApiRecord[]> {
  return db.api.findMany({
    where: page.after === undefined ? {} : { identifier: { gt: page.after } },
    orderBy: { identifier: 'asc' },
    include,
    ...(page.limit === undefined ? {} : { take: page.limit }),
  })
}

/** @returns by identifier, without those that are not known. */
export async function namesOfApis(db: Db, identifiers: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const found = await db.api.findMany({
    where: { identifier: { in: [...identifiers] } },
    select: { identifier: true, name: true },
  })
  return new Map(found.map(({ identifier, name }) => [identifier, name]))
}

/** @throws InvalidApi, ApiExists */
export function createApi(db: Db, input: ApiInput & { identifier: string }, change: Change): Promise<ApiRecord> {
  return atomically(db, async (tx) => {
    const { identifier } = input
    await refuseFlaws(tx, [...checkApiIdentifier('identifier', identifier), ...checkApi(input)], input)
    return insertApi(tx, identifier, input, { builtIn: false }, change)
  })
}

/** The part of createApi that bootstrap shares: Sallyport's own API has scope names that others may not take.
 *  @throws ApiExists */
export async function insertApi(
  tx: Prisma.TransactionClient,
  identifier: string,
  input: ApiInput,
  options: { builtIn: boolean },
  change: Change,
): Promise<ApiRecord> {
  const { scopes, introspectionClients, ...columns } = settleApi(input)
  await raiseConfigurationVersion(tx, change.now)
  const { count } = await tx.api.createMany({
    data: [
      {
        identifier,
        ...columns,
        builtIn: options.builtIn,
        // Random, not 0: an API made again under an old identifier must not bring old tokens back to life.
        generation: randomInt(1, 2 ** 30),
        createdAt: change.now,
        updatedAt: change.now,
      },
    ],
    skipDuplicates: true,
  })
  if (count === 0) throw new ApiExists(identifier)
  await writeScopes(tx, identifier, scopes)
  await setIntrospectionClients(tx, identifier, introspectionClients)
  await recordApi(tx, 'api.created', identifier, change)
  return tx.api.findUniqueOrThrow({ where: { identifier }, include })
}

/** Replaces everything said about the API. Clients lose the scopes that go. @throws InvalidApi, ApiNotFound */
export function updateApi(db: Db, identifier: string, input: ApiInput, change: Change): Promise<ApiRecord> {
  return atomically(db, async (tx) => {
    await refuseFlaws(tx, checkApi(input), input)
    const { scopes, introspectionClients, ...columns } = settleApi(input)
    await raiseConfigurationVersion(tx, change.now)
    const { count } = await tx.api.updateMany({
      where: { identifier, builtIn: false },
      data: { ...columns, updatedAt: change.now },
    })
    if (count === 0) throw new ApiNotFound(identifier)
    await tx.scope.deleteMany({ where: { apiIdentifier: identifier, name: { notIn: Object.keys(scopes) } } })
    await writeScopes(tx, identifier, scopes)
    await setIntrospectionClients(tx, identifier, introspectionClients)
    await recordApi(tx, 'api.updated', identifier, change)
    return tx.api.findUniqueOrThrow({ where: { identifier }, include })
  })
}

/** The part of createApi and updateApi that a declarative file does last, because its APIs name clients that name its APIs. */
export async function setIntrospectionClients(
  tx: Prisma.TransactionClient,
  identifier: string,
  clientIds: readonly string[],
) {
  await tx.apiIntrospectionClient.deleteMany({ where: { apiIdentifier: identifier } })
  await tx.apiIntrospectionClient.createMany({
    data: clientIds.map((clientId) => ({ apiIdentifier: identifier, clientId })),
  })
}

/** Ends every access token for the API at once, and the refresh tokens that were issued for it; the API stays. @throws ApiNotFound */
export function endApiTokens(db: Db, identifier: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    if (checkApiIdentifier('identifier', identifier).length > 0) throw new ApiNotFound(identifier)
    const { count } = await tx.api.updateMany({ where: { identifier }, data: { generation: { increment: 1 } } })
    if (count === 0) throw new ApiNotFound(identifier)
    await recordAudit(
      tx,
      {
        event: 'token.revoked',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'api', id: identifier },
        detail: { every: true },
      },
      change.origin,
    )
  })
}

/** Its scopes, API keys and gateway routes go with it. Sallyport's own API stays. @throws ApiNotFound */
export function deleteApi(db: Db, identifier: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const { count } = await tx.api.deleteMany({ where: { identifier, builtIn: false } })
    if (count === 0) throw new ApiNotFound(identifier)
    await recordApi(tx, 'api.deleted', identifier, change)
  })
}

/** RFC 8707 2: an absolute URI without a fragment. It is compared as an exact string, so it is accepted in one spelling only. */
export function checkApiIdentifier(field: string, identifier: string): Flaw[] {
  const refuse = (problem: string, fix: string) => [{ field, problem: `(${quote(identifier)}) ${problem}`, fix }]
  if (identifier.length > 1000) return refuse('is longer than 1000 characters', 'Choose a shorter one.')
  if (!/^(?:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+$/.test(identifier))
    return refuse('has characters that a URI cannot have', 'Percent-encode them.')
  if (identifier.includes('#')) return refuse('has a fragment', 'Remove everything from # on (RFC 8707 2).')
  const url = URL.parse(identifier)
  if (!url || !/^[a-z][a-z0-9+.-]*:./.test(identifier))
    return refuse('is not an absolute URI', 'Write it in full, such as https://api.example.com/orders.')
  if (url.username || url.password) return refuse('has a user name or password', 'Remove everything before @.')
  if (url.href !== identifier && url.href !== `${identifier}/`)
    return refuse('is not in its normal form', `Write ${quote(url.href)}.`)
  return []
}

/** Everything that can be said without the database. */
export function checkApi(input: ApiInput): Flaw[] {
  const { accept = [], introspectionClients = [], scopes = {} } = input
  const flaws = [...checkText('name', input.name, 128)]
  if (input.accessTokenFormat !== undefined)
    flaws.push(...checkOneOf('accessTokenFormat', input.accessTokenFormat, accessTokenFormats))
  if (input.accessTokenTtlSeconds !== undefined)
    flaws.push(
      ...checkWhole(
        'accessTokenTtlSeconds',
        input.accessTokenTtlSeconds,
        60,
        longestAccessTokenTtlSeconds,
        // Shorter, and clock differences and retries eat the token; longer, and an API that checks JWTs by itself trusts
        // a person for more than a day after they left.
        'Write from one minute to one day; 900 suits most.',
      ),
    )
  for (const [index, kind] of accept.entries()) flaws.push(...checkOneOf(`accept[${index}]`, kind, acceptedCredentials))
  if (input.accept && accept.length === 0)
    flaws.push({
      field: 'accept',
      problem: 'is empty',
      fix: `Name at least one of: ${acceptedCredentials.join(', ')}.`,
    })
  for (const [index, claim] of (input.tokenClaims ?? []).entries())
    flaws.push(...checkOneOf(`tokenClaims[${index}]`, claim, tokenClaims))
  flaws.push(...checkDistinct('tokenClaims', input.tokenClaims ?? []))
  flaws.push(...checkDistinct('accept', accept), ...checkDistinct('introspectionClients', introspectionClients))
  for (const [name, scope] of Object.entries(scopes)) {
    const field = `scopes[${JSON.stringify(name)}]`
    flaws.push(...checkScopeName(field, name), ...checkText(field, settleScope(scope).description, 256))
  }
  flaws.push(...checkObjects(input.objects ?? {}))
  return flaws
}

const objectName = /^[a-z][a-z0-9_]{0,63}$/

function checkObjects(objects: ApiObjects): Flaw[] {
  const badName = (field: string, name: string) =>
    objectName.test(name)
      ? []
      : [
          {
            field,
            problem: `(${quote(name)}) cannot be the name of a type or relation`,
            fix: 'Use 1 to 64 lower-case letters, digits and underscores, beginning with a letter.',
          },
        ]
  return Object.entries(objects).flatMap(([type, relations]) => [
    ...badName('objects', type),
    ...Object.entries(relations).flatMap(([relation, actions]) => {
      const field = `objects.${type}.${relation}`
      return [
        ...badName(`objects.${type}`, relation),
        ...(actions.length === 0 ? [{ field, problem: 'is empty', fix: 'Name an action, or leave it out.' }] : []),
        ...actions.flatMap((action, index) => checkScopeName(`${field}[${index}]`, action)),
        ...checkDistinct(field, actions),
      ]
    }),
  ])
}

/** For people and programs, in the words of the declarative file. */
export function describeApi(record: ApiRecord) {
  return {
    identifier: record.identifier,
    ...apiSettings(record),
    builtIn: record.builtIn,
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  }
}

/** Every client that an API names must exist. */
async function checkIntrospectionClients(db: Db, ids: readonly string[]): Promise<Flaw[]> {
  if (ids.length === 0) return []
  const storable = ids.filter((id) => id.isWellFormed() && !id.includes('\0'))
  const known = await db.client.findMany({ where: { id: { in: storable } }, select: { id: true } })
  return unknownClients(ids, new Set(known.map((client) => client.id)))
}

export function unknownClients(ids: readonly string[], known: ReadonlySet<string>): Flaw[] {
  return ids.flatMap((id, index) =>
    known.has(id)
      ? []
      : [
          {
            field: `introspectionClients[${index}]`,
            problem: `is ${quote(id)}, which is not a client here`,
            fix: 'Create the client first, or correct its id.',
          },
        ],
  )
}

/** @returns the input with defaults. Call it on checked input. */
export function settleApi(input: ApiInput): ApiSettings {
  return {
    name: input.name,
    accessTokenFormat: input.accessTokenFormat ?? 'jwt',
    accessTokenTtlSeconds: input.accessTokenTtlSeconds ?? 900,
    accept: acceptedCredentials.filter((kind) => (input.accept ?? ['oauth']).includes(kind)),
    introspectionClients: [...(input.introspectionClients ?? [])].sort(),
    hideExistence: input.hideExistence ?? false,
    tokenClaims: tokenClaims.filter((claim) => input.tokenClaims?.includes(claim)),
    scopes: byName(input.scopes ?? {}, shortScope),
    objects: byName(input.objects ?? {}, (relations) => byName(relations, (actions) => [...actions].sort())),
  }
}

function settleScope(scope: ScopeInput): { description: string; byRole: boolean } {
  return typeof scope === 'string' ? { description: scope, byRole: false } : { ...scope, byRole: scope.byRole ?? false }
}

/** The shorter of the two ways to write it. */
function shortScope(scope: ScopeInput): ScopeInput {
  const { description, byRole } = settleScope(scope)
  return byRole ? { description, byRole } : description
}

function byName<From, To>(record: Record<string, From>, settle: (value: From) => To): Record<string, To> {
  const entries = Object.entries(record).map(([name, value]) => [name, settle(value)] as const)
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** What is stored, in the shape of settleApi. */
export function apiSettings(record: ApiRecord): ApiSettings {
  return settleApi({
    name: record.name,
    accessTokenFormat: record.accessTokenFormat,
    accessTokenTtlSeconds: record.accessTokenTtlSeconds,
    accept: record.accept,
    introspectionClients: record.introspectionClients.map(({ clientId }) => clientId),
    hideExistence: record.hideExistence,
    tokenClaims: record.tokenClaims,
    scopes: Object.fromEntries(record.scopes.map(({ name, description, byRole }) => [name, { description, byRole }])),
    objects: objectsOf(record),
  })
}

/** What is stored was checked before. */
export function objectsOf(record: Pick<ApiRecord, 'objects'>): ApiObjects {
  return record.objects as ApiObjects
}

async function refuseFlaws(tx: Prisma.TransactionClient, found: Flaw[], input: ApiInput): Promise<void> {
  const flaws = [...found, ...(await checkIntrospectionClients(tx, input.introspectionClients ?? []))]
  if (flaws.length > 0) throw new InvalidApi(flaws)
}

async function writeScopes(tx: Prisma.TransactionClient, apiIdentifier: string, scopes: Record<string, ScopeInput>) {
  for (const [name, scope] of Object.entries(scopes)) {
    const settled = settleScope(scope)
    await tx.scope.upsert({
      where: { apiIdentifier_name: { apiIdentifier, name } },
      create: { apiIdentifier, name, ...settled },
      update: settled,
    })
  }
}

function recordApi(tx: Prisma.TransactionClient, event: AuditEventName, identifier: string, change: Change) {
  return recordAudit(
    tx,
    { event, outcome: 'success', actor: change.actor, target: { kind: 'api', id: identifier } },
    change.origin,
  )
}
