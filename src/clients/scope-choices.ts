// Two choices about the scopes that a client may have: which it gets where a request names none (RFC 6749 3.3), and which of them a
// person may leave out at the consent page. Both are about scopes that it is registered for, and grant nothing by themselves.
import type { Prisma } from '#src/db/database.ts'
import { checkDistinct, type Flaw, quote } from '#src/refusal.ts'
import { type ClientType, typeRules } from './types.ts'

type ByApi = Readonly<Record<string, readonly string[]>>

export type ScopeChoicesInput = {
  /** OpenID scopes of a request that names no scope. */
  defaultScopes?: readonly string[] | undefined
  /** The same at each API. */
  defaultApiScopes?: ByApi | undefined
  /** OpenID scopes that may be left out; all but openid where nothing is said. */
  optionalScopes?: readonly string[] | undefined
  /** The same at each API; all of an API where nothing is said about it. */
  optionalApiScopes?: ByApi | undefined
}

/** Null, and an API that is not in it: everything may be left out. */
export type ScopeChoices = {
  defaultScopes: string[]
  defaultApiScopes: Record<string, string[]>
  optionalScopes: string[] | null
  optionalApiScopes: Record<string, string[]>
}

/** The scopes that the client is registered for, settled. */
type Registered = { scopes: readonly string[]; apis: ByApi }

type ScopeRow = { apiIdentifier: string; scopeName: string; byDefault: boolean; required: boolean }

export function checkScopeChoices(input: ScopeChoicesInput, type: ClientType, { scopes, apis }: Registered): Flaw[] {
  const { defaultScopes = [], defaultApiScopes = {}, optionalScopes = [], optionalApiScopes = {} } = input
  const flaws = [
    ...checkNames('defaultScopes', defaultScopes, scopes, 'scopes'),
    ...checkNames('optionalScopes', optionalScopes, scopes, 'scopes'),
    ...checkApis('defaultApiScopes', defaultApiScopes, apis),
    ...checkApis('optionalApiScopes', optionalApiScopes, apis),
  ]
  // OpenID Connect Core 11: asked for every time, with prompt=consent.
  if (defaultScopes.includes('offline_access'))
    flaws.push({
      field: `defaultScopes[${defaultScopes.indexOf('offline_access')}]`,
      problem: 'is offline_access, which has to be asked for',
      fix: 'Remove it: a client asks for it by name, and the person is asked each time.',
    })
  if (optionalScopes.includes('openid'))
    flaws.push({
      field: `optionalScopes[${optionalScopes.indexOf('openid')}]`,
      problem: 'is openid, which is the sign-in itself',
      fix: 'Remove it: nobody can sign in and leave that out.',
    })
  if (!typeRules[type].person)
    // An empty object says nothing, about no API: so it stands in the description of such a client, which is sent back with a change.
    for (const field of ['optionalScopes', 'optionalApiScopes'] as const)
      if (input[field] !== undefined && !(field === 'optionalApiScopes' && Object.keys(optionalApiScopes).length === 0))
        flaws.push({
          field,
          problem: `cannot be given to a client of type ${type}`,
          fix: 'Leave it out: nobody is asked to agree to such a client.',
        })
  return flaws
}

function checkApis(field: string, chosen: ByApi, apis: ByApi): Flaw[] {
  return Object.entries(chosen).flatMap(([api, names]) => {
    const path = `${field}[${JSON.stringify(api)}]`
    const allowed = Object.hasOwn(apis, api) ? apis[api] : undefined
    if (allowed) return checkNames(path, names, allowed, `apis[${JSON.stringify(api)}]`)
    return [{ field: path, problem: 'is not an API of this client', fix: 'List it under apis, with its scopes.' }]
  })
}

function checkNames(field: string, names: readonly string[], allowed: readonly string[], where: string): Flaw[] {
  return [
    ...names.flatMap((name, index) =>
      allowed.includes(name)
        ? []
        : [
            {
              field: `${field}[${index}]`,
              problem: `is ${quote(name)}, which the client may not ask for`,
              fix: `Add it to ${where}, or remove it here.`,
            },
          ],
    ),
    ...checkDistinct(field, names),
  ]
}

