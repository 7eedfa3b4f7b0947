// The shape of the declarative file: names and types, nothing else. What a value may be is asked of the room it belongs to
// (check.ts). Unknown names are refused: a misspelt `redirectUri` must not be ignored.
import { z } from 'zod'

const text = z.string()
const list = z.array(text)

const api = z.strictObject({
  identifier: text,
  name: text,
  accessTokenFormat: text.optional(),
  accessTokenTtlSeconds: z.number().optional(),
  accept: list.optional(),
  introspectionClients: list.optional(),
  hideExistence: z.boolean().optional(),
  scopes: z.record(text, text).optional(),
})

const role = z.strictObject({
  name: text,
  description: text.optional(),
  permissions: list.optional(),
  secondFactor: text.optional(),
})

/** `sha256:` and 43 characters of base64url; with an end, when it has one. */
const secretHash = z.union([text, z.strictObject({ hash: text, expiresAt: text })])

const client = z.strictObject({
  clientId: text,
  type: text,
  name: text.optional(),
  disabled: z.boolean().optional(),
  clientSecret: text.optional(),
  clientSecretHash: z.union([text, z.array(secretHash)]).optional(),
  profile: text.optional(),
  grantTypes: list.optional(),
  redirectUris: list.optional(),
  postLogoutRedirectUris: list.optional(),
  scopes: list.optional(),
  apis: z.record(text, list).optional(),
  idTokenSignedResponseAlg: text.optional(),
  refreshLeewaySeconds: z.number().optional(),
  refreshTokenTtlSeconds: z.number().optional(),
  refreshTokenIdleTtlSeconds: z.number().optional(),
  secondFactor: text.optional(),
  clientUri: text.optional(),
  logoUri: text.optional(),
  policyUri: text.optional(),
  tosUri: text.optional(),
})

const user = z.strictObject({
  email: text,
  disabled: z.boolean().optional(),
  password: text.optional(),
  passwordHash: text.optional(),
  emailVerified: z.boolean().optional(),
  name: text.nullable().optional(),
  givenName: text.nullable().optional(),
  familyName: text.nullable().optional(),
  picture: text.nullable().optional(),
  locale: text.nullable().optional(),
  zoneinfo: text.nullable().optional(),
  attributes: z.record(text, z.json()).optional(),
  roles: list.optional(),
})

const route = z.strictObject({
  host: text,
  method: text,
  path: text,
  api: text,
  scopes: list.optional(),
  roles: list.optional(),
  relation: text.optional(),
  anonymous: z.boolean().optional(),
})

/** A section that is left out is not looked at, not even by `--prune`; an empty list says "none". */
export const declarationSchema = z.strictObject({
  apis: z.array(api).optional(),
  roles: z.array(role).optional(),
  clients: z.array(client).optional(),
  users: z.array(user).optional(),
  routes: z.array(route).optional(),
})

export type Declaration = z.infer<typeof declarationSchema>
export type DeclaredClient = z.infer<typeof client>
export type DeclaredUser = z.infer<typeof user>
