// Everything that can be said about a declaration without the database. The rules are the rooms' own; this file walks over the
// sections, puts the path in front of what the rooms say, and adds what only a file can get wrong: naming a thing twice.
import { checkPolicySettings } from '#src/access/policies/policies.ts'
import { checkCedarText } from '#src/access/policies/text.ts'
import { checkRole, checkRoleName } from '#src/access/roles.ts'
import { checkApi, checkApiIdentifier } from '#src/apis/apis.ts'
import { checkRoute, checkRouteKey, routeName } from '#src/apis/routes.ts'
import { checkNotDemoClient } from '#src/clients/demo-clients.ts'
import { isLogoHash } from '#src/clients/logos.ts'
import { checkNotOwnClient } from '#src/clients/own-client.ts'
import { type ClientInput, checkClient, checkClientId } from '#src/clients/settings.ts'
import { type ClientType, clientTypes, hasSecret } from '#src/clients/types.ts'
import { isPasswordHash } from '#src/factors/password.ts'
import { checkFrame } from '#src/openapi/routes.ts'
import { checkOneOf, type Flaw } from '#src/refusal.ts'
import { checkEmail, checkUser, emailKey } from '#src/users/users.ts'
import { checkWebhookName } from '#src/webhooks/endpoints.ts'
import { checkBeside } from './beside.ts'
import { checkDeclaredSettings } from './kinds/settings.ts'
import type { DeclaredClient, DeclaredPolicy, DeclaredUser, DeclaredWebhook, WrittenDeclaration } from './schema.ts'
import { readSecretHash } from './secret-hash.ts'
import { checkSecret, clientSecretPlace, passwordPlace, webhookSecretPlace } from './secrets.ts'

/** @returns flaws whose field is a path such as `clients[2].redirectUris[0]`. */
export function checkDeclaration(declaration: WrittenDeclaration): Flaw[] {
  const { apis = [], roles = [], clients = [], users = [], routes = [], policies = [], webhooks = [] } = declaration
  return [
    ...apis.flatMap((api, index) =>
      within(`apis[${index}]`, [...checkApiIdentifier('identifier', api.identifier), ...checkApi(api)]),
    ),
    ...repeated(
      'apis',
      'identifier',
      apis.map((api) => api.identifier),
    ),
    ...roles.flatMap((role, index) =>
      within(`roles[${index}]`, [...checkRoleName('name', role.name), ...checkRole(role)]),
    ),
    ...repeated(
      'roles',
      'name',
      roles.map((role) => role.name),
    ),
    ...clients.flatMap((client, index) => within(`clients[${index}]`, checkDeclaredClient(client))),
    ...repeated(
      'clients',
      'clientId',
      clients.map((client) => client.clientId),
    ),
    ...users.flatMap((user, index) => within(`users[${index}]`, checkDeclaredUser(user))),
    ...repeated(
      'users',
      'email',
      users.map((user) => emailKey(user.email) ?? user.email),
    ),
    ...routes.flatMap((route, index) =>
      within(
        `routes[${index}]`,
        'openapi' in route
          ? [...checkBeside('openapi', route.openapi), ...checkFrame(route)]
          : [...checkRouteKey(route), ...checkRoute(route, { ...route, position: index })],
      ),
    ),
    ...repeated(
      'routes',
      'path',
      routes.map((route, index) => ('openapi' in route ? `[${index}]` : routeName(route))),
    ),
    ...policies.flatMap((policy, index) => within(`policies[${index}]`, checkDeclaredPolicy(policy))),
    ...repeated('policies', 'name', policies.map(policyKey)),
    ...webhooks.flatMap((webhook, index) => within(`webhooks[${index}]`, checkDeclaredWebhook(webhook))),
    ...repeated(
      'webhooks',
      'name',
      webhooks.map(({ name }) => name),
    ),
    ...checkDeclaredSettings(declaration),
  ]
}

/** Call it on a client whose type is known to be one. */
export function clientInput({
  clientId: _,
  disabled: __,
  clientSecret: ___,
  clientSecretFile: ____,
  clientSecretHash: _____,
  logo: ______,
  ...rest
}: DeclaredClient) {
  return rest as ClientInput
}