/** Sorted, and without what says nothing, so that two descriptions of one client are equal. Call it on checked input. */
export function settleScopeChoices(input: ScopeChoicesInput, { scopes, apis }: Registered): ScopeChoices {
  const { defaultScopes = [], defaultApiScopes = {}, optionalScopes, optionalApiScopes = {} } = input
  const leaving = optionalScopes && scopes.filter((scope) => optionalScopes.includes(scope))
  const all = scopes.filter((scope) => scope !== 'openid').length
  return {
    defaultScopes: scopes.filter((scope) => defaultScopes.includes(scope)),
    defaultApiScopes: settleApis(defaultApiScopes, (names) => names.length > 0),
    optionalScopes: leaving && leaving.length < all ? leaving : null,
    optionalApiScopes: settleApis(optionalApiScopes, (names, api) => names.length < (apis[api]?.length ?? 0)),
  }
}

function settleApis(chosen: ByApi, says: (names: readonly string[], api: string) => boolean): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(chosen)
      .filter(([api, names]) => says(names, api))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([api, names]) => [api, [...names].sort()]),
  )
}

/** What is stored, in the words of the input. */
export function storedScopeChoices(record: {
  scopes: readonly string[]
  defaultScopes: readonly string[]
  requiredScopes: readonly string[]
  apiScopes: readonly ScopeRow[]
}): ScopeChoicesInput {
  const { scopes, defaultScopes, requiredScopes, apiScopes } = record
  return {
    defaultScopes,
    defaultApiScopes: byApi(apiScopes, ({ byDefault }) => byDefault),
    optionalScopes: scopes.filter((scope) => scope !== 'openid' && !requiredScopes.includes(scope)),
    optionalApiScopes: byApi(apiScopes, ({ required }) => !required),
  }
}

function byApi(rows: readonly ScopeRow[], chosen: (row: ScopeRow) => boolean): Record<string, string[]> {
  const names: Record<string, string[]> = {}
  for (const row of rows)
    names[row.apiIdentifier] = [...(names[row.apiIdentifier] ?? []), ...(chosen(row) ? [row.scopeName] : [])]
  return names
}

/** The columns of the client; those of its API scopes are `scopeRows`. */
export function scopeColumns({ scopes, defaultScopes, optionalScopes }: ScopeChoices & { scopes: readonly string[] }) {
  const requiredScopes = scopes.filter((scope) => scope !== 'openid' && !(optionalScopes?.includes(scope) ?? true))
  return { defaultScopes: [...defaultScopes], requiredScopes }
}

export function scopeRows(
  clientId: string,
  {
    apis,
    defaultApiScopes,
    optionalApiScopes,
  }: Pick<ScopeChoices, 'defaultApiScopes' | 'optionalApiScopes'> & { apis: ByApi },
) {
  return Object.entries(apis).flatMap(([apiIdentifier, names]) =>
    names.map((scopeName) => ({
      clientId,
      apiIdentifier,
      scopeName,
      byDefault: defaultApiScopes[apiIdentifier]?.includes(scopeName) ?? false,
      required: !(optionalApiScopes[apiIdentifier]?.includes(scopeName) ?? true),
    })),
  )
}

/** Those that stay keep the moment they were granted. */
export async function replaceScopes(
  tx: Prisma.TransactionClient,
  clientId: string,
  rows: ReturnType<typeof scopeRows>,
): Promise<void> {
  const keyOf = ({ apiIdentifier, scopeName }: { apiIdentifier: string; scopeName: string }) => ({
    apiIdentifier,
    scopeName,
  })
  await tx.clientScope.deleteMany({ where: { clientId, NOT: { OR: rows.map(keyOf) } } })
  await tx.clientScope.createMany({ data: rows, skipDuplicates: true })
  for (const byDefault of [false, true])
    for (const required of [false, true]) {
      const alike = rows.filter((row) => row.byDefault === byDefault && row.required === required)
      if (alike.length > 0)
        await tx.clientScope.updateMany({
          where: { clientId, OR: alike.map(keyOf), NOT: { byDefault, required } },
          data: { byDefault, required },
        })
    }
}
