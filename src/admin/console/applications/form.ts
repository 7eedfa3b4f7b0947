// The form of an application's settings: read, and offered with what was chosen.
import { listRoles } from '#src/access/roles.ts'
import { listApis } from '#src/apis/apis.ts'
import { openidScopes, ownScopes } from '#src/apis/scope-names.ts'
import type { ClientPatch } from '#src/clients/editing.ts'
import { type ClientRecord, clientSettings } from '#src/clients/settings.ts'
import {
  type ClientType,
  clientProfiles,
  idTokenAlgorithms,
  secondFactorPolicies,
  tokenExchange,
  typeRules,
} from '#src/clients/types.ts'
import type { Db } from '#src/db/database.ts'
import type { Form } from '#src/http/form.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import type { Choice } from '../lists.ts'
import type { ConsoleRequest } from '../page.ts'

/** As typed. A scope of an API is `<identifier> <scope>`: neither has a space. */
export type SettingsInput = {
  name: string
  redirectUris: readonly string[]
  postLogoutRedirectUris: readonly string[]
  scopes: readonly string[]
  apis: readonly string[]
  roles: readonly string[]
  exchange: boolean
  profile: string
  idTokenSignedResponseAlg: string
  secondFactor: string
  refreshTokenTtlSeconds: string
  refreshTokenIdleTtlSeconds: string
  refreshLeewaySeconds: string
  clientUri: string
  policyUri: string
  tosUri: string
}

export const repeatable = ['redirectUris', 'postLogoutRedirectUris', 'scopes', 'apis', 'roles']

export function readSettings(form: Form): SettingsInput {
  const text = (name: string) => form.get(name)?.trim() ?? ''
  const all = (name: string) =>
    form
      .all(name)
      .map((value) => value.trim())
      .filter(Boolean)
  return {
    name: text('name'),
    redirectUris: all('redirectUris'),
    postLogoutRedirectUris: all('postLogoutRedirectUris'),
    scopes: all('scopes'),
    apis: all('apis'),
    roles: all('roles'),
    exchange: form.get('exchange') === 'yes',
    profile: text('profile'),
    idTokenSignedResponseAlg: text('idTokenSignedResponseAlg'),
    secondFactor: text('secondFactor'),
    refreshTokenTtlSeconds: text('refreshTokenTtlSeconds'),
    refreshTokenIdleTtlSeconds: text('refreshTokenIdleTtlSeconds'),
    refreshLeewaySeconds: text('refreshLeewaySeconds'),
    clientUri: text('clientUri'),
    policyUri: text('policyUri'),
    tosUri: text('tosUri'),
  }
}

export function inputOf(record: ClientRecord): SettingsInput {
  const settings = clientSettings(record)
  const { name, redirectUris, postLogoutRedirectUris, scopes, roles, profile } = settings
  const number = (value: number | null) => (value === null ? '' : String(value))
  return {
    ...{ name, redirectUris, postLogoutRedirectUris, scopes, roles, profile },
    apis: Object.entries(settings.apis).flatMap(([api, names]) => names.map((scope) => `${api} ${scope}`)),
    exchange: settings.grantTypes.includes(tokenExchange),
    idTokenSignedResponseAlg: settings.idTokenSignedResponseAlg,
    secondFactor: settings.secondFactor,
    refreshTokenTtlSeconds: number(settings.refreshTokenTtlSeconds),
    refreshTokenIdleTtlSeconds: number(settings.refreshTokenIdleTtlSeconds),
    refreshLeewaySeconds: number(settings.refreshLeewaySeconds),
    clientUri: settings.clientUri ?? '',
    policyUri: settings.policyUri ?? '',
    tosUri: settings.tosUri ?? '',
  }
}

/** What the form has no field for stays as it is. */
export function patchOf(input: SettingsInput, record: ClientRecord): ClientPatch {
  const { person, redirects, furtherGrantTypes } = typeRules[record.type as ClientType]
  const number = (value: string) => (value === '' ? null : Number(value))
  const grants = record.grantTypes.filter((grant) => grant !== tokenExchange)
  return {
    name: input.name || null,
    apis: apisOf(input.apis),
    ...keptChoices(input, record),
    profile: input.profile,
    ...(furtherGrantTypes.includes(tokenExchange) && {
      grantTypes: input.exchange ? [...grants, tokenExchange] : grants,
    }),
    ...(redirects && {
      redirectUris: input.redirectUris,
      postLogoutRedirectUris: input.postLogoutRedirectUris,
      clientUri: input.clientUri || null,
      policyUri: input.policyUri || null,
      tosUri: input.tosUri || null,
    }),
    ...(person
      ? {
          scopes: input.scopes,
          secondFactor: input.secondFactor,
          idTokenSignedResponseAlg: input.idTokenSignedResponseAlg,
          refreshTokenTtlSeconds: number(input.refreshTokenTtlSeconds),
          refreshTokenIdleTtlSeconds: number(input.refreshTokenIdleTtlSeconds),
          refreshLeewaySeconds: number(input.refreshLeewaySeconds),
        }
      : { roles: input.roles }),
  }
}

