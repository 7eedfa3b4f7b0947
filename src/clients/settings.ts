// What can be said about a client, what of it is refused, and what is taken when nothing is said.
import { openidScopes } from '#src/apis/scope-names.ts'
import type { Prisma } from '#src/db/database.ts'
import { checkDistinct, checkOneOf, checkText, checkWhole, type Flaw, quote } from '#src/refusal.ts'
import { logoHash } from './logos.ts'
import { checkRedirectUri } from './redirect-uris.ts'
import {
  checkScopeChoices,
  type ScopeChoices,
  type ScopeChoicesInput,
  settleScopeChoices,
  storedScopeChoices,
} from './scope-choices.ts'
import {
  type ClientType,
  clientProfiles,
  clientTypes,
  idTokenAlgorithms,
  secondFactorPolicies,
  typeRules,
} from './types.ts'

export type ClientRecord = Prisma.ClientGetPayload<{ include: { secrets: true; apiScopes: true } }>

/** What a person may say about a client. Whatever is left out takes the default of its type. */
export type ClientInput = ScopeChoicesInput & {
  type: ClientType
  name?: string | undefined
  profile?: string | undefined
  grantTypes?: readonly string[] | undefined
  redirectUris?: readonly string[] | undefined
  postLogoutRedirectUris?: readonly string[] | undefined
  /** OpenID scopes */
  scopes?: readonly string[] | undefined
  /** What it holds when it acts for itself; of type service only. */
  roles?: readonly string[] | undefined
  /** {"<api identifier>": ["scope", …]} */
  apis?: Readonly<Record<string, readonly string[]>> | undefined
  idTokenSignedResponseAlg?: string | undefined
  refreshLeewaySeconds?: number | undefined
  refreshTokenTtlSeconds?: number | undefined
  /** Left out: only the lifetime above counts. */
  refreshTokenIdleTtlSeconds?: number | undefined
  /** optional | required */
  secondFactor?: string | undefined
  clientUri?: string | undefined
  logoUri?: string | undefined
  policyUri?: string | undefined
  tosUri?: string | undefined
}

/** The same with every default filled in; sets are sorted, so that two descriptions of one client are equal. */
export type ClientSettings = ScopeChoices & {
  type: ClientType
  name: string
  profile: string
  grantTypes: string[]
  redirectUris: string[]
  postLogoutRedirectUris: string[]
  scopes: string[]
  roles: string[]
  apis: Record<string, string[]>
  idTokenSignedResponseAlg: string
  refreshLeewaySeconds: number
  refreshTokenTtlSeconds: number
  refreshTokenIdleTtlSeconds: number | null
  secondFactor: string
  clientUri: string | null
  logoUri: string | null
  policyUri: string | null
  tosUri: string | null
}

const uriFields = ['clientUri', 'logoUri', 'policyUri', 'tosUri'] as const
const uuid = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i
export const clientIdPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/

/** A client id stands in `sub` where a user's UUID may stand too: RFC 9700 4.15, the two must never be confused. */
export function checkClientId(field: string, id: string): Flaw[] {
  if (!clientIdPattern.test(id))
    return [
      {
        field,
        problem: `(${quote(id)}) is not usable`,
        fix: 'Use 1 to 128 letters, digits, dots, underscores and hyphens, beginning with a letter or digit.',
      },
    ]
  if (uuid.test(id))
    return [{ field, problem: 'is a UUID', fix: 'Choose a name: UUIDs are for people (RFC 9700 4.15).' }]
  return []
}