function checkDeclaredClient(client: DeclaredClient): Flaw[] {
  const flaws = [
    ...checkClientId('clientId', client.clientId),
    ...checkNotDemoClient('clientId', client.clientId),
    ...checkNotOwnClient('clientId', client.clientId),
    ...checkOneOf('type', client.type, clientTypes),
  ]
  if (!(clientTypes as readonly string[]).includes(client.type)) return flaws
  flaws.push(...checkClient(clientInput(client)))
  if (client.logo !== undefined && !isLogoHash(client.logo)) flaws.push(...checkBeside('logo', client.logo))
  const { clientSecretHash } = client
  flaws.push(...besideEachOther(client, ['clientSecret', 'clientSecretFile', 'clientSecretHash']))
  if (!hasSecret(client.type as ClientType)) {
    for (const field of ['clientSecret', 'clientSecretFile', 'clientSecretHash'] as const)
      if (client[field] !== undefined)
        flaws.push({
          field,
          problem: `cannot be given to a client of type ${client.type}`,
          fix: 'Leave it out: such a client proves itself with PKCE.',
        })
    return flaws
  }
  flaws.push(...checkSecret(client, clientSecretPlace))
  for (const [index, hash] of [clientSecretHash ?? []].flat().entries())
    if (!readSecretHash(hash))
      flaws.push({
        field: Array.isArray(clientSecretHash) ? `clientSecretHash[${index}]` : 'clientSecretHash',
        problem: 'is not the hash of a secret',
        fix: 'Take it from an export: sha256: and 43 characters.',
      })
  return flaws
}

/** By what a policy is known. Neither part has a space in it. */
export const policyKey = ({ api, name }: { api: string; name: string }): string => `${api} ${name}`

/** Whether Cedar accepts it is known once its API is (kinds/policies.ts). */
function checkDeclaredPolicy({ api, text, file, ...settings }: DeclaredPolicy): Flaw[] {
  const flaws = [...checkApiIdentifier('api', api), ...checkPolicySettings(settings)]
  if (text !== undefined && file !== undefined)
    return [...flaws, { field: 'file', problem: 'stands beside text', fix: 'Keep one of the two.' }]
  if (file !== undefined) return [...flaws, ...checkBeside('file', file)]
  if (text !== undefined) return [...flaws, ...checkCedarText('text', text)]
  return [...flaws, { field: 'text', problem: 'is missing', fix: 'Write the policy, or name its file.' }]
}

function checkDeclaredUser(user: DeclaredUser): Flaw[] {
  const flaws = [...checkEmail('email', user.email), ...checkUser(user)]
  flaws.push(...besideEachOther(user, ['password', 'passwordFile', 'passwordHash']))
  flaws.push(...checkSecret(user, passwordPlace))
  if (user.passwordHash !== undefined && !isPasswordHash(user.passwordHash))
    flaws.push({
      field: 'passwordHash',
      problem: 'is not an argon2id hash that can be verified here',
      fix: 'Take it from an export: $argon2id$v=19$m=…,t=…,p=…$salt$hash.',
    })
  return flaws
}

/** Whether its address may be called depends on WEBHOOK_NETWORKS (kinds/webhooks.ts). */
function checkDeclaredWebhook(webhook: DeclaredWebhook): Flaw[] {
  return [
    ...checkWebhookName('name', webhook.name),
    ...besideEachOther(webhook, ['secret', 'secretFile']),
    ...checkSecret(webhook, webhookSecretPlace),
  ]
}

/** A secret is given in one way. */
function besideEachOther<T extends object>(entry: T, fields: readonly (keyof T & string)[]): Flaw[] {
  const [first, second] = fields.filter((field) => entry[field] !== undefined)
  if (first === undefined || second === undefined) return []
  return [{ field: first, problem: `stands beside ${second}`, fix: 'Keep one of the two.' }]
}

/** Puts a path in front of what a room said about one entry. */
export function within(path: string, flaws: readonly Flaw[]): Flaw[] {
  return flaws.map((flaw) => ({ ...flaw, field: `${path}.${flaw.field}` }))
}

function repeated(section: string, field: string, names: readonly string[]): Flaw[] {
  const first = new Map<string, number>()
  return names.flatMap((name, index) => {
    const before = first.get(name)
    if (before === undefined) {
      first.set(name, index)
      return []
    }
    return [
      { field: `${section}[${index}].${field}`, problem: `repeats ${section}[${before}]`, fix: 'Keep one of the two.' },
    ]
  })
}