/** A scope that leaves takes along that it was a default, or could be left out. */
function keptChoices(input: SettingsInput, record: ClientRecord): ClientPatch {
  const { defaultScopes, defaultApiScopes, optionalScopes, optionalApiScopes } = clientSettings(record)
  const apis = apisOf(input.apis)
  const among = (allowed: readonly string[]) => (name: string) => allowed.includes(name)
  const still = (chosen: Record<string, string[]>) =>
    Object.fromEntries(
      Object.entries(chosen).flatMap(([api, names]) => {
        const allowed = apis[api]
        return allowed ? [[api, names.filter(among(allowed))]] : []
      }),
    )
  const defaults = {
    defaultScopes: defaultScopes.filter(among(input.scopes)),
    defaultApiScopes: still(defaultApiScopes),
  }
  if (!typeRules[record.type as ClientType].person) return { defaultApiScopes: defaults.defaultApiScopes }
  return {
    ...defaults,
    optionalScopes: optionalScopes?.filter(among(input.scopes)) ?? null,
    optionalApiScopes: still(optionalApiScopes),
  }
}

export function apisOf(values: readonly string[]): Record<string, string[]> {
  const apis = new Map<string, string[]>()
  for (const value of values) {
    const [api = '', scope = ''] = value.split(' ')
    apis.set(api, [...(apis.get(api) ?? []), scope])
  }
  return Object.fromEntries(apis)
}

type Tick = { value: string; name: string; words: string; checked: boolean; beyond: boolean }

export type Offers = {
  person: boolean
  redirects: boolean
  /** With room for two more. */
  redirectUris: readonly string[]
  postLogoutRedirectUris: readonly string[]
  scopes: readonly Tick[]
  apis: readonly { name: string; chosen: number; scopes: readonly Tick[] }[]
  roles: readonly Tick[]
  exchange: boolean | undefined
  profiles: readonly Choice[]
  algorithms: readonly Choice[]
  secondFactors: readonly Choice[]
}

/** What may be chosen, with what was. `beyond`: more than the reader may do themselves. */
export async function offersOf(
  db: Db,
  { words: { t }, held }: Pick<ConsoleRequest, 'words' | 'held'>,
  type: ClientType,
  input: SettingsInput,
): Promise<Offers> {
  const { person, redirects, furtherGrantTypes } = typeRules[type]
  const beyond = (scope: string) => Object.hasOwn(ownScopes, scope) && !held.has(scope)
  const pick = (names: readonly string[], chosen: string, words: Readonly<Record<string, MessageKey>>): Choice[] =>
    names.map((value) => ({ value, label: words[value] ? t(words[value]) : value, selected: value === chosen }))
  return {
    person,
    redirects,
    redirectUris: [...input.redirectUris, '', ''],
    postLogoutRedirectUris: [...input.postLogoutRedirectUris, ''],
    scopes: person
      ? openidScopes.map((name) => ({
          value: name,
          name,
          words: t(scopeWords[name]),
          checked: input.scopes.includes(name),
          beyond: false,
        }))
      : [],
    apis: (await listApis(db))
      .filter(({ scopes }) => scopes.length > 0)
      .map(({ identifier, name, scopes }) => {
        const ticks = scopes.map((scope) => {
          const value = `${identifier} ${scope.name}`
          const checked = input.apis.includes(value)
          return { value, name: scope.name, words: scope.description, checked, beyond: beyond(scope.name) }
        })
        return { name, scopes: ticks, chosen: ticks.filter(({ checked }) => checked).length }
      }),
    roles: person
      ? []
      : (await listRoles(db)).map(({ name, description, permissions }) => ({
          value: name,
          name,
          words: description ?? '',
          checked: input.roles.includes(name),
          beyond: permissions.some(({ permission }) => beyond(permission)),
        })),
    exchange: furtherGrantTypes.includes(tokenExchange) ? input.exchange : undefined,
    profiles: pick(clientProfiles, input.profile, profileWords),
    algorithms: pick(idTokenAlgorithms, input.idTokenSignedResponseAlg, {}),
    secondFactors: pick(secondFactorPolicies, input.secondFactor, secondFactorWords),
  }
}

const scopeWords = {
  openid: 'console.applications.scope.openid',
  profile: 'console.applications.scope.profile',
  email: 'console.applications.scope.email',
  address: 'console.applications.scope.address',
  phone: 'console.applications.scope.phone',
  offline_access: 'console.applications.scope.offline',
} as const satisfies Record<(typeof openidScopes)[number], MessageKey>

const profileWords = {
  default: 'console.applications.profile.default',
  high: 'console.applications.profile.high',
  fapi2: 'console.applications.profile.fapi2',
} as const satisfies Record<(typeof clientProfiles)[number], MessageKey>

const secondFactorWords = {
  optional: 'console.applications.secondFactor.optional',
  required: 'console.applications.secondFactor.required',
} as const satisfies Record<(typeof secondFactorPolicies)[number], MessageKey>