/** Everything that can be said without the database. */
export function checkClient(input: ClientInput): Flaw[] {
  const typeFlaws = checkOneOf('type', input.type, clientTypes)
  if (typeFlaws.length > 0) return typeFlaws
  const rules = typeRules[input.type]
  const flaws: Flaw[] = []
  const {
    profile = 'default',
    redirectUris = [],
    postLogoutRedirectUris = [],
    scopes,
    grantTypes,
    apis = {},
    roles = [],
  } = input

  if (input.name !== undefined) flaws.push(...checkText('name', input.name, 128))
  flaws.push(...checkOneOf('profile', profile, clientProfiles))
  if (input.idTokenSignedResponseAlg !== undefined)
    flaws.push(...checkOneOf('idTokenSignedResponseAlg', input.idTokenSignedResponseAlg, idTokenAlgorithms))

  for (const [index, grantType] of (grantTypes ?? []).entries())
    flaws.push(...checkOneOf(`grantTypes[${index}]`, grantType, [...rules.grantTypes, ...rules.furtherGrantTypes]))
  if (grantTypes && !grantTypes.some((grantType) => grantType !== 'refresh_token'))
    flaws.push({
      field: 'grantTypes',
      problem: 'leaves the client no way to get a token',
      fix: `Leave it out, or name ${rules.grantTypes[0]}.`,
    })
  flaws.push(...checkDistinct('grantTypes', grantTypes ?? []))

  for (const [field, uris] of Object.entries({ redirectUris, postLogoutRedirectUris })) {
    if (!rules.redirects && uris.length > 0)
      flaws.push({
        field,
        problem: `cannot be given to a client of type ${input.type}`,
        fix: 'Leave it out: no browser comes back to such a client.',
      })
    else
      for (const [index, uri] of uris.entries()) flaws.push(...checkRedirectUri(`${field}[${index}]`, uri, input.type))
    if (uris.length > 100) flaws.push({ field, problem: 'has more than 100 entries', fix: 'Remove those not in use.' })
    flaws.push(...checkDistinct(field, uris))
  }
  if (rules.redirects && redirectUris.length === 0)
    flaws.push({
      field: 'redirectUris',
      problem: 'is empty',
      fix: 'Give at least one address that the browser returns to after the login.',
    })

  for (const [index, scope] of (scopes ?? []).entries()) {
    if (!(openidScopes as readonly string[]).includes(scope))
      flaws.push({
        field: `scopes[${index}]`,
        problem: `is ${quote(scope)}, which is not an OpenID scope`,
        fix: `Write one of ${openidScopes.join(', ')}; scopes of an API belong under apis.`,
      })
    else if (!rules.person)
      flaws.push({
        field: `scopes[${index}]`,
        problem: `is ${scope}, which is about a person`,
        fix: `A client of type ${input.type} acts for itself: remove it.`,
      })
  }
  flaws.push(...checkDistinct('scopes', scopes ?? []), ...checkDistinct('roles', roles))
  if (roles.length > 0 && rules.person)
    flaws.push({
      field: 'roles',
      problem: `cannot be given to a client of type ${input.type}`,
      fix: 'Leave it out: such a client acts for people, and they hold the roles.',
    })
  for (const [api, names] of Object.entries(apis)) flaws.push(...checkDistinct(`apis[${JSON.stringify(api)}]`, names))
  flaws.push(...checkScopeChoices(input, input.type, registeredScopes(input)))

  if (input.refreshLeewaySeconds !== undefined) {
    if (profile === 'high' && input.refreshLeewaySeconds !== 0)
      flaws.push({
        field: 'refreshLeewaySeconds',
        problem: 'must be 0 for a client of profile high',
        fix: 'Leave it out: such a client may use a refresh token exactly once.',
      })
    else
      flaws.push(
        ...checkWhole(
          'refreshLeewaySeconds',
          input.refreshLeewaySeconds,
          0,
          300,
          'A retry comes within seconds; a thief may come later.',
        ),
      )
  }
  if (input.refreshTokenTtlSeconds !== undefined)
    flaws.push(
      ...checkWhole(
        'refreshTokenTtlSeconds',
        input.refreshTokenTtlSeconds,
        300,
        31_536_000,
        'Write from five minutes to one year.',
      ),
    )
  if (input.refreshTokenIdleTtlSeconds !== undefined) {
    // FAPI 2.0 5.3.2.1: no rotation there, so a token that is in use looks like one that is not.
    if (profile === 'fapi2')
      flaws.push({
        field: 'refreshTokenIdleTtlSeconds',
        problem: 'cannot be given to a client of profile fapi2',
        fix: 'Leave it out and shorten refreshTokenTtlSeconds: such a client keeps one refresh token, used or not.',
      })
    else
      flaws.push(
        ...checkWhole(
          'refreshTokenIdleTtlSeconds',
          input.refreshTokenIdleTtlSeconds,
          60,
          31_536_000,
          'Write from one minute to one year.',
        ),
      )
  }
  const { secondFactor = 'optional' } = input
  flaws.push(...checkOneOf('secondFactor', secondFactor, secondFactorPolicies))
  if (!rules.person && secondFactor === 'required')
    flaws.push({
      field: 'secondFactor',
      problem: `cannot be asked of a client of type ${input.type}`,
      fix: 'Leave it out: no person signs in to such a client.',
    })
  for (const field of uriFields) {
    const value = input[field]
    // Shown to people on the consent screen: only what a browser may open.
    if (value !== undefined) flaws.push(...checkRedirectUri(field, value, 'web'))
  }
  return flaws
}

/** What the client may ask for, once its defaults are filled in. */
function registeredScopes({ type, scopes, apis = {} }: ClientInput) {
  return {
    scopes: openidScopes.filter((scope) => scopes?.includes(scope) ?? (typeRules[type].person && scope === 'openid')),
    apis: Object.fromEntries(
      Object.entries(apis)
        .filter(([, names]) => names.length > 0)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([api, names]) => [api, [...names].sort()]),
    ),
  }
}

/** @returns the input with the defaults of its type. Call it on checked input. */
export function settleClient(id: string, input: ClientInput): ClientSettings {
  const rules = typeRules[input.type]
  const profile = input.profile ?? 'default'
  const registered = registeredScopes(input)
  return {
    type: input.type,
    name: input.name ?? id,
    profile,
    grantTypes: [
      ...rules.grantTypes.filter((grantType) => input.grantTypes?.includes(grantType) ?? true),
      ...rules.furtherGrantTypes.filter((grantType) => input.grantTypes?.includes(grantType)),
    ],
    redirectUris: [...(input.redirectUris ?? [])],
    postLogoutRedirectUris: [...(input.postLogoutRedirectUris ?? [])],
    scopes: registered.scopes,
    roles: [...(input.roles ?? [])].sort(),
    apis: registered.apis,
    ...settleScopeChoices(input, registered),
    idTokenSignedResponseAlg: input.idTokenSignedResponseAlg ?? 'ES256',
    refreshLeewaySeconds:
      profile === 'default' ? (input.refreshLeewaySeconds ?? 30) : (input.refreshLeewaySeconds ?? 0),
    refreshTokenTtlSeconds: input.refreshTokenTtlSeconds ?? 1_209_600,
    refreshTokenIdleTtlSeconds: input.refreshTokenIdleTtlSeconds ?? null,
    secondFactor: input.secondFactor ?? 'optional',
    clientUri: input.clientUri ?? null,
    logoUri: input.logoUri ?? null,
    policyUri: input.policyUri ?? null,
    tosUri: input.tosUri ?? null,
  }
}

/** What is stored, in the shape of settleClient. */
export function clientSettings(record: ClientRecord): ClientSettings {
  const apis: Record<string, string[]> = {}
  for (const { apiIdentifier, scopeName } of record.apiScopes) {
    const names = apis[apiIdentifier] ?? []
    names.push(scopeName)
    apis[apiIdentifier] = names
  }
  const { name, profile, grantTypes, redirectUris, postLogoutRedirectUris, scopes, roles } = record
  const { clientUri, logoUri, policyUri, tosUri, idTokenSignedResponseAlg } = record
  const { refreshLeewaySeconds, refreshTokenTtlSeconds, refreshTokenIdleTtlSeconds, secondFactor } = record
  const type = record.type as ClientType
  return {
    ...settleClient(record.id, {
      type,
      name,
      profile,
      grantTypes,
      redirectUris,
      postLogoutRedirectUris,
      scopes,
      roles,
      apis,
      ...storedScopeChoices(record),
    }),
    ...{
      idTokenSignedResponseAlg,
      refreshLeewaySeconds,
      refreshTokenTtlSeconds,
      refreshTokenIdleTtlSeconds,
      secondFactor,
    },
    ...{ clientUri, logoUri, policyUri, tosUri },
  }
}

/** For people and programs, in the words of the declarative file. Of a secret: that there is one, never its hash. */
export function describeClient(record: ClientRecord) {
  return {
    clientId: record.id,
    ...clientSettings(record),
    logo: record.logo && logoHash(record.logo),
    disabled: record.disabledAt !== null,
    secrets: record.secrets.map(({ id, createdAt, expiresAt }) => ({ id, createdAt, expiresAt })),
    createdAt: record.createdAt,
    updatedAt: record.updatedAt,
  }
}
